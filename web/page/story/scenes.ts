/** Invented states of the page, one for each situation of a person. */
import type { Job, TequioEvent } from "tequio";
import { addEntry } from "../src/log.js";
import { reduce, withJobs, type State } from "../src/state.js";

export const ME = "12D3KooWGjMCZ2tWqs1tPqoB3KpGzBPSJgCyGSpd7aVUfs9hZDUH";
const OTHERS = [
  "12D3KooWAbQ4oTgVZFbWq6xVnUjCLFQNm7Z8jHNnJ5ynDvN5tDGe",
  "12D3KooWBmAwcd4PJNJvfV89HwE48nwkRmAgo8Vy3uQEyNNHBox2",
  "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo",
] as const;
const MODEL_CID = "bafyr4ihx7k2m3v5qz6w4jy2t3n5p7s9a2c4e6g8i";
const DATASET_CID = "bafkr4idd4s2t6w8y2c4e6g8ij3k5m7n9p2q4r6t8v";

const CONTRIBUTORS = [
  { id: OTHERS[0], units: 118, checks: 97, macs: 6_120_000_000 },
  { id: ME, units: 91, checks: 84, macs: 4_312_000_000 },
  { id: OTHERS[1], units: 71, checks: 99, macs: 3_390_000_000 },
  { id: OTHERS[2], units: 40, checks: 40, macs: 1_910_000_000 },
];

/** A training of the digits after some rounds. */
export function job(round: number, rounds: number, fields: Partial<Job> = {}): Job {
  const curve = Array.from({ length: round }, (_, index) => ({
    round: index + 1,
    accuracy: 0.975 - 0.87 * Math.exp(-(index + 0.4) / 6) + 0.006 * Math.sin(index * 2.3),
  }));
  return {
    id: "b3f1a6",
    kind: "train",
    name: "digits",
    state: round === rounds ? "final" : "running",
    round,
    rounds,
    accuracy: curve.at(-1)?.accuracy ?? null,
    curve,
    units: round * 8,
    unitsByMe: Math.round(round * 8 * 0.29),
    coordinator: OTHERS[0],
    submittedMs: Date.now() - 1_320_000,
    dataset: DATASET_CID,
    contributors: CONTRIBUTORS,
    workersNow: { full: 4, browsers: 2 },
    ...fields,
  };
}

function take(state: State, events: readonly TequioEvent[], nowMs = Date.now()): State {
  return events.reduce((before, event) => reduce(before, event, nowMs), state);
}

/** Connected without a contribution. */
function looking(state: State, jobs: Job[]): State {
  const nowMs = Date.now();
  const next: State = {
    ...state,
    phase: "connected",
    jobsRead: true,
    node: ME,
    chain: "9a".repeat(32),
    head: { height: 1_284, timeMs: nowMs - 3_000, hash: "7c".repeat(32), signers: 4, committee: 4 },
    headSeenMs: nowMs - 3_000,
    nowMs,
    peers: [
      { id: OTHERS[0], path: "direct", transport: "webrtc", rttMs: 4 },
      { id: OTHERS[1], path: "relayed", transport: "websocket", relayedBy: OTHERS[0], rttMs: 12 },
    ],
    activity: { state: "off", sinceMs: nowMs - 60_000 },
    data: {
      received: 1_843_200,
      sent: 412_000,
      perMinute: 190_000,
      today: 2_255_200,
      capPerDay: null,
      projectedToday: 88_000_000,
    },
    storage: "kept",
    operator: { name: "Biblioteca de Oaxaca", url: "https://relay.example/" },
    preferences: { ...state.preferences, workers: 3 },
  };
  const atMs = nowMs - 64_000;
  const line = { atMs, tone: "good", key: "log.connected", values: { node: ME } } as const;
  const log = addEntry(next.log, { ...line, subject: "connected" });
  return withJobs({ ...next, log }, jobs);
}

/** Computing for a running job. */
function running(state: State, jobs = [job(23, 40)]): State {
  const nowMs = Date.now();
  const next: State = {
    ...looking(state, jobs),
    activity: { state: "computing", sinceMs: nowMs - 55_000, job: "b3f1a6", unitsPerMinute: 42 },
    contribution: { state: "running", workers: 3, reason: null },
    ownWork: { units: 91, macs: 4_312_000_000, busy: 3, computed: 94 },
    account: { id: ME, reputation: 182, units: 91, nonce: 2, bond: 0 },
    data: {
      received: 121_843_200,
      sent: 84_412_000,
      perMinute: 18_400_000,
      today: 406_255_200,
      capPerDay: 2e9,
      projectedToday: 11_400_000_000,
    },
  };
  const job = "b3f1a6";
  const late = { worker: OTHERS[2], job, round: 14, reason: "the result did not come in time" };
  const wrong = { worker: OTHERS[1], job, round: 15, reason: "step 11 is computed wrongly" };
  const events: TequioEvent[] = [
    { type: "path", peer: OTHERS[0], path: "direct", transport: "webrtc" },
    ...[1, 2, 3, 4].map((unit): TequioEvent => {
      const timeMs = nowMs - 90_000 + unit * 9_000;
      return { type: "rejected", ...late, unit, timeMs, kind: "late" };
    }),
    { type: "rejected", ...wrong, unit: 3, timeMs: nowMs - 31_000, kind: "wrong" },
    {
      type: "invalidData",
      peer: OTHERS[1],
      what: "proof",
      detail: "leaf does not hash to the root",
    },
    { type: "log", level: "warn", message: "12D3KooW is not reached and will be tried again" },
  ];
  return take(next, events, nowMs - 9_000);
}

function finished(state: State): State {
  const done = running(state, [job(40, 40)]);
  const [low, high] = [0, 0.9722];
  return {
    ...done,
    activity: { state: "waiting", sinceMs: Date.now() - 8_000 },
    ownWork: { ...done.ownWork, busy: low },
    model: {
      job: "b3f1a6",
      name: "digits",
      cid: MODEL_CID,
      classes: [..."0123456789"],
      features: 64,
      columns: [],
      accuracy: high,
    },
    record: { job: "b3f1a6", contributors: CONTRIBUTORS },
  };
}

const IRIS_COLUMNS = [
  { name: "sepal length (cm)", mean: 5.84, deviation: 0.83 },
  { name: "sepal width (cm)", mean: 3.05, deviation: 0.43 },
  { name: "petal length (cm)", mean: 3.76, deviation: 1.76 },
  { name: "petal width (cm)", mean: 1.2, deviation: 0.76 },
];

function otherModel(state: State, columns: typeof IRIS_COLUMNS): State {
  const classes = ["setosa", "versicolor", "virginica"];
  const model = { job: "b3f1a6", name: "iris", cid: "bafyr4iother", classes, accuracy: 0.96 };
  return { ...finished(state), model: { ...model, features: 4, columns } };
}

/** An outage of some minutes: peers disconnect, relays do not answer. */
function outage(state: State): State {
  const startMs = Date.now() - 210_000;
  let next: State = running(state);
  for (let second = 0; second < 210; second += 3) {
    const message = `relay ${second % 4} at /ip4/10.0.0.${second % 9}/tcp/${4000 + second} refused`;
    const events: TequioEvent[] = [
      { type: "peer", id: OTHERS[second % 3] ?? OTHERS[0], connected: false },
      { type: "stale", headAgeMs: second * 1_000 },
      { type: "log", level: "warn", message },
      { type: "activity", state: "disconnected", sinceMs: startMs, reason: "noPeers" },
    ];
    next = take(next, events, startMs + second * 1_000);
  }
  return { ...next, peers: [] };
}

/** A person has joined while the relay, which also serves the page, does not answer. */
function unreachable(state: State): State {
  const sinceMs = Date.now() - 40_000;
  return take(looking(state, [job(23, 40)]), [
    { type: "activity", state: "disconnected", sinceMs, reason: "noPeers" },
    { type: "contribution", state: "paused", workers: 0, reason: "codeUnreachable" },
  ]);
}

/** The scenes by name; `?scene=` of the story chooses one. */
export const scenes: Record<string, (state: State) => State> = {
  away: (state) => state,
  nolink: (state) => state,
  phone: (state) => looking(state, [job(23, 40)]),
  connecting: (state) => ({
    ...state,
    phase: "connecting",
    load: { received: 410_000, total: 748_000 },
  }),
  failed: (state) => ({
    ...state,
    phase: "failed",
    error: { code: "NO_RELAY", message: "no relay could be reached: tried 2 address(es)" },
  }),
  looking: (state) => looking(state, [job(23, 40)]),
  idle: (state) => looking(state, []),
  waiting: (state) => ({
    ...running(state, [job(6, 40, { waitingFor: "checker" })]),
    unitJobs: ["b3f1a6"],
    activity: { state: "waiting", sinceMs: Date.now() - 20_000 },
  }),
  running,
  paused: (state) => ({
    ...running(state),
    activity: { state: "paused", sinceMs: Date.now() - 20_000, reason: "dataCap" },
    contribution: { state: "paused", workers: 0, reason: "dataCap" },
  }),
  outage,
  unreachable,
  stopped: (state) => ({
    ...running(state),
    activity: { state: "off", sinceMs: Date.now() - 20_000 },
    contribution: { state: "stopped", workers: 0, reason: null },
  }),
  notices: (state) => ({
    ...looking(state, [job(23, 40)]),
    clockOffsetMs: 3_456_000_000,
    storage: "visit",
  }),
  one: (state) => running(state, [job(1, 40)]),
  cancelled: (state) => {
    const ended = { state: "cancelled", reason: "cancelled" } as const;
    return looking(state, [job(7, 40, ended), job(40, 40, { id: "older", name: "wine" })]);
  },
  unreadable: (state) => ({
    ...finished(state),
    model: null,
    modelError: { code: "BAD_OBJECT", message: "the object is not what its name promises" },
  }),
  final: finished,
  large: (state) => {
    const done = finished(state);
    const contributors = CONTRIBUTORS.map((one) => {
      return { ...one, units: 1_118_345 + one.units, checks: 1_097_221, macs: 6.2e16 };
    });
    return { ...done, record: { job: "b3f1a6", contributors } };
  },
  other: (state) => otherModel(state, IRIS_COLUMNS),
  row: (state) => otherModel(state, []),
};
