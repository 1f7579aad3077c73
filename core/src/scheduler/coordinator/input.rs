//! What a coordinator is told.

use crate::{
    types::NodeId,
    wire::work::{Product, Request},
};

/// What a coordinator is told.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Input {
    /// A worker's message.
    Request {
        /// The host's number for it: the reply carries it.
        id: u64,
        /// From whom; the transport has proved the identity.
        from: Peer,
        /// What it says.
        request: Request,
    },
    /// A worker's connection is lost.
    Gone(NodeId),
    /// This host has computed something.
    Computed {
        /// Which of the things it was asked for.
        unit: u64,
        /// What it came to.
        product: Result<Product, ComputeFailed>,
    },
    /// The last record handed out is on disk.
    Persisted,
    /// The job is given up.
    Cancel,
    /// Time has passed.
    Tick,
}

/// What the host knows of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Who.
    pub node: NodeId,
    /// Whether it is a browser rather than a full node.
    pub guest: bool,
    /// Round trip, if measured.
    pub rtt_ms: Option<u32>,
    /// Reputation in the ledger; 0 if it has none.
    pub reputation: u64,
}

/// The host could not compute what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the computation failed")]
pub struct ComputeFailed;
