/**
 * The public light node. Every method throws CLOSED after `close()`. Values of the chain are
 * verified against the checkpoint.
 */
import { ActivityTracker } from "./activity.js";
import { Contribution, type ContributeOptions } from "./contribution.js";
import { SAMPLE_INTERVAL_MS, type DataMeter, type DataUse } from "./data-use.js";
import type { Device } from "./device.js";
import { ClosedError, NotFoundError, OptionsError, WorkerError, fromBoundary } from "./errors.js";
import {
  EventHub,
  type Activity,
  type EventStreamOptions,
  type TequioEvent,
  type TequioEventMap,
  type TequioEventType,
} from "./events.js";
import { HeadClock } from "./head-clock.js";
import { checkIceServers, type IceServer } from "./ice.js";
import type { Clock, IceServerList } from "./ice-servers.js";
import { Model } from "./model.js";
import { WorkerPool, type WorkerLike } from "./pool.js";
import { encodeContribution } from "./proof.js";
import type { DroppedEvent } from "./event-queue.js";
import type {
  WireAccount,
  WireContribution,
  WireEvent,
  WireIceServer,
  WireJob,
  WireModelFiles,
  WireModule,
  WireNode,
  WireRecord,
  WireRef,
  WireStatus,
} from "./wasm-types.js";

/** A job's id. */
const JOB_ID = /^[0-9a-f]{64}$/i;
/** How often a node checks the state that changes without an event. */
const TICK_INTERVAL_MS = 1_000;

/** The parts of which a node is built. @internal */
export interface NodeParts {
  module: WebAssembly.Module;
  wasm: WireModule;
  /** The checkpoint file with which the node starts. */
  checkpoint: Uint8Array;
  device: Device;
  spawnWorker(): WorkerLike;
  /** Whether the host of the worker script answers. */
  codeAnswers(): Promise<boolean>;
  clock: Clock;
  meter: DataMeter;
  /** Receives every event from the start. */
  onEvent?: (event: TequioEvent) => void;
  /** Runs after the node has closed. */
  onClosed(): void;
}

/** A light node in this page, created by {@link connect}. */
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
    this.#activity = new ActivityTracker(parts.clock, (activity) =>
      this.#hub.emit({ type: "activity", ...activity }),
    );
    this.#headClock = new HeadClock(parts.clock, (offsetMs) =>
      this.#hub.emit({ type: "clock", offsetMs }),
    );
    this.#pool = new WorkerPool(
      {
        spawn: () => parts.spawnWorker(),
        done: (computeId, result, elapsedMs) => this.#unitDone(computeId, result, elapsedMs),
        failed: (computeId, reason, elapsedMs) => {
          this.#light?.unitFailed(computeId, reason);
          this.#emit({ type: "unitEnd", computeId, ok: false, elapsedMs, reason });
        },
        lost: (message, replaced, cause) => this.#workerLost(message, replaced, cause),
      },
      parts.module,
    );
  }

  /** Attaches the started light node. It may have emitted events before. @internal */
  attach(light: WireNode, ice: IceServerList): void {
    this.#light = light;
    this.#ice = ice;
    ice.start();
    this.#stopTimer = this.#parts.clock.every(TICK_INTERVAL_MS, () => this.#tick());
    this.#hub.open();
  }

  /** Passes checked STUN and TURN servers to the light node. @internal */
  applyIceServers(servers: WireIceServer[]): void {
    this.#light?.setIceServers(servers);
  }

  /**
   * Receives an event of the light node. The call comes from inside WebAssembly, so listeners run a
   * microtask later: their calls must not re-enter Rust. @internal
   */
  receive(event: WireEvent): void {
    queueMicrotask(() => this.#dispatch(event));
  }

  #dispatch(event: WireEvent): void {
    if (this.#closing) return;
    if (event.type !== "unit") return this.#emit(event);
    const { input, ...unit } = event;
    this.#emit(unit);
    this.#pool.submit(unit.computeId, input);
  }

  /** Passes an event to the listeners, then to the trackers that derive other events from it. */
  #emit(event: TequioEvent): void {
    this.#hub.emit(event);
    if (event.type === "head") this.#headClock.take(event);
    this.#activity.take(event);
    // A relay often serves the page too, so its return is a reason to ask at once.
    if (event.type === "peer" && event.connected) void this.#contribution?.askCodeHost(true);
  }

  /** Updates the state that changes without an event: the activity and the bytes. */
  #tick(): void {
    const { clock, meter } = this.#parts;
    this.#activity.update();
    void this.#contribution?.askCodeHost();
    if (this.#light === null || clock.monotonicMs() - this.#sampledMs < SAMPLE_INTERVAL_MS) return;
    this.#sampledMs = clock.monotonicMs();
    const { received, sent } = this.#light.traffic();
    const before = meter.use(null);
    meter.sample(received, sent);
    this.#contribution?.checkData();
    const use = meter.use(this.#dataCap());
    const changed = (["received", "sent", "perMinute"] as const).some(
      (field) => use[field] !== before[field],
    );
    if (changed) this.#hub.emit({ type: "data", ...use });
  }

  #dataCap(): number | null {
    const contribution = this.#contribution;
    return contribution === null || contribution.state === "stopped" ? null : contribution.dataCap;
  }

  /** A snapshot: the node's identity, the verified head, the peers, the bytes used. */
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

  /** The reference of a name of the knowledge base, or null if the ledger proves its absence. */
  ref(name: string): Promise<Ref | null> {
    return this.#query((light) => light.readRef(name));
  }

  /** The bytes of an object, checked against its content address. */
  object(cid: string): Promise<Uint8Array> {
    return this.#query((light) => light.readObject(cid));
  }

  /**
   * The verified model of a finished training, by the job's id or by its name. Close it when done.
   * Job names are not unique: pass the coordinator's id to accept jobs of that coordinator only. Of
   * several jobs with the name, the newest counts.
   *
   * @throws {@link NotFoundError} if there is no such model (yet), {@link OptionsError} if several
   * coordinators have trainings of that name and `coordinator` is missing.
   */
  async model(job: string, options: { coordinator?: string } = {}): Promise<Model> {
    const id = JOB_ID.test(job) ? job : await this.#jobByName(job, options.coordinator);
    return new Model(await this.#query((light) => light.readModel(id)));
  }

  async #jobByName(name: string, coordinator?: string): Promise<string> {
    const named = (await this.jobs()).filter((job) => {
      const isTheirs = coordinator === undefined || job.coordinator === coordinator;
      return isTheirs && job.name === name && job.kind === "train" && job.state === "final";
    });
    const coordinators = new Set(named.map((job) => job.coordinator));
    if (coordinators.size > 1) {
      throw new OptionsError(
        `${coordinators.size} coordinators have trainings with the name ${JSON.stringify(name)}: ` +
          `give the job's id, or { coordinator } with one of ${[...coordinators].join(", ")}`,
      );
    }
    const [newest] = named.sort((a, b) => (b.submittedMs ?? 0) - (a.submittedMs ?? 0));
    if (newest === undefined) {
      throw new NotFoundError(
        `this node knows no finished training with the name ${JSON.stringify(name)}`,
      );
    }
    return newest.id;
  }

  /** The committed record of a job: each contributor's work and the accuracy of every round. */
  record(job: string): Promise<TrainingRecord> {
    return this.#query((light) => light.record(job));
  }

  /**
   * The proof of an identity's work for a finished job, by default of this node's: a file to keep
   * or to share. {@link verifyContributionProof} checks it without a network.
   */
  async contributionProof(job: string, id?: string): Promise<ContributionProof> {
    const proof = await this.#query((light) =>
      id === undefined ? light.contributionProof(job) : light.contributionProof(job, id),
    );
    const { wasm, checkpoint } = this.#parts;
    const contribution = this.#call(() => wasm.verifyContribution(proof, checkpoint));
    const bytes = encodeContribution(proof, contribution);
    return { bytes, contribution, fileName: `tequio-contribution-${job.slice(0, 12)}.json` };
  }

  /** The model and the record of a finished job, checked against their content addresses. */
  modelFiles(job: string): Promise<ModelFiles> {
    return this.#query((light) => light.modelFiles(job));
  }

  /**
   * The jobs of the network, with their progress as reported by their coordinators. Resolves once
   * this node has received the list, so an empty list means that there are none.
   */
  jobs(): Promise<Job[]> {
    return this.#query((light) => light.jobs());
  }

  /** An account of the ledger, by default this node's; null if the ledger proves its absence. */
  account(id?: string): Promise<Account | null> {
    return this.#query((light) => (id === undefined ? light.account() : light.account(id)));
  }

  /**
   * Replaces the STUN and TURN servers of the option `iceServers`, whose credentials may expire.
   * The servers of the well-known files stay, and the node renews them itself. Existing connections
   * keep their servers.
   *
   * @throws {@link OptionsError}, without a change, if a server is not a STUN or TURN server.
   */
  setIceServers(servers: readonly IceServer[]): void {
    this.#open();
    const checked = checkIceServers(servers);
    this.#call(() => this.#ice?.setOwn(checked));
  }

  /**
   * Starts to compute for the network. Ask the person first: this uses processor, battery and data.
   * A second call replaces the first contribution.
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
          // The node must stop requesting work before the pool returns units.
          if (this.#closing === null) light.setWorkers(workers);
          this.#pool.resize(workers);
        },
        codeAnswers: () => this.#parts.codeAnswers(),
        monotonicMs: () => this.#parts.clock.monotonicMs(),
        changed: (state, workers, reason) =>
          this.#emit({
            type: "contribution",
            state,
            workers,
            ...(reason === undefined ? {} : { reason }),
          }),
      },
      options,
    );
  }

  /**
   * Calls `listener` for every event of a type; the returned function unsubscribes. Listeners that
   * are attached right after `connect()` resolves also receive the earlier events.
   */
  on<T extends TequioEventType>(
    type: T,
    listener: (event: { type: T } & TequioEventMap[T]) => void,
  ): () => void {
    return this.#hub.on(type, listener);
  }

  /**
   * The events from now on, for `for await`. The queue is bounded: a slow reader gets
   * `{ type: "dropped", count }` in place of the oldest events.
   */
  events(options?: EventStreamOptions): AsyncIterableIterator<TequioEvent | DroppedEvent> {
    return this.#hub.stream(options);
  }

  /** Stops computing, closes the connections and the store. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#closeNode();
    return this.#closing;
  }

  async #closeNode(): Promise<void> {
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
      this.#parts.onClosed();
    }
  }

  #unitDone(computeId: number, result: Uint8Array, elapsedMs: number): void {
    try {
      this.#light?.unitDone(computeId, result);
      this.#emit({ type: "unitEnd", computeId, ok: true, elapsedMs });
    } catch (error) {
      // The lease may have ended meanwhile, which is no error of this page.
      const reason = fromBoundary(error).message;
      this.#emit({ type: "unitEnd", computeId, ok: false, elapsedMs, reason });
    }
  }

  #workerLost(message: string, replaced: boolean, cause: unknown): void {
    if (replaced) this.#hub.emit({ type: "workerLost", message, replaced });
    else void this.#startFailed(message, cause);
  }

  async #startFailed(message: string, cause: unknown): Promise<void> {
    const error = new WorkerError(
      `compute workers cannot be started: ${message}. If the page has a ` +
        "Content-Security-Policy, worker-src needs 'self'.",
      cause,
    );
    const contribution = this.#contribution;
    // A worker whose creation throws was refused before its script was fetched.
    if (cause !== undefined) contribution?.fail(error);
    else if (!(await contribution?.startFailed(error))) return;
    this.#hub.emit({ type: "workerLost", message, replaced: false });
  }

  #open(): WireNode {
    if (this.#light === null || this.#closing) throw new ClosedError();
    return this.#light;
  }

  async #query<T>(query: (light: WireNode) => Promise<T>): Promise<T> {
    try {
      return await query(this.#open());
    } catch (error) {
      throw fromBoundary(error);
    }
  }

  #call<T>(call: () => T): T {
    try {
      return call();
    } catch (error) {
      throw fromBoundary(error);
    }
  }
}

/** A snapshot of a node. */
export interface Status extends WireStatus {
  /** The latest contribution of this page, or null if there was none. */
  contribution: Contribution | null;
  /** The node's activity, as in the event `activity`. */
  activity: Activity;
  /** The transferred bytes, as in the event `data`. */
  data: DataUse;
  /** Milliseconds by which the device's clock is ahead of the chain's; null while unknown. */
  clockOffsetMs: number | null;
}

/** The proof of a contribution, as a file. */
export interface ContributionProof {
  bytes: Uint8Array;
  /** The facts that the file proves. */
  contribution: ProvedContribution;
  /** A name for the file. */
  fileName: string;
}

/** The facts of a proof; see {@link verifyContributionProof}. */
export type ProvedContribution = WireContribution;
/** The model and the record of a job; see {@link TequioNode.modelFiles}. */
export type ModelFiles = WireModelFiles;
/** A reference of the knowledge base; see {@link TequioNode.ref}. */
export type Ref = WireRef;
/** A job; see {@link TequioNode.jobs}. */
export type Job = WireJob;
/** The record of a training; see {@link TequioNode.record}. */
export type TrainingRecord = WireRecord;
/** An account of the ledger; see {@link TequioNode.account}. */
export type Account = WireAccount;
