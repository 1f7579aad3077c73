//! `/tequio/consensus/2`: what the members of a committee say to each other, one way and on one
//! stream for each direction. Nothing is acknowledged: a lost message is sent again by the machine
//! that said it.
//!
//! A vote is signed with the BLS key of its seat, and names the seat by the peer that it came from:
//! nobody passes on the votes of others. Proposals and view changes are signed with Ed25519,
//! because they are shown to third parties: view changes justify a new view, two proposals of one
//! view convict a leader.

pub use crate::ledger::statement::{
    ProposalClaim, SignedClaim, SignedViewChange, SignedVote, ViewChange,
};
use crate::{
    codec::{self, BoundedVec},
    crypto::{NodeKey, Signature, hash::Context},
    ledger::{Block, Certificate, block::BLOCK_LEN_MAX, committee::SEATS_MAX},
    types::{Height, View},
};
use borsh::{BorshDeserialize, BorshSerialize};

/// Largest encoded message, bytes: a block and the view changes of a whole committee.
pub const REQUEST_LEN_MAX: usize = BLOCK_LEN_MAX + 256 * 1024;
/// Largest encoded response, bytes.
pub const RESPONSE_LEN_MAX: usize = 0;

/// One message.
pub type Request = Message;

/// An empty acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Response;

/// What members say.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[allow(clippy::large_enum_variant)]
pub enum Message {
    /// The leader of a view proposes a block.
    Proposal(Proposal),
    /// A member votes.
    Vote(SignedVote),
    /// A member gives up all earlier views.
    ViewChange {
        /// What it says about it.
        change: SignedViewChange,
        /// The block of the certificate in it; only the leader of the new view gets it.
        block: Option<Block>,
    },
    /// Tells a member that is behind which block is final.
    Finalised(Certificate),
    /// The collector shows that a quorum has prepared a block.
    Prepared(Certificate),
}

/// A block for one view of its height.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Proposal {
    /// The view; the header keeps the view in which the block was proposed first.
    pub view: View,
    /// The block.
    pub block: Block,
    /// Why this block may be proposed; none in view 0.
    pub justification: Option<NewView>,
    /// By the leader, over the [`ProposalClaim`].
    pub signature: Signature,
}

/// A quorum's view changes of one view.
pub type NewView = BoundedVec<SignedViewChange, SEATS_MAX>;

impl Message {
    /// The height that it speaks of. Believe it only once the message is verified.
    pub fn height(&self) -> Height {
        match self {
            Self::Proposal(proposal) => proposal.block.header.height,
            Self::Vote(signed) => signed.vote.height,
            Self::ViewChange { change, .. } => change.change.height,
            Self::Finalised(certificate) | Self::Prepared(certificate) => certificate.vote.height,
        }
    }
}

impl Proposal {
    /// Signs as the leader of `view`.
    pub fn sign(view: View, block: Block, justification: Option<NewView>, key: &NodeKey) -> Self {
        let claim = ProposalClaim::of(view, &block);
        Self {
            view,
            block,
            justification,
            signature: key.sign(Context::Proposal, &codec::encode(&claim)),
        }
    }

    /// What convicts, without the block.
    pub fn signed_claim(&self) -> SignedClaim {
        SignedClaim { claim: ProposalClaim::of(self.view, &self.block), signature: self.signature }
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
