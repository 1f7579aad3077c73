/**
 * The boundary to the WebAssembly light node, declared by hand.
 *
 * The crate `tequio-wasm` implements these shapes, and `cargo xtask` writes the generated glue to
 * `../wasm/`. `test/wasm-boundary.ts` compares the two at compile time. The Rust side verifies the
 * chain's data against certificates and proofs before it crosses this boundary. This file is no
 * public API, except for the types that `index.ts` exports.
 */

/** The path to a peer: direct, or through a relay. */
export type PathKind = "direct" | "relayed";

/** The transport of a connection. A browser has WebRTC and WebSocket. */
export type Transport = "webrtc" | "websocket" | "tcp" | "quic";

/**
 * The reason why a path was chosen. `connected`: the first connection. `proven`: a direct
 * connection has carried traffic and replaces a circuit. `unanswered`, `lost`: the previous
 * connection did not answer, or ended.
 */
export type PathReason = "connected" | "proven" | "unanswered" | "lost";

/** The state of a training or inference job. */
export type JobState = "pending" | "running" | "final" | "failed" | "cancelled";

/** The reason why a job ended without a result. */
export type JobEndReason = "cancelled" | "refuted" | "unaudited";

/**
 * What a job waits for: a worker, a second worker for the checks, its data, a report of its
 * coordinator, its result's entry into the ledger, its auditors, or a quorum.
 */
export type WaitingFor =
  | "workers"
  | "checker"
  | "data"
  | "coordinator"
  | "ledger"
  | "auditors"
  | "quorum";

/** Kind of a rejection: the result is late, withheld in a dispute, or wrong. */
export type RejectionKind = "late" | "withheld" | "wrong";

/** The newest block whose finality certificate this node has verified. */
export interface WireHead {
  height: number;
  /** The block's own time, in milliseconds since 1970. */
  timeMs: number;
  hash: string;
  /** Number of validators that signed the verified certificate. */
  signers?: number;
  /** Number of seats of the deciding committee; missing if unknown, after the end of its epoch. */
  committee?: number;
}

/** `kept`: identity and head are stored. `visit`: both end with this visit. */
export type StorageKind = "kept" | "visit";

/** Byte counters over all connections. */
export interface WireTraffic {
  received: number;
  sent: number;
}

/** A connected peer. */
export interface WirePeer {
  id: string;
  path: PathKind;
  transport: Transport;
  /** The multiaddress that was dialled, or that the peer came from. It holds no secret. */
  address?: string;
  relayedBy?: string;
  rttMs?: number;
}

/** A snapshot of the node. */
export interface WireStatus {
  node: string;
  chain: string;
  head: (WireHead & { stale: boolean }) | null;
  peers: WirePeer[];
  bytesReceived: number;
  bytesSent: number;
  /** Whether the identity and the head outlive this visit. */
  storage: StorageKind;
  contributing: boolean;
  workers: number;
}

/** A name of the knowledge base and its target, proved at `height`. */
export interface WireRef {
  name: string;
  cid: string;
  sequence: number;
  height: number;
}

/** One point of a job's accuracy curve; accuracy is a fraction of 1. */
export interface WireCurvePoint {
  round: number;
  accuracy: number;
}

/** A job and its progress. */
export interface WireJob {
  id: string;
  /** `train` trains a model, `infer` applies one to a batch of rows. */
  kind: "train" | "infer";
  name: string;
  /** CID of the data. */
  dataset?: string;
  /** Time of the job's block, in milliseconds since 1970; null if that block is unknown. */
  submittedMs?: number | null;
  state: JobState;
  /** The reason why the job ended without a result. */
  reason?: JobEndReason | null;
  /** What the job waits for; null while it progresses. */
  waitingFor?: WaitingFor | null;
  /** Start of the wait, by the clock of the reporting node. */
  waitingSinceMs?: number | null;
  /** Workers that requested work within the last minute, or hold a lease. */
  workersNow?: { full: number; browsers: number };
  round: number;
  rounds: number;
  /** Held-out accuracy of the newest point as a fraction of 1, or null before the first round
   * and without test rows. */
  accuracy: number | null;
  /** The best point so far. */
  bestAccuracy?: number | null;
  curve: WireCurvePoint[];
  units: number;
  unitsByMe: number;
  coordinator: string;
  /** Number of rejected results so far. */
  rejected?: number;
  /** Contributions so far, as the coordinator reports them; the committed record is the proof. */
  contributors?: WireContributor[];
}

/** A rejected result. */
export interface WireRejection {
  worker: string;
  job: string;
  round: number;
  unit: number;
  reason: string;
  /** Only `wrong` accuses the worker. */
  kind?: RejectionKind;
  /** Time of the rejection, by the clock of the reporting node. */
  timeMs?: number;
}

/** One member's contribution to a job. */
export interface WireContributor {
  id: string;
  units: number;
  checks: number;
  /** Multiply-accumulate operations. */
  macs: number;
}

/** The training record, which consensus commits together with the model. */
export interface WireRecord {
  contributors: WireContributor[];
  [field: string]: unknown;
}

/** The files of a finished job, checked against their content addresses. */
export interface WireModelFiles {
  job: string;
  modelCid: string;
  model: Uint8Array;
  recordCid: string;
  record: Uint8Array;
}

/** The facts of a contribution's proof that has been verified against a checkpoint. */
export interface WireContribution {
  chain: string;
  job: string;
  /** The job's name, as its coordinator gave it. */
  name: string;
  coordinator: string;
  /** Identity of the contributor. */
  id: string;
  units: number;
  checks: number;
  macs: number;
  /** Multiply-accumulate operations of all contributors; `macs / macsOfAll` is the share. */
  macsOfAll: number;
  contributors: number;
  /** Accuracy of a training on the held-out rows, as a fraction of 1. */
  accuracy?: number;
  /** Content address of a training's model. */
  model?: string;
  /** Content address of a training's record. */
  record?: string;
  /** Height of the block whose state holds the job's entry. */
  height: number;
  /** Time of that block. */
  timeMs: number;
}

/** An account of the ledger, proved against the head. */
export interface WireAccount {
  id: string;
  reputation: number;
  units: number;
  /** Results of other members that this member recomputed. */
  checks?: number;
  /** Credited multiply-accumulate operations. */
  macs?: number;
  nonce: number;
  bond: number;
}

/** An event of the node, tagged by `type`. */
export type WireEvent =
  | ({ type: "head" } & WireHead)
  | {
      type: "path";
      peer: string;
      path: PathKind;
      transport: Transport;
      via?: string;
      address?: string;
      reason?: PathReason;
    }
  | { type: "peer"; id: string; connected: boolean }
  | {
      type: "unit";
      computeId: number;
      job: string;
      round: number;
      unit: number;
      kind: "compute" | "check";
      input: Uint8Array;
    }
  | { type: "credit"; job: string; units: number; macs: number }
  | ({ type: "job" } & WireJob)
  | ({ type: "rejected" } & WireRejection)
  | { type: "invalidData"; peer: string; what: string; detail: string }
  | { type: "forkEvidence"; detail: string }
  | { type: "stale"; headAgeMs: number }
  | { type: "storage"; state: "visit" | "reopened" | "identityLost"; detail: string }
  | { type: "log"; level: string; message: string };

/** A column of a model's input, with mean and standard deviation over the training rows. */
export interface WireColumn {
  name: string;
  mean: number;
  deviation: number;
}

/** A verified model in WebAssembly memory; `free` frees that memory. */
export interface WireModel {
  readonly job: string;
  readonly cid: string;
  readonly classes: string[];
  readonly features: number;
  readonly columns: WireColumn[];
  readonly accuracy: number;
  predict(features: Float64Array): { label: string; confidences: number[] };
  free(): void;
}

/** The configuration of a light node. */
export interface WireConfig {
  checkpoint: Uint8Array;
  /** Multiaddresses that end in `/p2p/…`, tried in parallel. */
  relays: string[];
  /** Name of the IndexedDB database. Without one, nothing is stored. */
  store?: string;
  agent?: string;
  /** STUN and TURN servers for paths between browsers. */
  iceServers?: WireIceServer[];
}

/** `RTCIceServer`, always with a list of URLs. */
export interface WireIceServer {
  urls: string[];
  username?: string;
  credential?: string;
}

/** The running light node. */
export interface WireNode {
  status(): WireStatus;
  traffic(): WireTraffic;
  readRef(name: string): Promise<WireRef | null>;
  readObject(cid: string): Promise<Uint8Array>;
  readModel(job: string): Promise<WireModel>;
  record(job: string): Promise<WireRecord>;
  /** The proof of a member's work for a finished job; by default of this node's. */
  contributionProof(job: string, id?: string): Promise<Uint8Array>;
  /** The verified bytes of a job's model and of its record. */
  modelFiles(job: string): Promise<WireModelFiles>;
  jobs(): Promise<WireJob[]>;
  account(id?: string): Promise<WireAccount | null>;
  setWorkers(count: number): void;
  unitDone(computeId: number, result: Uint8Array): void;
  unitFailed(computeId: number, message: string): void;
  /** Replaces the STUN and TURN servers; existing connections keep theirs. */
  setIceServers(servers: WireIceServer[]): void;
  close(): Promise<void>;
}

/** The result of a benchmark of the int8 kernel. */
export interface WireBench {
  kernel: string;
  n: number;
  /** Giga multiply-accumulate operations per second on one core. */
  gmacs: number;
}

/** The generated module, as wasm-bindgen's target `web` exports it. */
export interface WireModule {
  default(input: { module_or_path: WebAssembly.Module | URL | string }): Promise<unknown>;
  initSync(input: { module: WebAssembly.Module }): unknown;
  LightNode: { start(config: WireConfig, onEvent: (event: WireEvent) => void): Promise<WireNode> };
  /** The size of the module's file. */
  MODULE_BYTES?: number;
  computeUnit(input: Uint8Array): Uint8Array;
  benchCompute(n: number, ms: number): WireBench;
  /** BLAKE3 of the bytes, without a context, as 64 lower-case hexadecimal digits. */
  hashBytes(bytes: Uint8Array): string;
  /** The chain id of a checkpoint file as 64 lower-case hexadecimal digits. */
  checkpointChain(checkpoint: Uint8Array): string;
  /** Verifies a contribution's proof against a checkpoint file. */
  verifyContribution(proof: Uint8Array, checkpoint: Uint8Array, asOfMs?: number): WireContribution;
}
