/**
 * The page's state as plain data, and the pure functions that change it. Views read the state; only
 * `session.ts` and the development story write it.
 */
import type {
  Account,
  ContributionState,
  Contributor,
  Head,
  Job,
  PauseReason,
  Peer,
  Status,
  TequioEvent,
} from "tequio";
import { followJob } from "./jobs.js";
import { logEvent, type LogLine } from "./log.js";
import { defaultPreferences, type Preferences } from "./preferences.js";

/** The phase of the page's connection. */
export type Phase = "away" | "connecting" | "connected" | "failed";

/** An error by its stable code; `message` is the package's English text. */
export interface ErrorFacts {
  code: string;
  message: string;
  /** Facts of the cause by name, where the package gives some. */
  details?: Readonly<Record<string, string | number>>;
}

/** A column of a model's input: its mean and standard deviation in the training rows. */
export interface ColumnFacts {
  name: string;
  mean: number;
  deviation: number;
}

/** The verified model of the drawing board. */
export interface ModelFacts {
  job: string;
  name: string;
  cid: string;
  classes: readonly string[];
  features: number;
  columns: readonly ColumnFacts[];
  accuracy: number;
}

/** Name and URL of the operator, as the relay's own file states them, unproved. */
export interface Operator {
  name: string | null;
  url: string | null;
}

/** The page's state. */
export interface State {
  phase: Phase;
  /** Whether the person has joined, but the node has not started yet. */
  joining: boolean;
  error: ErrorFacts | null;
  /** Bytes of the WebAssembly module that have arrived, while it loads. */
  load: { received: number; total: number | null } | null;
  node: string | null;
  chain: string | null;
  head: Head | null;
  /** When the head arrived, by the device's clock. */
  headSeenMs: number;
  stale: boolean;
  peers: Peer[];
  activity: Status["activity"] | null;
  data: Status["data"] | null;
  /** Milliseconds by which the device's clock is ahead of the network's; null while unknown. */
  clockOffsetMs: number | null;
  storage: Status["storage"] | null;
  identityLost: boolean;
  contribution: { state: ContributionState | "none"; workers: number; reason: PauseReason | null };
  /** This device's accepted units and operations, and its running and computed units. */
  ownWork: { units: number; macs: number; busy: number; computed: number };
  /** The jobs of which this tab has received units, the newest last. */
  unitJobs: readonly string[];
  account: Account | null;
  /** Trainings, the newest last. */
  jobs: Job[];
  /** Whether the list of jobs has been read; before that, an empty list means nothing. */
  jobsRead: boolean;
  /** The job that is shown. */
  job: string | null;
  /** The job that the person chose; null follows the running job. */
  chosenJob: string | null;
  /** The committed record of a job. */
  record: { job: string; contributors: Contributor[] } | null;
  model: ModelFacts | null;
  modelError: ErrorFacts | null;
  log: LogLine[];
  operator: Operator | null;
  preferences: Preferences;
  /** The time of the last tick, for ages. */
  nowMs: number;
}

export const initialState: State = {
  phase: "away",
  joining: false,
  error: null,
  load: null,
  node: null,
  chain: null,
  head: null,
  headSeenMs: 0,
  stale: false,
  peers: [],
  activity: null,
  data: null,
  clockOffsetMs: null,
  storage: null,
  identityLost: false,
  contribution: { state: "none", workers: 0, reason: null },
  ownWork: { units: 0, macs: 0, busy: 0, computed: 0 },
  unitJobs: [],
  account: null,
  jobs: [],
  jobsRead: false,
  job: null,
  chosenJob: null,
  record: null,
  model: null,
  modelError: null,
  log: [],
  operator: null,
  preferences: defaultPreferences,
  nowMs: 0,
};

/** The most jobs that the page remembers units of. */
const UNIT_JOBS_MAX = 64;
/** Codes of errors whose cause is gone once a peer is connected again. */
const CONNECTION_ERRORS: ReadonlySet<string> = new Set([
  "UNAVAILABLE",
  "TIMEOUT",
  "NO_RELAY",
  "WELL_KNOWN",
  "CODE_UNREACHABLE",
  "CHECKPOINT_UNREACHABLE",
]);

/** The state after an event of the node; the same object if it has not changed. */
export function reduce(state: State, event: TequioEvent, nowMs: number): State {
  const next = reduceFacts(state, event, nowMs);
  const log = logEvent(state.log, event, { nowMs, before: state });
  return log === next.log ? next : { ...next, log };
}

function reduceFacts(state: State, event: TequioEvent, nowMs: number): State {
  switch (event.type) {
    case "load":
      return { ...state, load: { received: event.received, total: event.total } };
    case "head": {
      const { type: _, ...head } = event;
      return { ...state, head, headSeenMs: nowMs, stale: false };
    }
    case "stale":
      return state.stale ? state : { ...state, stale: true };
    case "activity": {
      const { type: _, ...activity } = event;
      const back = isOffline(state) && !isOffline({ activity });
      const solved = back && CONNECTION_ERRORS.has(state.error?.code ?? "");
      return { ...state, activity, error: solved ? null : state.error };
    }
    case "data": {
      const { type: _, ...data } = event;
      return { ...state, data };
    }
    case "clock":
      return { ...state, clockOffsetMs: event.offsetMs };
    case "storage":
      if (event.state === "visit") return { ...state, storage: "visit" };
      return event.state === "identityLost" ? { ...state, identityLost: true } : state;
    case "job": {
      const { type: _, ...job } = event;
      return withJobs(state, [...state.jobs.filter(({ id }) => id !== job.id), job]);
    }
    case "unit": {
      const ownWork = { ...state.ownWork, busy: state.ownWork.busy + 1 };
      return { ...state, ownWork, unitJobs: withNewest(state.unitJobs, event.job) };
    }
    case "unitEnd": {
      const { busy, computed } = state.ownWork;
      const ownWork = { busy: Math.max(0, busy - 1), computed: computed + (event.ok ? 1 : 0) };
      return { ...state, ownWork: { ...state.ownWork, ...ownWork } };
    }
    case "credit": {
      const { units, macs } = state.ownWork;
      const ownWork = { units: units + event.units, macs: macs + event.macs };
      return { ...state, ownWork: { ...state.ownWork, ...ownWork } };
    }
    case "contribution": {
      const { workers, reason = null } = event;
      return { ...state, contribution: { state: event.state, workers, reason } };
    }
    default:
      return state;
  }
}

/**
 * Sets the jobs to the trainings of a list. Batches have no curve and no model. The chosen job
 * stays shown; without a choice the page follows the running job.
 */
export function withJobs(state: State, all: readonly Job[]): State {
  const jobs = all
    .filter(({ kind }) => kind === "train")
    .sort((a, b) => (a.submittedMs ?? 0) - (b.submittedMs ?? 0));
  return { ...state, jobs, job: followJob(jobs, state.job, state.chosenJob) };
}

/** Shows the job that the person chose; null follows the running job again. */
export function withChoice(state: State, chosenJob: string | null): State {
  return { ...state, chosenJob, job: followJob(state.jobs, state.job, chosenJob) };
}

/** Whether no peer is connected. */
export function isOffline({ activity }: Pick<State, "activity">): boolean {
  return activity?.state === "disconnected" && activity.reason !== "noQuorum";
}

/** The list with `job` as its newest entry, without the oldest beyond the limit. */
function withNewest(jobs: readonly string[], job: string): readonly string[] {
  if (jobs.at(-1) === job) return jobs;
  return [...jobs.filter((other) => other !== job), job].slice(-UNIT_JOBS_MAX);
}

/** The job that is shown, or null. */
export function shownJob(state: State): Job | null {
  return state.jobs.find(({ id }) => id === state.job) ?? null;
}
