//! Handles a message: checks seat, chain, epoch and height before the content.
//!
//! Around an epoch boundary a message may belong to another epoch, and its sender may have a seat
//! only in that epoch. The height determines the epoch. Messages of a past height show that the
//! sender lags behind; messages of a later one may show that this node does.

use crate::{
    consensus::{
        error::{Error, HandlerError, Offence},
        output::Recipient,
        replica::Replica,
    },
    ledger::{Phase, Seat, Vote, epoch, leader_among, leader_seed},
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
            return Ok(()); // This node's own message, returned by the host.
        }
        let content = message.unverified();
        let height = content.height();
        let seat = self.head.committee.seat_of(&from);
        if let (Message::CommitCertificate(certificate), None) = (content, seat) {
            // The certificate proves itself, and its sender may have gained its seat in an epoch
            // that this node has not reached yet.
            return match height.cmp(&self.height_state.height) {
                Ordering::Equal => self.on_message(
                    from,
                    usize::MAX,
                    Message::CommitCertificate(certificate.clone()),
                ),
                _ => Ok(()),
            };
        }
        let had_seat = match height.cmp(&self.height_state.height) {
            Ordering::Equal => seat.is_some(),
            // A member of a past epoch may not know that it lost its seat, or may lag behind.
            Ordering::Less => seat.is_some() || self.was_seated(&from, height),
            // A sender without a seat may have gained one in a later epoch. This node cannot check
            // that yet, so it ignores the message without blame.
            Ordering::Greater if seat.is_none() && self.is_later_epoch(height) => {
                if !self.seats_at(height).iter().any(|seat| seat.node == from) {
                    return Ok(());
                }
                true
            }
            Ordering::Greater => seat.is_some(),
        };
        if !had_seat {
            self.outbox.misbehaviour(from, Offence::NotSeated);
            return Ok(());
        }
        if chain_and_epoch(content)
            != (self.head.header.chain, epoch::at_height(&self.params, height))
        {
            self.outbox.misbehaviour(from, Offence::WrongChainOrEpoch);
            return Ok(());
        }
        match (height.cmp(&self.height_state.height), seat) {
            (Ordering::Less, _) => self.on_past_height(from, content),
            (Ordering::Equal, Some(seat)) => {
                return self.on_message(from, seat, message.into_unverified());
            }
            (Ordering::Equal, None) => {}
            (Ordering::Greater, _) => self.on_future_height(from, message.into_unverified()),
        }
        Ok(())
    }

    fn is_later_epoch(&self, height: Height) -> bool {
        epoch::at_height(&self.params, height) > self.head.committee.epoch()
    }

    /// Whether a node had a seat when this height was decided.
    fn was_seated(&self, node: &NodeId, height: Height) -> bool {
        let record = self.head.state.committee(epoch::at_height(&self.params, height));
        record.is_some_and(|record| record.seat_of(node).is_some())
    }

    /// The seats of a later height, if known before the present height is decided. Across an epoch
    /// boundary they follow from the block that this node has accepted.
    fn seats_at(&self, height: Height) -> &[Seat] {
        if !self.is_later_epoch(height) {
            return self.head.committee.seats();
        }
        if height != self.height_state.height.saturating_add(1) {
            return &[];
        }
        let candidate = self
            .height_state
            .accepted
            .and_then(|accepted| self.height_state.candidates.get(&accepted));
        let outcome = candidate.and_then(|candidate| candidate.outcome.as_ref());
        let record = outcome
            .and_then(|outcome| outcome.state.committee(epoch::at_height(&self.params, height)));
        record.map_or(&[], |record| &record.seats)
    }

    /// Handles stored messages of the present height.
    pub(in crate::consensus) fn on_pending_messages(&mut self) -> Result<(), Error> {
        while let Some((from, message)) = self.pending_messages.take(self.height_state.height) {
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
            Message::CommitCertificate(certificate) => self.on_commit_certificate(certificate),
            Message::PrepareCertificate(certificate) => {
                self.on_prepare_certificate(seat, certificate)
            }
        };
        match result {
            Ok(()) => Ok(()),
            Err(HandlerError::Peer(offence)) => {
                self.outbox.misbehaviour(from, *offence);
                Ok(())
            }
            Err(HandlerError::Local(error)) => Err(error),
        }
    }

    /// Handles a message of a final height: its sender may have missed the decision. Votes that
    /// arrive just after the quorum are merely late; retransmitted votes arrive one retransmission
    /// delay later at the earliest.
    fn on_past_height(&mut self, from: NodeId, message: &Message) {
        let resend_ms = self.timing.resend_ms(0);
        let just_late = message.height() == self.head.header.height
            && self.now_ms < self.height_state.entered_ms.saturating_add(resend_ms / 2)
            && !matches!(message, Message::ViewChange { .. });
        let replied_recently = self
            .last_reply_ms
            .get(&from)
            .is_some_and(|at| self.now_ms < at.saturating_add(resend_ms));
        if just_late || replied_recently || matches!(message, Message::CommitCertificate(_)) {
            return;
        }
        if let Some(certificate) = &self.head.certificate {
            self.outbox.send(Recipient::One(from), Message::CommitCertificate(certificate.clone()));
            self.last_reply_ms.insert(from, self.now_ms);
        }
    }

    fn on_future_height(&mut self, from: NodeId, message: Message) {
        let height = message.height();
        let sender_height = self.sender_height(&message);
        self.catch_up.record_ahead(from, sender_height, self.height_state.height, self.now_ms);
        if sender_height <= self.height_state.height.saturating_add(1) {
            let is_leader = match &message {
                Message::Proposal(proposal) => self.seed_at(height).is_some_and(|seed| {
                    let seats = self.seats_at(height);
                    let leader = leader_among(seats, &seed, height, proposal.view);
                    seats.get(leader).is_some_and(|seat| seat.node == from)
                }),
                _ => false,
            };
            self.pending_messages.insert(self.height_state.height, from, message, is_leader);
        }
    }

    /// The lowest height that the sender may still be deciding.
    fn sender_height(&self, message: &Message) -> Height {
        let height = message.height();
        let may_be_pipelined = match message {
            // The sender of a commit certificate works on the next height.
            Message::CommitCertificate(_) => return height.saturating_add(1),
            Message::Proposal(proposal) => self.may_be_pipelined(height, proposal.view),
            Message::Vote(signed) => {
                signed.vote.phase == Phase::Prepare
                    && self.may_be_pipelined(height, signed.vote.view)
            }
            Message::ViewChange { .. } | Message::PrepareCertificate(_) => false,
        };
        height.saturating_sub(may_be_pipelined.into())
    }

    /// The seed of a later height, if known before the present height is decided. Across the end of
    /// a term it follows from the block that this node has accepted.
    fn seed_at(&self, height: Height) -> Option<Digest> {
        let ends_term = |height| leader_seed::ends_leader_term(&self.params, height);
        let mut between = self.height_state.height..height;
        if !between.clone().any(ends_term) {
            return Some(*self.head.seed());
        }
        if between.nth(1).is_some() {
            return None;
        }
        let candidate = self.height_state.candidates.get(&self.height_state.accepted?)?;
        leader_seed::next(&candidate.block.header).ok()
    }
}

fn chain_and_epoch(message: &Message) -> (ChainId, Epoch) {
    let of = |vote: &Vote| (vote.chain, vote.epoch);
    match message {
        Message::Proposal(proposal) => (proposal.block.header.chain, proposal.block.header.epoch),
        Message::Vote(signed) => of(&signed.vote),
        Message::ViewChange { change, .. } => (change.change.chain, change.change.epoch),
        Message::CommitCertificate(certificate) | Message::PrepareCertificate(certificate) => {
            of(&certificate.vote)
        }
    }
}
