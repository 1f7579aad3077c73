/**
 * The typed events of a node, and the hub that spreads them.
 *
 * A listener that throws cannot stop the node or the other listeners; its error
 * goes to `reportError`, where the page's own handler sees it.
 */
import type { Activity } from "./activity.js";
import type { DownloadProgress } from "./code-download.js";
import type { DataUse } from "./data-use.js";
import { EventQueue, type DroppedEvent } from "./queue.js";
import type { PathKind, PathReason, Transport, WireHead, WireJob, WireRejection } from "./wasm-types.js";

/**
 * Why a contribution is paused: the page is hidden, the battery is low, the connection is metered
 * or the person saves data, or the data of the day is used up.
 */
export type PauseReason = "hidden" | "battery" | "metered" | "dataCap";

/** Each event's type and what it carries. */
export interface TequioEventMap {
  /** More of the light node's code has come; only `onEvent` of `connect` receives it, before there is a node. */
  load: DownloadProgress;
  /** A newer block whose finality certificate this node has verified. */
  head: WireHead;
  /**
   * How a peer is reached has become known or has changed: `via` is the relay of a relayed path, `address` the multiaddress
   * dialled or that the peer came from, `reason` why it is this path now.
   */
  path: { peer: string; path: PathKind; transport: Transport; via?: string; address?: string; reason?: PathReason };
  /** A peer came or went. */
  peer: { id: string; connected: boolean };
  /** A unit of work arrived; a Web Worker computes it. */
  unit: { unit: number; job: string; round: number; lane: number; kind: "compute" | "check" };
  /** A unit left the worker: done, or given back for another to compute. */
  unitEnd: { unit: number; ok: boolean; elapsedMs: number; reason?: string };
  /** Work of this node was checked, accepted and credited. */
  credit: { job: string; units: number; macs: number };
  /** A job has moved. */
  job: WireJob;
  /**
   * A result was refused. Only the `kind` `wrong` accuses the worker; `timeMs` is the time of the
   * refusal, not of its arrival here.
   */
  rejected: WireRejection;
  /** A peer sent something that failed verification; the node goes on with another source. */
  lie: { peer: string; what: string; detail: string };
  /** Two conflicting certificates: stop trusting the head until a person has looked. */
  alarm: { detail: string };
  /**
   * No newer head has arrived for longer than the network promises, measured from the arrival
   * of the newest one (`headAgeMs`), never by the device's clock.
   */
  stale: { headAgeMs: number };
  /** What the node is doing has changed; while it computes, at most every 5 s. */
  activity: Activity;
  /** The bytes carried have changed; at most every 2 s. */
  data: DataUse;
  /**
   * The device's clock is `offsetMs` ahead of the chain's (negative: behind), as the median of
   * some heads that arrived; sent when it becomes known and when it changes by 2 s or more.
   */
  clock: { offsetMs: number };
  /**
   * `visit`: nothing can be stored, and the identity ends with this visit. `reopened`: the
   * storage was closed by the browser and is open again. `identityLost`: the stored identity
   * is gone, and this node has a new one.
   */
  storage: { state: "visit" | "reopened" | "identityLost"; detail: string };
  /** The contribution started, paused, resumed or stopped. */
  contribution: { state: ContributionState; workers: number; reason?: PauseReason };
  /** A compute worker died and was replaced, or could not be started. */
  workerLost: { message: string; replaced: boolean };
  /** A line for people who debug. */
  log: { level: string; message: string };
}

/** What a contribution is doing. */
export type ContributionState = "running" | "paused" | "stopped";

/** The name of an event. */
export type TequioEventType = keyof TequioEventMap;

/** One event with its name in `type`, as the async iterable yields it. */
export type TequioEvent = { [T in TequioEventType]: { type: T } & TequioEventMap[T] }[TequioEventType];

/** Options of {@link EventHub.stream}. */
export interface EventStreamOptions {
  /** Only these; all by default. */
  types?: readonly TequioEventType[];
  /** Events kept for a slow reader before the oldest are dropped; 256 by default. */
  capacity?: number;
  /** Ends the iteration. */
  signal?: AbortSignal;
}

type Listener<T extends TequioEventType> = (event: { type: T } & TequioEventMap[T]) => void;

/** Events kept while `connect()` has not resolved, so that a listener attached then misses none. */
export const EARLY_EVENTS_MAX = 256;

/** Spreads events to listeners and to bounded queues. */
export class EventHub {
  readonly #first: ((event: TequioEvent) => void) | undefined;
  #early: TequioEvent[] | null = [];
  readonly #listeners = new Map<TequioEventType, Set<Listener<TequioEventType>>>();
  readonly #queues = new Set<{ queue: EventQueue<TequioEvent>; types: ReadonlySet<TequioEventType> | null }>();
  #closed = false;

  /** `first` hears every event at once, also those before `open`. */
  constructor(first?: (event: TequioEvent) => void) {
    this.#first = first;
  }

  /** Delivers what was kept, once the code that waits for the node has had its turn to attach listeners. */
  open(): void {
    setTimeout(() => {
      const early = this.#early ?? [];
      this.#early = null;
      for (const event of early) this.#spread(event);
    }, 0);
  }

  /** Calls `listener` for every event of `type`; the returned function unsubscribes. */
  on<T extends TequioEventType>(type: T, listener: Listener<T>): () => void {
    const entry = listener as unknown as Listener<TequioEventType>;
    const set = this.#listeners.get(type) ?? new Set();
    set.add(entry);
    this.#listeners.set(type, set);
    return () => void set.delete(entry);
  }

  /** An async iterable over the events from now on. */
  stream(options: EventStreamOptions = {}): AsyncIterableIterator<TequioEvent | DroppedEvent> {
    const queue = new EventQueue<TequioEvent>(options.capacity);
    const entry = { queue, types: options.types ? new Set(options.types) : null };
    queue.onEnd = () => this.#queues.delete(entry);
    this.#queues.add(entry);
    if (this.#closed || options.signal?.aborted) queue.end();
    options.signal?.addEventListener("abort", () => queue.end(), { once: true });
    return queue;
  }

  emit(event: TequioEvent): void {
    if (this.#closed) return;
    if (this.#first) guarded(() => this.#first?.(event));
    if (this.#early === null) this.#spread(event);
    else if (this.#early.length < EARLY_EVENTS_MAX) this.#early.push(event);
  }

  #spread(event: TequioEvent): void {
    for (const listener of [...(this.#listeners.get(event.type) ?? [])]) guarded(() => listener(event));
    for (const { queue, types } of [...this.#queues]) {
      if (types === null || types.has(event.type)) queue.push(event);
    }
  }

  /** Ends every stream and forgets every listener. */
  close(): void {
    this.#closed = true;
    this.#early = null;
    this.#listeners.clear();
    for (const { queue } of [...this.#queues]) queue.end();
  }
}

/** Calls a listener, whose error is its own. @internal */
export function guarded(call: () => void): void {
  try {
    call();
  } catch (error) {
    const { reportError } = globalThis as { reportError?: (error: unknown) => void };
    if (reportError) reportError(error);
    else queueMicrotask(() => { throw error; });
  }
}
