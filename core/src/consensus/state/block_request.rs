//! The request to the mempool for a pipelined block.

use crate::types::Digest;

/// State of the request to the mempool for a pipelined block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::consensus) enum BlockRequest {
    /// Not requested yet, or new transactions have arrived since the last request.
    #[default]
    NotRequested,
    /// Requested for a block with this parent.
    Requested(Digest),
    /// The mempool had no transactions.
    Empty,
    /// This host was busy: the height waits for the decision of the present one.
    Busy,
}
