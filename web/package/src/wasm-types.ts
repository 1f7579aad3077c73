/**
 * The boundary to the WebAssembly light node, declared by hand.
 *
 * The crate `tequio-wasm` implements these shapes and `cargo xtask` writes the
 * generated glue to `../wasm/`. Everything behind this boundary is verified
 * there: what crosses it as a value has already been checked against a
 * certificate or a proof. Nothing of this file is public API.
 */

/** Where a message travels: straight to the peer, or through a relay. */
export type PathKind = "direct" | "relayed";

/** The transport under a connection. A browser has WebRTC and WebSocket. */
export type Transport = "webrtc" | "websocket" | "webtransport" | "tcp" | "quic";

/** Why a path was taken: the first connection; a direct one has carried traffic and replaces a circuit; the one before has not answered, or has ended. */
export type PathReason = "connected" | "proven" | "unanswered" | "lost";

/** The state of a training or inference job. */
export type JobState = "pending" | "running" | "final" | "failed" | "cancelled";

/** Why a job ended without a result. */
export type JobEndReason = "cancelled" | "refuted" | "unaudited";

/**
 * What a job waits for: a worker, a second worker that checks, its data, a report from its
 * coordinator, the ledger to record its result, its auditors, or a quorum.
 */
export type WaitingFor = "workers" | "checker" | "data" | "coordinator" | "ledger" | "auditors" | "quorum";

/** What a rejection says of the worker: it came too late, did not answer a dispute, or was found wrong. */
export type RejectionKind = "late" | "withheld" | "wrong";

/** The newest block whose finality certificate this node has verified. */
export interface WireHead {
  height: number;
  /** The block's own time, in milliseconds since 1970. */
  timeMs: number;
  hash: string;
  /** How many validators signed the certificate that was verified. */
  signers?: number;
  /** How many seats the committee has that decided it; missing where that is known no more, at the end of an epoch. */
  committee?: number;
}

/** `kept`: identity and head are stored. `visit`: they end with this visit. */
export type StorageKind = "kept" | "visit";

/** Counters of bytes on all connections. */
export interface WireTraffic {
  received: number;
  sent: number;
}

/** One connected peer, as the node sees it. */
export interface WirePeer {
  id: string;
  path: PathKind;
  transport: Transport;
  /** The multiaddress dialled, or that the peer came from; nothing secret in it. */
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

/** A name of the knowledge base and what it points to, proved at `height`. */
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

/** A job and how far it is. */
export interface WireJob {
  id: string;
  /** Trains a model, or answers a batch of rows with one. */
  kind: "train" | "infer";
  name: string;
  /** CID of the data. */
  dataset?: string;
  /** Time of the block that holds the job, in milliseconds since 1970; null where that block is not known. */
  submittedMs?: number | null;
  state: JobState;
  /** Why the job ended without a result. */
  reason?: JobEndReason | null;
  /** What the job waits for; null while it progresses. */
  waitingFor?: WaitingFor | null;
  /** Since when, by the clock of the node that says so. */
  waitingSinceMs?: number | null;
  /** Workers that asked for work within the last minute, or hold some. */
  workersNow?: { full: number; browsers: number };
  round: number;
  rounds: number;
  /** Held-out accuracy of the newest point as a fraction of 1, or null before the first round. */
  accuracy: number | null;
  /** The best point so far. */
  bestAccuracy?: number | null;
  curve: WireCurvePoint[];
  units: number;
  unitsByMe: number;
  coordinator: string;
  /** Results that were refused so far. */
  rejected?: number;
  /** Who has done how much so far, as the coordinator tells; the committed record is the proof. */
  contributors?: WireContributor[];
}

/** A result that was refused. */
export interface WireRejection {
  worker: string;
  job: string;
  round: number;
  lane: number;
  reason: string;
  /** Only `wrong` accuses the worker. */
  kind?: RejectionKind;
  /** When it was refused, by the clock of the node that tells it. */
  timeMs?: number;
}

/** What one member did for a job. */
export interface WireContributor {
  id: string;
  units: number;
  checks: number;
  /** Multiply-accumulate operations. */
  macs: number;
}

/** The training record that consensus committed together with the model. */
export interface WireRecord {
  contributors: WireContributor[];
  [field: string]: unknown;
}

/** The files of a finished job. Each is checked against its content address. */
export interface WireModelFiles {
  job: string;
  modelCid: string;
  model: Uint8Array;
  recordCid: string;
  record: Uint8Array;
}

/** What the proof of a contribution says, once it has been verified against a checkpoint. */
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
  /** Multiply-accumulate operations of all contributors together; `macs / macsOfAll` is the share. */
  macsOfAll: number;
  contributors: number;
  /** Of a training: the accuracy on the held-out rows as a fraction of 1, and the content addresses of its objects. */
  accuracy?: number;
  model?: string;
  record?: string;
  /** The block whose state holds it, and the block's time. */
  height: number;
  timeMs: number;
}

/** An account of the ledger, proved against the head. */
export interface WireAccount {
  id: string;
  reputation: number;
  units: number;
  /** Results of others that it recomputed. */
  checks?: number;
  /** Multiply-accumulate operations it was credited with. */
  macs?: number;
  nonce: number;
  bond: number;
}

/** What the node tells the page, tagged by `type`. */
export type WireEvent =
  | ({ type: "head" } & WireHead)
  | { type: "path"; peer: string; path: PathKind; transport: Transport; via?: string; address?: string; reason?: PathReason }
  | { type: "peer"; id: string; connected: boolean }
  | { type: "unit"; unit: number; job: string; round: number; lane: number; kind: "compute" | "check"; input: Uint8Array }
  | { type: "credit"; job: string; units: number; macs: number }
  | ({ type: "job" } & WireJob)
  | ({ type: "rejected" } & WireRejection)
  | { type: "lie"; peer: string; what: string; detail: string }
  | { type: "alarm"; detail: string }
  | { type: "stale"; headAgeMs: number }
  | { type: "storage"; state: "visit" | "reopened" | "identityLost"; detail: string }
  | { type: "log"; level: string; message: string };

/** A column that a model takes, with mean and standard deviation of the training rows. */
export interface WireColumn {
  name: string;
  mean: number;
  deviation: number;
}

/** A verified model in WebAssembly memory; `free` gives the memory back. */
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

/** How a light node is started. */
export interface WireConfig {
  checkpoint: Uint8Array;
  /** Multiaddrs that end in `/p2p/…`; tried side by side. */
  relays: string[];
  /** Name of the IndexedDB database; without one, nothing outlives the visit. */
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
  /** The proof of what a member did for a finished job, as the bytes of a file; by default, this node's. */
  contributionProof(job: string, id?: string): Promise<Uint8Array>;
  /** The verified bytes of a job's model and of its record. */
  modelFiles(job: string): Promise<WireModelFiles>;
  jobs(): Promise<WireJob[]>;
  account(id?: string): Promise<WireAccount | null>;
  setWorkers(count: number): void;
  unitDone(unit: number, result: Uint8Array): void;
  unitFailed(unit: number, message: string): void;
  /** Replaces the STUN and TURN servers; connections that stand keep theirs. */
  setIceServers(servers: WireIceServer[]): void;
  close(): Promise<void>;
}

/** What a benchmark of the int8 kernel measured. */
export interface WireBench {
  kernel: string;
  n: number;
  /** Giga multiply-accumulates per second, on one core. */
  gmacs: number;
}

/** The generated module, as wasm-bindgen's target `web` exports it. */
export interface WireModule {
  default(input?: { module_or_path: WebAssembly.Module | URL | string }): Promise<unknown>;
  initSync(input: { module: WebAssembly.Module }): unknown;
  LightNode: { start(config: WireConfig, onEvent: (event: WireEvent) => void): Promise<WireNode> };
  /** The size of the module's file. */
  MODULE_BYTES?: number;
  computeUnit(input: Uint8Array): Uint8Array;
  benchCompute(n: number, ms: number): WireBench;
  /** Plain BLAKE3 of the bytes as 64 lower-case hexadecimal digits. */
  hashBytes(bytes: Uint8Array): string;
  /** The chain id of a checkpoint file as 64 lower-case hexadecimal digits. */
  checkpointChain(checkpoint: Uint8Array): string;
  /** Verifies the file of a contribution against a checkpoint file. */
  verifyContribution(proof: Uint8Array, checkpoint: Uint8Array, asOfMs?: number): WireContribution;
}
