//! `/tequio/sync/3`: full nodes fetch final blocks, each with its commit certificate. If that takes
//! too long, or if no peer has the blocks any more, they fetch the state of a final block in proved
//! chunks.

use super::light::FinalHeader;
use crate::{
    codec::BoundedVec,
    ledger::{Block, Certificate, state::StateChunk},
    types::{Digest, Height},
};
use borsh::{BorshDeserialize, BorshSerialize};

/// Largest encoded request, bytes.
pub const REQUEST_LEN_MAX: usize = 64;
/// Largest encoded response, bytes: the sender stops adding blocks before it.
pub const RESPONSE_LEN_MAX: usize = 8 * 1024 * 1024;
/// Most blocks at once.
pub const BLOCKS_MAX: usize = 256;
/// Most snapshots that a node offers.
pub const SNAPSHOTS_MAX: usize = 8;

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Request {
    /// Requests final blocks.
    Blocks {
        /// The first missing height.
        from: Height,
        /// Most blocks to send.
        count: u16,
    },
    /// Requests the list of available snapshots.
    Snapshots,
    /// Requests a chunk of a snapshot.
    Chunk {
        /// The height of the snapshot's header.
        height: Height,
        /// Where the chunk begins: zero, or the end of the previous chunk.
        from: Digest,
    },
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[allow(clippy::large_enum_variant)]
pub enum Response {
    /// Answer to [`Request::Blocks`].
    Blocks(Blocks),
    /// Answer to [`Request::Snapshots`].
    Snapshots(Snapshots),
    /// Answer to [`Request::Chunk`].
    Chunk(StateChunk),
    /// Answer to [`Request::Chunk`]: the node does not have that snapshot, or has dropped it.
    Gone,
}

/// Final blocks without gaps, from the requested height on. Empty if the node has none.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Blocks {
    /// The sender's final height.
    pub head: Height,
    /// The lowest block that the sender still has, or will have.
    pub lowest: Height,
    /// The blocks.
    pub blocks: BoundedVec<(Block, Certificate), BLOCKS_MAX>,
}

/// The snapshots that a node offers.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Snapshots {
    /// The sender's final height.
    pub head: Height,
    /// The lowest block that the sender still has, or will have.
    pub lowest: Height,
    /// The final headers of the snapshots, ascending.
    pub headers: BoundedVec<FinalHeader, SNAPSHOTS_MAX>,
}
