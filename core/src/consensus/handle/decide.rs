//! A commit certificate makes a block final (PBFT, committed-local): the one place where a height ends.

use crate::{
    consensus::{
        error::Error,
        instance::{Held, Instance},
        output::{Finalised, Output},
        replica::{Head, Replica},
        validate,
    },
    ledger::{Block, Certificate, Outcome},
    wire::consensus::Proposal,
};
use alloc::boxed::Box;

impl Replica {
    /// A quorum committed this block. Where it is missing here, those who signed have it.
    pub(in crate::consensus) fn on_committed(&mut self, certificate: Certificate) -> Result<(), Error> {
        let digest = certificate.vote.digest;
        match self.instance.held.remove(&digest) {
            Some(Held { block, outcome: Some(outcome) }) => {
                self.finalise(block, certificate, outcome);
                Ok(())
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
        match validate::certified(&self.head, &self.params, &self.checked, &block, &certificate) {
            Ok(Ok(outcome)) => self.finalise(block, certificate, outcome),
            Ok(Err(())) => return Err(Error::Diverged { height: self.instance.height }),
            // The digest does not cover the transactions' signatures: this copy is damaged, another is not.
            Err(_) => {}
        }
        Ok(())
    }

    pub(in crate::consensus) fn finalise(&mut self, block: Block, certificate: Certificate, outcome: Outcome) {
        let took_ms = self.now_ms.saturating_sub(self.instance.view_entered_ms);
        if self.instance.accepted.is_some() {
            self.timing.recover(took_ms);
        }
        let committee = self.head.committee.clone();
        self.head = Head::new(block.header.clone(), Some(certificate.clone()), outcome.state.clone(), committee);
        self.instance = Instance::new(block.header.height.saturating_add(1), self.now_ms);
        self.catch_up.progress(self.instance.height);
        self.start_timers();
        self.outbox.push(Output::Finalised(Box::new(Finalised { block, certificate, outcome })));
    }
}
