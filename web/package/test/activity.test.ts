import assert from "node:assert/strict";
import test from "node:test";
import { ActivityTracker, RATE_INTERVAL_MS, WAITING_AFTER_MS } from "../src/activity.js";
import type { Activity, TequioEvent } from "../src/events.js";
import { FakeClock } from "./fakes.js";

function tracked() {
  const clock = new FakeClock();
  const reported: Activity[] = [];
  const tracker = new ActivityTracker(clock, (activity) => void reported.push(activity));
  const take = (...events: TequioEvent[]) => events.forEach((event) => tracker.take(event));
  const state = () => [tracker.current.state, tracker.current.reason].filter(Boolean).join(" ");
  return { clock, tracker, reported, take, state };
}

const peer = (connected: boolean, id = "relay"): TequioEvent => ({ type: "peer", id, connected });
const contribution = (
  state: "running" | "paused" | "stopped",
  reason?: "hidden" | "dataCap",
): TequioEvent => ({
  type: "contribution",
  state,
  workers: 1,
  ...(reason ? { reason } : {}),
});
const unit = (computeId: number): TequioEvent => ({
  type: "unit",
  computeId,
  job: "j",
  round: 0,
  unit: 0,
  kind: "compute",
});
const end = (computeId: number, ok = true): TequioEvent => ({
  type: "unitEnd",
  computeId,
  ok,
  elapsedMs: 1,
});
const head: TequioEvent = { type: "head", height: 1, timeMs: 1, hash: "" };

test("a node goes from no peer through waiting and computing, with the start of each", () => {
  const { clock, tracker, take, state } = tracked();
  assert.equal(state(), "disconnected noPeers");
  take(peer(true));
  assert.equal(state(), "off");
  take(contribution("running"));
  assert.equal(state(), "waiting");
  clock.pass(10_000);
  take(unit(1));
  assert.equal(state(), "computing");
  assert.equal(tracker.current.job, "j");
  assert.equal(tracker.current.sinceMs, clock.wall);
  take(end(1));
  clock.pass(WAITING_AFTER_MS - 1);
  tracker.update();
  assert.equal(state(), "computing");
  clock.pass(1);
  tracker.update();
  assert.equal(state(), "waiting");
  assert.equal(tracker.current.job, undefined);
  take(contribution("stopped"));
  assert.equal(state(), "off");
});

test("a pause has its reason; without a peer the node is disconnected in any state", () => {
  const { take, state } = tracked();
  take(
    peer(true),
    peer(true, "other"),
    contribution("running"),
    unit(1),
    contribution("paused", "dataCap"),
  );
  assert.equal(state(), "paused dataCap");
  take(peer(false));
  assert.equal(state(), "paused dataCap");
  take(peer(false, "other"));
  assert.equal(state(), "disconnected noPeers");
});

test("peers without a new block count as disconnected, unless units are computed", () => {
  const { clock, tracker, take, state } = tracked();
  take(peer(true), contribution("running"), unit(1), { type: "stale", headAgeMs: 9_000 });
  assert.equal(state(), "computing");
  take(end(1));
  clock.pass(WAITING_AFTER_MS);
  tracker.update();
  assert.equal(state(), "disconnected noQuorum");
  take(head);
  assert.equal(state(), "waiting");
});

test("the rate is that of the last minute, and reported at most every five seconds", () => {
  const { clock, tracker, reported, take } = tracked();
  take(peer(true), contribution("running"));
  for (let index = 0; index < 120; index += 1) {
    take(unit(index), end(index));
    clock.pass(1_000);
  }
  assert.equal(tracker.current.unitsPerMinute, 60);
  const computing = reported.filter(({ state }) => state === "computing").length;
  assert.ok(computing > 1 && computing <= 120_000 / RATE_INTERVAL_MS + 1, String(computing));
});

test("a failed unit does not count", () => {
  const { clock, tracker, take } = tracked();
  take(peer(true), contribution("running"), unit(1), end(1, false));
  clock.pass(RATE_INTERVAL_MS);
  take(unit(2));
  assert.equal(tracker.current.unitsPerMinute, 0);
});

/** Computes for `seconds` with `perSecond` units in each, and returns every reported rate. */
function compute(tracked: ReturnType<typeof start>, seconds: number, perSecond: number): number[] {
  const { clock, tracker, take, reported } = tracked;
  const before = reported.length;
  for (let second = 0; second < seconds; second += 1) {
    for (let index = 0; index < perSecond; index += 1) take(unit(index), end(index));
    clock.pass(1_000);
    tracker.update();
  }
  return reported.slice(before).flatMap(({ unitsPerMinute }) => unitsPerMinute ?? []);
}

function start() {
  const all = tracked();
  all.take(peer(true), contribution("running"));
  return all;
}

test("the rate restarts with the contribution, after a stop and after a pause", () => {
  const all = start();
  const steady = compute(all, 90, 14).at(-1);
  assert.equal(steady, 14 * 59, "at the moment of the report the 60th second has just begun");
  for (const interruption of [contribution("stopped"), contribution("paused", "hidden")]) {
    for (const breakMs of [0, 5_000, 30_000]) {
      all.take(interruption);
      all.clock.pass(breakMs);
      all.take(contribution("running"));
      const highest = Math.max(...compute(all, 20, 14));
      assert.ok(highest <= 1_000, `${highest} units a minute after a break of ${breakMs} ms`);
      assert.equal(compute(all, 70, 14).at(-1), steady);
    }
  }
});

test("more units than are kept do not lower the rate", () => {
  const all = start();
  const rate = compute(all, 40, 300).at(-1) ?? 0;
  assert.ok(Math.abs(rate - 18_000) < 600, `${rate} units a minute instead of 18,000`);
});
