//! Timers: due proposals, view timeouts and retransmissions.

use crate::{
    consensus::{
        error::Error,
        output::{Output, Recipient},
        replica::Replica,
    },
    ledger::Phase,
    types::TimeMs,
    wire::consensus::{Message, SignedVote},
};

impl Replica {
    /// Runs all due timers. Called after every input.
    pub(in crate::consensus) fn run_timers(&mut self) -> Result<(), Error> {
        if self.height_state.expires_ms.is_some_and(|at| at <= self.now_ms) && self.seat.is_some() {
            self.change_view(self.height_state.view.saturating_add(1))?;
        }
        if self.height_state.resend_ms.is_some_and(|at| at <= self.now_ms) {
            if self.outbox.is_idle() {
                self.retransmit();
            }
            let resends = self.height_state.resends.saturating_add(1);
            self.height_state.resends = resends;
            self.height_state.resend_ms =
                Some(self.now_ms.saturating_add(self.timing.resend_ms(resends)));
        }
        let timeout_ms = self.timing.resend_ms(0);
        if let Some(peer) =
            self.catch_up.next_request(self.height_state.height, self.now_ms, timeout_ms)
        {
            self.outbox.push(Output::SyncNeeded { from: self.height_state.height, peer });
        }
        self.try_propose_pipelined();
        self.try_propose()
    }

    pub(in crate::consensus) fn next_deadline(&self) -> Option<TimeMs> {
        let height_state = &self.height_state;
        let may_propose = height_state.view == 0
            && height_state.accepted.is_none()
            && !height_state.is_building
            && self.leads(0);
        let propose = may_propose.then(|| self.propose_at_ms());
        let request = self.catch_up.deadline(height_state.height, self.timing.resend_ms(0));
        let expires = height_state.expires_ms.filter(|_| self.seat.is_some());
        [propose, self.propose_pipelined_at_ms(), request, expires, height_state.resend_ms]
            .into_iter()
            .flatten()
            .min()
    }

    /// Starts the timers of a height. A block is due after the longest interval.
    pub(in crate::consensus) fn start_timers(&mut self) {
        let height_state = &self.height_state;
        if height_state.accepted.is_some() || height_state.view > 0 {
            self.restart_retransmission();
            if self.height_state.accepted.is_some() {
                self.height_state.expires_ms =
                    Some(self.now_ms.saturating_add(self.timing.view_timeout_ms()));
            }
            return self.start_view_timer();
        }
        let due_ms = height_state.entered_ms.saturating_add(self.params.block_interval_ms_max);
        self.height_state.expires_ms = Some(due_ms.saturating_add(self.timing.view_timeout_ms()));
    }

    /// Restarts the retransmission timer after a new message.
    pub(in crate::consensus) fn restart_retransmission(&mut self) {
        if self.seat.is_some() {
            self.height_state.resends = 0;
            self.height_state.resend_ms =
                Some(self.now_ms.saturating_add(self.timing.resend_ms(0)));
        }
    }

    /// Retransmits this node's messages of this view.
    pub(in crate::consensus) fn retransmit(&mut self) {
        let (Some(seat), Some(key)) = (self.seat, self.keys.as_ref().map(|keys| keys.vote.clone()))
        else {
            return;
        };
        let view = self.height_state.view;
        let own_change = self
            .height_state
            .view_changes
            .get(&seat)
            .filter(|own| own.change.view == view)
            .cloned();
        if let Some(change) = own_change.filter(|_| self.height_state.accepted.is_none()) {
            self.send_view_change(change);
        }
        if let Some(proposal) = self.height_state.proposal.clone() {
            self.outbox.send(Recipient::All, Message::Proposal(proposal));
        }
        if let Some(digest) = self.height_state.accepted {
            self.bypass_collector(digest);
            let committed = self.height_state.commit_vote_cast.then_some(Phase::Commit);
            for phase in [Some(Phase::Prepare), committed].into_iter().flatten() {
                let vote = self.vote(view, phase, digest);
                self.send_vote(SignedVote::sign(vote, &key));
            }
        }
        self.retransmit_pipelined(&key);
    }
}
