//! Two statements that no correct member makes together, with the signatures that show who made
//! them.
//!
//! Evidence authenticates itself: it is judged by the keys of the committee alone, whoever reports
//! it and wherever they got it. What convicts is what the log of votes makes impossible for a
//! member that keeps its log: a second vote or proposal in one view, a second view change to one
//! view, and a view change that hides a block committed before. Refused: statements of other chains
//! and epochs, equal statements, statements of different members. Everything else that a member can
//! do wrong (silence, bad blocks, bad shares) proves nothing to others.

use super::{
    committee::{Certificate, Committee, Phase, Vote},
    statement::{SignedClaim, SignedViewChange, SignedVote},
};
use crate::types::{ChainId, Epoch, NodeId, Unverified};
use borsh::{BorshDeserialize, BorshSerialize};

/// Why a member is convicted.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[allow(clippy::large_enum_variant)]
pub enum Evidence {
    /// Two votes of one phase of one view, for different blocks.
    Votes(SignedVote, SignedVote),
    /// Two proposals of one view, of different blocks.
    Proposals(SignedClaim, SignedClaim),
    /// Two different view changes to one view.
    ViewChanges(SignedViewChange, SignedViewChange),
    /// A commit vote, and a view change to a later view that shows no certificate of its view or a
    /// later one.
    HiddenLock(SignedVote, SignedViewChange),
    /// Two certificates of one phase of one view, for different blocks: whoever signed both is
    /// convicted.
    Certificates(Certificate, Certificate),
}

/// What a conviction was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = false)]
pub enum Crime {
    /// [`Evidence::Votes`] or [`Evidence::Certificates`].
    DoubleVote,
    /// [`Evidence::Proposals`].
    DoubleProposal,
    /// [`Evidence::ViewChanges`].
    DoubleViewChange,
    /// [`Evidence::HiddenLock`].
    HiddenLock,
}

/// Why evidence convicts nobody. The fault is the reporter's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = false)]
pub enum EvidenceError {
    /// Has no seat.
    #[error("the accused has no seat in the committee")]
    NotSeated,
    /// Of another chain or epoch.
    #[error("the statements are of another chain or epoch")]
    Foreign,
    /// A correct member may have made both.
    #[error("the statements do not contradict each other")]
    NoContradiction,
    /// Not both by the accused.
    #[error("a statement is not signed by the accused")]
    BadSignature,
    /// The bonds of that epoch's members are free; who has their keys today, nobody knows.
    #[error("the statements are too old to convict anybody")]
    TooOld,
}

impl Evidence {
    /// What it is evidence of.
    pub fn crime(&self) -> Crime {
        match self {
            Self::Votes(..) | Self::Certificates(..) => Crime::DoubleVote,
            Self::Proposals(..) => Crime::DoubleProposal,
            Self::ViewChanges(..) => Crime::DoubleViewChange,
            Self::HiddenLock(..) => Crime::HiddenLock,
        }
    }

    /// Whether no correct member makes both statements. Says nothing about who has made them.
    pub fn is_contradiction(&self) -> bool {
        match self {
            Self::Votes(first, second) => is_double(&first.vote, &second.vote),
            Self::Certificates(first, second) => is_double(&first.vote, &second.vote),
            Self::Proposals(
                SignedClaim { claim: first, .. },
                SignedClaim { claim: second, .. },
            ) => {
                let place =
                    |c: &super::statement::ProposalClaim| (c.chain, c.epoch, c.height, c.view);
                place(first) == place(second) && first.digest != second.digest
            }
            Self::ViewChanges(first, second) => {
                let (first, second) = (&first.change, &second.change);
                let place = |c: &super::statement::ViewChange| (c.chain, c.epoch, c.height, c.view);
                place(first) == place(second) && first.prepared != second.prepared
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

    /// The epoch of what it says was signed: its committee's keys judge it.
    pub fn epoch(&self) -> Epoch {
        let [(_, epoch), _] = self.places();
        epoch
    }

    /// Judges it: costs up to two pairings.
    pub fn verify(
        &self,
        accused: &NodeId,
        chain: &ChainId,
        committee: &Committee,
    ) -> Result<Crime, EvidenceError> {
        let seat = committee.seat_of(accused).ok_or(EvidenceError::NotSeated)?;
        let key = committee.key(seat).ok_or(EvidenceError::NotSeated)?;
        if self.places().iter().any(|place| *place != (*chain, committee.epoch())) {
            return Err(EvidenceError::Foreign);
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
        if is_signed { Ok(self.crime()) } else { Err(EvidenceError::BadSignature) }
    }

    fn places(&self) -> [(ChainId, Epoch); 2] {
        let vote = |vote: &Vote| (vote.chain, vote.epoch);
        let change = |signed: &SignedViewChange| (signed.change.chain, signed.change.epoch);
        match self {
            Self::Votes(first, second) => [vote(&first.vote), vote(&second.vote)],
            Self::Certificates(first, second) => [vote(&first.vote), vote(&second.vote)],
            Self::Proposals(first, second) => {
                [first, second].map(|signed| (signed.claim.chain, signed.claim.epoch))
            }
            Self::ViewChanges(first, second) => [change(first), change(second)],
            Self::HiddenLock(commit, later) => [vote(&commit.vote), change(later)],
        }
    }
}

fn is_double(first: &Vote, second: &Vote) -> bool {
    let place = |vote: &Vote| (vote.chain, vote.epoch, vote.height, vote.view, vote.phase);
    place(first) == place(second) && first.digest != second.digest
}

#[cfg(test)]
mod tests;
