//! `/tequio/work/2`: how a worker leases work units from a job's coordinator and submits the
//! results.
//!
//! The worker sends every request: it leases a task, commits to the result's digest under a salt,
//! and reveals the result on request. The messages are the same for a first computation, a check
//! and a backup, so a worker cannot treat a check differently. Events of earlier leases
//! ([`LeaseEvent`]) travel with the next response to the worker.
//!
//! This module also defines [`Task`] and [`TaskOutput`], the encoded input and output of the thread
//! or Web Worker that computes.

mod lease;
mod message;
mod rejection;
mod task;

pub use super::progress::{
    ActiveWorkers, CURVE_LEN_MAX, CurvePoint, JobProgress, JobState, TOP_CONTRIBUTORS_MAX,
    WaitReason, WaitingFor,
};
pub use lease::{
    Assignment, CACHED_ROWS_LEN_MAX, CachedInputs, LEASE_EVENTS_MAX, Lease, LeaseEvent, LeaseId,
    LeaseRows, LeaseWeights, LocalStepsAssignment,
};
pub use message::{Answer, REQUEST_LEN_MAX, RESPONSE_LEN_MAX, Refusal, Request, Response};
pub use rejection::{Reason, RejectionKind};
pub use task::{
    ExactStepInput, InferencePartInput, TASK_LEN_MAX, TASK_OUTPUT_LEN_MAX, Task, TaskError,
    TaskOutput, run_encoded,
};
