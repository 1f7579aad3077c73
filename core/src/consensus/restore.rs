//! Starting, for the first time or after a crash. What the log has is what this node may have said:
//! it takes up exactly there, says it again, and says nothing else in that view.
//!
//! A host may give the records by height, and only those of one height in the order in which they
//! were written.

use super::{
    error::RestoreError,
    replica::{Config, Head, Replica},
    validate::{self, BlockError},
    wal::WalRecord,
};
use crate::{
    ledger::{Certificate, Phase},
    types::{Digest, TimeMs},
    wire::consensus::{Proposal, SignedViewChange, SignedVote},
};

impl Replica {
    /// Takes up where the store and the log end. Records of final heights are passed over.
    pub fn restore(
        config: Config,
        head: Head,
        wal: impl IntoIterator<Item = WalRecord>,
        now_ms: TimeMs,
    ) -> Result<Self, RestoreError> {
        let mut replica = Self::empty(config, head, now_ms)?;
        for record in wal {
            let height = record.height();
            if height > replica.instance.height {
                replica.replay_ahead(record)?;
                continue;
            }
            if height < replica.instance.height || replica.seat.is_none() {
                continue;
            }
            match record {
                WalRecord::Accepted(proposal) => replica.replay_accepted(proposal)?,
                WalRecord::Locked(certificate) => replica.replay_locked(certificate)?,
                WalRecord::ViewChange(signed) => replica.replay_view_change(signed)?,
            }
        }
        replica.timing.back_off(replica.instance.view);
        replica.start_timers();
        replica.leave_orphan().map_err(|_| RestoreError::Damaged)?;
        replica.say_again();
        Ok(replica)
    }

    /// Of the next height there can be one vote, for a block upon one that this node has locked.
    fn replay_ahead(&mut self, record: WalRecord) -> Result<(), RestoreError> {
        let height = record.height();
        let is_next = height == self.instance.height.saturating_add(1);
        match record {
            WalRecord::Accepted(proposal)
                if is_next && self.may_be_ahead(height, proposal.view) =>
            {
                if self.seat.is_none() {
                    return Ok(());
                }
                if self.instance.lock.is_none() {
                    return Err(RestoreError::StoreBehindLog { height });
                }
                if self.ahead.is_some() {
                    return Err(RestoreError::Damaged);
                }
                self.vote_ahead(proposal, None);
                Ok(())
            }
            _ => Err(RestoreError::StoreBehindLog { height }),
        }
    }

    fn replay_accepted(&mut self, proposal: Proposal) -> Result<(), RestoreError> {
        if proposal.view < self.instance.view
            || self.instance.accepted.is_some() && proposal.view == self.instance.view
        {
            return Err(RestoreError::Damaged);
        }
        if proposal.view > self.instance.view {
            self.instance.enter(proposal.view, self.now_ms);
        }
        let outcome = match validate::again(
            &self.head,
            &self.params,
            &mut self.remembered,
            &proposal.block,
        ) {
            Ok(outcome) => Some(outcome),
            // It was voted for ahead of a decision that went the other way.
            Err(BlockError::Parent) if self.may_be_ahead(self.instance.height, proposal.view) => {
                None
            }
            Err(_) => return Err(RestoreError::Damaged),
        };
        let digest = proposal.block.header.digest();
        self.instance.hold(digest, proposal.block.clone(), outcome);
        self.instance.accepted = Some(digest);
        self.instance.seen.insert(proposal.view, proposal.signed_claim());
        self.enter_own_vote(Phase::Prepare, digest);
        if self.leads(proposal.view) {
            self.instance.proposal = Some(proposal);
        }
        Ok(())
    }

    fn replay_locked(&mut self, certificate: Certificate) -> Result<(), RestoreError> {
        let vote = certificate.vote;
        if vote.view != self.instance.view || self.instance.accepted != Some(vote.digest) {
            return Err(RestoreError::Damaged);
        }
        self.instance.lock = Some(certificate);
        self.instance.committed = true;
        self.enter_own_vote(Phase::Commit, vote.digest);
        Ok(())
    }

    fn replay_view_change(&mut self, signed: SignedViewChange) -> Result<(), RestoreError> {
        let Some(seat) = self.seat.filter(|seat| self.node_at(*seat) == signed.node) else {
            return Err(RestoreError::Damaged);
        };
        if signed.change.view <= self.instance.view || signed.change.prepared != self.instance.lock
        {
            return Err(RestoreError::Damaged);
        }
        self.instance.enter(signed.change.view, self.now_ms);
        self.instance.changes.insert(seat, signed);
        Ok(())
    }

    fn enter_own_vote(&mut self, phase: Phase, digest: Digest) {
        let vote = self.vote(self.instance.view, phase, digest);
        if let (Some(seat), Some(keys)) = (self.seat, &self.keys) {
            let ballot = self.instance.ballots.entry((vote.view, phase)).or_default();
            ballot.enter(seat, SignedVote::sign(vote, &keys.vote));
        }
    }
}
