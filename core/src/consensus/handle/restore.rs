//! Restores a replica at the first start or after a crash. The log holds everything that this node
//! may have sent. The replica resumes there, retransmits it, and sends nothing else in that view.
//!
//! A host may return the records grouped by height. Only the order of records within one height
//! matters.

use crate::{
    consensus::{
        config::Config,
        error::{BlockError, RestoreError},
        head::Head,
        replica::Replica,
        validate,
        wal::WalRecord,
    },
    ledger::{Certificate, Phase},
    types::{Digest, TimeMs},
    wire::consensus::{Proposal, SignedViewChange, SignedVote},
};

impl Replica {
    /// Resumes from the store and the log. Records of final heights are skipped.
    pub fn restore(
        config: Config,
        head: Head,
        wal: impl IntoIterator<Item = WalRecord>,
        now_ms: TimeMs,
    ) -> Result<Self, RestoreError> {
        let mut replica = Self::empty(config, head, now_ms)?;
        for record in wal {
            let height = record.height();
            if height > replica.height_state.height {
                replica.replay_pipelined(record)?;
                continue;
            }
            if height < replica.height_state.height || replica.seat.is_none() {
                continue;
            }
            match record {
                WalRecord::Accepted(proposal) => replica.replay_accepted(proposal)?,
                WalRecord::Locked(certificate) => replica.replay_locked(certificate)?,
                WalRecord::ViewChange(signed) => replica.replay_view_change(signed)?,
            }
        }
        replica.timing.back_off(replica.height_state.view);
        replica.start_timers();
        replica.abandon_orphan().map_err(|_| RestoreError::Damaged)?;
        replica.retransmit();
        Ok(replica)
    }

    /// The next height has at most one vote, for a block whose parent this node has locked.
    fn replay_pipelined(&mut self, record: WalRecord) -> Result<(), RestoreError> {
        let height = record.height();
        let is_next = height == self.height_state.height.saturating_add(1);
        match record {
            WalRecord::Accepted(proposal)
                if is_next && self.may_be_pipelined(height, proposal.view) =>
            {
                if self.seat.is_none() {
                    return Ok(());
                }
                if self.height_state.lock.is_none() {
                    return Err(RestoreError::StoreBehindLog { height });
                }
                if self.pipelined.is_some() {
                    return Err(RestoreError::Damaged);
                }
                self.record_pipelined_vote(proposal, None);
                Ok(())
            }
            _ => Err(RestoreError::StoreBehindLog { height }),
        }
    }

    fn replay_accepted(&mut self, proposal: Proposal) -> Result<(), RestoreError> {
        if proposal.view < self.height_state.view
            || self.height_state.accepted.is_some() && proposal.view == self.height_state.view
        {
            return Err(RestoreError::Damaged);
        }
        if proposal.view > self.height_state.view {
            self.height_state.enter_view(proposal.view, self.now_ms);
        }
        let outcome = match validate::prepared_block(
            &self.head,
            &self.params,
            &mut self.verification_cache,
            &proposal.block,
        ) {
            Ok(outcome) => Some(outcome),
            // The vote was for a pipelined block, and another block than its parent became final.
            Err(BlockError::Parent)
                if self.may_be_pipelined(self.height_state.height, proposal.view) =>
            {
                None
            }
            Err(_) => return Err(RestoreError::Damaged),
        };
        let digest = proposal.block.header.digest();
        self.height_state.insert_candidate(digest, proposal.block.clone(), outcome);
        self.height_state.accepted = Some(digest);
        self.height_state.seen_proposals.insert(proposal.view, proposal.signed_claim());
        self.insert_own_vote(Phase::Prepare, digest);
        if self.leads(proposal.view) {
            self.height_state.proposal = Some(proposal);
        }
        Ok(())
    }

    fn replay_locked(&mut self, certificate: Certificate) -> Result<(), RestoreError> {
        let vote = certificate.vote;
        if vote.view != self.height_state.view || self.height_state.accepted != Some(vote.digest) {
            return Err(RestoreError::Damaged);
        }
        self.height_state.lock = Some(certificate);
        self.height_state.commit_vote_cast = true;
        self.insert_own_vote(Phase::Commit, vote.digest);
        Ok(())
    }

    fn replay_view_change(&mut self, signed: SignedViewChange) -> Result<(), RestoreError> {
        let Some(seat) = self.seat.filter(|seat| self.node_at(*seat) == signed.node) else {
            return Err(RestoreError::Damaged);
        };
        if signed.change.view <= self.height_state.view
            || signed.change.prepared != self.height_state.lock
        {
            return Err(RestoreError::Damaged);
        }
        self.height_state.enter_view(signed.change.view, self.now_ms);
        self.height_state.view_changes.insert(seat, signed);
        Ok(())
    }

    fn insert_own_vote(&mut self, phase: Phase, digest: Digest) {
        let vote = self.vote(self.height_state.view, phase, digest);
        if let (Some(seat), Some(keys)) = (self.seat, &self.keys) {
            let vote_set = self.height_state.vote_sets.entry((vote.view, phase)).or_default();
            vote_set.insert(seat, SignedVote::sign(vote, &keys.vote));
        }
    }
}
