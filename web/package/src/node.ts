/**
 * The node as a program sees it. Every method refuses with CLOSED after
 * `close()`; every value it returns has been verified against the checkpoint.
 */
import { Contribution, type ContributeOptions } from "./contribution.js";
import type { Device } from "./device.js";
import { ClosedError, WorkerError, fromBoundary } from "./errors.js";
import { EventHub, type EventStreamOptions, type TequioEvent, type TequioEventMap, type TequioEventType } from "./events.js";
import { checkIceServers, type IceServer } from "./ice.js";
import type { IceServerList } from "./ice-servers.js";
import { Model } from "./model.js";
import { WorkerPool, type WorkerLike } from "./pool.js";
import type { DroppedEvent } from "./queue.js";
import type { WireAccount, WireEvent, WireIceServer, WireJob, WireNode, WireRecord, WireRef, WireStatus } from "./wasm-types.js";

/** What a node is built from. @internal */
export interface NodeParts {
  module: WebAssembly.Module;
  device: Device;
  spawnWorker(): WorkerLike;
  /** Hears every event from the first moment on. */
  onEvent?: (event: TequioEvent) => void;
  /** Runs after the node has closed. */
  released(): void;
}

/** A light node in this page. Made by {@link connect}. */
export class TequioNode {
  readonly #hub: EventHub;
  readonly #parts: NodeParts;
  readonly #pool: WorkerPool;
  #light: WireNode | null = null;
  #ice: IceServerList | null = null;
  #contribution: Contribution | null = null;
  #closing: Promise<void> | null = null;

  /** @internal */
  constructor(parts: NodeParts) {
    this.#parts = parts;
    this.#hub = new EventHub(parts.onEvent);
    this.#pool = new WorkerPool(
      {
        spawn: () => parts.spawnWorker(),
        done: (unit, result, elapsedMs) => this.#unitDone(unit, result, elapsedMs),
        failed: (unit, reason, elapsedMs) => {
          this.#light?.unitFailed(unit, reason);
          this.#hub.emit({ type: "unitEnd", unit, ok: false, elapsedMs, reason });
        },
        lost: (message, replaced) => this.#workerLost(message, replaced),
      },
      parts.module,
    );
  }

  /** Takes the started light node. Events may have arrived before. @internal */
  attach(light: WireNode, ice: IceServerList): void {
    this.#light = light;
    this.#ice = ice;
    ice.start();
    this.#hub.open();
  }

  /** Hands STUN and TURN servers, which have been checked, to the light node. @internal */
  applyIceServers(servers: WireIceServer[]): void {
    this.#light?.setIceServers(servers);
  }

  /**
   * Takes an event of the light node. It is called from inside WebAssembly, so
   * listeners run a microtask later: what they call must not re-enter Rust. @internal
   */
  receive(event: WireEvent): void {
    queueMicrotask(() => this.#spread(event));
  }

  #spread(event: WireEvent): void {
    if (this.#closing) return;
    if (event.type !== "unit") return this.#hub.emit(event);
    const { input, ...unit } = event;
    this.#hub.emit(unit);
    this.#pool.submit(unit.unit, input);
  }

  /** A snapshot: who this node is, the verified head, the peers, the bytes used. */
  status(): Status {
    const light = this.#open();
    return { ...this.#call(() => light.status()), contribution: this.#contribution };
  }

  /** What a name of the knowledge base points to, or null where the ledger proves that it has none. */
  ref(name: string): Promise<Ref | null> {
    return this.#ask((light) => light.readRef(name));
  }

  /** The bytes of an object, checked against its content address. */
  object(cid: string): Promise<Uint8Array> {
    return this.#ask((light) => light.readObject(cid));
  }

  /** The model of a finished job: looked up by name, verified, and ready to run. Close it when done. */
  async model(job: string): Promise<Model> {
    return new Model(await this.#ask((light) => light.readModel(job)));
  }

  /** The committed record of a job: who did what, the accuracy of every round. */
  record(job: string): Promise<TrainingRecord> {
    return this.#ask((light) => light.record(job));
  }

  /** The jobs that this node has heard of, with their progress as their coordinators tell it. */
  jobs(): Promise<Job[]> {
    return this.#ask((light) => light.jobs());
  }

  /** An account of the ledger, by default this node's own; null where the ledger proves that there is none. */
  account(id?: string): Promise<Account | null> {
    return this.#ask((light) => (id === undefined ? light.account() : light.account(id)));
  }

  /**
   * Replaces the STUN and TURN servers of the option `iceServers`, whose credentials may expire. Those that the well-known
   * files name stay, and are renewed without it. Connections that stand keep theirs.
   *
   * @throws {@link OptionsError} and changes nothing if one is not a STUN or TURN server.
   */
  setIceServers(servers: readonly IceServer[]): void {
    this.#open();
    const checked = checkIceServers(servers);
    this.#call(() => this.#ice?.setOwn(checked));
  }

  /**
   * Starts to compute for the network. Ask the person first: this uses their
   * processor, battery and data. A second call replaces the first contribution.
   */
  contribute(options: ContributeOptions = {}): Contribution {
    const light = this.#open();
    this.#contribution?.stop();
    this.#contribution = new Contribution(
      {
        device: this.#parts.device,
        apply: (workers) => {
          // The node must stop asking for work before the pool gives units back.
          if (this.#closing === null) light.setWorkers(workers);
          this.#pool.resize(workers);
        },
        changed: (state, workers, reason) =>
          this.#hub.emit({ type: "contribution", state, workers, ...(reason === undefined ? {} : { reason }) }),
      },
      options,
    );
    return this.#contribution;
  }

  /**
   * Calls `listener` for every event of a type; the returned function unsubscribes.
   * What happened before `connect()` resolved is heard by listeners attached right after it.
   */
  on<T extends TequioEventType>(type: T, listener: (event: { type: T } & TequioEventMap[T]) => void): () => void {
    return this.#hub.on(type, listener);
  }

  /**
   * The events from now on, for `for await`. The queue is bounded: a slow reader
   * gets `{ type: "dropped", count }` in place of the oldest ones.
   */
  events(options?: EventStreamOptions): AsyncIterableIterator<TequioEvent | DroppedEvent> {
    return this.#hub.stream(options);
  }

  /** Stops computing, closes the connections and the store. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#shut();
    return this.#closing;
  }

  async #shut(): Promise<void> {
    const light = this.#light;
    this.#ice?.stop();
    this.#contribution?.stop();
    this.#pool.close();
    this.#light = null;
    this.#hub.close();
    try {
      await light?.close();
    } catch (error) {
      throw fromBoundary(error);
    } finally {
      this.#parts.released();
    }
  }

  #unitDone(unit: number, result: Uint8Array, elapsedMs: number): void {
    try {
      this.#light?.unitDone(unit, result);
      this.#hub.emit({ type: "unitEnd", unit, ok: true, elapsedMs });
    } catch (error) {
      // The lease may have ended meanwhile: nothing that the page could mend.
      this.#hub.emit({ type: "unitEnd", unit, ok: false, elapsedMs, reason: fromBoundary(error).message });
    }
  }

  #workerLost(message: string, replaced: boolean): void {
    if (!replaced) {
      this.#contribution?.fail(
        new WorkerError(`compute workers cannot be started: ${message}. If the page has a Content-Security-Policy, worker-src needs 'self'.`),
      );
    }
    this.#hub.emit({ type: "workerLost", message, replaced });
  }

  #open(): WireNode {
    if (this.#light === null || this.#closing) throw new ClosedError();
    return this.#light;
  }

  async #ask<T>(question: (light: WireNode) => Promise<T>): Promise<T> {
    try {
      return await question(this.#open());
    } catch (error) {
      throw fromBoundary(error);
    }
  }

  #call<T>(question: () => T): T {
    try {
      return question();
    } catch (error) {
      throw fromBoundary(error);
    }
  }
}

/** A snapshot of a node. */
export interface Status extends WireStatus {
  /** The latest contribution of this page, or null if it never contributed. */
  contribution: Contribution | null;
}
/** See {@link TequioNode.ref}. */
export type Ref = WireRef;
/** See {@link TequioNode.jobs}. */
export type Job = WireJob;
/** See {@link TequioNode.record}. */
export type TrainingRecord = WireRecord;
/** See {@link TequioNode.account}. */
export type Account = WireAccount;
