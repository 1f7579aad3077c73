import assert from "node:assert/strict";
import test from "node:test";
import { chooseLanguage } from "../src/i18n/index.js";
import { initialState, type State } from "../src/state.js";
import { activityText, rateText, titleText } from "../src/views/activity.js";

const connected: State = { ...initialState, phase: "connected" };
const doing = (activity: NonNullable<State["activity"]>): State => ({ ...connected, activity });
const job = { id: "a", kind: "train", state: "running", name: "iris" } as State["jobs"][number];

test("the line and the title show the node's activity and nothing else", () => {
  chooseLanguage("en");
  assert.deepEqual([activityText(initialState), titleText(initialState)], ["", "Tequio"]);
  const waiting = doing({ state: "waiting", sinceMs: 0 });
  // Until the list of jobs has been read, the line does not mention jobs.
  assert.equal(activityText(waiting), "Waiting for work");
  const idle = { ...waiting, jobsRead: true };
  assert.match(activityText(idle), /^Waiting for work: no job is running now$/);
  assert.match(activityText({ ...waiting, jobs: [job] }), /a job is running, but no part/);
  assert.equal(titleText(waiting), "Waiting for work · Tequio");
  const off = doing({ state: "disconnected", sinceMs: 0, reason: "noPeers" });
  assert.match(activityText(off), /^Not connected since \d.*Trying again\.$/);
  const stuck = doing({ state: "disconnected", sinceMs: 0, reason: "noQuorum" });
  assert.match(activityText(stuck), /^Connected, but no new block has come/);
  assert.equal(titleText(stuck), "No new block · Tequio");
  // The shown time is the last block's own, not that of its arrival or of a new connection.
  const [early, late] = [0, 3_600_000].map((timeMs) => {
    const head = { height: 1, timeMs, hash: "7c" };
    return activityText({ ...stuck, head, headSeenMs: 9_000_000 });
  });
  assert.notEqual(early, late);
  assert.equal(early, activityText({ ...stuck, head: { height: 1, timeMs: 0, hash: "7c" } }));
});

test("while computing, the line names the job, and the rate is beside it", () => {
  const activity = { state: "computing", sinceMs: 0, job: "a", unitsPerMinute: 1 } as const;
  const contribution = { state: "running", workers: 2, reason: null } as const;
  const state: State = { ...doing(activity), jobs: [job], contribution };
  assert.equal(activityText(state), "Computing iris");
  assert.equal(rateText(state), "1 unit a minute, on 2 of your cores");
  assert.equal(titleText(state), "iris: 1 units/min · Tequio");
  // The page does not list batches, so a batch has no name here.
  assert.equal(activityText({ ...state, jobs: [] }), "Computing");
});

test("each reason to pause has its sentence, in both languages", () => {
  for (const language of ["en", "es"] as const) {
    chooseLanguage(language);
    const texts = (["hidden", "battery", "metered", "dataCap"] as const).map((reason) =>
      activityText(doing({ state: "paused", sinceMs: 0, reason })),
    );
    assert.equal(new Set(texts).size, 4);
  }
  chooseLanguage("en");
});
