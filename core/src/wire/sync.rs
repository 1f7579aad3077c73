//! `/tequio/sync/1`: full nodes catch up on final blocks, each with the certificate that makes it final.

use crate::{
    codec::BoundedVec,
    ledger::{Block, Certificate},
    types::Height,
};
use borsh::{BorshDeserialize, BorshSerialize};

/// Largest encoded request, bytes.
pub const REQUEST_LEN_MAX: usize = 64;
/// Largest encoded response, bytes: the sender stops adding blocks before it.
pub const RESPONSE_LEN_MAX: usize = 8 * 1024 * 1024;
/// Most blocks at once.
pub const BLOCKS_MAX: usize = 256;

/// Asks for final blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Request {
    /// The first height wanted.
    pub from: Height,
    /// How many at most.
    pub count: u16,
}

/// Final blocks without gaps, from the asked height on; empty where there are none.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Response {
    /// The sender's final height.
    pub head: Height,
    /// The blocks.
    pub blocks: BoundedVec<(Block, Certificate), BLOCKS_MAX>,
}
