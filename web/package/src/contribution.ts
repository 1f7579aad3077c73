/**
 * A contribution: how many workers compute, and when they pause. A program creates it with
 * `contribute()`, which it should call only after the person has agreed.
 */
import { defaultWorkers, type Device } from "./device.js";
import { OptionsError, type WorkerError } from "./errors.js";
import type { ContributionState, PauseReason } from "./events.js";

/** The most workers of one page. */
export const WORKERS_MAX = 64;

/** Default of `dataCapPerDay`, in bytes. */
export const DATA_CAP_PER_DAY_DEFAULT = 2_000_000_000;

/** The first and the longest time between two requests to a host that did not answer. */
export const CODE_RETRY_MS = { first: 2_000, max: 30_000 } as const;

/** Options of {@link TequioNode.contribute}. */
export interface ContributeOptions {
  /** Web Workers to compute with. Default: one less than the cores, and one on a phone. */
  workers?: number;
  /** Pause while the page is hidden. Default: on phones. */
  pauseWhenHidden?: boolean;
  /**
   * Pause while the battery is below 20 % and discharging. Default: yes, where the browser reports
   * it.
   */
  pauseOnLowBattery?: boolean;
  /**
   * Pause on a metered connection, or if the person saves data. Default: yes, where the browser
   * reports it.
   */
  pauseOnMetered?: boolean;
  /**
   * Pause once the tabs of this origin have transferred this many bytes today. Default
   * {@link DATA_CAP_PER_DAY_DEFAULT}; `Infinity` is no cap.
   */
  dataCapPerDay?: number;
}

/** What a contribution controls. @internal */
export interface ContributionHost {
  device: Device;
  /** Bytes that this origin has transferred today. */
  dataToday(): number;
  /** Sets the number of workers that compute now. */
  apply(workers: number): void;
  /** Asks the host of the worker script whether it answers. */
  codeAnswers(): Promise<boolean>;
  monotonicMs(): number;
  changed(state: ContributionState, workers: number, reason?: PauseReason): void;
}

/** A running contribution. */
export class Contribution {
  readonly #host: ContributionHost;
  readonly #paused = new Set<PauseReason>();
  /** Reasons that the person has overruled. A reason applies again after it has ended once. */
  readonly #overruled = new Set<PauseReason>();
  readonly #unwatch: (() => void)[] = [];
  #workers: number;
  #dataCap: number;
  #dataStep: number;
  #stopped = false;
  #error: WorkerError | null = null;
  #last = "";
  /** When to ask the host of the worker script again, and the time before the question after. */
  #askAtMs = Infinity;
  #askIntervalMs: number = CODE_RETRY_MS.first;

  /** @internal */
  constructor(host: ContributionHost, options: ContributeOptions = {}) {
    this.#host = host;
    this.#workers = checkWorkers(options.workers ?? defaultWorkers(host.device));
    this.#dataCap = checkDataCap(options.dataCapPerDay ?? DATA_CAP_PER_DAY_DEFAULT);
    this.#dataStep = this.#dataCap;
    if (options.pauseWhenHidden ?? host.device.phone) {
      this.#unwatch.push(host.device.watchHidden((hidden) => this.#pause("hidden", hidden)));
    }
    if (options.pauseOnLowBattery ?? true) {
      this.#unwatch.push(host.device.watchBattery((low) => this.#pause("battery", low)));
    }
    if (options.pauseOnMetered ?? true) {
      this.#unwatch.push(host.device.watchMetered((metered) => this.#pause("metered", metered)));
    }
    this.checkData();
    this.#apply();
  }

  /** The requested workers; none of them runs during a pause. */
  get workers(): number {
    return this.#workers;
  }

  /** Whether it runs, is paused, or has stopped. */
  get state(): ContributionState {
    if (this.#stopped) return "stopped";
    return this.pausedBy === null ? "running" : "paused";
  }

  /** The reason why it is paused, or null. */
  get pausedBy(): PauseReason | null {
    return [...this.#paused].find((reason) => !this.#overruled.has(reason)) ?? null;
  }

  /** Bytes a day from which on it pauses. */
  get dataCap(): number {
    return this.#dataCap;
  }

  /** The reason why it stopped by itself, or null. */
  get error(): WorkerError | null {
    return this.#error;
  }

  /** Changes the number of workers. Running units are finished. */
  setWorkers(workers: number): void {
    this.#workers = checkWorkers(workers);
    this.#apply();
  }

  /** Changes the bytes a day from which on it pauses. */
  setDataCap(bytesPerDay: number): void {
    this.#dataCap = checkDataCap(bytesPerDay);
    this.#dataStep = this.#dataCap;
    this.checkData();
  }

  /**
   * Ends the current pause at the person's request. A data cap that is used up rises by the same
   * amount again. Any other reason pauses again when it next occurs.
   */
  resume(): void {
    if (this.#stopped) return;
    if (this.#paused.has("dataCap")) this.#dataCap = this.#host.dataToday() + this.#dataStep;
    // No decision overrules a host that does not answer: the workers try to start once more.
    this.#paused.delete("codeUnreachable");
    for (const reason of this.#paused) if (reason !== "dataCap") this.#overruled.add(reason);
    this.checkData();
    this.#apply();
  }

  /** Compares the bytes of today with the cap. @internal */
  checkData(): void {
    this.#pause("dataCap", this.#host.dataToday() >= this.#dataCap);
  }

  /** Stops computing and returns its units, so that other workers get them at once. Idempotent. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    for (const unwatch of this.#unwatch) unwatch();
    this.#apply();
  }

  /**
   * Handles the failed start of all workers. A script that cannot be fetched looks like a blocked
   * worker, so this asks the script's host. If the host does not answer, the contribution pauses
   * until it does; else it stops with `error`. Returns whether it has stopped. @internal
   */
  async startFailed(error: WorkerError): Promise<boolean> {
    // Without workers, new units would only be returned.
    this.#host.apply(0);
    const answers = await this.#host.codeAnswers();
    if (this.#stopped) return false;
    if (!answers) {
      this.#scheduleQuestion();
      this.#pause("codeUnreachable", true);
      return false;
    }
    this.fail(error);
    return true;
  }

  /** Asks a host that did not answer again, if it is time or if `now` is set. @internal */
  async askCodeHost(now = false): Promise<void> {
    if (!this.#paused.has("codeUnreachable") || this.#stopped) return;
    if (!now && this.#host.monotonicMs() < this.#askAtMs) return;
    this.#scheduleQuestion();
    if (await this.#host.codeAnswers()) {
      this.#askIntervalMs = CODE_RETRY_MS.first;
      this.#pause("codeUnreachable", false);
    }
  }

  /** Stops because no worker can be started. @internal */
  fail(error: WorkerError): void {
    this.#error = error;
    this.stop();
  }

  #scheduleQuestion(): void {
    this.#askAtMs = this.#host.monotonicMs() + this.#askIntervalMs;
    this.#askIntervalMs = Math.min(2 * this.#askIntervalMs, CODE_RETRY_MS.max);
  }

  #pause(reason: PauseReason, active: boolean): void {
    if (this.#stopped) return;
    if (active) this.#paused.add(reason);
    else {
      this.#paused.delete(reason);
      this.#overruled.delete(reason);
    }
    this.#apply();
  }

  #apply(): void {
    const { state, pausedBy } = this;
    const workers = state === "running" ? this.#workers : 0;
    const now = `${state} ${workers} ${pausedBy}`;
    if (now === this.#last) return;
    this.#last = now;
    this.#host.apply(workers);
    if (state === "paused" && pausedBy) this.#host.changed(state, workers, pausedBy);
    else this.#host.changed(state, workers);
  }
}

function checkWorkers(workers: number): number {
  if (!Number.isInteger(workers) || workers < 1 || workers > WORKERS_MAX) {
    throw new OptionsError(`workers must be an integer from 1 to ${WORKERS_MAX}`);
  }
  return workers;
}

function checkDataCap(bytes: number): number {
  if (!(typeof bytes === "number" && bytes > 0)) {
    throw new OptionsError("dataCapPerDay must be a number of bytes above 0");
  }
  return bytes;
}
