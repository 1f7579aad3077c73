//! `/tequio/consensus/2`: messages among the members of a committee, one way and on one stream for
//! each direction. Nothing is acknowledged: the sender retransmits lost messages.
//!
//! A vote is signed with the BLS key of its seat. The sending peer identifies the seat, so members
//! do not forward votes of others. Proposals and view changes are signed with Ed25519, because
//! third parties verify them: view changes justify a new view, and two proposals of one view
//! convict a leader.

pub use crate::ledger::statement::{
    ProposalHeader, SignedProposalHeader, SignedViewChange, SignedVote, ViewChange,
};
use crate::{
    codec::{self, BoundedVec},
    crypto::{NodeKey, Signature, hash::HashContext},
    ledger::{Block, Certificate, block::BLOCK_LEN_MAX, committee::SEATS_MAX},
    types::{Height, View},
};
use borsh::{BorshDeserialize, BorshSerialize};

/// Largest encoded message, bytes: a block and the view changes of a whole committee.
pub const REQUEST_LEN_MAX: usize = BLOCK_LEN_MAX + 256 * 1024;
/// Largest encoded response, bytes.
pub const RESPONSE_LEN_MAX: usize = 0;

/// A message, which is the only request of this protocol.
pub type Request = Message;

/// An empty acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Response;

/// A message among committee members.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[allow(clippy::large_enum_variant)]
pub enum Message {
    /// The leader of a view proposes a block.
    Proposal(Proposal),
    /// A member votes.
    Vote(SignedVote),
    /// A member abandons all earlier views.
    ViewChange {
        /// The signed view change.
        change: SignedViewChange,
        /// The block of its certificate. Only the leader of the new view gets it.
        block: Option<Block>,
    },
    /// Shows a member that lags behind which block is final.
    CommitCertificate(Certificate),
    /// The collector shows that a quorum has prepared a block.
    PrepareCertificate(Certificate),
}

/// A block for one view of its height.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Proposal {
    /// The view. The header keeps the view in which the block was first proposed.
    pub view: View,
    /// The block.
    pub block: Block,
    /// The view changes that justify this proposal; none in view 0.
    pub justification: Option<NewView>,
    /// The leader's signature over the [`ProposalHeader`].
    pub signature: Signature,
}

/// A quorum's view changes of one view.
pub type NewView = BoundedVec<SignedViewChange, SEATS_MAX>;

impl Message {
    /// The height of the message. Do not rely on it before the message is verified.
    pub fn height(&self) -> Height {
        match self {
            Self::Proposal(proposal) => proposal.block.header.height,
            Self::Vote(signed) => signed.vote.height,
            Self::ViewChange { change, .. } => change.change.height,
            Self::CommitCertificate(certificate) | Self::PrepareCertificate(certificate) => {
                certificate.vote.height
            }
        }
    }
}

impl Proposal {
    /// Signs a proposal as the leader of `view`.
    pub fn sign(view: View, block: Block, justification: Option<NewView>, key: &NodeKey) -> Self {
        let header = ProposalHeader::of(view, &block);
        Self {
            view,
            block,
            justification,
            signature: key.sign(HashContext::Proposal, &codec::encode(&header)),
        }
    }

    /// The signed header, which convicts an equivocating leader without the block.
    pub fn signed_claim(&self) -> SignedProposalHeader {
        SignedProposalHeader {
            header: ProposalHeader::of(self.view, &self.block),
            signature: self.signature,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        crypto::bls,
        ledger::{Phase, Vote},
        types::{ChainId, Digest},
    };
    use proptest::prelude::*;

    fn vote() -> Vote {
        Vote {
            chain: ChainId([1; 32]),
            epoch: 0,
            height: 4,
            view: 2,
            phase: Phase::Prepare,
            digest: Digest([3; 32]),
        }
    }

    #[test]
    fn signatures_bind_every_field() {
        let (node, secret) = (NodeKey::from_bytes(&[1; 32]), bls::SecretKey::from_seed(&[1; 32]));
        let certificate =
            Certificate { vote: vote(), signers: [1; 32], signature: bls::Signature([0; 48]) };
        let change = ViewChange {
            chain: vote().chain,
            epoch: 0,
            height: 4,
            view: 3,
            prepared: Some(certificate),
        };
        let signed = change.sign(&node);
        assert!(signed.verify_signature().is_ok());
        let bytes = codec::encode(&signed);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let Ok(changed) = codec::decode::<SignedViewChange>(&changed, 4096) else { continue };
            assert!(changed.verify_signature().is_err(), "byte {at}");
        }
        let signed = SignedVote::sign(vote(), &secret);
        let key = secret.public().decode().unwrap();
        assert!(signed.verify(&key).is_ok());
        let later = SignedVote { vote: Vote { view: 3, ..vote() }, ..signed };
        assert!(later.verify(&key).is_err());
    }

    #[test]
    fn a_response_is_empty() {
        assert!(codec::encode(&Response).is_empty());
        assert_eq!(codec::decode::<Response>(&[], RESPONSE_LEN_MAX), Ok(Response));
    }

    proptest! {
        #[test]
        fn decoding_is_total_and_canonical(kind in 0u8..5, mut bytes: Vec<u8>) {
            bytes.insert(0, kind);
            if let Ok(message) = codec::decode::<Message>(&bytes, REQUEST_LEN_MAX) {
                prop_assert_eq!(codec::encode(&message), bytes);
            }
        }
    }
}
