//! Write-ahead log records. A replica writes them before it sends, so that after a crash it never
//! contradicts itself.
//!
//! Records are appended in order. Those of a height may be dropped once its block is stored.
//! Replaying them restores the last view entered, the proposal accepted in it, and the newest lock.

use crate::{
    ledger::Certificate,
    types::Height,
    wire::consensus::{Proposal, REQUEST_LEN_MAX, SignedViewChange},
};
use borsh::{BorshDeserialize, BorshSerialize};

/// A step that must survive a crash.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[allow(clippy::large_enum_variant)]
pub enum WalRecord {
    /// This proposal, of this node or of another, gets this node's prepare vote in its view.
    Accepted(Proposal),
    /// A quorum has prepared the accepted block. It gets the commit vote, and later view changes
    /// carry the certificate.
    Locked(Certificate),
    /// This node votes no more in the views below.
    ViewChange(SignedViewChange),
}

impl WalRecord {
    /// Largest encoded record, bytes.
    pub const LEN_MAX: usize = REQUEST_LEN_MAX + 1024;

    /// Height of the record.
    pub fn height(&self) -> Height {
        match self {
            Self::Accepted(proposal) => proposal.block.header.height,
            Self::Locked(certificate) => certificate.vote.height,
            Self::ViewChange(signed) => signed.change.height,
        }
    }

    #[cfg(test)]
    pub(super) fn sample() -> Self {
        use crate::{crypto::NodeKey, types::ChainId, wire::consensus::ViewChange};
        let change =
            ViewChange { chain: ChainId([0; 32]), epoch: 0, height: 1, view: 1, prepared: None };
        Self::ViewChange(change.sign(&NodeKey::from_bytes(&[1; 32])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn decoding_is_total_and_canonical(kind in 0u8..3, mut bytes: Vec<u8>) {
            bytes.insert(0, kind);
            if let Ok(record) = codec::decode::<WalRecord>(&bytes, WalRecord::LEN_MAX) {
                prop_assert_eq!(codec::encode(&record), bytes);
            }
        }
    }
}
