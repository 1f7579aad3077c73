/**
 * The pool of Web Workers that compute units, away from the page's thread.
 *
 * Every unit that enters leaves exactly once, as `done` or as `failed`, whatever
 * becomes of the worker that held it: a lost unit would keep its lease until the
 * deadline. Refuses more than `UNITS_QUEUED_MAX` waiting units, and gives up after
 * `START_FAILURES_MAX` workers in a row could not start.
 */
import type { WireBench } from "./wasm-types.js";

/** Units that may wait for a free worker. */
export const UNITS_QUEUED_MAX = 256;
/** A worker that is silent for this long over one unit is replaced. */
export const UNIT_TIME_MS_MAX = 120_000;
/** A worker must have instantiated the module after this time. */
export const START_TIME_MS_MAX = 30_000;
/** Starts that may fail one after the other before the pool gives up. */
export const START_FAILURES_MAX = 3;

/** What the pool says to a worker. */
export type ToWorker =
  | { type: "init"; module: WebAssembly.Module }
  | { type: "unit"; unit: number; input: Uint8Array }
  | { type: "bench"; n: number; ms: number };

/** What a worker says to the pool. `fatal` means its instance cannot be used again. */
export type FromWorker =
  | { type: "ready" }
  | { type: "done"; unit: number; result: Uint8Array }
  | { type: "failed"; unit: number; message: string; fatal: boolean }
  | { type: "bench"; result: WireBench }
  | { type: "broken"; message: string };

/** The part of `Worker` that the pool uses. */
export interface WorkerLike {
  onmessage: ((event: MessageEvent<FromWorker>) => void) | null;
  onerror: ((event: ErrorEvent) => void) | null;
  postMessage(message: ToWorker, transfer?: Transferable[]): void;
  terminate(): void;
}

/** Where the pool reports to. */
export interface PoolHost {
  spawn(): WorkerLike;
  done(unit: number, result: Uint8Array, elapsedMs: number): void;
  failed(unit: number, reason: string, elapsedMs: number): void;
  /** A worker died; `replaced` is false once the pool has given up. */
  lost(message: string, replaced: boolean, cause?: unknown): void;
}

interface Task {
  unit: number;
  input: Uint8Array;
}

interface Slot {
  worker: WorkerLike;
  state: "starting" | "idle" | "busy" | "gone";
  task: Task | null;
  since: number;
  timer: ReturnType<typeof setTimeout> | undefined;
}

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

  /** Workers wanted. Surplus workers finish the unit they hold; at 0 waiting units are given back. */
  resize(size: number): void {
    this.#size = size;
    this.#startFailures = 0;
    this.#balance();
    if (size === 0) this.#giveBack("paused");
  }

  /** Takes a unit, or refuses it at once through `failed`. */
  submit(unit: number, input: Uint8Array): void {
    if (this.#size === 0) return this.#host.failed(unit, "not contributing", 0);
    if (this.#queue.length >= UNITS_QUEUED_MAX) return this.#host.failed(unit, "queue full", 0);
    this.#queue.push({ unit, input });
    this.#assign();
  }

  /** Ends every worker now and gives back every unit. */
  close(): void {
    this.#size = 0;
    this.#giveBack("stopped");
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
      slot.worker.postMessage({ type: "unit", unit: task.unit, input }, [input.buffer]);
    }
  }

  #start(): void {
    let worker: WorkerLike;
    try {
      worker = this.#host.spawn();
    } catch (error) {
      // No worker can be made here at all, so there is no second attempt.
      this.close();
      // Later: whoever called for workers must have returned before it learns that there are none.
      return queueMicrotask(() => this.#host.lost((error as Error).message, false, error));
    }
    const slot: Slot = { worker, state: "starting", task: null, since: performance.now(), timer: undefined };
    this.#slots.push(slot);
    worker.onmessage = (event) => this.#hear(slot, event.data);
    worker.onerror = (event) => {
      event.preventDefault?.();
      this.#crash(slot, event.message || "worker script could not be loaded or crashed");
    };
    this.#arm(slot, START_TIME_MS_MAX, "worker did not start");
    worker.postMessage({ type: "init", module: this.#module });
  }

  #hear(slot: Slot, message: FromWorker): void {
    if (slot.state === "gone") return;
    switch (message.type) {
      case "ready":
        if (slot.state !== "starting") return;
        this.#startFailures = 0;
        return this.#rest(slot);
      case "done": {
        if (slot.task?.unit !== message.unit) return;
        const elapsedMs = performance.now() - slot.since;
        this.#rest(slot);
        return this.#host.done(message.unit, message.result, elapsedMs);
      }
      case "failed": {
        if (slot.task?.unit !== message.unit) return;
        if (message.fatal) return this.#crash(slot, message.message);
        const elapsedMs = performance.now() - slot.since;
        this.#rest(slot);
        return this.#host.failed(message.unit, message.message, elapsedMs);
      }
      case "broken":
        return this.#crash(slot, message.message);
      case "bench":
        return;
    }
  }

  /** The slot is free: it takes the next unit, or leaves if it is one too many. */
  #rest(slot: Slot): void {
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
    if (task) this.#host.failed(task.unit, reason, performance.now() - slot.since);
  }

  #giveBack(reason: string): void {
    for (const task of this.#queue.splice(0)) this.#host.failed(task.unit, reason, 0);
  }

  #arm(slot: Slot, ms: number, message: string): void {
    clearTimeout(slot.timer);
    slot.timer = setTimeout(() => this.#crash(slot, message), ms);
  }
}
