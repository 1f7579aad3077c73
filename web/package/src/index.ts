/**
 * Tequio in the browser: a light node that verifies every answer against a
 * checkpoint, runs verified models, and computes for the network when a person agrees.
 *
 * @packageDocumentation
 */
export { benchCompute, type ComputeBench } from "./bench.js";
export type { PinnedCheckpoint } from "./checkpoint.js";
export { connect, type ConnectOptions } from "./connect.js";
export { Contribution, type ContributeOptions } from "./contribution.js";
export { browserDevice, defaultWorkers, type Device } from "./device.js";
export {
  CheckpointError,
  ClosedError,
  InsecureOriginError,
  InternalError,
  NetworkError,
  NotFoundError,
  OptionsError,
  StorageError,
  TequioError,
  UnsupportedError,
  VerificationError,
  WorkerError,
  type ErrorCode,
  type Fault,
} from "./errors.js";
export type {
  ContributionState,
  EventStreamOptions,
  PauseReason,
  TequioEvent,
  TequioEventMap,
  TequioEventType,
} from "./events.js";
export type { IceServer } from "./ice.js";
export { Model, type Prediction } from "./model.js";
export { TequioNode, type Account, type Job, type Ref, type Status, type TrainingRecord } from "./node.js";
export type { DroppedEvent } from "./queue.js";
export { WELL_KNOWN_PATH } from "./relays.js";
export type {
  JobState,
  PathKind,
  PathReason,
  Transport,
  WireContributor as Contributor,
  WireCurvePoint as CurvePoint,
  WireHead as Head,
  WirePeer as Peer,
} from "./wasm-types.js";
