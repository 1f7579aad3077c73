//! Blocks and the contents that their headers commit to.

use super::{ids::TransactionId, statement::ProposalHeader, transaction::SignedTransaction};
use crate::{
    codec::BoundedVec,
    crypto::{
        hash::{HashContext, hash_of},
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

/// The header of a block. Certificates sign its digest, and every proof starts from it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Header {
    /// The chain.
    pub chain: ChainId,
    /// Number of the block.
    pub height: Height,
    /// The view in which the block was first proposed; never rewritten when it is proposed again.
    pub view: View,
    /// The epoch whose committee decides this block.
    pub epoch: Epoch,
    /// Digest of the parent header.
    pub parent: Digest,
    /// Time of the proposal; later than the parent's.
    pub time_ms: TimeMs,
    /// The node that first proposed the block.
    pub proposer: NodeId,
    /// Root of the list of transactions.
    pub transactions: Digest,
    /// Root of the state after this block.
    pub state: Digest,
    /// Digest of the committee that decides the next block.
    pub next_committee: Digest,
    /// Seed of the leader order in this block's leader term.
    pub seed: Digest,
    /// In the last block of a leader term: the proposer's VRF proof, from which the next seed
    /// follows.
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
    /// The digest that names the block.
    pub fn digest(&self) -> Digest {
        hash_of(HashContext::BlockHeader, self)
    }
}

impl ProposalHeader {
    /// The header of a block that is proposed in a view.
    pub fn of(view: View, block: &Block) -> Self {
        let header = &block.header;
        Self {
            chain: header.chain,
            epoch: header.epoch,
            height: header.height,
            view,
            digest: header.digest(),
        }
    }
}

/// Root of the list of these transactions, as a header carries it.
pub fn transactions_root(transactions: &[SignedTransaction]) -> Digest {
    let leaves: Vec<Digest> = transactions.iter().map(|t| leaf(&t.id())).collect();
    list::root(&leaves)
}

fn leaf(id: &TransactionId) -> Digest {
    list::leaf(&id.0)
}
