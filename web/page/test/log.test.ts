import assert from "node:assert/strict";
import test from "node:test";
import type { Rejection, TequioEvent } from "tequio";
import { LOG_LINES_MAX, addEntry, type LogLine } from "../src/log.js";
import { initialState, reduce, type State } from "../src/state.js";

const rejected = (fields: Partial<Rejection>): TequioEvent => ({
  type: "rejected",
  worker: "w",
  job: "a",
  round: 1,
  unit: 2,
  reason: "step 3 is computed wrongly",
  kind: "wrong",
  timeMs: 50,
  ...fields,
});
const after = (events: TequioEvent[], nowMs = 100, state: State = initialState) =>
  events.reduce((before, event) => reduce(before, event, nowMs), state);
const tones = ({ log }: State) => log.map(({ key, tone, count }) => [key, tone, count]);

test("only data proven to be false is red; a late result is plain", () => {
  assert.deepEqual(tones(after([rejected({ kind: "wrong" })])), [["log.rejected", "warn", 1]]);
  assert.deepEqual(tones(after([rejected({ kind: "late" })])), [["log.late", "plain", 1]]);
  assert.deepEqual(tones(after([rejected({ kind: "withheld" })])), [["log.withheld", "warn", 1]]);
  const { kind: _, ...unknown } = rejected({ kind: "wrong" }) as Rejection & { type: "rejected" };
  assert.deepEqual(tones(after([unknown])), [["log.refused", "plain", 1]]);
  const invalid = (what: string): TequioEvent => {
    return { type: "invalidData", peer: "p", what, detail: "d" };
  };
  assert.deepEqual(tones(after([invalid("proof")])), [["log.invalidData", "bad", 1]]);
  assert.deepEqual(tones(after([invalid("encoding")])), [["log.invalidData", "warn", 1]]);
});

test("repeats are one line, with the times of the events and not of their arrival", () => {
  const late = (worker: string, timeMs: number) => rejected({ kind: "late", worker, timeMs });
  const { log } = after([late("a", 30), late("b", 10), late("c", 20)]);
  assert.equal(log.length, 1);
  assert.deepEqual([log[0]?.count, log[0]?.firstMs, log[0]?.lastMs], [3, 10, 30]);
});

test("a device with a wrong clock shows times on its own clock, never in the future", () => {
  const ahead = { ...initialState, clockOffsetMs: 50 };
  assert.equal(after([rejected({ timeMs: 20 })], 100, ahead).log[0]?.lastMs, 70);
  assert.equal(after([rejected({ timeMs: 900 })]).log[0]?.lastMs, 100);
});

test("lines are in the order of their events", () => {
  const wrong = (worker: string, timeMs: number) => rejected({ kind: "wrong", worker, timeMs });
  const { log } = after([wrong("a", 50), wrong("b", 20), wrong("c", 40)]);
  assert.deepEqual(log.map(({ values }) => values["worker"]), ["b", "c", "a"]);
});

test("an outage of some minutes is a few lines", () => {
  let state: State = initialState;
  for (let second = 0; second < 210; second += 1) {
    const message = `dial of /ip4/10.0.0.${second % 7}/tcp/${4_000 + second} failed`;
    state = after(
      [
        { type: "peer", id: `p${second % 3}`, connected: false },
        { type: "stale", headAgeMs: second * 1_000 },
        { type: "log", level: "warn", message },
        { type: "activity", state: "disconnected", sinceMs: 0, reason: "noPeers" },
      ],
      second * 1_000,
      state,
    );
  }
  assert.ok(state.log.length <= 6, `${state.log.length} lines`);
  assert.ok(state.log.every(({ tone }) => tone !== "bad"));
  const back = after([{ type: "activity", state: "waiting", sinceMs: 0 }], 211_000, state);
  assert.equal(back.log.at(-1)?.key, "log.online");
});

test("the log is bounded, and long foreign texts are cut", () => {
  let lines: LogLine[] = [];
  for (let index = 0; index < LOG_LINES_MAX + 10; index += 1) {
    const subject = String(index);
    lines = addEntry(lines, { atMs: index, tone: "plain", key: "log.line", values: {}, subject });
  }
  assert.equal(lines.length, LOG_LINES_MAX);
  assert.equal(lines.at(-1)?.subject, String(LOG_LINES_MAX + 9));
  const reason = "x".repeat(5_000);
  assert.equal(String(after([rejected({ reason })]).log[0]?.values["reason"]).length, 301);
});

test("a server that does not answer has a line that blames no worker", () => {
  const paused = { type: "contribution", state: "paused", workers: 0 } as const;
  const events: TequioEvent[] = [
    { ...paused, reason: "codeUnreachable" },
    { ...paused, reason: "hidden" },
    { ...paused, reason: "codeUnreachable" },
  ];
  assert.deepEqual(tones(after(events)), [["log.codeUnreachable", "warn", 2]]);
});
