//! The inputs of a coordinator.

use crate::{
    scheduler::common::error::ComputeFailed,
    types::NodeId,
    wire::work::{Request, TaskOutput},
};

/// An event that a coordinator handles.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Input {
    /// A worker's message.
    Request {
        /// The host's number of the request, which the reply carries.
        id: u64,
        /// The worker; the transport has proved its identity.
        from: Peer,
        /// The request.
        request: Request,
    },
    /// A worker's connection is lost.
    Disconnected(NodeId),
    /// This host has finished a computation.
    Computed {
        /// The number of the computation.
        compute_id: u64,
        /// The output.
        output: Result<TaskOutput, ComputeFailed>,
    },
    /// The last record is on disk.
    Persisted,
    /// The job is cancelled.
    Cancel,
    /// Time has passed.
    Tick,
}

/// The host's information about a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Identity of the worker.
    pub node: NodeId,
    /// Whether it is a browser rather than a full node.
    pub is_browser: bool,
    /// Round trip, if measured.
    pub rtt_ms: Option<u32>,
    /// Reputation in the ledger; 0 if it has none.
    pub reputation: u64,
}
