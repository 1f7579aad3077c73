/**
 * The pool of Web Workers that compute units, away from the page's thread.
 *
 * Every unit that enters leaves exactly once, as `done` or as `failed`, even if its worker crashes:
 * a lost unit would keep its lease until the deadline. The pool rejects units above
 * `UNITS_QUEUED_MAX` waiting ones, and stops after `START_FAILURES_MAX` failed starts in a row.
 */
import type { WireBench } from "./wasm-types.js";

/** The most units that wait for a free worker. */
export const UNITS_QUEUED_MAX = 256;
/** Time for one unit after which its worker is replaced. */
export const UNIT_TIME_MS_MAX = 120_000;
/** Time within which a worker must instantiate the module. */
const START_TIME_MS_MAX = 30_000;
/** Failed starts in a row after which the pool stops. */
export const START_FAILURES_MAX = 3;

/** A message from the pool to a worker. */
export type ToWorker =
  | { type: "init"; module: WebAssembly.Module }
  | { type: "unit"; computeId: number; input: Uint8Array }
  | { type: "bench"; n: number; ms: number };

/** A message from a worker to the pool. After `fatal` the worker's instance is unusable. */
export type FromWorker =
  | { type: "ready" }
  | { type: "done"; computeId: number; result: Uint8Array }
  | { type: "failed"; computeId: number; message: string; fatal: boolean }
  | { type: "bench"; result: WireBench }
  | { type: "broken"; message: string };

/** The part of `Worker` that the pool uses. */
export interface WorkerLike {
  onmessage: ((event: MessageEvent<FromWorker>) => void) | null;
  onerror: ((event: ErrorEvent) => void) | null;
  postMessage(message: ToWorker, transfer?: Transferable[]): void;
  terminate(): void;
}

/** Creates workers for the pool and receives its reports. */
export interface PoolHost {
  spawn(): WorkerLike;
  done(computeId: number, result: Uint8Array, elapsedMs: number): void;
  failed(computeId: number, reason: string, elapsedMs: number): void;
  /** A worker died; `replaced` is false if the pool has stopped. */
  lost(message: string, replaced: boolean, cause?: unknown): void;
}

interface Task {
  computeId: number;
  input: Uint8Array;
}

interface Slot {
  worker: WorkerLike;
  state: "starting" | "idle" | "busy" | "gone";
  task: Task | null;
  since: number;
  timer: ReturnType<typeof setTimeout> | undefined;
}

/** Distributes units to workers. */
export class WorkerPool {
  readonly #host: PoolHost;
  readonly #module: WebAssembly.Module;
  #slots: Slot[] = [];
  #queue: Task[] = [];
  #size = 0;
  #startFailures = 0;

  constructor(host: PoolHost, module: WebAssembly.Module) {
    this.#host = host;
    this.#module = module;
  }

  /** Sets the number of workers. Surplus workers finish their unit; at 0 the waiting units fail. */
  resize(size: number): void {
    this.#size = size;
    this.#startFailures = 0;
    this.#balance();
    if (size === 0) this.#failQueued("paused");
  }

  /** Queues a unit, or rejects it immediately through `failed`. */
  submit(computeId: number, input: Uint8Array): void {
    if (this.#size === 0) return this.#host.failed(computeId, "not contributing", 0);
    if (this.#queue.length >= UNITS_QUEUED_MAX) {
      return this.#host.failed(computeId, "queue full", 0);
    }
    this.#queue.push({ computeId, input });
    this.#assign();
  }

  /** Ends every worker and fails every unit. */
  close(): void {
    this.#size = 0;
    this.#failQueued("stopped");
    for (const slot of this.#slots.splice(0)) this.#end(slot, "stopped");
  }

  #balance(): void {
    while (this.#slots.length < this.#size) this.#start(); // A failed start sets the size to 0.
    for (const state of ["starting", "idle"] as const) {
      for (const slot of this.#slots.filter((slot) => slot.state === state)) {
        if (this.#slots.length > this.#size) this.#remove(slot, "retired");
      }
    }
    this.#assign();
  }

  #assign(): void {
    for (const slot of this.#slots) {
      if (slot.state !== "idle") continue;
      const task = this.#queue.shift();
      if (task === undefined) return;
      slot.state = "busy";
      slot.task = task;
      slot.since = performance.now();
      this.#arm(slot, UNIT_TIME_MS_MAX, "worker timed out");
      // A copy, because the input may be a view into memory that cannot be transferred.
      const input = task.input.slice();
      slot.worker.postMessage({ type: "unit", computeId: task.computeId, input }, [input.buffer]);
    }
  }

  #start(): void {
    let worker: WorkerLike;
    try {
      worker = this.#host.spawn();
    } catch (error) {
      // This environment allows no worker at all, so there is no second attempt.
      this.close();
      // The report comes later, because the caller of `resize` must have returned before.
      return queueMicrotask(() => this.#host.lost((error as Error).message, false, error));
    }
    const slot: Slot = {
      worker,
      state: "starting",
      task: null,
      since: performance.now(),
      timer: undefined,
    };
    this.#slots.push(slot);
    worker.onmessage = (event) => this.#onMessage(slot, event.data);
    worker.onerror = (event) => {
      event.preventDefault?.();
      this.#crash(slot, event.message || "worker script could not be loaded or crashed");
    };
    this.#arm(slot, START_TIME_MS_MAX, "worker did not start");
    worker.postMessage({ type: "init", module: this.#module });
  }

  #onMessage(slot: Slot, message: FromWorker): void {
    if (slot.state === "gone") return;
    switch (message.type) {
      case "ready":
        if (slot.state !== "starting") return;
        this.#startFailures = 0;
        return this.#release(slot);
      case "done": {
        if (slot.task?.computeId !== message.computeId) return;
        const elapsedMs = performance.now() - slot.since;
        this.#release(slot);
        return this.#host.done(message.computeId, message.result, elapsedMs);
      }
      case "failed": {
        if (slot.task?.computeId !== message.computeId) return;
        if (message.fatal) return this.#crash(slot, message.message);
        const elapsedMs = performance.now() - slot.since;
        this.#release(slot);
        return this.#host.failed(message.computeId, message.message, elapsedMs);
      }
      case "broken":
        return this.#crash(slot, message.message);
      case "bench":
        return;
    }
  }

  /** Frees the slot for the next unit, or removes a surplus slot. */
  #release(slot: Slot): void {
    clearTimeout(slot.timer);
    slot.task = null;
    slot.state = "idle";
    if (this.#slots.length > this.#size) this.#remove(slot, "retired");
    else this.#assign();
  }

  #crash(slot: Slot, message: string): void {
    if (slot.state === "gone") return;
    this.#startFailures = slot.state === "starting" ? this.#startFailures + 1 : 0;
    this.#remove(slot, message);
    if (this.#startFailures >= START_FAILURES_MAX) {
      this.close();
      return this.#host.lost(message, false);
    }
    this.#host.lost(message, true);
    this.#balance();
  }

  #remove(slot: Slot, reason: string): void {
    this.#slots = this.#slots.filter((other) => other !== slot);
    this.#end(slot, reason);
  }

  #end(slot: Slot, reason: string): void {
    clearTimeout(slot.timer);
    slot.state = "gone";
    slot.worker.terminate();
    const { task } = slot;
    slot.task = null;
    if (task) this.#host.failed(task.computeId, reason, performance.now() - slot.since);
  }

  #failQueued(reason: string): void {
    for (const task of this.#queue.splice(0)) this.#host.failed(task.computeId, reason, 0);
  }

  #arm(slot: Slot, ms: number, message: string): void {
    clearTimeout(slot.timer);
    slot.timer = setTimeout(() => this.#crash(slot, message), ms);
  }
}
