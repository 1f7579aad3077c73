//! Finality by a commit certificate (PBFT, committed-local). A height ends only here.

use crate::{
    consensus::{
        config::{SEAT_KEYS_MAX, SeatKeys, seat_with_keys},
        error::Error,
        head::Head,
        output::{Event, Finalised, Output},
        replica::Replica,
        state::height_state::{CandidateBlock, HeightState},
        validate,
    },
    ledger::{Block, Certificate, Outcome},
    wire::consensus::Proposal,
};
use alloc::boxed::Box;

impl Replica {
    /// Handles a quorum's commit. If the block is missing, the signers have it.
    pub(in crate::consensus) fn on_committed(
        &mut self,
        certificate: Certificate,
    ) -> Result<(), Error> {
        let digest = certificate.vote.digest;
        match self.height_state.candidates.remove(&digest) {
            Some(CandidateBlock { block, outcome: Some(outcome) }) => {
                self.record_block_time(&block);
                self.finalise(block, certificate, outcome)
            }
            candidate => {
                for seat in certificate.seats().filter(|seat| self.seat != Some(*seat)) {
                    let next = self.height_state.height.saturating_add(1);
                    self.catch_up.record_ahead(
                        self.node_at(seat),
                        next,
                        self.height_state.height,
                        self.now_ms,
                    );
                }
                self.height_state.decided = Some(certificate);
                candidate.map_or(Ok(()), |candidate| self.on_decided_block(candidate.block))
            }
        }
    }

    pub(in crate::consensus) fn is_decided(&self, proposal: &Proposal) -> bool {
        let digest = self.height_state.decided.as_ref().map(|c| c.vote.digest);
        digest == Some(proposal.block.header.digest())
    }

    /// Handles a block whose commit certificate arrived first.
    pub(in crate::consensus) fn on_decided_block(&mut self, block: Block) -> Result<(), Error> {
        let Some(certificate) = self.height_state.decided.clone() else { return Ok(()) };
        match validate::certified_block(
            &self.head,
            &self.params,
            &mut self.verification_cache,
            &block,
            &certificate,
        ) {
            Ok(Ok(outcome)) => self.finalise(block, certificate, outcome)?,
            Ok(Err(())) => return Err(Error::Diverged { height: self.height_state.height }),
            // The digest does not cover the transactions' signatures: this copy is damaged, but
            // another may be intact.
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
        let took_ms = self.now_ms.saturating_sub(self.height_state.view_entered_ms);
        if self.height_state.accepted.is_some() {
            self.timing.recover(took_ms);
        }
        let epoch = self.head.committee.epoch();
        let height = block.header.height;
        let head: Result<Head, _> =
            self.head.after(&block, certificate.clone(), outcome.state.clone());
        self.head = head.map_err(|_| Error::Diverged { height })?;
        let is_epoch_boundary = self.head.committee.epoch() != epoch;
        if is_epoch_boundary {
            self.update_seat();
        }
        self.height_state = self.next_height_state();
        self.catch_up.on_progress(self.height_state.height);
        self.start_timers();
        self.outbox.push(Output::Finalised(Box::new(Finalised { block, certificate, outcome })));
        if is_epoch_boundary {
            let committee = &self.head.committee;
            let (epoch, seats) = (committee.epoch(), committee.seats().len());
            self.outbox.event(Event::Epoch { epoch, seats, seat: self.seat });
        }
        self.abandon_orphan()
    }

    /// Records how long a block took from this node's vote to finality, in its first view and
    /// within the view timeout. Synced blocks, and blocks voted for before a restart, are not
    /// recorded.
    fn record_block_time(&mut self, block: &Block) {
        let HeightState { height, view, voted_ms, is_pipelined, .. } = self.height_state;
        let voted_ms = voted_ms.filter(|_| view == 0 && !block.transactions.is_empty());
        let took_ms = voted_ms.map(|voted_ms| self.now_ms.saturating_sub(voted_ms));
        if let Some(took_ms) = took_ms.filter(|took_ms| *took_ms < self.params.view_timeout_ms) {
            self.pacing.record(height, is_pipelined || self.pipelined.is_some(), took_ms);
        }
    }

    /// Updates this node's seat and keys after a committee change. Without matching keys this node
    /// does not vote, because its votes would be invalid.
    pub(in crate::consensus) fn update_seat(&mut self) {
        (self.seat, self.keys) = seat_with_keys(&self.config, &self.head.committee).unzip();
        self.last_reply_ms.clear();
    }

    /// Stores keys for a seat of a later epoch. If there are too many, the oldest unused keys are
    /// dropped.
    pub(in crate::consensus) fn on_seat_keys(&mut self, keys: SeatKeys) {
        let is_known = |known: &SeatKeys| known.vote.public() == keys.vote.public();
        if self.config.seat_keys.iter().any(is_known) {
            return;
        }
        if self.config.seat_keys.len() >= SEAT_KEYS_MAX {
            let present = self.keys.as_ref().map(|keys| keys.vote.public());
            if let Some(at) =
                self.config.seat_keys.iter().position(|known| Some(known.vote.public()) != present)
            {
                self.config.seat_keys.remove(at);
            }
        }
        self.config.seat_keys.push(keys);
        if self.seat.is_none() {
            self.update_seat();
        }
    }
}
