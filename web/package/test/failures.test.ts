/** Every failure reaches the program as a `TequioError` with a stable code and its cause. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import test from "node:test";
import { CODE_RETRY_MS } from "../src/contribution.js";
import { TequioError } from "../src/errors.js";
import type { TequioEvent } from "../src/events.js";
import { codeAnswers } from "../src/wasm-loader.js";
import type { WireJob } from "../src/wasm-types.js";
import type { FakeWorker } from "./fakes.js";
import { HASH, RELAY, fakeEnvironment, settled } from "./fakes.js";

const DAY_MS = 86_400_000;
const hang = () => new Promise<never>(() => {});

async function failure(promise: Promise<unknown>): Promise<TequioError> {
  const thrown = await promise.then(
    () => assert.fail("it did not throw"),
    (error: unknown) => error,
  );
  assert.ok(thrown instanceof TequioError, `${String(thrown)} is no TequioError`);
  return thrown;
}

test("an abort ends connect in every phase, and closes a node that starts later", async () => {
  for (const waitsFor of ["the code", "the store", "the node", "nothing"] as const) {
    const fake = fakeEnvironment();
    const abort = new AbortController();
    let started: (() => void) | undefined;
    const waiting = new Promise<void>((resolve) => (started = resolve));
    const held = () => (started?.(), hang());
    if (waitsFor === "the code") fake.environment.load = held;
    if (waitsFor === "the store") fake.environment.takeStore = held;
    let finishStart: (() => void) | undefined;
    if (waitsFor === "the node") {
      fake.starting = () => (started?.(), new Promise<void>((resolve) => (finishStart = resolve)));
    }
    if (waitsFor === "nothing") abort.abort("before");
    const connecting = fake.connect({ signal: abort.signal });
    if (waitsFor !== "nothing") await waiting;
    abort.abort("enough");
    const error = await failure(connecting);
    assert.equal(error.name, "AbortError");
    assert.equal(error.code, "ABORTED");
    assert.equal(error.cause, waitsFor === "nothing" ? "before" : "enough");
    if (waitsFor !== "the node") continue;
    finishStart?.();
    await settled();
    await settled();
    assert.equal(fake.light.closed, 1, "the node that started too late is closed");
    assert.equal(fake.released, 1);
  }
});

test("a request that the page's policy blocks has another error than a dead host", async () => {
  const fake = fakeEnvironment();
  fake.startError = Object.assign(new Error("no relay could be reached"), { code: "NO_RELAY" });
  assert.equal((await failure(fake.connect())).code, "NO_RELAY");
  fake.violation = { directive: "connect-src", url: "wss://relay.example" };
  const error = await failure(fake.connect());
  assert.equal(error.code, "CSP_BLOCKED");
  assert.deepEqual(error.details, { directive: "connect-src", url: "wss://relay.example" });
  assert.match(error.message, /connect-src needs wss:\/\/relay\.example/);
  assert.equal((error.cause as TequioError).code, "NO_RELAY");
  // A failure that a policy does not explain keeps its code, as does one with another directive.
  fake.startError = Object.assign(new Error("wrong data"), { code: "VERIFICATION_FAILED" });
  assert.equal((await failure(fake.connect())).code, "VERIFICATION_FAILED");
  fake.startError = Object.assign(new Error("no relay could be reached"), { code: "NO_RELAY" });
  fake.violation = { directive: "img-src", url: "https://a" };
  assert.equal((await failure(fake.connect())).code, "NO_RELAY");
});

test("UNSUPPORTED names a missing feature before anything is loaded", async () => {
  const fake = fakeEnvironment();
  fake.missingFeature = "this JavaScript runtime has no WebSocket";
  fake.secure = false;
  const error = await failure(fake.connect());
  assert.equal(error.code, "UNSUPPORTED");
  assert.match(error.message, /no WebSocket/);
  assert.equal(fake.loads, 0);
});

test("the error of a stale checkpoint names the device's clock and its offset", async () => {
  const server = createServer((_, response) => response.end(new Uint8Array([7])));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/checkpoint.bin`;
    const stale = { code: "STALE_CHECKPOINT", ageMs: 41 * DAY_MS, trustMs: 30 * DAY_MS };
    const fake = fakeEnvironment();
    fake.startError = Object.assign(new Error("the checkpoint is too old"), stale);
    fake.clock.wall = Date.now() + 40 * DAY_MS;
    const named = await failure(fake.connect({ checkpoint: { url, hash: HASH } }));
    assert.equal(named.code, "STALE_CHECKPOINT");
    assert.match(named.message, /40 days ahead .* set the clock first.* the checkpoint is too old/);
    assert.ok(Math.abs(Number(named.details["clockOffsetMs"]) - 40 * DAY_MS) < 5_000);
    assert.equal(named.details["ageMs"], stale.ageMs);
    // The error omits a correct clock, and names a clock without a reference as a possible cause.
    fake.clock.wall = Date.now();
    assert.doesNotMatch(
      (await failure(fake.connect({ checkpoint: { url, hash: HASH } }))).message,
      /clock/,
    );
    assert.match((await failure(fake.connect())).message, /If this device's clock is wrong/);
  } finally {
    server.close();
    server.closeAllConnections();
  }
});

test("a dead well-known file does not delay a start with explicit relays", async () => {
  const fake = fakeEnvironment();
  // A host that accepts the connection and does not answer.
  const server = createServer(() => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const wellKnown = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const began = performance.now();
    const node = await fake.connect({ relays: [RELAY], wellKnown });
    assert.ok(performance.now() - began < 4_000);
    await node.close();
  } finally {
    server.close();
    server.closeAllConnections();
  }
});

test("every error from inside the package becomes a TequioError with its cause", async () => {
  const bare = new RangeError("bare");
  const fail = () => {
    throw bare;
  };
  for (const part of ["load", "takeStore", "device", "counters"] as const) {
    const fake = fakeEnvironment();
    Object.assign(fake.environment, { [part]: fail });
    const error = await failure(fake.connect());
    assert.equal(error.code, "INTERNAL", part);
    assert.equal(error.cause, bare, part);
  }
  const fake = fakeEnvironment();
  const node = await fake.connect();
  fake.light.fail = bare;
  for (const call of [
    () => node.ref("a"),
    () => node.object("a"),
    () => node.model("a".repeat(64)),
    () => node.model("by name"),
    () => node.record("a"),
    () => node.jobs(),
    () => node.account(),
    () => node.contributionProof("a"),
    () => node.modelFiles("a"),
  ]) {
    assert.equal((await failure(call())).cause, bare, String(call));
  }
  assert.throws(() => node.events({ capacity: 0 }), { code: "BAD_OPTIONS" });
  assert.throws(() => node.contribute({ workers: 0 }), { code: "BAD_OPTIONS" });
  Object.assign(fake.light, { status: fail, setWorkers: fail });
  assert.throws(
    () => node.status(),
    (error: unknown) => error instanceof TequioError && error.cause === bare,
  );
  assert.throws(
    () => node.contribute(),
    (error: unknown) => error instanceof TequioError && error.cause === bare,
  );
});

test("wrong options have one code", async () => {
  const wrong: object[] = [
    { signal: 5 },
    { onEvent: 5 },
    { agent: 5 },
    { wasmUrl: 5 },
    { workerUrl: "" },
    { relays: "a" },
    { wellKnown: 5 },
    { wellKnown: "http://[" },
  ];
  for (const options of wrong) {
    const error = await failure(fakeEnvironment().connect(options));
    assert.equal(error.code, "BAD_OPTIONS", JSON.stringify(options));
  }
});

test("a worker that the browser does not allow stops the contribution with the cause", async () => {
  const fake = fakeEnvironment();
  const refused = new DOMException("cross-origin", "SecurityError");
  fake.environment.spawnWorker = (): FakeWorker => {
    throw refused;
  };
  const node = await fake.connect();
  const contribution = node.contribute({ workers: 2 });
  await settled();
  assert.equal(contribution.state, "stopped");
  assert.equal(contribution.error?.code, "WORKER");
  assert.equal(contribution.error?.cause, refused);
  await node.close();
});

/** A node whose contribution could not start its workers while the host of the code was dead. */
async function unreachable() {
  const fake = fakeEnvironment();
  const events: TequioEvent[] = [];
  const node = await fake.connect({ onEvent: (event) => void events.push(event) });
  fake.codeAnswers = false;
  const contribution = node.contribute({ workers: 2 });
  const crashAll = async () => {
    while (fake.host.alive.length > 0) fake.host.alive[0]?.crash("");
    await settled();
  };
  await crashAll();
  const pass = async (ms: number) => {
    fake.clock.pass(ms);
    for (const timer of fake.clock.timers) timer();
    await settled();
  };
  return { fake, node, contribution, events, crashAll, pass };
}

test("a host that does not answer pauses the contribution until it answers again", async () => {
  const { fake, node, contribution, events, pass } = await unreachable();
  assert.deepEqual([contribution.state, contribution.pausedBy], ["paused", "codeUnreachable"]);
  assert.equal(contribution.error, null);
  assert.equal(fake.light.workersSet.at(-1), 0);
  assert.ok(!events.some((event) => event.type === "workerLost" && !event.replaced));

  // The host is asked after 2 s, then more seldom; the node starts no worker meanwhile.
  const started = fake.host.workers.length;
  for (let second = 0; second < 60; second += 1) await pass(1_000);
  assert.ok(fake.codeQuestions >= 4 && fake.codeQuestions <= 7, String(fake.codeQuestions));
  assert.equal(fake.host.workers.length, started);

  fake.codeAnswers = true;
  await pass(CODE_RETRY_MS.max);
  assert.deepEqual([contribution.state, fake.light.workersSet.at(-1)], ["running", 2]);
  assert.equal(fake.host.alive.length, 2);
  await node.close();
});

test("a new peer makes the node ask the host of the code at once", async () => {
  const { fake, node, contribution } = await unreachable();
  fake.codeAnswers = true;
  fake.light.emit({ type: "peer", id: "relay", connected: true });
  await settled();
  assert.equal(contribution.state, "running");
  await node.close();
});

test("the person can try at once, and a blocked worker still stops the contribution", async () => {
  const { fake, node, contribution, events, crashAll } = await unreachable();
  contribution.resume();
  assert.equal(contribution.state, "running");
  await crashAll();
  assert.equal(contribution.pausedBy, "codeUnreachable", "no decision overrules a dead host");

  fake.codeAnswers = true;
  contribution.resume();
  await crashAll();
  assert.deepEqual([contribution.state, contribution.error?.code], ["stopped", "WORKER"]);
  assert.ok(events.some((event) => event.type === "workerLost" && !event.replaced));
  await node.close();
});

test("a contribution that stops while the host is asked stays stopped", async () => {
  const { fake, node, contribution, pass } = await unreachable();
  contribution.stop();
  fake.codeAnswers = true;
  await pass(CODE_RETRY_MS.max);
  assert.equal(contribution.state, "stopped");
  assert.equal(fake.host.alive.length, 0);

  const second = node.contribute({ workers: 1 });
  while (fake.host.alive.length > 0) fake.host.alive[0]?.crash("");
  second.stop();
  await settled();
  assert.deepEqual([second.state, second.error], ["stopped", null]);
  await node.close();
});

test("any answer of the host counts, except a proxy's that the host is dead", async () => {
  let status = 200;
  let location: string | undefined;
  const server = createServer((_, response) => {
    response.writeHead(status, location === undefined ? {} : { location }).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const stop = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  const workerUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/worker.js`;
  try {
    for (status of [200, 404, 405, 500]) assert.equal(await codeAnswers({ workerUrl }), true);
    for (status of [502, 503, 504]) assert.equal(await codeAnswers({ workerUrl }), false);
    status = 302;
    location = "http://127.0.0.1:1/";
    assert.equal(await codeAnswers({ workerUrl }), true);
    await stop();
    assert.equal(await codeAnswers({ workerUrl }), false);
  } finally {
    await stop();
  }
  assert.equal(await codeAnswers({ workerUrl: "blob:http://a/b" }), true, "it cannot be asked");
});

test("a name finds the newest finished training that has it", async () => {
  const fake = fakeEnvironment();
  const job: Omit<WireJob, "id"> = {
    kind: "train",
    name: "digits",
    state: "final",
    round: 1,
    rounds: 1,
    accuracy: 1,
    curve: [],
    units: 1,
    unitsByMe: 0,
    coordinator: "c",
  };
  const id = (digit: string) => digit.repeat(64);
  fake.light.jobList = [
    { ...job, id: id("a"), submittedMs: 5 },
    { ...job, id: id("b"), submittedMs: 9 },
    { ...job, id: id("c"), submittedMs: 11, state: "running" },
    { ...job, id: id("d"), submittedMs: 12, kind: "infer" },
    { ...job, id: id("e"), submittedMs: 13, name: "other" },
  ];
  const node = await fake.connect();
  assert.equal((await node.model("digits")).job, id("b"));
  assert.equal((await failure(node.model("none"))).code, "NOT_FOUND");

  // Names are not unique: the node does not choose between coordinators.
  fake.light.jobList.push({ ...job, id: id("f"), submittedMs: 20, coordinator: "stranger" });
  const refused = await failure(node.model("digits"));
  assert.equal(refused.code, "BAD_OPTIONS");
  assert.match(refused.message, /2 coordinators .* one of c, stranger/);
  assert.equal((await node.model("digits", { coordinator: "c" })).job, id("b"));
  await node.close();
});

test("relays of another network than the checkpoint's are rejected, not reported", async () => {
  const fake = fakeEnvironment();
  const relays = [
    "/dns4/relay.example/tcp/443/wss/p2p/12D3KooWGjMCZ2tWqs1tPqoB3KpGzBPSJgCyGSpd7aVUfs9hZDUH",
  ];
  const connect = (chain: unknown) => {
    const file = new TextEncoder().encode(JSON.stringify({ version: 1, relays, chain }));
    const wellKnown = `data:application/json;base64,${btoa(String.fromCharCode(...file))}`;
    return fake.connect({ wellKnown, relays: [] });
  };
  const refused = await failure(connect("d1".repeat(32)));
  assert.equal(refused.code, "OTHER_NETWORK");
  assert.ok(refused.message.includes("d1d1") && refused.message.includes("c0c0"), refused.message);
  for (const chain of ["c0".repeat(32), undefined, "no hash"]) await (await connect(chain)).close();
});
