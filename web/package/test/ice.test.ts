import assert from "node:assert/strict";
import test from "node:test";
import { ICE_SERVERS_MAX } from "../src/ice.js";
import {
  CHECK_INTERVAL_MS,
  IceServerList,
  RETRY_MS_MAX,
  now,
  type IceOffer,
} from "../src/ice-servers.js";
import {
  ICE_LIFETIME_S_MAX,
  ICE_LIFETIME_S_MIN,
  parseWellKnown,
  type WellKnown,
} from "../src/relays.js";
import type { WireIceServer } from "../src/wasm-types.js";
import { FakeClock } from "./fakes.js";

const HOUR_MS = 60 * 60_000;
const OWN: WireIceServer = { urls: ["stun:own.example"] };
const STUN: WireIceServer = { urls: ["stun:relay.example"] };
const turn = (n: number): WireIceServer => ({
  urls: ["turn:relay.example"],
  username: `${n}:a`,
  credential: `c${n}`,
});

/** A list with one well-known file, whose answers the test chooses; its lifetime is 2 h. */
function listWithOneFile(
  lifetimeMs: number | null = 2 * HOUR_MS,
  servers: WireIceServer[] = [STUN, turn(0)],
) {
  const clock = new FakeClock();
  const requests: string[] = [];
  const applied: WireIceServer[][] = [];
  const warnings: string[] = [];
  const state = { answer: null as WellKnown | null, signal: null as AbortSignal | null };
  const offer: IceOffer = {
    url: "https://relay.example/a.json",
    servers,
    lifetimeMs,
    fetched: now(clock),
  };
  const list = new IceServerList([OWN], [offer], {
    clock,
    fetchWellKnown: async (url, signal) => {
      requests.push(String(url));
      state.signal = signal;
      if (state.answer === null) throw new Error("HTTP 502");
      return state.answer;
    },
    apply: (list) => applied.push(list),
    warn: (message) => warnings.push(message),
  });
  return Object.assign(state, { clock, requests, applied, warnings, list });
}

const answer = (
  iceServers: WireIceServer[],
  iceLifetimeS: number | null = 7_200,
): WellKnown => ({ relays: [], iceServers, iceLifetimeS, chain: null });

test("a credential is renewed after half of its life, again and again", async () => {
  const fixture = listWithOneFile();
  assert.deepEqual(fixture.list.list(), [OWN, STUN, turn(0)]);
  fixture.answer = answer([STUN, turn(1)]);
  await fixture.list.renewDue();
  fixture.clock.pass(HOUR_MS - 1);
  await fixture.list.renewDue();
  assert.deepEqual([fixture.requests.length, fixture.applied.length], [0, 0]);
  fixture.clock.pass(1);
  await fixture.list.renewDue();
  assert.deepEqual(fixture.applied, [[OWN, STUN, turn(1)]]);
  fixture.answer = answer([turn(2)], 600);
  fixture.clock.pass(HOUR_MS);
  await fixture.list.renewDue();
  fixture.clock.pass(300_000);
  await fixture.list.renewDue();
  assert.equal(fixture.requests.length, 3);
  assert.deepEqual(
    fixture.applied,
    [[OWN, STUN, turn(1)], [OWN, turn(2)]],
    "an unchanged list is not passed again",
  );
});

test("sleep and a wall clock that was set back do not delay the renewal", async () => {
  const slept = listWithOneFile();
  slept.answer = answer([turn(1)]);
  slept.clock.wall += HOUR_MS;
  await slept.list.renewDue();
  assert.equal(slept.requests.length, 1);
  const setBack = listWithOneFile();
  setBack.answer = answer([turn(1)]);
  setBack.clock.wall -= 48 * HOUR_MS;
  setBack.clock.monotonic += HOUR_MS;
  await setBack.list.renewDue();
  assert.equal(setBack.requests.length, 1);
});

test("without an answer a credential stays until it expires, and the pauses grow", async () => {
  const fixture = listWithOneFile();
  fixture.clock.pass(HOUR_MS);
  const attempts: number[] = [];
  for (let ms = 0; ms < HOUR_MS; ms += CHECK_INTERVAL_MS) {
    const before = fixture.requests.length;
    await fixture.list.renewDue();
    if (fixture.requests.length > before) attempts.push(ms);
    fixture.clock.pass(CHECK_INTERVAL_MS);
  }
  const pauses = attempts.slice(1).map((at, index) => at - attempts[index]!);
  assert.deepEqual(pauses.slice(0, 4), [1, 2, 4, 8].map((n) => n * CHECK_INTERVAL_MS));
  assert.ok(
    pauses.every((pause) => pause <= RETRY_MS_MAX) && pauses.at(-1) === RETRY_MS_MAX,
    String(pauses),
  );
  assert.equal(fixture.warnings.length, fixture.requests.length);
  assert.match(fixture.warnings[0]!, /relay\.example.*HTTP 502/);
  assert.ok(!fixture.warnings.join().includes("c0"), "a warning shows no credential");

  await fixture.list.renewDue();
  assert.deepEqual(fixture.applied, [[OWN, STUN]], "the expired one is not used any more");
  fixture.answer = answer([turn(1)]);
  fixture.clock.pass(RETRY_MS_MAX);
  await fixture.list.renewDue();
  assert.deepEqual(fixture.applied.at(-1), [OWN, turn(1)]);
});

test("a file without expiring credentials is not fetched again, and has no timer", async () => {
  for (const fixture of [listWithOneFile(null), listWithOneFile(2 * HOUR_MS, [])]) {
    fixture.list.start();
    assert.equal(fixture.clock.timers.length, 0);
    fixture.clock.pass(1_000 * HOUR_MS);
    await fixture.list.renewDue();
    assert.equal(fixture.requests.length, 0);
  }
});

test("the timer ends with the list, and an answer on its way is not used", async () => {
  const fixture = listWithOneFile();
  fixture.list.start();
  fixture.list.start();
  assert.equal(fixture.clock.timers.length, 1);
  fixture.answer = answer([turn(1)]);
  fixture.clock.pass(HOUR_MS);
  const renewing = fixture.list.renewDue();
  await fixture.list.renewDue();
  fixture.list.stop();
  await renewing;
  assert.deepEqual(
    [
      fixture.requests.length,
      fixture.applied.length,
      fixture.clock.timers.length,
      fixture.signal?.aborted,
    ],
    [1, 0, 0, true],
  );
  fixture.list.start();
  assert.equal(fixture.clock.timers.length, 0);
});

test("the program's own servers are replaced separately, within the limit", () => {
  const fixture = listWithOneFile();
  fixture.list.setOwn([turn(7)]);
  fixture.list.setOwn([turn(7)]);
  assert.deepEqual(fixture.applied, [[turn(7), STUN, turn(0)]]);
  fixture.list.setOwn(Array.from({ length: ICE_SERVERS_MAX }, () => OWN));
  assert.equal(fixture.applied.at(-1)?.length, ICE_SERVERS_MAX);
});

test("the lifetime of an untrusted file has limits", () => {
  const named = (iceLifetimeS: unknown) => {
    const text = JSON.stringify({ version: 1, relays: [], iceLifetimeS });
    return parseWellKnown(new TextEncoder().encode(text)).iceLifetimeS;
  };
  assert.deepEqual(
    [86_400, 0.5, 1e300].map(named),
    [86_400, ICE_LIFETIME_S_MIN, ICE_LIFETIME_S_MAX],
  );
  assert.deepEqual(
    [undefined, null, "60", -1, 0, {}].map(named),
    [null, null, null, null, null, null],
  );
});
