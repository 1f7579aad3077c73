import assert from "node:assert/strict";
import test from "node:test";
import type { Job } from "tequio";
import { LOG_LINES_MAX, initialState, reduce, shownJob, withJobs } from "../src/state.js";

const job = (id: string, state: Job["state"]): Job => ({
  id, kind: "train", state, name: id, round: 1, rounds: 10, accuracy: 0.5, curve: [], units: 8, unitsByMe: 2, coordinator: "c",
});

test("the running job is shown, then the newest finished one, unless the person chose", () => {
  const jobs = [job("old", "final"), job("now", "running"), job("later", "pending")];
  assert.equal(shownJob(withJobs(initialState, jobs))?.id, "now");
  assert.equal(shownJob(withJobs(initialState, [job("a", "final"), job("b", "final"), job("c", "failed")]))?.id, "b");
  assert.equal(shownJob(withJobs({ ...initialState, job: "later" }, jobs))?.id, "later");
  assert.equal(shownJob(withJobs({ ...initialState, job: "gone" }, jobs))?.id, "now");
  assert.equal(shownJob(withJobs(initialState, [])), null);
});

test("a job's event replaces that job only", () => {
  const state = withJobs(initialState, [job("a", "running"), job("b", "running")]);
  const next = reduce(state, { type: "job", ...job("a", "final") }, 0);
  assert.deepEqual(next.jobs.map(({ id, state }) => [id, state]).sort(), [["a", "final"], ["b", "running"]]);
});

test("units at work never go below zero, and only good ones count as computed", () => {
  let state = reduce(initialState, { type: "unit", unit: 1, job: "a", round: 1, lane: 1, kind: "compute" }, 0);
  assert.equal(state.mine.busy, 1);
  state = reduce(state, { type: "unitEnd", unit: 1, ok: false, elapsedMs: 1, reason: "paused" }, 0);
  state = reduce(state, { type: "unitEnd", unit: 1, ok: true, elapsedMs: 1 }, 0);
  assert.deepEqual(state.mine, { units: 0, macs: 0, busy: 0, computed: 1 });
});

test("lies and refused results are named in the log, which has an end", () => {
  let state = reduce(initialState, { type: "lie", peer: "p", what: "proof", detail: "d" }, 5);
  assert.deepEqual(state.log[0], { id: 1, atMs: 5, tone: "bad", key: "log.lie", values: { peer: "p", what: "proof", detail: "d" } });
  for (let index = 0; index < LOG_LINES_MAX + 10; index += 1) {
    state = reduce(state, { type: "rejected", worker: "w", job: "a", round: index, lane: 0, reason: "r" }, 5);
  }
  assert.equal(state.log.length, LOG_LINES_MAX);
  assert.equal(state.log.at(-1)?.values["round"], LOG_LINES_MAX + 9);
});

test("batches are worked on, but not shown", () => {
  const batch: Job = { ...job("batch", "running"), kind: "infer" };
  const state = withJobs(initialState, [job("a", "final"), batch]);
  assert.deepEqual([state.jobs.map(({ id }) => id), state.job], [["a"], "a"]);
  assert.deepEqual(reduce(state, { type: "job", ...batch }, 0).jobs.length, 1);
});

test("a new head ends the staleness", () => {
  let state = reduce(initialState, { type: "stale", headAgeMs: 40_000 }, 0);
  assert.equal(state.stale, true);
  state = reduce(state, { type: "head", height: 9, timeMs: 1, hash: "h", signers: 3 }, 0);
  assert.deepEqual([state.stale, state.head], [false, { height: 9, timeMs: 1, hash: "h", signers: 3 }]);
});
