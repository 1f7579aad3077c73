import assert from "node:assert/strict";
import test from "node:test";
import type { Job, TequioEvent } from "tequio";
import { followJob, modelJob, shareOf } from "../src/jobs.js";
import {
  initialState,
  reduce,
  shownJob,
  withChoice,
  withJobs,
  type State,
} from "../src/state.js";

const job = (id: string, state: Job["state"], submittedMs = 0): Job => ({
  id,
  kind: "train",
  state,
  name: id,
  round: 1,
  rounds: 10,
  accuracy: 0.5,
  curve: [],
  units: 8,
  unitsByMe: 2,
  coordinator: "c",
  submittedMs,
});
const shown = (jobs: Job[]) => shownJob(withJobs(initialState, jobs))?.id ?? null;

test("the running job is shown, then the newest finished one", () => {
  assert.equal(shown([job("old", "final"), job("now", "running"), job("later", "pending")]), "now");
  assert.equal(shown([job("a", "final"), job("b", "final"), job("c", "failed")]), "b");
  assert.equal(shown([]), null);
});

test("jobs are ordered by submission, independent of the node's order", () => {
  const state = withJobs(initialState, [job("new", "final", 9), job("old", "final", 3)]);
  assert.deepEqual([state.jobs.map(({ id }) => id), state.job], [["old", "new"], "new"]);
});

test("the page follows the running job: a job that starts replaces an ended one", () => {
  let state = withJobs(initialState, [job("a", "running", 1)]);
  state = reduce(state, { type: "job", ...job("a", "final", 1) }, 0);
  assert.equal(state.job, "a", "an ended job stays until another runs");
  state = reduce(state, { type: "job", ...job("b", "running", 2) }, 0);
  assert.equal(state.job, "b");
  state = reduce(state, { type: "job", ...job("c", "running", 3) }, 0);
  assert.equal(state.job, "b", "of two that run, the shown one stays");
});

test("a chosen job stays shown until the person follows the running one again", () => {
  const jobs = [job("a", "final", 1), job("b", "running", 2)];
  let state = withChoice(withJobs(initialState, jobs), "a");
  assert.equal(state.job, "a");
  state = reduce(state, { type: "job", ...job("b", "running", 2) }, 0);
  assert.equal(state.job, "a");
  assert.equal(withChoice(state, null).job, "b");
  assert.equal(followJob(jobs, null, "gone"), "b", "a choice that does not exist holds nothing");
});

test("the page runs the newest finished model while another job runs", () => {
  const jobs = [job("a", "final", 1), job("b", "final", 2), job("c", "running", 3)];
  assert.equal(modelJob(jobs, "c")?.id, "b");
  assert.equal(modelJob(jobs, "a")?.id, "a");
  assert.equal(modelJob([job("c", "running")], "c"), null);
});

test("a share is by operations, and 0 without a contribution", () => {
  const members = [{ id: "a", units: 1, macs: 40 }, { id: "b", units: 9, macs: 60 }];
  assert.deepEqual([shareOf(members, "a"), shareOf(members, "c"), shareOf([], "a")], [0.4, 0, 0]);
  assert.equal(
    shareOf([{ id: "a", units: 1, macs: 0 }, { id: "b", units: 3, macs: 0 }], "a"),
    0.25,
  );
});

test("a job's event replaces that job only", () => {
  const state = withJobs(initialState, [job("a", "running"), job("b", "running")]);
  const next = reduce(state, { type: "job", ...job("a", "final") }, 0);
  const states = next.jobs.map(({ id, state }) => [id, state]).sort();
  assert.deepEqual(states, [["a", "final"], ["b", "running"]]);
});

test("running units never go below zero, and only successful ones count as computed", () => {
  const unit = { computeId: 1, job: "a", round: 1, unit: 1, kind: "compute" } as const;
  let state = reduce(initialState, { type: "unit", ...unit }, 0);
  assert.equal(state.ownWork.busy, 1);
  const failed = { computeId: 1, ok: false, elapsedMs: 1, reason: "paused" };
  state = reduce(state, { type: "unitEnd", ...failed }, 0);
  state = reduce(state, { type: "unitEnd", computeId: 1, ok: true, elapsedMs: 1 }, 0);
  assert.deepEqual(state.ownWork, { units: 0, macs: 0, busy: 0, computed: 1 });
});

test("batches are not shown", () => {
  const batch: Job = { ...job("batch", "running"), kind: "infer" };
  const state = withJobs(initialState, [job("a", "final"), batch]);
  assert.deepEqual([state.jobs.map(({ id }) => id), state.job], [["a"], "a"]);
  assert.deepEqual(reduce(state, { type: "job", ...batch }, 0).jobs.length, 1);
});

test("a new head ends the stale state, and its arrival time is kept", () => {
  let state = reduce(initialState, { type: "stale", headAgeMs: 40_000 }, 0);
  assert.equal(state.stale, true);
  state = reduce(state, { type: "head", height: 9, timeMs: 1, hash: "h", signers: 3 }, 7);
  const { stale, head, headSeenMs } = state;
  const expected = { height: 9, timeMs: 1, hash: "h", signers: 3 };
  assert.deepEqual([stale, head, headSeenMs], [false, expected, 7]);
});

test("the bytes of the module are known while it loads", () => {
  const state = reduce(initialState, { type: "load", received: 10, total: 30 }, 0);
  assert.deepEqual(state.load, { received: 10, total: 30 });
  assert.deepEqual(reduce(state, { type: "load", received: 20, total: null }, 0).load?.total, null);
});

test("an error of the connection goes away when the page is connected again", () => {
  const gone = { type: "activity", state: "disconnected", sinceMs: 0, reason: "noPeers" } as const;
  const back = { type: "activity", state: "computing", sinceMs: 1 } as const;
  const after = (code: string, ...events: TequioEvent[]) => {
    let state: State = { ...reduce(initialState, gone, 0), error: { code, message: "" } };
    for (const event of events) state = reduce(state, event, 0);
    return state.error?.code ?? null;
  };
  for (const code of ["UNAVAILABLE", "TIMEOUT", "CODE_UNREACHABLE", "NO_RELAY"]) {
    assert.equal(after(code, gone), code, "the connection is still lost");
    assert.equal(after(code, back), null);
  }
  assert.equal(after("WORKER", back), "WORKER", "a connection does not start blocked workers");
  const online = { ...reduce(initialState, back, 0), error: { code: "TIMEOUT", message: "" } };
  assert.equal(reduce(online, back, 0).error?.code, "TIMEOUT", "no connection came back");
});

test("the page remembers of which jobs units came, up to a limit", () => {
  const unit = { type: "unit", computeId: 1, round: 1, unit: 1, kind: "compute" } as const;
  let state = initialState;
  for (const id of ["a", "b", "a"]) state = reduce(state, { ...unit, job: id }, 0);
  assert.deepEqual(state.unitJobs, ["b", "a"]);
  for (let id = 0; id < 200; id += 1) state = reduce(state, { ...unit, job: String(id) }, 0);
  assert.equal(state.unitJobs.length, 64);
  assert.equal(state.unitJobs.at(-1), "199");
});
