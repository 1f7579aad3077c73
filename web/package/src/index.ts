/**
 * Tequio in the browser: a light node that verifies every answer against a checkpoint, runs
 * verified models, and computes for the network when a person agrees.
 *
 * @packageDocumentation
 */
export { benchCompute, type ComputeBench } from "./bench.js";
export type { PinnedCheckpoint } from "./checkpoint.js";
export { connect, type ConnectOptions } from "./connect.js";
export { Contribution, DATA_CAP_PER_DAY_DEFAULT, type ContributeOptions } from "./contribution.js";
export type { DataUse } from "./data-use.js";
export { browserDevice, defaultWorkers, type Device } from "./device.js";
export {
  AbortError,
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
  type ErrorDetails,
  type Fault,
} from "./errors.js";
export type {
  Activity,
  ActivityState,
  ContributionState,
  EventStreamOptions,
  PauseReason,
  TequioEvent,
  TequioEventMap,
  TequioEventType,
} from "./events.js";
export type { IceServer } from "./ice.js";
export { Model, type Prediction } from "./model.js";
export {
  TequioNode,
  type Account,
  type ContributionProof,
  type Job,
  type ModelFiles,
  type ProvedContribution,
  type Ref,
  type Status,
  type TrainingRecord,
} from "./node.js";
export { verifyContributionProof, type VerifyOptions } from "./proof.js";
export type { DroppedEvent } from "./event-queue.js";
export { WELL_KNOWN_PATH } from "./relays.js";
export type { CodeUrls } from "./wasm-loader.js";
export type {
  JobEndReason,
  JobState,
  PathKind,
  PathReason,
  RejectionKind,
  StorageKind,
  Transport,
  WaitingFor,
  WireColumn as ModelColumn,
  WireContributor as Contributor,
  WireCurvePoint as CurvePoint,
  WireHead as Head,
  WirePeer as Peer,
  WireRejection as Rejection,
} from "./wasm-types.js";
