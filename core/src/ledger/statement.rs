//! What a member of the committee signs about the decision of a height. Consensus carries these
//! statements; the ledger judges them where two of them convict their member, see
//! [`super::evidence`].

use super::{
    block::Block,
    committee::{Certificate, Vote},
};
use crate::{
    codec,
    crypto::{NodeKey, Signature, bls, hash::Context, node_key::BadSignature},
    types::{ChainId, Digest, Epoch, Height, NodeId, View},
};
use borsh::{BorshDeserialize, BorshSerialize};

/// What the leader's signature on a proposal covers. Two of one view with different digests convict
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ProposalClaim {
    /// The network.
    pub chain: ChainId,
    /// The period.
    pub epoch: Epoch,
    /// The height.
    pub height: Height,
    /// The view.
    pub view: View,
    /// Digest of the block's header.
    pub digest: Digest,
}

/// A proposal without its block, for evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SignedClaim {
    /// What was signed.
    pub claim: ProposalClaim,
    /// By the leader.
    pub signature: Signature,
}

/// A vote as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SignedVote {
    /// What is voted on.
    pub vote: Vote,
    /// By the seat of the sender.
    pub signature: bls::Signature,
}

/// "I have left all views below this one, and this is the newest block that I know a quorum to have
/// prepared."
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ViewChange {
    /// The network.
    pub chain: ChainId,
    /// The period.
    pub epoch: Epoch,
    /// The height.
    pub height: Height,
    /// The view that is entered; above 0.
    pub view: View,
    /// Prepare certificate of the newest earlier view, if there is one.
    pub prepared: Option<Certificate>,
}

/// A view change with its member's signature.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SignedViewChange {
    /// What is signed.
    pub change: ViewChange,
    /// Who.
    pub node: NodeId,
    /// By that member.
    pub signature: Signature,
}

impl ProposalClaim {
    /// Of a block that is proposed in a view.
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

impl SignedClaim {
    /// Checks that `leader` signed it.
    pub fn verify(&self, leader: &NodeId) -> Result<(), BadSignature> {
        leader.verify(Context::Proposal, &codec::encode(&self.claim), &self.signature)
    }
}

impl SignedVote {
    /// Signs with the key of a seat.
    pub fn sign(vote: Vote, key: &bls::SecretKey) -> Self {
        Self { vote, signature: key.sign(&vote.message()) }
    }

    /// Checks one vote by itself. Costs a pairing: done only to assign blame.
    pub fn verify(&self, key: &bls::PublicKey) -> Result<(), bls::BlsError> {
        bls::verify_aggregate([key], &self.vote.message(), &self.signature)
    }
}

impl ViewChange {
    /// Signs as a member.
    pub fn sign(self, key: &NodeKey) -> SignedViewChange {
        let signature = key.sign(Context::ViewChange, &codec::encode(&self));
        SignedViewChange { change: self, node: key.id(), signature }
    }
}

impl SignedViewChange {
    /// Checks the member's signature, and nothing of what it says.
    pub fn verify_signature(&self) -> Result<(), BadSignature> {
        self.node.verify(Context::ViewChange, &codec::encode(&self.change), &self.signature)
    }
}
