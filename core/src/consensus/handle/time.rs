//! The clock: a leader's turn, a view that takes too long, words that may have been lost.

use crate::{
    consensus::{
        error::Error,
        output::{Output, To},
        replica::Replica,
    },
    ledger::Phase,
    types::TimeMs,
    wire::consensus::{Message, SignedVote},
};

impl Replica {
    /// Runs after every input: whatever is due by now is done.
    pub(in crate::consensus) fn on_time(&mut self) -> Result<(), Error> {
        if self.instance.expires_ms.is_some_and(|at| at <= self.now_ms) && self.seat.is_some() {
            self.change_view(self.instance.view.saturating_add(1))?;
        }
        if self.instance.resend_ms.is_some_and(|at| at <= self.now_ms) {
            if self.outbox.is_idle() {
                self.say_again();
            }
            let resends = self.instance.resends.saturating_add(1);
            self.instance.resends = resends;
            self.instance.resend_ms =
                Some(self.now_ms.saturating_add(self.timing.resend_ms(resends)));
        }
        let patience_ms = self.timing.resend_ms(0);
        if let Some(peer) = self.catch_up.ask(self.instance.height, self.now_ms, patience_ms) {
            self.outbox.push(Output::SyncNeeded { from: self.instance.height, peer });
        }
        self.try_propose_ahead();
        self.try_propose()
    }

    pub(in crate::consensus) fn next_deadline(&self) -> Option<TimeMs> {
        let instance = &self.instance;
        let waits = instance.view == 0
            && instance.accepted.is_none()
            && !instance.building
            && self.leads(0);
        let propose = waits.then(|| self.propose_at_ms());
        let ask = self.catch_up.deadline(instance.height, self.timing.resend_ms(0));
        let expires = instance.expires_ms.filter(|_| self.seat.is_some());
        [propose, self.propose_ahead_at_ms(), ask, expires, instance.resend_ms]
            .into_iter()
            .flatten()
            .min()
    }

    /// At the start of a height: nothing is in flight, and a block is due after the longest
    /// interval.
    pub(in crate::consensus) fn start_timers(&mut self) {
        let instance = &self.instance;
        if instance.accepted.is_some() || instance.view > 0 {
            self.restart_resending();
            if self.instance.accepted.is_some() {
                self.instance.expires_ms =
                    Some(self.now_ms.saturating_add(self.timing.view_timeout_ms()));
            }
            return self.start_view_timer();
        }
        let due_ms = instance.entered_ms.saturating_add(self.params.block_interval_ms_max);
        self.instance.expires_ms = Some(due_ms.saturating_add(self.timing.view_timeout_ms()));
    }

    /// Something new is in flight.
    pub(in crate::consensus) fn restart_resending(&mut self) {
        if self.seat.is_some() {
            self.instance.resends = 0;
            self.instance.resend_ms = Some(self.now_ms.saturating_add(self.timing.resend_ms(0)));
        }
    }

    /// Says again what this node has said in this view.
    pub(in crate::consensus) fn say_again(&mut self) {
        let (Some(seat), Some(key)) = (self.seat, self.keys.as_ref().map(|keys| keys.vote.clone()))
        else {
            return;
        };
        let view = self.instance.view;
        let own_change =
            self.instance.changes.get(&seat).filter(|own| own.change.view == view).cloned();
        if let Some(change) = own_change.filter(|_| self.instance.accepted.is_none()) {
            self.send_view_change(change);
        }
        if let Some(proposal) = self.instance.proposal.clone() {
            self.outbox.send(To::All, Message::Proposal(proposal));
        }
        if let Some(digest) = self.instance.accepted {
            self.fall_back(digest);
            let committed = self.instance.committed.then_some(Phase::Commit);
            for phase in [Some(Phase::Prepare), committed].into_iter().flatten() {
                let vote = self.vote(view, phase, digest);
                self.send_vote(SignedVote::sign(vote, &key));
            }
        }
        self.say_ahead_again(&key);
    }
}
