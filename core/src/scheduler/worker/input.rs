//! The inputs of a worker.

use crate::{
    ledger::job::JobId,
    scheduler::common::error::ComputeFailed,
    types::NodeId,
    wire::work::{Response, TaskOutput},
};
use alloc::vec::Vec;

/// Settings of a worker.
#[derive(Clone, Debug)]
pub struct Config {
    /// This host: its commitments are bound to it.
    pub local: NodeId,
    /// Secret and fresh from the operating system: the seed of the salts.
    pub seed: [u8; 32],
    /// Work units computed in parallel; 0 if the host does not contribute.
    pub slots: u8,
    /// Work units leased ahead, so that no slot waits for the next one.
    pub prefetch: u8,
    /// Time after which a request counts as lost, milliseconds. Coordinators hold requests back
    /// for seconds.
    pub request_timeout_ms: u64,
}

impl Config {
    /// The defaults, without slots.
    pub const fn new(local: NodeId, seed: [u8; 32]) -> Self {
        Self { local, seed, slots: 0, prefetch: 1, request_timeout_ms: 25_000 }
    }
}

/// An event that a worker handles.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Input {
    /// The complete list of running jobs, whenever it changes.
    Jobs(Vec<Offer>),
    /// Sets the number of slots.
    Slots(u8),
    /// The outcome of a request.
    Response {
        /// The number of the request.
        id: u64,
        /// The answer.
        outcome: Result<Response, RequestFailed>,
    },
    /// A computation has finished.
    Computed {
        /// The number of the computation.
        compute_id: u64,
        /// The output.
        output: Result<TaskOutput, ComputeFailed>,
    },
    /// Time has passed.
    Tick,
}

/// A job that needs workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The job.
    pub job: JobId,
    /// The node that coordinates it.
    pub coordinator: NodeId,
}

/// No answer: no connection, a time-out, a refusal by the transport, or bytes that do not decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no answer")]
pub struct RequestFailed;
