//! What a worker is told.

use crate::{
    ledger::job::JobId,
    scheduler::coordinator::ComputeFailed,
    types::NodeId,
    wire::work::{Product, Response},
};
use alloc::vec::Vec;

/// How a worker works.
#[derive(Clone, Debug)]
pub struct Config {
    /// This host: its commitments are bound to it.
    pub local: NodeId,
    /// Secret and fresh from the operating system: salts come from it.
    pub seed: [u8; 32],
    /// Lanes computed side by side; 0 if it does not contribute.
    pub slots: u8,
    /// Lanes fetched ahead, so that the next is there when one is done.
    pub prefetch: u8,
    /// After this a request is taken for lost, milliseconds. Coordinators hold questions back for
    /// seconds.
    pub request_timeout_ms: u64,
}

impl Config {
    /// The defaults; without a slot it does nothing.
    pub const fn new(local: NodeId, seed: [u8; 32]) -> Self {
        Self { local, seed, slots: 0, prefetch: 1, request_timeout_ms: 25_000 }
    }
}

/// What a worker is told.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Input {
    /// The jobs that run, all of them, whenever this changes.
    Jobs(Vec<Offer>),
    /// How many lanes to compute side by side from now on.
    Slots(u8),
    /// What became of a request.
    Response {
        /// Its number.
        id: u64,
        /// The answer.
        outcome: Result<Response, Failed>,
    },
    /// Something has been computed.
    Computed {
        /// What.
        unit: u64,
        /// What it came to.
        product: Result<Product, ComputeFailed>,
    },
    /// Time has passed.
    Tick,
}

/// A job that needs workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Which.
    pub job: JobId,
    /// Whom to ask.
    pub coordinator: NodeId,
}

/// No answer: no connection, a time-out, a refusal by the transport, or bytes that do not decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no answer")]
pub struct Failed;
