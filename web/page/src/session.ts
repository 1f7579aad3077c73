/**
 * Connects to the network through the package's public interface, and writes its reports into the
 * store. Errors, paths and rejected results all go into the state, and the views show them.
 */
import {
  TequioError,
  browserDevice,
  connect,
  type Contribution,
  type Model,
  type Prediction,
  type TequioEvent,
  type TequioNode,
} from "tequio";
import { canShareFiles, download, shareFile } from "./files.js";
import { modelJob } from "./jobs.js";
import { addEntry } from "./log.js";
import type { LaunchParams } from "./launch-params.js";
import { storePreferences, type Preferences } from "./preferences.js";
import {
  initialState,
  reduce,
  shownJob,
  withChoice,
  withJobs,
  type ErrorFacts,
  type State,
} from "./state.js";
import type { Store } from "./store.js";
import { workersOf } from "./workers.js";
import type { Actions, Saved } from "./views/view.js";

/** Interval between two reads of the state that has no event: the peers, the storage. */
const STATUS_INTERVAL_MS = 2_000;
/** Interval between two reads of the list of jobs, in addition to the events. */
const JOBS_INTERVAL_MS = 10_000;
/** Shortest time between two reads of the account, each of which needs a proof. */
const ACCOUNT_INTERVAL_MS = 15_000;

/** The page's node and the person's actions on it. */
export class Session implements Actions {
  readonly #store: Store;
  readonly #launchParams: LaunchParams;
  #node: TequioNode | null = null;
  #contribution: Contribution | null = null;
  #model: Model | null = null;
  #attempt: { controller: AbortController; done: Promise<void> } | null = null;
  #timers: ReturnType<typeof setInterval>[] = [];
  #reading = false;
  #refreshAgain = false;
  #accountMs = -Infinity;

  constructor(store: Store, launchParams: LaunchParams) {
    this.#store = store;
    this.#launchParams = launchParams;
    if (launchParams.job !== null) store.update((state) => withChoice(state, launchParams.job));
    addEventListener("pagehide", (event) => {
      if (!event.persisted) void this.#node?.close();
    });
  }

  async watch(): Promise<void> {
    await this.#connect();
  }

  async join(): Promise<void> {
    this.#store.update((state) => ({ ...state, joining: true, error: null }), true);
    await this.#connect();
    const { joining } = this.#store.state;
    this.#store.update((state) => ({ ...state, joining: false }), true);
    if (this.#node !== null && joining) this.#contribute();
  }

  setPreferences(change: Partial<Preferences>): void {
    const before = this.#store.state.preferences;
    const preferences = { ...before, ...change };
    storePreferences(preferences);
    this.#store.update((state) => ({ ...state, preferences }), true);
    const contribution = this.#contribution;
    if (contribution === null || contribution.state === "stopped") return;
    // Other limits have no setter and need a new contribution.
    const { pauseWhenHidden, pauseOnMetered } = change;
    if (pauseWhenHidden !== undefined || pauseOnMetered !== undefined) return this.#contribute();
    contribution.setWorkers(workersOf(preferences, browserDevice()));
    if (preferences.dataCapPerDay !== before.dataCapPerDay) {
      contribution.setDataCap(preferences.dataCapPerDay);
    }
    this.#poll();
  }

  resume(): void {
    this.#contribution?.resume();
    this.#poll();
  }

  stop(): void {
    this.#contribution?.stop();
    this.#contribution = null;
  }

  async leave(): Promise<void> {
    this.#attempt?.controller.abort();
    this.#attempt = null;
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
    this.stop();
    this.#model?.close();
    this.#model = null;
    const node = this.#node;
    this.#node = null;
    this.#store.update((state) => {
      const { log, chosenJob, preferences, operator, nowMs } = state;
      return { ...initialState, log, chosenJob, preferences, operator, nowMs };
    }, true);
    await node?.close().catch(() => {});
  }

  chooseJob(job: string | null): void {
    this.#store.update((state) => ({ ...withChoice(state, job), modelError: null }), true);
    void this.#refresh();
  }

  predict(features: Float64Array | number[]): Prediction | null {
    return this.#model?.predict(features) ?? null;
  }

  saveProof(job: string): Promise<Saved> {
    return this.#save(async (node) => {
      const { bytes, fileName } = await node.contributionProof(job);
      download(fileName, bytes, "application/json");
      return { name: fileName, size: bytes.length };
    });
  }

  shareProof(job: string, text: string): Promise<Saved> {
    if (!canShareFiles()) return this.saveProof(job);
    return this.#save(async (node) => {
      const { bytes, fileName } = await node.contributionProof(job);
      const shared = await shareFile(fileName, bytes, "application/json", text);
      return shared ? { name: fileName, size: bytes.length } : null;
    });
  }

  saveModel(job: string, file: "model" | "record"): Promise<Saved> {
    return this.#save(async (node) => {
      const files = await node.modelFiles(job);
      const name = `tequio-${file}-${job.slice(0, 12)}.cbor`;
      download(name, files[file], "application/vnd.ipld.dag-cbor");
      return { name, size: files[file].length };
    });
  }

  async #save(run: (node: TequioNode) => Promise<Saved>): Promise<Saved> {
    const node = this.#node;
    if (node === null) return null;
    this.#store.update((state) => ({ ...state, error: null }), true);
    try {
      return await run(node);
    } catch (error) {
      this.#store.update((state) => ({ ...state, error: errorFacts(error) }), true);
      return null;
    }
  }

  /** Connects, or waits for the running attempt. */
  async #connect(): Promise<void> {
    if (this.#launchParams.checkpoint === null || this.#node !== null) return;
    if (this.#attempt === null) {
      const controller = new AbortController();
      this.#attempt = { controller, done: this.#start(controller.signal) };
    }
    await this.#attempt.done;
  }

  async #start(signal: AbortSignal): Promise<void> {
    const { checkpoint, relays, wellKnown } = this.#launchParams;
    if (checkpoint === null) return;
    const connecting = { phase: "connecting", error: null, load: null } as const;
    this.#store.update((state) => ({ ...state, ...connecting }), true);
    try {
      const onEvent = (event: TequioEvent) => this.#onEvent(event);
      const agent = "tequio-page";
      const node = await connect({ checkpoint, relays, wellKnown, agent, signal, onEvent });
      if (signal.aborted) return void node.close();
      this.#node = node;
      const { node: id, chain } = node.status();
      const connected = { phase: "connected", node: id, chain, load: null } as const;
      this.#store.update((state) => {
        return withLine({ ...state, ...connected }, "good", "log.connected", { node: id });
      }, true);
      this.#poll();
      this.#timers = [
        setInterval(() => this.#poll(), STATUS_INTERVAL_MS),
        setInterval(() => void this.#refresh(), JOBS_INTERVAL_MS),
      ];
      void this.#refresh();
    } catch (error) {
      if (signal.aborted) return;
      const failed = { phase: "failed", error: errorFacts(error), load: null } as const;
      this.#store.update((state) => ({ ...state, ...failed }), true);
    } finally {
      if (!signal.aborted) this.#attempt = null;
    }
  }

  #contribute(): void {
    const { preferences } = this.#store.state;
    const { dataCapPerDay, pauseWhenHidden, pauseOnMetered } = preferences;
    const workers = workersOf(preferences, browserDevice());
    try {
      const limits = { dataCapPerDay, pauseWhenHidden, pauseOnMetered };
      this.#contribution = this.#node?.contribute({ workers, ...limits }) ?? null;
      this.#poll();
    } catch (error) {
      this.#store.update((state) => ({ ...state, error: errorFacts(error) }), true);
    }
  }

  #onEvent(event: TequioEvent): void {
    const before = this.#store.state;
    this.#store.update((state) => reduce(state, event, Date.now()));
    if (event.type === "workerLost" && !event.replaced) {
      const error = { code: "WORKER", message: event.message };
      this.#store.update((state) => ({ ...state, error }));
    }
    if (event.type === "job" && event.state !== "running" && hasStateChanged(event, before)) {
      void this.#refresh();
    }
  }

  #poll(): void {
    const node = this.#node;
    if (node === null) return;
    const { head, peers, storage, activity, data, clockOffsetMs } = node.status();
    this.#store.update((state) => {
      // Equal values keep their object, so that no view is drawn again.
      const same = <T>(now: T, before: T): T => {
        return JSON.stringify(now) === JSON.stringify(before) ? before : now;
      };
      const next: State = {
        ...state,
        storage,
        clockOffsetMs,
        peers: same(peers, state.peers),
        activity: same(activity, state.activity),
        data: same(data, state.data),
      };
      if (head === null || head.height < (state.head?.height ?? 0)) return next;
      const { stale, ...block } = head;
      const headSeenMs = state.head === null ? Date.now() : state.headSeenMs;
      return { ...next, head: same({ ...state.head, ...block }, state.head), headSeenMs, stale };
    });
  }

  /** Reads the data that have no event, one round at a time. The next round retries failures. */
  async #refresh(): Promise<void> {
    const node = this.#node;
    if (node === null) return;
    if (this.#reading) {
      this.#refreshAgain = true;
      return;
    }
    this.#reading = true;
    try {
      const jobs = await node.jobs().catch(() => null);
      if (node !== this.#node) return;
      if (jobs !== null) {
        this.#store.update((state) => ({ ...withJobs(state, jobs), jobsRead: true }));
      }
      await this.#readAccount(node);
      await this.#readModel(node);
      await this.#readRecord(node);
    } finally {
      this.#reading = false;
      if (this.#refreshAgain) {
        this.#refreshAgain = false;
        void this.#refresh();
      }
    }
  }

  async #readAccount(node: TequioNode): Promise<void> {
    // Only work changes the account, so a page without a contribution reads it once.
    const { account, ownWork } = this.#store.state;
    if (account !== null && ownWork.units === 0) return;
    if (performance.now() - this.#accountMs < ACCOUNT_INTERVAL_MS) return;
    this.#accountMs = performance.now();
    const read = await node.account().catch(() => null);
    if (read !== null && node === this.#node) {
      this.#store.update((state) => ({ ...state, account: read }));
    }
  }

  async #readRecord(node: TequioNode): Promise<void> {
    const job = shownJob(this.#store.state);
    if (job?.state !== "final" || this.#store.state.record?.job === job.id) return;
    const record = await node.record(job.id).catch(() => null);
    if (record === null || node !== this.#node) return;
    const { contributors } = record;
    this.#store.update((state) => ({ ...state, record: { job: job.id, contributors } }));
  }

  async #readModel(node: TequioNode): Promise<void> {
    const { jobs, job: shown } = this.#store.state;
    const job = modelJob(jobs, shown);
    if (job === null || this.#model?.job === job.id) return;
    try {
      const model = await node.model(job.id);
      if (node !== this.#node) return model.close();
      this.#model?.close();
      this.#model = model;
      const { cid, classes, features, columns, accuracy } = model;
      const read = { job: job.id, name: job.name, cid, classes, features, columns, accuracy };
      this.#store.update((state) => {
        const next = { ...state, model: read, modelError: null };
        return withLine(next, "good", "log.modelRead", { job: job.name || job.id });
      });
    } catch (error) {
      const failure = errorFacts(error);
      // A finished job becomes readable some blocks later, so this is no failure.
      if (failure.code === "NOT_FOUND" || failure.code === "CLOSED") return;
      this.#store.update((state) => ({ ...state, modelError: failure }));
    }
  }
}

function withLine(
  state: State,
  tone: "good" | "warn",
  key: string,
  values: Record<string, string>,
): State {
  const subject = `${key} ${Object.values(values).join(" ")}`;
  return { ...state, log: addEntry(state.log, { atMs: Date.now(), tone, key, values, subject }) };
}

function hasStateChanged(event: { id: string; state: string }, before: State): boolean {
  return before.jobs.find(({ id }) => id === event.id)?.state !== event.state;
}

function errorFacts(error: unknown): ErrorFacts {
  if (error instanceof TequioError) {
    const { code, message, details } = error;
    return { code, message, details };
  }
  return { code: "INTERNAL", message: error instanceof Error ? error.message : String(error) };
}

/** Whether the page may connect on its own: not on a metered connection or with data saving. */
export function mayAutoConnect(): boolean {
  let metered = false;
  browserDevice().watchMetered((now) => (metered = now))();
  return !metered;
}
