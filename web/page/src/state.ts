/**
 * Everything the page shows, as plain data, and the pure steps that change it.
 * Views read it; only `session.ts` (and the development story) writes it.
 */
import type { Account, Contributor, ContributionState, Head, Job, PauseReason, Peer, TequioEvent } from "tequio";

/** How far this page is in the network. */
export type Phase = "away" | "connecting" | "connected" | "failed";

/** A line of the event log, as a message key with its values. */
export interface LogLine {
  id: number;
  atMs: number;
  tone: "plain" | "good" | "warn" | "bad";
  key: string;
  values: Record<string, string | number>;
}

/** The verified model that answers on the drawing board. */
export interface ModelFacts {
  job: string;
  cid: string;
  classes: readonly string[];
  features: number;
  accuracy: number;
}

export interface State {
  phase: Phase;
  error: { code: string; message: string } | null;
  node: string | null;
  chain: string | null;
  head: Head | null;
  stale: boolean;
  peers: Peer[];
  bytes: { received: number; sent: number };
  contribution: { state: ContributionState | "none"; workers: number; reason: PauseReason | null };
  mine: { units: number; macs: number; busy: number; computed: number };
  account: Account | null;
  jobs: Job[];
  /** The job that is shown. */
  job: string | null;
  contributors: Contributor[];
  model: ModelFacts | null;
  modelError: { code: string; message: string } | null;
  log: LogLine[];
}

/** Lines the log keeps. */
export const LOG_LINES_MAX = 200;

export const initialState: State = {
  phase: "away",
  error: null,
  node: null,
  chain: null,
  head: null,
  stale: false,
  peers: [],
  bytes: { received: 0, sent: 0 },
  contribution: { state: "none", workers: 0, reason: null },
  mine: { units: 0, macs: 0, busy: 0, computed: 0 },
  account: null,
  jobs: [],
  job: null,
  contributors: [],
  model: null,
  modelError: null,
  log: [],
};

/** The state after an event of the node; the same object where nothing shown has changed. */
export function reduce(state: State, event: TequioEvent, nowMs: number): State {
  switch (event.type) {
    case "head": {
      const { type: _, ...head } = event;
      return { ...state, head, stale: false };
    }
    case "stale":
      return logged({ ...state, stale: true }, nowMs, "warn", "log.stale", { seconds: Math.round(event.headAgeMs / 1000) });
    case "job": {
      const { type: _, ...job } = event;
      return withJobs(state, [...state.jobs.filter(({ id }) => id !== job.id), job]);
    }
    case "unit":
      return { ...state, mine: { ...state.mine, busy: state.mine.busy + 1 } };
    case "unitEnd": {
      const mine = { ...state.mine, busy: Math.max(0, state.mine.busy - 1), computed: state.mine.computed + (event.ok ? 1 : 0) };
      return { ...state, mine };
    }
    case "credit":
      return { ...state, mine: { ...state.mine, units: state.mine.units + event.units, macs: state.mine.macs + event.macs } };
    case "contribution":
      return { ...state, contribution: { state: event.state, workers: event.workers, reason: event.reason ?? null } };
    case "rejected":
      return logged(state, nowMs, "bad", "log.rejected", { worker: event.worker, round: event.round, lane: event.lane, reason: event.reason });
    case "lie":
      return logged(state, nowMs, "bad", "log.lie", { peer: event.peer, what: event.what, detail: event.detail });
    case "alarm":
      return logged(state, nowMs, "bad", "log.alarm", { detail: event.detail });
    case "workerLost":
      return logged(state, nowMs, "warn", event.replaced ? "log.workerReplaced" : "log.workersDead", { message: event.message });
    case "path":
      return logged(state, nowMs, "plain", event.path === "direct" ? "log.direct" : "log.relayed", {
        peer: event.peer,
        transport: event.transport,
        via: event.via ?? "",
      });
    case "peer":
      return event.connected ? state : logged(state, nowMs, "plain", "log.peerGone", { peer: event.id });
    case "log":
      return event.level === "warn" || event.level === "error" ? logged(state, nowMs, "warn", "log.line", { message: event.message }) : state;
  }
}

/** Takes the trainings of a list of jobs (batches have no curve and no model to show), and keeps showing the chosen one, or else the one that matters most. */
export function withJobs(state: State, all: Job[]): State {
  const jobs = all.filter(({ kind }) => kind === "train");
  const chosen = jobs.find(({ id }) => id === state.job) ?? mostInteresting(jobs);
  return { ...state, jobs, job: chosen?.id ?? null };
}

/** The job that is shown, or null. */
export function shownJob(state: State): Job | null {
  return state.jobs.find(({ id }) => id === state.job) ?? null;
}

/** Adds a line to the log, at its end, and drops the oldest above the cap. */
export function logged(state: State, atMs: number, tone: LogLine["tone"], key: string, values: LogLine["values"] = {}): State {
  const id = (state.log.at(-1)?.id ?? 0) + 1;
  return { ...state, log: [...state.log, { id, atMs, tone, key, values }].slice(-LOG_LINES_MAX) };
}

function mostInteresting(jobs: Job[]): Job | undefined {
  return jobs.findLast(({ state }) => state === "running") ?? jobs.findLast(({ state }) => state === "final") ?? jobs.at(-1);
}
