//! A message came: is it of a seat, of our chain, of this height? Only then is it looked into.
//!
//! Around a turn a message may be of another epoch than the present one, and its sender a member of
//! that one only: heights say which epoch is meant. Late ones show that their sender is behind,
//! early ones that this node may be.

use crate::{
    consensus::{
        error::{Error, Fault},
        output::{Offence, To},
        replica::Replica,
    },
    ledger::{Phase, Seat, Vote, epoch, leader_among, seed},
    types::{ChainId, Digest, Epoch, Height, NodeId, Unverified},
    wire::consensus::Message,
};
use core::cmp::Ordering;

impl Replica {
    pub(in crate::consensus) fn on_received(
        &mut self,
        from: NodeId,
        message: Unverified<Message>,
    ) -> Result<(), Error> {
        if from == self.config.node_key.id() {
            return Ok(()); // Its own words, sent back by the host.
        }
        let claim = message.claim();
        let height = claim.height();
        let seat = self.head.committee.seat_of(&from);
        if let (Message::Finalised(certificate), None) = (claim, seat) {
            // It speaks for itself, and its sender may have got its seat at a turn that this node
            // has not seen yet.
            return match height.cmp(&self.instance.height) {
                Ordering::Equal => {
                    self.on_message(from, usize::MAX, Message::Finalised(certificate.clone()))
                }
                _ => Ok(()),
            };
        }
        let known = match height.cmp(&self.instance.height) {
            Ordering::Equal => seat.is_some(),
            // A member until a while ago may have missed that it is none any more, or is behind.
            Ordering::Less => seat.is_some() || self.was_seated(&from, height),
            // Who has no seat here may have got one in an epoch that this node has not come to:
            // nobody is to blame for that, and this node learns of it otherwise.
            Ordering::Greater if seat.is_none() && self.is_later_epoch(height) => {
                if !self.next_seats(height).iter().any(|seat| seat.node == from) {
                    return Ok(());
                }
                true
            }
            Ordering::Greater => seat.is_some(),
        };
        if !known {
            self.outbox.misbehaviour(from, Offence::NotSeated);
            return Ok(());
        }
        if place(claim) != (self.head.header.chain, epoch::of(&self.params, height)) {
            self.outbox.misbehaviour(from, Offence::Foreign);
            return Ok(());
        }
        match (height.cmp(&self.instance.height), seat) {
            (Ordering::Less, _) => self.on_late(from, claim),
            (Ordering::Equal, Some(seat)) => {
                return self.on_message(from, seat, message.into_claim());
            }
            (Ordering::Equal, None) => {}
            (Ordering::Greater, _) => self.on_early(from, message.into_claim()),
        }
        Ok(())
    }

    fn is_later_epoch(&self, height: Height) -> bool {
        epoch::of(&self.params, height) > self.head.committee.epoch()
    }

    /// Whether a node had a seat when this height was decided.
    fn was_seated(&self, node: &NodeId, height: Height) -> bool {
        let record = self.head.state.committee(epoch::of(&self.params, height));
        record.is_some_and(|record| record.seat_of(node).is_some())
    }

    /// Who decides a later height, if that can be known before the present one is decided: at a
    /// turn it follows from the block that this node has accepted.
    fn next_seats(&self, height: Height) -> &[Seat] {
        if !self.is_later_epoch(height) {
            return self.head.committee.seats();
        }
        if height != self.instance.height.saturating_add(1) {
            return &[];
        }
        let held = self.instance.accepted.and_then(|accepted| self.instance.held.get(&accepted));
        let outcome = held.and_then(|held| held.outcome.as_ref());
        let record =
            outcome.and_then(|outcome| outcome.state.committee(epoch::of(&self.params, height)));
        record.map_or(&[], |record| &record.seats)
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
            Message::Prepared(certificate) => self.on_prepared_elsewhere(seat, certificate),
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

    /// The sender works on a height that is final here: it may have missed the end of it. Votes
    /// that come just after the quorum was full are merely the last ones; those that are said
    /// again come no sooner than a patience later.
    fn on_late(&mut self, from: NodeId, message: &Message) {
        let patience_ms = self.timing.resend_ms(0);
        let just_late = message.height() == self.head.header.height
            && self.now_ms < self.instance.entered_ms.saturating_add(patience_ms / 2)
            && !matches!(message, Message::ViewChange { .. });
        let told =
            self.told_ms.get(&from).is_some_and(|at| self.now_ms < at.saturating_add(patience_ms));
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
        let works_on = self.works_on(&message);
        self.catch_up.note(from, works_on, self.instance.height, self.now_ms);
        if works_on <= self.instance.height.saturating_add(1) {
            let is_leader = match &message {
                Message::Proposal(proposal) => self.seed_of(height).is_some_and(|seed| {
                    let seats = self.next_seats(height);
                    let leader = leader_among(seats, &seed, height, proposal.view);
                    seats.get(leader).is_some_and(|seat| seat.node == from)
                }),
                _ => false,
            };
            self.future.keep(self.instance.height, from, message, is_leader);
        }
    }

    /// The height that the sender of this has not decided yet, as far as can be told.
    fn works_on(&self, message: &Message) -> Height {
        let height = message.height();
        let may_be_ahead = match message {
            // Who says that a height is final works on the next one.
            Message::Finalised(_) => return height.saturating_add(1),
            Message::Proposal(proposal) => self.may_be_ahead(height, proposal.view),
            Message::Vote(signed) => {
                signed.vote.phase == Phase::Prepare && self.may_be_ahead(height, signed.vote.view)
            }
            Message::ViewChange { .. } | Message::Prepared(_) => false,
        };
        height.saturating_sub(may_be_ahead.into())
    }

    /// The seed of a later height, if it can be known before the present one is decided: at the end
    /// of a term it follows from the block that this node has accepted.
    fn seed_of(&self, height: Height) -> Option<Digest> {
        let ends_term = |height| seed::ends_term(&self.params, height);
        let mut between = self.instance.height..height;
        if !between.clone().any(ends_term) {
            return Some(*self.head.seed());
        }
        if between.nth(1).is_some() {
            return None;
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
        Message::Finalised(certificate) | Message::Prepared(certificate) => of(&certificate.vote),
    }
}
