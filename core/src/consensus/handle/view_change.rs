//! View changes (PBFT, section 4.4; section 4.5.2 for following other members).

use crate::{
    consensus::{
        error::{Error, HandlerError, Offence},
        output::{Event, Recipient},
        replica::Replica,
        wal::WalRecord,
    },
    ledger::{Block, Evidence, Phase},
    types::{NodeId, Unverified, View},
    wire::consensus::{Message, SignedViewChange, ViewChange},
};
use alloc::boxed::Box;

impl Replica {
    pub(in crate::consensus) fn on_view_change(
        &mut self,
        from: NodeId,
        seat: usize,
        signed: SignedViewChange,
        block: Option<Block>,
    ) -> Result<(), HandlerError> {
        let known = self.height_state.view_changes.get(&seat);
        if known.is_none_or(|known| known.change.view <= signed.change.view)
            && known != Some(&signed)
        {
            self.check_view_change(from, &signed)?;
            if let Some(known) = known.filter(|known| known.change.view == signed.change.view) {
                return Err(
                    Offence::DoubleViewChange(Box::new(known.clone()), Box::new(signed)).into()
                );
            }
            self.height_state.view_changes.insert(seat, signed.clone());
            self.check_hidden_lock(from, seat);
        }
        if let Some(block) = block {
            self.store_prepared_block(seat, &signed, block);
        }
        if signed.change.view < self.height_state.view {
            self.send_current_view(from);
        }
        // At least one correct member has left the present view, so waiting for it is of no use.
        if let Some(view) = self.height_state.view_to_join(&self.head.committee) {
            self.change_view(view)?;
        }
        self.start_view_timer();
        Ok(())
    }

    /// Checks for a hidden lock: a member that has cast a commit vote must show its lock in every
    /// later view change. The two messages may arrive in any order.
    pub(in crate::consensus) fn check_hidden_lock(&mut self, node: NodeId, seat: usize) {
        let Some(change) = self.height_state.view_changes.get(&seat) else { return };
        let commits =
            self.height_state.vote_sets.iter().filter(|((_, phase), _)| *phase == Phase::Commit);
        let evidence =
            commits.filter_map(|(_, vote_set)| vote_set.vote_of(seat)).find_map(|commit| {
                let evidence = Evidence::HiddenLock(commit, change.clone());
                // The vote's signature is still unverified, and a forged vote convicts no member.
                let is_hidden = evidence.is_contradiction()
                    && self.head.committee.key(seat).is_some_and(|key| commit.verify(key).is_ok());
                is_hidden.then(|| Offence::HiddenLock(commit, Box::new(change.clone())))
            });
        if let Some(offence) = evidence {
            self.outbox.misbehaviour(node, offence);
        }
    }

    /// Leaves all views below `view` and sends a view change.
    pub(in crate::consensus) fn change_view(&mut self, view: View) -> Result<(), Error> {
        let Some(seat) = self.seat else { return Ok(()) };
        self.timing.back_off(view.saturating_sub(self.height_state.view));
        self.height_state.enter_view(view, self.now_ms);
        let change = ViewChange {
            chain: self.head.header.chain,
            epoch: self.head.committee.epoch(),
            height: self.height_state.height,
            view,
            prepared: self.height_state.lock.clone(),
        };
        let signed = change.sign(&self.config.node_key);
        self.height_state.view_changes.insert(seat, signed.clone());
        let leader = self.node_at(self.leader_seat(view));
        self.outbox.event(Event::ViewChange { height: self.height_state.height, view, leader });
        self.outbox.persist(WalRecord::ViewChange(signed.clone()));
        self.send_view_change(signed);
        self.restart_retransmission();
        self.start_view_timer();
        Ok(())
    }

    /// Sends a view change to all members without the block, and to the new leader with it.
    pub(in crate::consensus) fn send_view_change(&mut self, signed: SignedViewChange) {
        let leader = self.leader_seat(signed.change.view);
        let prepared = signed.change.prepared.as_ref().map(|c| c.vote.digest);
        let candidate = prepared.and_then(|digest| self.height_state.candidates.get(&digest));
        let block = candidate
            .filter(|_| self.seat != Some(leader))
            .map(|candidate| candidate.block.clone());
        self.outbox
            .send(Recipient::All, Message::ViewChange { change: signed.clone(), block: None });
        if block.is_some() {
            self.outbox.send(
                Recipient::One(self.node_at(leader)),
                Message::ViewChange { change: signed, block },
            );
        }
    }

    /// Starts a view's timer once a quorum is in the view. Before that its leader is not to blame
    /// for silence, and no member may run further ahead.
    pub(in crate::consensus) fn start_view_timer(&mut self) {
        let committee = &self.head.committee;
        let height_state = &mut self.height_state;
        let quorum =
            height_state.view_change_weight(height_state.view, committee) >= committee.quorum();
        if height_state.view > 0 && height_state.expires_ms.is_none() && quorum {
            height_state.view_entered_ms = self.now_ms;
            height_state.expires_ms =
                Some(self.now_ms.saturating_add(self.timing.view_timeout_ms()));
        }
    }

    /// Whether a view change is consistent: of the present height, and with a prepare certificate
    /// of an earlier view only.
    pub(in crate::consensus) fn is_consistent(&self, change: &ViewChange) -> bool {
        let head = &self.head;
        let position = (change.chain, change.epoch, change.height);
        position == (head.header.chain, head.committee.epoch(), self.height_state.height)
            && change.view > 0
            && change.prepared.as_ref().is_none_or(|c| {
                let vote = &c.vote;
                vote.height == change.height
                    && vote.view < change.view
                    && vote.phase == Phase::Prepare
            })
    }

    fn check_view_change(
        &self,
        from: NodeId,
        signed: &SignedViewChange,
    ) -> Result<(), HandlerError> {
        if signed.node != from || !self.is_consistent(&signed.change) {
            return Err(Offence::BadViewChange.into());
        }
        signed.verify_signature().map_err(|_| Offence::BadSignature)?;
        match &signed.change.prepared {
            Some(certificate) if self.height_state.lock.as_ref() != Some(certificate) => {
                let chain = &self.head.header.chain;
                Unverified::new(certificate.clone()).verify(
                    chain,
                    Phase::Prepare,
                    &self.head.committee,
                )?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Stores the block of a view change's certificate. The leader of the new view may have to
    /// propose it without having seen it before. The certificate's digest verifies the block.
    fn store_prepared_block(&mut self, seat: usize, signed: &SignedViewChange, block: Block) {
        let digest = block.header.digest();
        let prepared = signed.change.prepared.as_ref().is_some_and(|c| c.vote.digest == digest);
        if prepared
            && self.height_state.view_changes.get(&seat) == Some(signed)
            && self.leads(signed.change.view)
        {
            self.height_state.insert_candidate(digest, block, None);
        }
    }

    /// Sends this node's view change to a member of a lower view.
    fn send_current_view(&mut self, peer: NodeId) {
        let own = self.seat.and_then(|seat| self.height_state.view_changes.get(&seat));
        let Some(change) = own.filter(|own| own.change.view == self.height_state.view).cloned()
        else {
            return;
        };
        let resend_ms = self.timing.resend_ms(0);
        if self
            .last_reply_ms
            .get(&peer)
            .is_none_or(|at| self.now_ms >= at.saturating_add(resend_ms))
        {
            self.last_reply_ms.insert(peer, self.now_ms);
            self.outbox.send(Recipient::One(peer), Message::ViewChange { change, block: None });
        }
    }
}
