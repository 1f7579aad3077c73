//! `/tequio/sync/3`: full nodes catch up on final blocks, each with the certificate that makes it
//! final; or, where that would take too long or nobody has the blocks any more, on the state of a
//! final block, in proved chunks.

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

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Request {
    /// Asks for final blocks.
    Blocks {
        /// The first height wanted.
        from: Height,
        /// How many at most.
        count: u16,
    },
    /// Asks which states can be had whole.
    Snapshots,
    /// Asks for a part of one.
    Chunk {
        /// The height of its header.
        height: Height,
        /// Where the part begins: zero, or where the last one ended.
        from: Digest,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[allow(clippy::large_enum_variant)]
pub enum Response {
    /// To [`Request::Blocks`].
    Blocks(Blocks),
    /// To [`Request::Snapshots`].
    Snapshots(Snapshots),
    /// To [`Request::Chunk`].
    Chunk(StateChunk),
    /// To [`Request::Chunk`]: that snapshot is not here, or no longer.
    Gone,
}

/// Final blocks without gaps, from the asked height on; none where there are none.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Blocks {
    /// The sender's final height.
    pub head: Height,
    /// The lowest block that the sender still has, or will have.
    pub lowest: Height,
    /// The blocks.
    pub blocks: BoundedVec<(Block, Certificate), BLOCKS_MAX>,
}

/// The states that a node keeps for others to fetch.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Snapshots {
    /// The sender's final height.
    pub head: Height,
    /// The lowest block that the sender still has, or will have.
    pub lowest: Height,
    /// The final headers whose states they are, ascending.
    pub headers: BoundedVec<FinalHeader, SNAPSHOTS_MAX>,
}
