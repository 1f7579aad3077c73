/**
 * The typed events of a node, and the hub that dispatches them.
 *
 * A listener that throws cannot stop the node or the other listeners. Its error goes to
 * `reportError`, and from there to the page's own handler.
 */
import type { DownloadProgress } from "./code-download.js";
import type { DataUse } from "./data-use.js";
import { EventQueue, type DroppedEvent } from "./event-queue.js";
import type {
  PathKind,
  PathReason,
  Transport,
  WireHead,
  WireJob,
  WireRejection,
} from "./wasm-types.js";

/**
 * The reason why a contribution is paused: the page is hidden, the battery is low, the connection
 * is metered or the browser saves data, the day's data cap is used up, or the host of the worker
 * script does not answer. The last pause ends by itself once the host answers.
 */
export type PauseReason = "hidden" | "battery" | "metered" | "dataCap" | "codeUnreachable";

/** The kinds of activity. */
export type ActivityState = "off" | "waiting" | "computing" | "paused" | "disconnected";

/** The activity of a node and its reason. */
export interface Activity {
  /**
   * `off`: connected without a running contribution. `waiting`: contributing, but without a unit
   * for some seconds. `computing`: workers compute units. `paused`: see `reason`. `disconnected`:
   * no peer is connected, or no block becomes final; see `reason`.
   */
  state: ActivityState;
  /** When the state began, in milliseconds since 1970 by the device's clock. */
  sinceMs: number;
  /** The job of the newest unit, while computing. */
  job?: string;
  /** Units finished in the last minute, while computing. */
  unitsPerMinute?: number;
  /** The reason why the node is paused or disconnected. */
  reason?: PauseReason | "noPeers" | "noQuorum";
}

/** The fields of each type of event. */
export interface TequioEventMap {
  /** More of the light node's code has arrived. Only `onEvent` of `connect` receives it. */
  load: DownloadProgress;
  /** A newer block whose finality certificate this node has verified. */
  head: WireHead;
  /**
   * The path to a peer is known or has changed: `via` is the relay of a relayed path, `address` the
   * multiaddress that was dialled or that the peer came from, `reason` the cause of the change.
   */
  path: {
    peer: string;
    path: PathKind;
    transport: Transport;
    via?: string;
    address?: string;
    reason?: PathReason;
  };
  /** A peer connected or disconnected. */
  peer: { id: string; connected: boolean };
  /** A unit of work arrived; a Web Worker computes it. */
  unit: { computeId: number; job: string; round: number; unit: number; kind: "compute" | "check" };
  /** A unit left the worker: done, or returned for another worker. */
  unitEnd: { computeId: number; ok: boolean; elapsedMs: number; reason?: string };
  /** Work of this node was checked, accepted and credited. */
  credit: { job: string; units: number; macs: number };
  /** A job's state or progress has changed. */
  job: WireJob;
  /**
   * A result was refused. Only the `kind` `wrong` accuses the worker; `timeMs` is the time of the
   * refusal, not of its arrival here.
   */
  rejected: WireRejection;
  /** A peer's data failed verification; the node continues with another source. */
  invalidData: { peer: string; what: string; detail: string };
  /** Two certificates contradict each other: do not trust the head until a person has checked. */
  forkEvidence: { detail: string };
  /**
   * No newer head has arrived within the network's interval, measured from the arrival of the
   * newest head (`headAgeMs`), not by the device's clock.
   */
  stale: { headAgeMs: number };
  /** The node's activity has changed; while it computes, at most every 5 s. */
  activity: Activity;
  /** The transferred bytes have changed; at most every 2 s. */
  data: DataUse;
  /**
   * The device's clock is `offsetMs` ahead of the chain's (negative: behind), as the median over
   * some arrived heads. Emitted when it becomes known and when it changes by 2 s or more.
   */
  clock: { offsetMs: number };
  /**
   * `visit`: nothing can be stored, and the identity ends with this visit. `reopened`: the browser
   * closed the storage, and it is open again. `identityLost`: the stored identity is gone, and this
   * node has a new one.
   */
  storage: { state: "visit" | "reopened" | "identityLost"; detail: string };
  /** The contribution started, paused, resumed or stopped. */
  contribution: { state: ContributionState; workers: number; reason?: PauseReason };
  /** A compute worker died and was replaced, or could not be started. */
  workerLost: { message: string; replaced: boolean };
  /** A line for debugging. */
  log: { level: string; message: string };
}

/** The state of a contribution. */
export type ContributionState = "running" | "paused" | "stopped";

/** The name of an event. */
export type TequioEventType = keyof TequioEventMap;

/** One event with its name in `type`, as the async iterable yields it. */
export type TequioEvent = {
  [T in TequioEventType]: { type: T } & TequioEventMap[T];
}[TequioEventType];

/** Options of {@link EventHub.stream}. */
export interface EventStreamOptions {
  /** Only these types; all by default. */
  types?: readonly TequioEventType[];
  /** Events kept for a slow reader before the oldest are dropped; 256 by default. */
  capacity?: number;
  /** Ends the iteration. */
  signal?: AbortSignal;
}

type Listener<T extends TequioEventType> = (event: { type: T } & TequioEventMap[T]) => void;

/** Events kept until `connect()` resolves, so that a listener attached right after misses none. */
export const EARLY_EVENTS_MAX = 256;

/** Dispatches events to listeners and to bounded queues. */
export class EventHub {
  readonly #first: ((event: TequioEvent) => void) | undefined;
  #early: TequioEvent[] | null = [];
  readonly #listeners = new Map<TequioEventType, Set<Listener<TequioEventType>>>();
  readonly #queues = new Set<{
    queue: EventQueue<TequioEvent>;
    types: ReadonlySet<TequioEventType> | null;
  }>();
  #closed = false;

  /** `first` receives every event immediately, including those before `open`. */
  constructor(first?: (event: TequioEvent) => void) {
    this.#first = first;
  }

  /** Dispatches the kept events, after the code that awaits the node could attach its listeners. */
  open(): void {
    setTimeout(() => {
      const early = this.#early ?? [];
      this.#early = null;
      for (const event of early) this.#dispatch(event);
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

  /** Passes an event to `first`, and to the listeners and queues once the hub is open. */
  emit(event: TequioEvent): void {
    if (this.#closed) return;
    if (this.#first) callGuarded(() => this.#first?.(event));
    if (this.#early === null) this.#dispatch(event);
    else if (this.#early.length < EARLY_EVENTS_MAX) this.#early.push(event);
  }

  #dispatch(event: TequioEvent): void {
    const listeners = [...(this.#listeners.get(event.type) ?? [])];
    for (const listener of listeners) callGuarded(() => listener(event));
    for (const { queue, types } of [...this.#queues]) {
      if (types === null || types.has(event.type)) queue.push(event);
    }
  }

  /** Ends every stream and removes every listener. */
  close(): void {
    this.#closed = true;
    this.#early = null;
    this.#listeners.clear();
    for (const { queue } of [...this.#queues]) queue.end();
  }
}

/** Calls a listener and reports its error instead of throwing it. @internal */
export function callGuarded(call: () => void): void {
  try {
    call();
  } catch (error) {
    const { reportError } = globalThis as { reportError?: (error: unknown) => void };
    if (reportError) reportError(error);
    else queueMicrotask(() => { throw error; });
  }
}
