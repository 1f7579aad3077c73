//! The statements that a committee member signs about the decision of a height. Consensus carries
//! them; the ledger judges two that convict their member, see [`super::evidence`].

use super::committee::{Certificate, Vote};
use crate::{
    codec,
    crypto::{NodeKey, Signature, bls, hash::HashContext, node_key::BadSignature},
    types::{ChainId, Digest, Epoch, Height, NodeId, View},
};
use borsh::{BorshDeserialize, BorshSerialize};

/// The content of the leader's signature on a proposal. Two in one view with different digests
/// convict the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ProposalHeader {
    /// The chain.
    pub chain: ChainId,
    /// The epoch.
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
pub struct SignedProposalHeader {
    /// The signed header.
    pub header: ProposalHeader,
    /// Signature of the leader.
    pub signature: Signature,
}

/// A vote with its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SignedVote {
    /// The vote.
    pub vote: Vote,
    /// Signature of the sender's seat.
    pub signature: bls::Signature,
}

/// States that its member has left all views below this one. Carries the certificate of the newest
/// block that the member has seen prepared by a quorum.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ViewChange {
    /// The chain.
    pub chain: ChainId,
    /// The epoch.
    pub epoch: Epoch,
    /// The height.
    pub height: Height,
    /// The view being entered; above 0.
    pub view: View,
    /// Prepare certificate of the newest earlier view, if there is one.
    pub prepared: Option<Certificate>,
}

/// A view change with its member's signature.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SignedViewChange {
    /// The signed view change.
    pub change: ViewChange,
    /// The member.
    pub node: NodeId,
    /// Signature of the member.
    pub signature: Signature,
}

impl SignedProposalHeader {
    /// Checks that `leader` signed it.
    pub fn verify(&self, leader: &NodeId) -> Result<(), BadSignature> {
        leader.verify(HashContext::Proposal, &codec::encode(&self.header), &self.signature)
    }
}

impl SignedVote {
    /// Signs with the key of a seat.
    pub fn sign(vote: Vote, key: &bls::SecretKey) -> Self {
        Self { vote, signature: key.sign(&vote.message()) }
    }

    /// Checks one vote alone. Costs a pairing: used only to assign blame.
    pub fn verify(&self, key: &bls::PublicKey) -> Result<(), bls::BlsError> {
        bls::verify_aggregate([key], &self.vote.message(), &self.signature)
    }
}

impl ViewChange {
    /// Signs as a member.
    pub fn sign(self, key: &NodeKey) -> SignedViewChange {
        let signature = key.sign(HashContext::ViewChange, &codec::encode(&self));
        SignedViewChange { change: self, node: key.id(), signature }
    }
}

impl SignedViewChange {
    /// Checks the member's signature, but not the certificate inside.
    pub fn verify_signature(&self) -> Result<(), BadSignature> {
        self.node.verify(HashContext::ViewChange, &codec::encode(&self.change), &self.signature)
    }
}
