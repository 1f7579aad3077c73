/**
 * A contribution: how many workers compute, and when they rest. It exists only
 * after the program has called `contribute()`, which it should do only after a
 * person has agreed.
 */
import { defaultWorkers, type Device } from "./device.js";
import { OptionsError, type WorkerError } from "./errors.js";
import type { ContributionState, PauseReason } from "./events.js";

/** The most workers one page may run. */
export const WORKERS_MAX = 64;

/** Options of {@link TequioNode.contribute}. */
export interface ContributeOptions {
  /** Web Workers to compute with. Default: one less than the cores, and one on a phone. */
  workers?: number;
  /** Rest while the page is hidden. Default: on phones. */
  pauseWhenHidden?: boolean;
  /** Rest while the battery is below 20 % and discharging. Default: yes, where the browser tells. */
  pauseOnLowBattery?: boolean;
}

/** What a contribution drives. @internal */
export interface ContributionHost {
  device: Device;
  /** Applies the number of workers that should compute now. */
  apply(workers: number): void;
  changed(state: ContributionState, workers: number, reason?: PauseReason): void;
}

/** A running contribution. */
export class Contribution {
  readonly #host: ContributionHost;
  readonly #paused = new Set<PauseReason>();
  readonly #unwatch: (() => void)[] = [];
  #workers: number;
  #stopped = false;
  #error: WorkerError | null = null;
  #last = "";

  /** @internal */
  constructor(host: ContributionHost, options: ContributeOptions = {}) {
    this.#host = host;
    this.#workers = checkWorkers(options.workers ?? defaultWorkers(host.device));
    if (options.pauseWhenHidden ?? host.device.phone) this.#unwatch.push(host.device.watchHidden((hidden) => this.#pause("hidden", hidden)));
    if (options.pauseOnLowBattery ?? true) this.#unwatch.push(host.device.watchBattery((low) => this.#pause("battery", low)));
    this.#apply();
  }

  /** The workers asked for; while paused none of them runs. */
  get workers(): number {
    return this.#workers;
  }

  get state(): ContributionState {
    if (this.#stopped) return "stopped";
    return this.#paused.size > 0 ? "paused" : "running";
  }

  /** Why it rests, or null. */
  get pausedBy(): PauseReason | null {
    return [...this.#paused][0] ?? null;
  }

  /** Why it stopped by itself, or null. */
  get error(): WorkerError | null {
    return this.#error;
  }

  /** Changes the number of workers; units that are being computed are finished. */
  setWorkers(workers: number): void {
    this.#workers = checkWorkers(workers);
    this.#apply();
  }

  /** Stops computing. Units at hand are given back, so that others get them at once. Idempotent. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    for (const unwatch of this.#unwatch) unwatch();
    this.#apply();
  }

  /** Stops because no worker could be started. @internal */
  fail(error: WorkerError): void {
    this.#error = error;
    this.stop();
  }

  #pause(reason: PauseReason, active: boolean): void {
    if (this.#stopped) return;
    if (active) this.#paused.add(reason);
    else this.#paused.delete(reason);
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
