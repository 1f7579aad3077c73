import assert from "node:assert/strict";
import test, { afterEach, beforeEach, mock } from "node:test";
import { OptionsError } from "../src/errors.js";
import { EARLY_EVENTS_MAX, EventHub, type TequioEvent } from "../src/events.js";
import { EventQueue } from "../src/event-queue.js";

/** A hub whose node is connected. */
function opened(): EventHub {
  const hub = new EventHub();
  hub.open();
  mock.timers.tick(0);
  return hub;
}

beforeEach(() => mock.timers.enable({ apis: ["setTimeout"] }));
afterEach(() => mock.timers.reset());

test("a slow reader loses the oldest events and receives their number", async () => {
  const queue = new EventQueue<number>(3);
  for (let item = 1; item <= 5; item += 1) queue.push(item);
  queue.end();
  const read = [];
  for await (const item of queue) read.push(item);
  assert.deepEqual(read, [{ type: "dropped", count: 2 }, 3, 4, 5]);
});

test("waiting readers are served in order and released at the end", async () => {
  const queue = new EventQueue<string>();
  const reads = [queue.next(), queue.next(), queue.next()];
  queue.push("a");
  queue.push("b");
  queue.end();
  assert.deepEqual(await Promise.all(reads), [
    { done: false, value: "a" },
    { done: false, value: "b" },
    { done: true, value: undefined },
  ]);
  queue.push("late");
  assert.equal((await queue.next()).done, true);
});

test("an invalid capacity is rejected", () => {
  for (const capacity of [0, -1, 1.5, Infinity, 1 << 20]) {
    assert.throws(() => new EventQueue(capacity), OptionsError);
  }
});

test("listeners receive their type only, until they unsubscribe", () => {
  const hub = opened();
  const received: number[] = [];
  const off = hub.on("stale", (event) => received.push(event.headAgeMs));
  hub.emit({ type: "stale", headAgeMs: 1 });
  hub.emit({ type: "forkEvidence", detail: "other type" });
  off();
  hub.emit({ type: "stale", headAgeMs: 2 });
  assert.deepEqual(received, [1]);
});

test("a listener that throws does not stop the others", () => {
  const reported: unknown[] = [];
  const scope = globalThis as { reportError?: (error: unknown) => void };
  const before = scope.reportError;
  scope.reportError = (error) => void reported.push(error);
  try {
    const hub = opened();
    const received: string[] = [];
    hub.on("forkEvidence", () => {
      throw new Error("in a listener");
    });
    hub.on("forkEvidence", (event) => received.push(event.detail));
    hub.emit({ type: "forkEvidence", detail: "two certificates" });
    assert.deepEqual(received, ["two certificates"]);
    assert.equal(reported.length, 1);
  } finally {
    if (before) scope.reportError = before;
    else delete scope.reportError;
  }
});

test("streams filter by type, end with the signal, and end with the hub", async () => {
  const hub = opened();
  const abort = new AbortController();
  const forks = hub.stream({ types: ["forkEvidence"], signal: abort.signal });
  const all = hub.stream();
  hub.emit({ type: "stale", headAgeMs: 1 });
  hub.emit({ type: "forkEvidence", detail: "x" });
  abort.abort();
  hub.emit({ type: "forkEvidence", detail: "after the abort" });
  const read = [];
  for await (const event of forks) read.push(event);
  assert.deepEqual(read, [{ type: "forkEvidence", detail: "x" }]);
  hub.close();
  const types = [];
  for await (const event of all) types.push(event.type);
  assert.deepEqual(types, ["stale", "forkEvidence", "forkEvidence"]);
});

test("break ends a stream", async () => {
  const hub = opened();
  const stream = hub.stream();
  hub.emit({ type: "forkEvidence", detail: "1" });
  hub.emit({ type: "forkEvidence", detail: "2" });
  for await (const event of stream) {
    assert.equal(event.type, "forkEvidence");
    break;
  }
  assert.equal((await stream.next()).done, true);
});

test("early events reach the first listener at once, and the others once the hub is open", () => {
  const first: TequioEvent[] = [];
  const hub = new EventHub((event) => first.push(event));
  hub.emit({ type: "invalidData", peer: "p", what: "header", detail: "while connecting" });
  assert.equal(first.length, 1);
  hub.open();
  const received: string[] = [];
  hub.on("invalidData", (event) => received.push(event.detail));
  hub.emit({ type: "invalidData", peer: "p", what: "header", detail: "between" });
  assert.deepEqual(received, []);
  mock.timers.tick(0);
  hub.emit({ type: "invalidData", peer: "p", what: "header", detail: "later" });
  assert.deepEqual(received, ["while connecting", "between", "later"]);
  assert.equal(first.length, 3);
});

test("a node that never opens keeps a bounded number of events", () => {
  const hub = new EventHub();
  for (let index = 0; index < 2 * EARLY_EVENTS_MAX; index += 1) {
    hub.emit({ type: "stale", headAgeMs: index });
  }
  hub.open();
  let received = 0;
  hub.on("stale", () => (received += 1));
  mock.timers.tick(0);
  assert.equal(received, EARLY_EVENTS_MAX);
});
