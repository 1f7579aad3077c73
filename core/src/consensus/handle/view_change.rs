//! A member gives up a view (PBFT, section 4.4, and 4.5.2 for when to follow others).

use crate::{
    consensus::{
        error::{Error, Fault},
        output::{Event, Offence, To},
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
    ) -> Result<(), Fault> {
        let known = self.instance.changes.get(&seat);
        if known.is_none_or(|known| known.change.view <= signed.change.view)
            && known != Some(&signed)
        {
            self.check_view_change(from, &signed)?;
            if let Some(known) = known.filter(|known| known.change.view == signed.change.view) {
                return Err(
                    Offence::DoubleViewChange(Box::new(known.clone()), Box::new(signed)).into()
                );
            }
            self.instance.changes.insert(seat, signed.clone());
            self.accuse_of_hiding(from, seat);
        }
        if let Some(block) = block {
            self.keep_prepared_block(seat, &signed, block);
        }
        if signed.change.view < self.instance.view {
            self.tell_view(from);
        }
        // Enough have left for a correct one to be among them: waiting here is of no use.
        if let Some(view) = self.instance.view_to_join(&self.head.committee) {
            self.change_view(view)?;
        }
        self.start_view_timer();
        Ok(())
    }

    /// A member that has committed a block has it on record, and shows it in every later view
    /// change. The two statements may come in any order.
    pub(in crate::consensus) fn accuse_of_hiding(&mut self, node: NodeId, seat: usize) {
        let Some(change) = self.instance.changes.get(&seat) else { return };
        let commits =
            self.instance.ballots.iter().filter(|((_, phase), _)| *phase == Phase::Commit);
        let evidence = commits.filter_map(|(_, ballot)| ballot.cast_by(seat)).find_map(|commit| {
            let evidence = Evidence::HiddenLock(commit, change.clone());
            // The vote has not been checked by itself: one that is not the member's convicts
            // nobody.
            let hides = evidence.is_contradiction()
                && self.head.committee.key(seat).is_some_and(|key| commit.verify(key).is_ok());
            hides.then(|| Offence::HiddenLock(commit, Box::new(change.clone())))
        });
        if let Some(offence) = evidence {
            self.outbox.misbehaviour(node, offence);
        }
    }

    /// Leaves all views below `view`, and says so.
    pub(in crate::consensus) fn change_view(&mut self, view: View) -> Result<(), Error> {
        let Some(seat) = self.seat else { return Ok(()) };
        self.timing.back_off(view.saturating_sub(self.instance.view));
        self.instance.enter(view, self.now_ms);
        let change = ViewChange {
            chain: self.head.header.chain,
            epoch: self.head.committee.epoch(),
            height: self.instance.height,
            view,
            prepared: self.instance.lock.clone(),
        };
        let signed = change.sign(&self.config.node_key);
        self.instance.changes.insert(seat, signed.clone());
        let leader = self.node_at(self.leader_seat(view));
        self.outbox.event(Event::ViewChange { height: self.instance.height, view, leader });
        self.outbox.persist(WalRecord::ViewChange(signed.clone()));
        self.send_view_change(signed);
        self.restart_resending();
        self.start_view_timer();
        Ok(())
    }

    /// To all without the block, to the new leader with it.
    pub(in crate::consensus) fn send_view_change(&mut self, signed: SignedViewChange) {
        let leader = self.leader_seat(signed.change.view);
        let prepared = signed.change.prepared.as_ref().map(|c| c.vote.digest);
        let held = prepared.and_then(|digest| self.instance.held.get(&digest));
        let block = held.filter(|_| self.seat != Some(leader)).map(|held| held.block.clone());
        self.outbox.send(To::All, Message::ViewChange { change: signed.clone(), block: None });
        if block.is_some() {
            self.outbox
                .send(To::One(self.node_at(leader)), Message::ViewChange { change: signed, block });
        }
    }

    /// A view's clock runs once a quorum is in it: before that nobody can be blamed for its
    /// silence, and nobody may run further ahead.
    pub(in crate::consensus) fn start_view_timer(&mut self) {
        let committee = &self.head.committee;
        let instance = &mut self.instance;
        let quorum = instance.weight_from(instance.view, committee) >= committee.quorum();
        if instance.view > 0 && instance.expires_ms.is_none() && quorum {
            instance.view_entered_ms = self.now_ms;
            instance.expires_ms = Some(self.now_ms.saturating_add(self.timing.view_timeout_ms()));
        }
    }

    /// Whether a view change says what it can say: nothing about other heights, and of certificates
    /// only one of an earlier view.
    pub(in crate::consensus) fn is_consistent(&self, change: &ViewChange) -> bool {
        let head = &self.head;
        let place = (change.chain, change.epoch, change.height);
        place == (head.header.chain, head.committee.epoch(), self.instance.height)
            && change.view > 0
            && change.prepared.as_ref().is_none_or(|c| {
                let vote = &c.vote;
                vote.height == change.height
                    && vote.view < change.view
                    && vote.phase == Phase::Prepare
            })
    }

    fn check_view_change(&self, from: NodeId, signed: &SignedViewChange) -> Result<(), Fault> {
        if signed.node != from || !self.is_consistent(&signed.change) {
            return Err(Offence::BadViewChange.into());
        }
        signed.verify_signature().map_err(|_| Offence::BadSignature)?;
        match &signed.change.prepared {
            Some(certificate) if self.instance.lock.as_ref() != Some(certificate) => {
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

    /// The leader of a new view may have to propose a block that it has never seen. It is
    /// certified, so it is the certificate's digest that it has to have.
    fn keep_prepared_block(&mut self, seat: usize, signed: &SignedViewChange, block: Block) {
        let digest = block.header.digest();
        let prepared = signed.change.prepared.as_ref().is_some_and(|c| c.vote.digest == digest);
        if prepared
            && self.instance.changes.get(&seat) == Some(signed)
            && self.leads(signed.change.view)
        {
            self.instance.hold(digest, block, None);
        }
    }

    /// Tells a member of a lower view where this one is.
    fn tell_view(&mut self, peer: NodeId) {
        let own = self.seat.and_then(|seat| self.instance.changes.get(&seat));
        let Some(change) = own.filter(|own| own.change.view == self.instance.view).cloned() else {
            return;
        };
        let patience_ms = self.timing.resend_ms(0);
        if self.told_ms.get(&peer).is_none_or(|at| self.now_ms >= at.saturating_add(patience_ms)) {
            self.told_ms.insert(peer, self.now_ms);
            self.outbox.send(To::One(peer), Message::ViewChange { change, block: None });
        }
    }
}
