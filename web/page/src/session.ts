/**
 * Joins the network through the public API of the package and writes what it
 * hears into the store. It decides nothing that the views could show: errors,
 * paths and refusals all go into the state.
 */
import { TequioError, connect, type Contribution, type Model, type Prediction, type TequioEvent, type TequioNode } from "tequio";
import type { Actions } from "./app.js";
import type { Place } from "./place.js";
import { initialState, logged, reduce, shownJob, withJobs, type State } from "./state.js";
import type { Store } from "./store.js";

/** How often counters that have no event are read. */
const STATUS_INTERVAL_MS = 1_000;
/** How often jobs, account and record are asked for, besides the events that tell of them. */
const READ_INTERVAL_MS = 3_000;

export class Session implements Actions {
  readonly #store: Store;
  readonly #place: Place;
  #node: TequioNode | null = null;
  #contribution: Contribution | null = null;
  #model: Model | null = null;
  #attempt: AbortController | null = null;
  #timers: ReturnType<typeof setInterval>[] = [];
  #reading = false;

  constructor(store: Store, place: Place) {
    this.#store = store;
    this.#place = place;
    if (place.job !== null) store.update((state) => ({ ...state, job: place.job }));
    addEventListener("pagehide", (event) => {
      if (!event.persisted) void this.#node?.close();
    });
  }

  /** Connects, and computes with `workers` workers; with null it only reads. */
  async join(workers: number | null): Promise<void> {
    const { checkpoint, relays, wellKnown } = this.#place;
    if (checkpoint === null || this.#attempt !== null) return;
    const attempt = new AbortController();
    this.#attempt = attempt;
    this.#store.update((state) => ({ ...state, phase: "connecting", error: null }));
    try {
      const node = await connect({ checkpoint, relays, wellKnown, agent: "tequio-page", signal: attempt.signal, onEvent: (event) => this.#hear(event) });
      this.#node = node;
      const { node: id, chain } = node.status();
      this.#store.update((state) => logged({ ...state, phase: "connected", node: id, chain }, Date.now(), "good", "log.connected", { node: id }));
      this.#poll();
      this.#timers = [setInterval(() => this.#poll(), STATUS_INTERVAL_MS), setInterval(() => void this.#read(), READ_INTERVAL_MS)];
      void this.#read();
      if (workers !== null) this.compute(workers);
    } catch (error) {
      this.#attempt = null;
      if (attempt.signal.aborted) return;
      this.#store.update((state) => ({ ...state, phase: "failed", error: facts(error) }));
    }
  }

  compute(workers: number): void {
    try {
      this.#contribution = this.#node?.contribute({ workers }) ?? null;
    } catch (error) {
      this.#store.update((state) => ({ ...state, error: facts(error) }));
    }
  }

  setWorkers(workers: number): void {
    if (this.#contribution?.state !== "stopped") this.#contribution?.setWorkers(workers);
  }

  stop(): void {
    this.#contribution?.stop();
    this.#contribution = null;
  }

  async leave(): Promise<void> {
    this.#attempt?.abort();
    this.#attempt = null;
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
    this.stop();
    this.#model?.close();
    this.#model = null;
    const node = this.#node;
    this.#node = null;
    this.#store.update(({ log, job }) => ({ ...initialState, log, job }));
    await node?.close().catch(() => {});
  }

  chooseJob(job: string): void {
    this.#model?.close();
    this.#model = null;
    this.#store.update((state) => ({ ...state, job, contributors: [], model: null, modelError: null }));
    void this.#read();
  }

  predict(features: Float64Array | number[]): Prediction | null {
    return this.#model?.predict(features) ?? null;
  }

  #hear(event: TequioEvent): void {
    const before = this.#store.state;
    this.#store.update((state) => reduce(state, event, Date.now()));
    if (wantsReading(event, before)) void this.#read();
  }

  #poll(): void {
    const node = this.#node;
    if (node === null) return;
    const { head, peers, bytesReceived, bytesSent } = node.status();
    this.#store.update((state) => {
      const next: State = { ...state, peers, bytes: { received: bytesReceived, sent: bytesSent } };
      if (head === null) return next;
      const { stale, ...block } = head;
      return block.height >= (state.head?.height ?? 0) ? { ...next, head: { ...state.head, ...block }, stale } : next;
    });
  }

  /** Reads what only questions tell; one round at a time, and the next tries again what failed. */
  async #read(): Promise<void> {
    const node = this.#node;
    if (node === null || this.#reading) return;
    this.#reading = true;
    try {
      const [jobs, account] = await Promise.allSettled([node.jobs(), node.account()]);
      if (node !== this.#node) return;
      this.#store.update((state) => {
        const next = account.status === "fulfilled" ? { ...state, account: account.value } : state;
        return jobs.status === "fulfilled" ? withJobs(next, jobs.value) : next;
      });
      await this.#readResult(node);
    } finally {
      this.#reading = false;
    }
  }

  async #readResult(node: TequioNode): Promise<void> {
    const job = shownJob(this.#store.state);
    if (job?.state !== "final") return;
    if (this.#model?.job !== job.id) await this.#readModel(node, job.id);
    if (this.#store.state.contributors.length > 0) return;
    const record = await node.record(job.id).catch(() => null);
    if (record !== null && this.#store.state.job === job.id) {
      this.#store.update((state) => ({ ...state, contributors: record.contributors }));
    }
  }

  async #readModel(node: TequioNode, job: string): Promise<void> {
    try {
      const model = await node.model(job);
      if (node !== this.#node || this.#store.state.job !== job) return model.close();
      this.#model?.close();
      this.#model = model;
      const { cid, classes, features, accuracy } = model;
      this.#store.update((state) =>
        logged({ ...state, model: { job, cid, classes, features, accuracy }, modelError: null }, Date.now(), "good", "log.modelRead", { job: shownJob(state)?.name ?? job }),
      );
    } catch (error) {
      const told = facts(error);
      // A finished job becomes readable some blocks later; that is waiting, not failure.
      if (told.code !== "NOT_FOUND" && told.code !== "CLOSED") this.#store.update((state) => ({ ...state, modelError: told }));
    }
  }
}

function wantsReading(event: TequioEvent, before: State): boolean {
  if (event.type === "credit") return true;
  return event.type === "job" && event.state === "final" && before.jobs.find(({ id }) => id === event.id)?.state !== "final";
}

function facts(error: unknown): { code: string; message: string } {
  if (error instanceof TequioError) return { code: error.code, message: error.message };
  return { code: "INTERNAL", message: error instanceof Error ? error.message : String(error) };
}
