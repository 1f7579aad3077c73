import assert from "node:assert/strict";
import test from "node:test";
import { START_FAILURES_MAX, UNIT_TIME_MS_MAX, UNITS_QUEUED_MAX, WorkerPool } from "../src/pool.js";
import { FakeHost, type FakeWorker } from "./fakes.js";

const INPUT = new Uint8Array([1, 2, 3]);

function pool(size: number) {
  const host = new FakeHost();
  const pool = new WorkerPool(host, {} as WebAssembly.Module);
  pool.resize(size);
  return { host, pool };
}

function worker(host: FakeHost, index: number): FakeWorker {
  const found = host.workers[index];
  assert.ok(found, `worker ${index} was spawned`);
  return found;
}

test("a worker gets the module first, and units only once it is ready", () => {
  const { host, pool: p } = pool(1);
  p.submit(1, INPUT);
  assert.deepEqual(worker(host, 0).received.map((message) => message.type), ["init"]);
  worker(host, 0).send({ type: "ready" });
  assert.deepEqual(worker(host, 0).units, [1]);
  worker(host, 0).send({ type: "done", computeId: 1, result: new Uint8Array([9]) });
  assert.deepEqual(host.finished, [{ computeId: 1, result: [9] }]);
  p.close();
});

test("each worker holds one unit at a time; the others wait in order", () => {
  const { host, pool: p } = pool(2);
  for (const each of host.workers) each.send({ type: "ready" });
  for (let computeId = 1; computeId <= 4; computeId += 1) p.submit(computeId, INPUT);
  assert.deepEqual(host.workers.map((each) => each.units), [[1], [2]]);
  worker(host, 1).send({ type: "done", computeId: 2, result: INPUT });
  assert.deepEqual(host.workers.map((each) => each.units), [[1], [2, 3]]);
  p.close();
});

test("the caller's bytes survive the transfer", () => {
  const { host, pool: p } = pool(1);
  worker(host, 0).send({ type: "ready" });
  const input = new Uint8Array([5, 6]);
  p.submit(1, input);
  const message = worker(host, 0).received.find((message) => message.type === "unit");
  assert.ok(message?.type === "unit");
  assert.deepEqual([...message.input], [5, 6]);
  assert.notEqual(message.input.buffer, input.buffer);
  p.close();
});

test("a crash fails the unit and is reported, and a new worker continues", () => {
  const { host, pool: p } = pool(1);
  worker(host, 0).send({ type: "ready" });
  p.submit(1, INPUT);
  p.submit(2, INPUT);
  worker(host, 0).crash("out of memory");
  assert.deepEqual(host.refused, [{ computeId: 1, reason: "out of memory" }]);
  assert.deepEqual(host.losses, [{ message: "out of memory", replaced: true }]);
  assert.equal(worker(host, 0).terminated, true);
  worker(host, 1).send({ type: "ready" });
  assert.deepEqual(worker(host, 1).units, [2]);
  p.close();
});

test("a trap replaces the worker, an ordinary refusal does not", () => {
  const { host, pool: p } = pool(1);
  worker(host, 0).send({ type: "ready" });
  p.submit(1, INPUT);
  worker(host, 0).send({ type: "failed", computeId: 1, message: "malformed", fatal: false });
  assert.equal(host.workers.length, 1);
  p.submit(2, INPUT);
  worker(host, 0).send({ type: "failed", computeId: 2, message: "unreachable", fatal: true });
  assert.equal(host.workers.length, 2);
  assert.deepEqual(host.refused.map(({ computeId }) => computeId), [1, 2]);
  p.close();
});

test("results of an ended worker, or for a unit it does not hold, are ignored", () => {
  const { host, pool: p } = pool(1);
  const first = worker(host, 0);
  first.send({ type: "ready" });
  p.submit(1, INPUT);
  first.send({ type: "done", computeId: 99, result: INPUT });
  first.crash("gone");
  first.send({ type: "done", computeId: 1, result: INPUT });
  assert.deepEqual(host.finished, []);
  assert.deepEqual(host.refused, [{ computeId: 1, reason: "gone" }]);
  p.close();
});

test("workers that never start stop the pool, and every unit fails", () => {
  const { host, pool: p } = pool(1);
  p.submit(1, INPUT);
  for (let index = 0; index < START_FAILURES_MAX; index += 1) {
    worker(host, index).crash("blocked by CSP");
  }
  assert.equal(host.workers.length, START_FAILURES_MAX);
  assert.deepEqual(host.losses.at(-1), { message: "blocked by CSP", replaced: false });
  assert.deepEqual(host.refused, [{ computeId: 1, reason: "stopped" }]);
  p.submit(2, INPUT);
  assert.deepEqual(host.refused.at(-1), { computeId: 2, reason: "not contributing" });
});

test("a silent worker is replaced when its time is up", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { host, pool: p } = pool(1);
  worker(host, 0).send({ type: "ready" });
  p.submit(1, INPUT);
  context.mock.timers.tick(UNIT_TIME_MS_MAX - 1);
  assert.deepEqual(host.refused, []);
  context.mock.timers.tick(1);
  assert.deepEqual(host.refused, [{ computeId: 1, reason: "worker timed out" }]);
  assert.equal(host.alive.length, 1);
  p.close();
});

test("shrinking ends idle workers first and lets busy ones finish", () => {
  const { host, pool: p } = pool(3);
  for (const each of host.workers) each.send({ type: "ready" });
  p.submit(1, INPUT);
  p.resize(1);
  assert.deepEqual(host.workers.map((each) => each.terminated), [false, true, true]);
  p.resize(0);
  assert.equal(worker(host, 0).terminated, false);
  worker(host, 0).send({ type: "done", computeId: 1, result: INPUT });
  assert.equal(worker(host, 0).terminated, true);
  assert.equal(host.finished.length, 1);
});

test("a pause fails the waiting units at once", () => {
  const { host, pool: p } = pool(1);
  worker(host, 0).send({ type: "ready" });
  p.submit(1, INPUT);
  p.submit(2, INPUT);
  p.resize(0);
  assert.deepEqual(host.refused, [{ computeId: 2, reason: "paused" }]);
  p.close();
});

test("the queue is bounded", () => {
  const { host, pool: p } = pool(1);
  for (let computeId = 0; computeId <= UNITS_QUEUED_MAX; computeId += 1) p.submit(computeId, INPUT);
  assert.deepEqual(host.refused, [{ computeId: UNITS_QUEUED_MAX, reason: "queue full" }]);
  p.close();
});

test("every unit leaves exactly once for a random sequence of calls", () => {
  const seed = Number(process.env["TEQUIO_SEED"] ?? Date.now() % 2 ** 31);
  console.log(`seed ${seed} (set TEQUIO_SEED to repeat)`);
  let state = seed;
  const random = (below: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % below;
  };
  const { host, pool: p } = pool(2);
  let next = 0;
  for (let step = 0; step < 2_000; step += 1) {
    const each = host.alive[random(Math.max(1, host.alive.length))];
    const held = each?.units.at(-1);
    switch (random(7)) {
      case 0:
      case 1:
        p.submit(next++, INPUT);
        break;
      case 2:
        each?.send({ type: "ready" });
        break;
      case 3:
      case 4:
        if (held !== undefined) each?.send({ type: "done", computeId: held, result: INPUT });
        break;
      case 5:
        if (held !== undefined) each?.crash("random");
        break;
      case 6:
        p.resize(random(4));
    }
  }
  p.close();
  const left = [...host.finished, ...host.refused]
    .map(({ computeId }) => computeId)
    .sort((a, b) => a - b);
  assert.deepEqual(left, Array.from({ length: next }, (_, unit) => unit));
  assert.equal(host.alive.length, 0);
});
