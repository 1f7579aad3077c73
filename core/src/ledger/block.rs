//! Blocks and what their headers commit to.

use super::transaction::{SignedTransaction, TransactionId};
use crate::{
    codec::BoundedVec,
    crypto::{
        hash::{Context, hash_of},
        vrf,
    },
    merkle::list,
    types::{ChainId, Digest, Epoch, Height, NodeId, TimeMs, View},
};
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

/// Most transactions in a block.
pub const BLOCK_TRANSACTIONS_MAX: usize = 2048;
/// Largest encoded block, bytes.
pub const BLOCK_LEN_MAX: usize = 2 * 1024 * 1024;

/// What a certificate signs, by its digest, and what every proof starts from.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Header {
    /// The network.
    pub chain: ChainId,
    /// Number of the block.
    pub height: Height,
    /// The view in which the block was first proposed; never rewritten when it is proposed again.
    pub view: View,
    /// The period whose committee decides this block.
    pub epoch: Epoch,
    /// Digest of the header before.
    pub parent: Digest,
    /// When it was proposed; later than the parent's.
    pub time_ms: TimeMs,
    /// Who proposed it first.
    pub proposer: NodeId,
    /// Root of the list of transactions.
    pub transactions: Digest,
    /// Root of the state after this block.
    pub state: Digest,
    /// Digest of the committee that decides the next block.
    pub next_committee: Digest,
    /// Fixes the order of leaders in this block's term.
    pub seed: Digest,
    /// In a term's last block: the proposer's VRF proof, from which the next term's seed follows.
    pub proof: Option<vrf::Proof>,
}

/// A header and its transactions.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Block {
    /// The header.
    pub header: Header,
    /// The transactions, in the order in which they are applied.
    pub transactions: BoundedVec<SignedTransaction, BLOCK_TRANSACTIONS_MAX>,
}

impl Header {
    /// Names the block.
    pub fn digest(&self) -> Digest {
        hash_of(Context::BlockHeader, self)
    }
}

/// The root that a header has for these transactions.
pub fn transactions_root(transactions: &[SignedTransaction]) -> Digest {
    let leaves: Vec<Digest> = transactions.iter().map(|t| leaf(&t.id())).collect();
    list::root(&leaves)
}

fn leaf(id: &TransactionId) -> Digest {
    list::leaf(&id.0)
}
