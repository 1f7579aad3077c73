//! Starting, for the first time or after a crash. What the log has is what this node may have said: it
//! takes up exactly there, says it again, and says nothing else in that view.

use super::{
    error::RestoreError,
    replica::{Config, Head, Replica},
    validate,
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
                return Err(RestoreError::StoreBehindLog { height });
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
        replica.say_again();
        Ok(replica)
    }

    fn replay_accepted(&mut self, proposal: Proposal) -> Result<(), RestoreError> {
        if proposal.view < self.instance.view || self.instance.accepted.is_some() && proposal.view == self.instance.view
        {
            return Err(RestoreError::Damaged);
        }
        if proposal.view > self.instance.view {
            self.instance.enter(proposal.view, self.now_ms);
        }
        let outcome = validate::again(&self.head, &self.params, &mut self.checked, &proposal.block)
            .map_err(|_| RestoreError::Damaged)?;
        let digest = proposal.block.header.digest();
        self.instance.hold(digest, proposal.block.clone(), Some(outcome));
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
        if signed.change.view <= self.instance.view || signed.change.prepared != self.instance.lock {
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
