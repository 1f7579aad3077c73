//! Evidence: two statements that no correct member makes together, with the signatures that
//! attribute them to their member.
//!
//! Evidence authenticates itself: only the committee's keys judge it, regardless of reporter and
//! source. A member that keeps its vote log cannot make two statements that convict it: a second
//! vote or proposal in one view, a second view change to one view, or a view change that hides a
//! block committed before. Refused: statements of other chains and epochs, equal statements,
//! statements of different members. All other misbehaviour (silence, bad blocks, bad signature
//! shares) proves nothing to others.

use super::{
    committee::{Certificate, Committee, Phase, Vote},
    statement::{SignedProposalHeader, SignedViewChange, SignedVote},
};
use crate::types::{ChainId, Epoch, NodeId, Unverified};
use borsh::{BorshDeserialize, BorshSerialize};

/// Two contradicting statements of one member.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[allow(clippy::large_enum_variant)]
pub enum Evidence {
    /// Two votes of one phase of one view, for different blocks.
    Votes(SignedVote, SignedVote),
    /// Two proposals of one view, of different blocks.
    Proposals(SignedProposalHeader, SignedProposalHeader),
    /// Two different view changes to one view.
    ViewChanges(SignedViewChange, SignedViewChange),
    /// A commit vote, and a view change to a later view without a certificate of the vote's view or
    /// a later one.
    HiddenLock(SignedVote, SignedViewChange),
    /// Two certificates of one phase of one view, for different blocks: every member that signed
    /// both is convicted.
    Certificates(Certificate, Certificate),
}

/// The reason why a member was convicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = false)]
pub enum ConvictionReason {
    /// [`Evidence::Votes`] or [`Evidence::Certificates`].
    DoubleVote,
    /// [`Evidence::Proposals`].
    DoubleProposal,
    /// [`Evidence::ViewChanges`].
    DoubleViewChange,
    /// [`Evidence::HiddenLock`].
    HiddenLock,
}

/// The reason why evidence convicts no member. The reporter is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = false)]
pub enum EvidenceError {
    /// The accused has no seat.
    #[error("the accused has no seat in the committee")]
    NotSeated,
    /// The statements are of another chain or epoch.
    #[error("the statements are of another chain or epoch")]
    WrongChainOrEpoch,
    /// A correct member may have made both.
    #[error("the statements do not contradict each other")]
    NoContradiction,
    /// A statement is not signed by the accused.
    #[error("the accused did not sign one of the statements")]
    BadSignature,
    /// The bonds of that epoch's members are released, and their keys may have leaked since.
    #[error("the statements are too old to convict a member")]
    TooOld,
}

impl Evidence {
    /// The offence that the evidence shows.
    pub fn conviction_reason(&self) -> ConvictionReason {
        match self {
            Self::Votes(..) | Self::Certificates(..) => ConvictionReason::DoubleVote,
            Self::Proposals(..) => ConvictionReason::DoubleProposal,
            Self::ViewChanges(..) => ConvictionReason::DoubleViewChange,
            Self::HiddenLock(..) => ConvictionReason::HiddenLock,
        }
    }

    /// Whether no correct member makes both statements. Does not check the signatures.
    pub fn is_contradiction(&self) -> bool {
        match self {
            Self::Votes(first, second) => is_equivocation(&first.vote, &second.vote),
            Self::Certificates(first, second) => is_equivocation(&first.vote, &second.vote),
            Self::Proposals(
                SignedProposalHeader { header: first, .. },
                SignedProposalHeader { header: second, .. },
            ) => {
                let position =
                    |c: &super::statement::ProposalHeader| (c.chain, c.epoch, c.height, c.view);
                position(first) == position(second) && first.digest != second.digest
            }
            Self::ViewChanges(first, second) => {
                let (first, second) = (&first.change, &second.change);
                let position =
                    |c: &super::statement::ViewChange| (c.chain, c.epoch, c.height, c.view);
                position(first) == position(second) && first.prepared != second.prepared
            }
            Self::HiddenLock(commit, change) => {
                let (vote, change) = (&commit.vote, &change.change);
                let same = (vote.chain, vote.epoch, vote.height)
                    == (change.chain, change.epoch, change.height);
                same && vote.phase == Phase::Commit
                    && change.view > vote.view
                    && change.prepared.as_ref().is_none_or(|c| c.vote.view < vote.view)
            }
        }
    }

    /// The epoch of the statements; its committee's keys judge them.
    pub fn epoch(&self) -> Epoch {
        let [(_, epoch), _] = self.chains_and_epochs();
        epoch
    }

    /// Verifies the evidence. Costs up to two pairings.
    pub fn verify(
        &self,
        accused: &NodeId,
        chain: &ChainId,
        committee: &Committee,
    ) -> Result<ConvictionReason, EvidenceError> {
        let seat = committee.seat_of(accused).ok_or(EvidenceError::NotSeated)?;
        let key = committee.key(seat).ok_or(EvidenceError::NotSeated)?;
        if self.chains_and_epochs().iter().any(|pair| *pair != (*chain, committee.epoch())) {
            return Err(EvidenceError::WrongChainOrEpoch);
        }
        if !self.is_contradiction() {
            return Err(EvidenceError::NoContradiction);
        }
        let voted = |signed: &SignedVote| signed.verify(key).is_ok();
        let changed = |signed: &SignedViewChange| {
            signed.node == *accused && signed.verify_signature().is_ok()
        };
        let certified = |certificate: &Certificate| {
            let phase = certificate.vote.phase;
            certificate.seats().any(|signer| signer == seat)
                && Unverified::new(certificate.clone()).verify(chain, phase, committee).is_ok()
        };
        let is_signed = match self {
            Self::Votes(first, second) => voted(first) && voted(second),
            Self::Proposals(first, second) => {
                first.verify(accused).is_ok() && second.verify(accused).is_ok()
            }
            Self::ViewChanges(first, second) => changed(first) && changed(second),
            Self::HiddenLock(commit, change) => changed(change) && voted(commit),
            Self::Certificates(first, second) => certified(first) && certified(second),
        };
        if is_signed { Ok(self.conviction_reason()) } else { Err(EvidenceError::BadSignature) }
    }

    fn chains_and_epochs(&self) -> [(ChainId, Epoch); 2] {
        let vote = |vote: &Vote| (vote.chain, vote.epoch);
        let change = |signed: &SignedViewChange| (signed.change.chain, signed.change.epoch);
        match self {
            Self::Votes(first, second) => [vote(&first.vote), vote(&second.vote)],
            Self::Certificates(first, second) => [vote(&first.vote), vote(&second.vote)],
            Self::Proposals(first, second) => {
                [first, second].map(|signed| (signed.header.chain, signed.header.epoch))
            }
            Self::ViewChanges(first, second) => [change(first), change(second)],
            Self::HiddenLock(commit, later) => [vote(&commit.vote), change(later)],
        }
    }
}

fn is_equivocation(first: &Vote, second: &Vote) -> bool {
    let position = |vote: &Vote| (vote.chain, vote.epoch, vote.height, vote.view, vote.phase);
    position(first) == position(second) && first.digest != second.digest
}

#[cfg(test)]
mod tests;
