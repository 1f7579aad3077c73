//! A commit certificate makes a block final (PBFT, committed-local): the one place where a height
//! ends.

use crate::{
    consensus::{
        error::Error,
        instance::{Held, Instance},
        output::{Event, Finalised, Output},
        replica::{Head, Replica, SEAT_KEYS_MAX, SeatKeys, seated},
        validate,
    },
    ledger::{Block, Certificate, Outcome},
    wire::consensus::Proposal,
};
use alloc::boxed::Box;

impl Replica {
    /// A quorum committed this block. Where it is missing here, those who signed have it.
    pub(in crate::consensus) fn on_committed(
        &mut self,
        certificate: Certificate,
    ) -> Result<(), Error> {
        let digest = certificate.vote.digest;
        match self.instance.held.remove(&digest) {
            Some(Held { block, outcome: Some(outcome) }) => {
                self.note_pace(&block);
                self.finalise(block, certificate, outcome)
            }
            held => {
                for seat in certificate.seats().filter(|seat| self.seat != Some(*seat)) {
                    let next = self.instance.height.saturating_add(1);
                    self.catch_up.note(self.node_at(seat), next, self.instance.height, self.now_ms);
                }
                self.instance.decided = Some(certificate);
                held.map_or(Ok(()), |held| self.on_decided_block(held.block))
            }
        }
    }

    pub(in crate::consensus) fn is_decided(&self, proposal: &Proposal) -> bool {
        let digest = self.instance.decided.as_ref().map(|c| c.vote.digest);
        digest == Some(proposal.block.header.digest())
    }

    /// The block of a decision came after the decision.
    pub(in crate::consensus) fn on_decided_block(&mut self, block: Block) -> Result<(), Error> {
        let Some(certificate) = self.instance.decided.clone() else { return Ok(()) };
        match validate::certified(
            &self.head,
            &self.params,
            &mut self.remembered,
            &block,
            &certificate,
        ) {
            Ok(Ok(outcome)) => self.finalise(block, certificate, outcome)?,
            Ok(Err(())) => return Err(Error::Diverged { height: self.instance.height }),
            // The digest does not cover the transactions' signatures: this copy is damaged, another
            // is not.
            Err(_) => {}
        }
        Ok(())
    }

    pub(in crate::consensus) fn finalise(
        &mut self,
        block: Block,
        certificate: Certificate,
        outcome: Outcome,
    ) -> Result<(), Error> {
        let took_ms = self.now_ms.saturating_sub(self.instance.view_entered_ms);
        if self.instance.accepted.is_some() {
            self.timing.recover(took_ms);
        }
        let epoch = self.head.committee.epoch();
        let height = block.header.height;
        let head: Result<Head, _> =
            self.head.after(&block, certificate.clone(), outcome.state.clone());
        self.head = head.map_err(|_| Error::Diverged { height })?;
        let is_turn = self.head.committee.epoch() != epoch;
        if is_turn {
            self.take_seat();
        }
        self.instance = self.next_instance();
        self.catch_up.progress(self.instance.height);
        self.start_timers();
        self.outbox.push(Output::Finalised(Box::new(Finalised { block, certificate, outcome })));
        if is_turn {
            let committee = &self.head.committee;
            let (epoch, seats) = (committee.epoch(), committee.seats().len());
            self.outbox.event(Event::Epoch { epoch, seats, seat: self.seat });
        }
        self.leave_orphan()
    }

    /// How long a block that is decided here has taken, if that was in its first view, and not too
    /// late to mean anything. One that comes by sync has taken as long as that, and how long
    /// ago the vote of another life was is not known: neither gets here.
    fn note_pace(&mut self, block: &Block) {
        let Instance { height, view, voted_ms, is_ahead, .. } = self.instance;
        let voted_ms = voted_ms.filter(|_| view == 0 && !block.transactions.is_empty());
        let took_ms = voted_ms.map(|voted_ms| self.now_ms.saturating_sub(voted_ms));
        if let Some(took_ms) = took_ms.filter(|took_ms| *took_ms < self.params.view_timeout_ms) {
            self.pace.note(height, is_ahead || self.ahead.is_some(), took_ms);
        }
    }

    /// The committee is another: this node's place in it, and the keys for that. Without keys that
    /// fit, each vote would be a bad one.
    pub(in crate::consensus) fn take_seat(&mut self) {
        (self.seat, self.keys) = seated(&self.config, &self.head.committee).unzip();
        self.told_ms.clear();
    }

    /// Keys for a seat of a later epoch. Those that no committee knows yet are kept, the oldest of
    /// them go first.
    pub(in crate::consensus) fn on_seat_keys(&mut self, keys: SeatKeys) {
        let is_known = |held: &SeatKeys| held.vote.public() == keys.vote.public();
        if self.config.seat_keys.iter().any(is_known) {
            return;
        }
        if self.config.seat_keys.len() >= SEAT_KEYS_MAX {
            let present = self.keys.as_ref().map(|keys| keys.vote.public());
            if let Some(at) =
                self.config.seat_keys.iter().position(|held| Some(held.vote.public()) != present)
            {
                self.config.seat_keys.remove(at);
            }
        }
        self.config.seat_keys.push(keys);
        if self.seat.is_none() {
            self.take_seat();
        }
    }
}
