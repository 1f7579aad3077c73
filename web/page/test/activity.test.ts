import assert from "node:assert/strict";
import test from "node:test";
import { en } from "../src/i18n/en.js";
import { chooseLanguage, t } from "../src/i18n/index.js";
import { initialState, reduce, type State } from "../src/state.js";
import {
  activityText,
  computeText,
  rateText,
  resumeText,
  titleText,
} from "../src/views/activity.js";
import { errorText } from "../src/views/error.js";

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
    const reasons = ["hidden", "battery", "metered", "dataCap", "codeUnreachable"] as const;
    const texts = reasons.map((reason) =>
      activityText(doing({ state: "paused", sinceMs: 0, reason })),
    );
    assert.equal(new Set(texts).size, 5);
  }
  chooseLanguage("en");
});

test("a tab that has received parts of the running job does not say that none has come", () => {
  const unit = { computeId: 1, round: 1, unit: 1, kind: "compute" } as const;
  const waiting = { ...doing({ state: "waiting", sinceMs: 0 }), jobs: [job] };
  assert.match(activityText(waiting), /no part of it has come to this tab yet$/);
  const received = reduce(waiting, { type: "unit", ...unit, job: "a" }, 0);
  assert.match(activityText(received), /no further part of the running job has come/);
  // A unit of another job changes that neither way.
  const second = { ...job, id: "b" };
  assert.match(activityText({ ...received, jobs: [second] }), /no part of it has come/);
  const both = reduce({ ...received, jobs: [job, second] }, { type: "unit", ...unit, job: "c" }, 0);
  assert.match(activityText(both), /no further part/);
});

test("while the page's server is dead, the line says so, and nothing advises to reload", () => {
  const contribution = { state: "paused", workers: 0, reason: "codeUnreachable" } as const;
  const offline = doing({ state: "disconnected", sinceMs: 0, reason: "noPeers" });
  const paused = doing({ state: "paused", sinceMs: 0, reason: "codeUnreachable" });
  const expected = { en: /server of this page do(es)? not answer/, es: /servidor.*no responden?/ };
  for (const language of ["en", "es"] as const) {
    chooseLanguage(language);
    for (const state of [offline, paused]) {
      const text = activityText({ ...state, contribution });
      assert.match(text, expected[language]);
      assert.doesNotMatch(text, /reload|recarg/i);
    }
    assert.doesNotMatch(activityText(offline), expected[language]);
    assert.equal(resumeText({ ...paused, contribution }), t("join.retry"));
  }
  chooseLanguage("en");
});

test("every error that advises to reload warns of it while the page is offline", () => {
  for (const language of ["en", "es"] as const) {
    chooseLanguage(language);
    const codes = Object.keys(en).flatMap((key) => /^error\.([A-Z_]+)$/.exec(key)?.[1] ?? []);
    assert.ok(codes.length >= 20);
    const details = { clockOffsetMs: 86_400_000 };
    for (const code of [...codes, "NEW_CODE"]) {
      const [online, offline] = [false, true].map((now) => {
        return errorText({ code, message: "", details }, now);
      });
      const reloads = /reload|recarg|recárg/i.test(online ?? "");
      assert.equal(offline === online, !reloads, `${language} ${code}: ${offline}`);
    }
  }
  chooseLanguage("en");
});

test("the button offers to compute again only once something was computed", () => {
  const contribution = { state: "stopped", workers: 0, reason: null } as const;
  const stopped: State = { ...connected, contribution };
  assert.equal(computeText(stopped), "Join and compute");
  const failed = reduce(stopped, { type: "unitEnd", computeId: 1, ok: false, elapsedMs: 1 }, 0);
  assert.equal(computeText(failed), "Join and compute");
  const done = reduce(stopped, { type: "unitEnd", computeId: 1, ok: true, elapsedMs: 1 }, 0);
  assert.equal(computeText(done), "Compute again");
});
