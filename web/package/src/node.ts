/**
 * The node as a program sees it. Every method refuses with CLOSED after
 * `close()`; every value it returns has been verified against the checkpoint.
 */
import { ActivityTracker, type Activity } from "./activity.js";
import { Contribution, type ContributeOptions } from "./contribution.js";
import { SAMPLE_INTERVAL_MS, type DataMeter, type DataUse } from "./data-use.js";
import type { Device } from "./device.js";
import { ClosedError, NotFoundError, OptionsError, WorkerError, fromBoundary } from "./errors.js";
import { EventHub, type EventStreamOptions, type TequioEvent, type TequioEventMap, type TequioEventType } from "./events.js";
import { HeadClock } from "./head-clock.js";
import { checkIceServers, type IceServer } from "./ice.js";
import type { Clock, IceServerList } from "./ice-servers.js";
import { Model } from "./model.js";
import { WorkerPool, type WorkerLike } from "./pool.js";
import { encodeContribution } from "./proof.js";
import type { DroppedEvent } from "./queue.js";
import type { WireAccount, WireContribution, WireEvent, WireIceServer, WireJob, WireModelFiles, WireModule, WireNode, WireRecord, WireRef, WireStatus } from "./wasm-types.js";

/** A job's id. */
const JOB_ID = /^[0-9a-f]{64}$/i;
/** How often a node looks at what changes by the passing of time. */
const LOOK_INTERVAL_MS = 1_000;

/** What a node is built from. @internal */
export interface NodeParts {
  module: WebAssembly.Module;
  wasm: WireModule;
  /** The file that the node was started with. */
  checkpoint: Uint8Array;
  device: Device;
  spawnWorker(): WorkerLike;
  clock: Clock;
  meter: DataMeter;
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
  readonly #activity: ActivityTracker;
  readonly #headClock: HeadClock;
  #stopTimer: (() => void) | null = null;
  #sampledMs = Number.NEGATIVE_INFINITY;
  #light: WireNode | null = null;
  #ice: IceServerList | null = null;
  #contribution: Contribution | null = null;
  #closing: Promise<void> | null = null;

  /** @internal */
  constructor(parts: NodeParts) {
    this.#parts = parts;
    this.#hub = new EventHub(parts.onEvent);
    this.#activity = new ActivityTracker(parts.clock, (activity) => this.#hub.emit({ type: "activity", ...activity }));
    this.#headClock = new HeadClock(parts.clock, (offsetMs) => this.#hub.emit({ type: "clock", offsetMs }));
    this.#pool = new WorkerPool(
      {
        spawn: () => parts.spawnWorker(),
        done: (unit, result, elapsedMs) => this.#unitDone(unit, result, elapsedMs),
        failed: (unit, reason, elapsedMs) => {
          this.#light?.unitFailed(unit, reason);
          this.#emit({ type: "unitEnd", unit, ok: false, elapsedMs, reason });
        },
        lost: (message, replaced, cause) => this.#workerLost(message, replaced, cause),
      },
      parts.module,
    );
  }

  /** Takes the started light node. Events may have arrived before. @internal */
  attach(light: WireNode, ice: IceServerList): void {
    this.#light = light;
    this.#ice = ice;
    ice.start();
    this.#stopTimer = this.#parts.clock.every(LOOK_INTERVAL_MS, () => this.#look());
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
    if (event.type !== "unit") return this.#emit(event);
    const { input, ...unit } = event;
    this.#emit(unit);
    this.#pool.submit(unit.unit, input);
  }

  /** Hands an event to the listeners, then to what derives other events from it. */
  #emit(event: TequioEvent): void {
    this.#hub.emit(event);
    if (event.type === "head") this.#headClock.take(event);
    this.#activity.take(event);
  }

  /** Looks at what changes by the passing of time, without an event. */
  #look(): void {
    const { clock, meter } = this.#parts;
    this.#activity.update();
    if (this.#light === null || clock.monotonicMs() - this.#sampledMs < SAMPLE_INTERVAL_MS) return;
    this.#sampledMs = clock.monotonicMs();
    const { received, sent } = this.#light.traffic();
    const before = meter.use(null);
    meter.sample(received, sent);
    this.#contribution?.checkData();
    const use = meter.use(this.#dataCap());
    if (use.received !== before.received || use.sent !== before.sent || use.perMinute !== before.perMinute) this.#hub.emit({ type: "data", ...use });
  }

  #dataCap(): number | null {
    return this.#contribution === null || this.#contribution.state === "stopped" ? null : this.#contribution.dataCap;
  }

  /** A snapshot: who this node is, the verified head, the peers, the bytes used. */
  status(): Status {
    const light = this.#open();
    return {
      ...this.#call(() => light.status()),
      contribution: this.#contribution,
      activity: this.#activity.current,
      data: this.#parts.meter.use(this.#dataCap()),
      clockOffsetMs: this.#headClock.offsetMs,
    };
  }

  /** What a name of the knowledge base points to, or null where the ledger proves that it has none. */
  ref(name: string): Promise<Ref | null> {
    return this.#ask((light) => light.readRef(name));
  }

  /** The bytes of an object, checked against its content address. */
  object(cid: string): Promise<Uint8Array> {
    return this.#ask((light) => light.readObject(cid));
  }

  /**
   * The model of a finished training, by the job's id or by its name: verified, and ready to run.
   * Close it when done. Anybody may give a job any name: pass the coordinator's id if the model
   * must come from one coordinator. Of its jobs with that name, the newest counts.
   *
   * @throws {@link NotFoundError} if there is no such model (yet), {@link OptionsError} if several
   * coordinators have trainings of that name and `coordinator` is missing.
   */
  async model(job: string, options: { coordinator?: string } = {}): Promise<Model> {
    const id = JOB_ID.test(job) ? job : await this.#jobByName(job, options.coordinator);
    return new Model(await this.#ask((light) => light.readModel(id)));
  }

  async #jobByName(name: string, coordinator?: string): Promise<string> {
    const named = (await this.jobs()).filter((job) => {
      const isTheirs = coordinator === undefined || job.coordinator === coordinator;
      return isTheirs && job.name === name && job.kind === "train" && job.state === "final";
    });
    const coordinators = new Set(named.map((job) => job.coordinator));
    if (coordinators.size > 1) {
      throw new OptionsError(
        `${coordinators.size} coordinators have trainings with the name ${JSON.stringify(name)}: give the job's id, or ` +
          `{ coordinator } with one of ${[...coordinators].join(", ")}`,
      );
    }
    const [newest] = named.sort((a, b) => (b.submittedMs ?? 0) - (a.submittedMs ?? 0));
    if (newest === undefined) throw new NotFoundError(`this node knows no finished training with the name ${JSON.stringify(name)}`);
    return newest.id;
  }

  /** The committed record of a job: who did what, the accuracy of every round. */
  record(job: string): Promise<TrainingRecord> {
    return this.#ask((light) => light.record(job));
  }

  /**
   * The proof of what an identity (by default, this node's) did for a finished job: a file to
   * keep or to share, that {@link verifyContributionProof} checks without a network.
   */
  async contributionProof(job: string, id?: string): Promise<ContributionProof> {
    const proof = await this.#ask((light) => (id === undefined ? light.contributionProof(job) : light.contributionProof(job, id)));
    const contribution = this.#call(() => this.#parts.wasm.verifyContribution(proof, this.#parts.checkpoint));
    const bytes = encodeContribution(proof, contribution);
    return { bytes, contribution, fileName: `tequio-contribution-${job.slice(0, 12)}.json` };
  }

  /** The model of a finished job and its record as files, each checked against its content address. */
  modelFiles(job: string): Promise<ModelFiles> {
    return this.#ask((light) => light.modelFiles(job));
  }

  /**
   * The jobs of the network, with their progress as their coordinators report it. Resolves once
   * this node has asked for them, so an empty list means that there are none.
   */
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
    this.#contribution = this.#call(() => this.#start(light, options));
    return this.#contribution;
  }

  #start(light: WireNode, options: ContributeOptions): Contribution {
    return new Contribution(
      {
        device: this.#parts.device,
        dataToday: () => this.#parts.meter.use(null).today,
        apply: (workers) => {
          // The node must stop asking for work before the pool gives units back.
          if (this.#closing === null) light.setWorkers(workers);
          this.#pool.resize(workers);
        },
        changed: (state, workers, reason) =>
          this.#emit({ type: "contribution", state, workers, ...(reason === undefined ? {} : { reason }) }),
      },
      options,
    );
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
    this.#stopTimer?.();
    this.#parts.meter.close();
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
      this.#emit({ type: "unitEnd", unit, ok: true, elapsedMs });
    } catch (error) {
      // The lease may have ended meanwhile: the page can do nothing about it.
      this.#emit({ type: "unitEnd", unit, ok: false, elapsedMs, reason: fromBoundary(error).message });
    }
  }

  #workerLost(message: string, replaced: boolean, cause: unknown): void {
    if (!replaced) {
      this.#contribution?.fail(
        new WorkerError(
          `compute workers cannot be started: ${message}. If the page has a Content-Security-Policy, worker-src needs 'self'.`,
          cause,
        ),
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
  /** What the node is doing, as in the event `activity`. */
  activity: Activity;
  /** The bytes carried, as in the event `data`. */
  data: DataUse;
  /** Milliseconds by which the device's clock is ahead of the chain's; null while unknown. */
  clockOffsetMs: number | null;
}
/** The proof of a contribution, as a file. */
export interface ContributionProof {
  bytes: Uint8Array;
  /** What it proves. */
  contribution: ProvedContribution;
  /** A name for the file. */
  fileName: string;
}
/** What a proof says; see {@link verifyContributionProof}. */
export type ProvedContribution = WireContribution;
/** See {@link TequioNode.modelFiles}. */
export type ModelFiles = WireModelFiles;
/** See {@link TequioNode.ref}. */
export type Ref = WireRef;
/** See {@link TequioNode.jobs}. */
export type Job = WireJob;
/** See {@link TequioNode.record}. */
export type TrainingRecord = WireRecord;
/** See {@link TequioNode.account}. */
export type Account = WireAccount;
