//! A message came: is it of a seat, of our chain, of this height? Only then is it looked into.
//!
//! Late ones show that their sender is behind, early ones that this node may be.

use crate::{
    consensus::{
        error::{Error, Fault},
        output::{Offence, To},
        replica::Replica,
    },
    ledger::{Vote, leader, seed},
    types::{ChainId, Digest, Epoch, NodeId, Unverified},
    wire::consensus::Message,
};
use core::cmp::Ordering;

impl Replica {
    pub(in crate::consensus) fn on_received(
        &mut self,
        from: NodeId,
        message: Unverified<Message>,
    ) -> Result<(), Error> {
        let Some(seat) = self.head.committee.seat_of(&from) else {
            self.outbox.misbehaviour(from, Offence::NotSeated);
            return Ok(());
        };
        if self.seat == Some(seat) {
            return Ok(()); // Its own words, sent back by the host.
        }
        let claim = message.claim();
        if place(claim) != (self.head.header.chain, self.head.committee.epoch()) {
            self.outbox.misbehaviour(from, Offence::Foreign);
            return Ok(());
        }
        match claim.height().cmp(&self.instance.height) {
            Ordering::Less => {
                self.on_late(from, claim);
                Ok(())
            }
            Ordering::Equal => self.on_message(from, seat, message.into_claim()),
            Ordering::Greater => {
                self.on_early(from, message.into_claim());
                Ok(())
            }
        }
    }

    /// Messages that came before their height did.
    pub(in crate::consensus) fn on_kept_messages(&mut self) -> Result<(), Error> {
        while let Some((from, message)) = self.future.take(self.instance.height) {
            if let Some(seat) = self.head.committee.seat_of(&from) {
                self.on_message(from, seat, message)?;
            }
        }
        Ok(())
    }

    fn on_message(&mut self, from: NodeId, seat: usize, message: Message) -> Result<(), Error> {
        let result = match message {
            Message::Proposal(proposal) => self.on_proposal(seat, proposal),
            Message::Vote(signed) => self.on_vote(seat, signed),
            Message::ViewChange { change, block } => self.on_view_change(from, seat, change, block),
            Message::Finalised(certificate) => self.on_finalised(certificate),
        };
        match result {
            Ok(()) => Ok(()),
            Err(Fault::Peer(offence)) => {
                self.outbox.misbehaviour(from, *offence);
                Ok(())
            }
            Err(Fault::Own(error)) => Err(error),
        }
    }

    /// The sender works on a height that is final here: it may have missed the end of it. Votes that come
    /// just after the quorum was full are merely the last ones.
    fn on_late(&mut self, from: NodeId, message: &Message) {
        let patience_ms = self.timing.resend_ms(0);
        let just_late = message.height() == self.head.header.height
            && self.now_ms < self.instance.entered_ms.saturating_add(patience_ms)
            && !matches!(message, Message::ViewChange { .. });
        let told = self.told_ms.get(&from).is_some_and(|at| self.now_ms < at.saturating_add(patience_ms));
        if just_late || told || matches!(message, Message::Finalised(_)) {
            return;
        }
        if let Some(certificate) = &self.head.certificate {
            self.outbox.send(To::One(from), Message::Finalised(certificate.clone()));
            self.told_ms.insert(from, self.now_ms);
        }
    }

    fn on_early(&mut self, from: NodeId, message: Message) {
        let height = message.height();
        // Who says that a height is final works on the next one.
        let works_on = height.saturating_add(matches!(message, Message::Finalised(_)).into());
        self.catch_up.note(from, works_on, self.instance.height, self.now_ms);
        if height == self.instance.height.saturating_add(1) {
            let is_leader = match &message {
                Message::Proposal(proposal) => self.next_seed().is_some_and(|seed| {
                    self.node_at(leader(&self.head.committee, &seed, height, proposal.view)) == from
                }),
                _ => false,
            };
            self.future.keep(from, message, is_leader);
        }
    }

    /// The seed of the next height, if it can be known before the present one is decided: at the end of a term it
    /// follows from the block that this node has accepted.
    fn next_seed(&self) -> Option<Digest> {
        if !seed::ends_term(&self.params, self.instance.height) {
            return Some(*self.head.seed());
        }
        let held = self.instance.held.get(&self.instance.accepted?)?;
        seed::after(&held.block.header).ok()
    }
}

fn place(message: &Message) -> (ChainId, Epoch) {
    let of = |vote: &Vote| (vote.chain, vote.epoch);
    match message {
        Message::Proposal(proposal) => (proposal.block.header.chain, proposal.block.header.epoch),
        Message::Vote(signed) => of(&signed.vote),
        Message::ViewChange { change, .. } => (change.change.chain, change.change.epoch),
        Message::Finalised(certificate) => of(&certificate.vote),
    }
}
