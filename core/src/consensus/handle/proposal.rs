//! A leader proposes: pre-prepare and new-view of PBFT (Castro and Liskov, OSDI 1999, sections 4.2
//! and 4.4).

use crate::{
    consensus::{
        error::{Error, Fault},
        instance::{newest_prepared, weight_of},
        output::{Event, Offence, To},
        replica::Replica,
        validate::{self, BlockError},
        wal::WalRecord,
    },
    ledger::{Outcome, Phase},
    types::{Unverified, View, Weight},
    wire::consensus::{Message, NewView, Proposal},
};
use alloc::collections::BTreeSet;

impl Replica {
    pub(in crate::consensus) fn on_proposal(
        &mut self,
        seat: usize,
        proposal: Proposal,
    ) -> Result<(), Fault> {
        let (view, claim) = (proposal.view, proposal.signed_claim());
        if seat != self.leader_seat(view) {
            return Err(Offence::NotLeader.into());
        }
        claim.verify(&self.node_at(seat)).map_err(|_| Offence::BadSignature)?;
        if self.is_decided(&proposal) {
            return Ok(self.on_decided_block(proposal.block)?);
        }
        if view < self.instance.view {
            return Ok(());
        }
        match self.instance.seen.get(&view) {
            Some(first) if first.claim != claim.claim => {
                return Err(Offence::DoubleProposal(*first, claim).into());
            }
            _ if view == self.instance.view && self.instance.accepted.is_some() => return Ok(()),
            _ => {}
        }
        let again = self.check_justification(view, proposal.justification.as_ref(), &proposal)?;
        self.instance.seen.entry(view).or_insert(claim);
        let checked = match again {
            true => {
                validate::again(&self.head, &self.params, &mut self.remembered, &proposal.block)
            }
            false => validate::fresh(
                &self.head,
                &self.params,
                &mut self.remembered,
                &proposal.block,
                view,
                self.now_ms,
            ),
        };
        match checked {
            Ok(outcome) => Ok(self.accept(proposal, outcome)?),
            // Its leader has built upon a block that was prepared, and another one became final.
            Err(BlockError::Parent) if self.may_be_ahead(self.instance.height, view) => Ok(()),
            Err(error) if error.is_fault() => Err(error.into()),
            Err(_) => Ok(()),
        }
    }

    /// Gives a valid proposal the only prepare vote of its view. The record of it is on disk before
    /// the vote leaves.
    pub(in crate::consensus) fn accept(
        &mut self,
        proposal: Proposal,
        outcome: Outcome,
    ) -> Result<(), Error> {
        let (view, digest) = (proposal.view, proposal.block.header.digest());
        if view > self.instance.view {
            // Its justification shows that a quorum is there already.
            self.timing.back_off(view - self.instance.view);
            self.instance.enter(view, self.now_ms);
        }
        self.instance.hold(digest, proposal.block.clone(), Some(outcome));
        self.instance.accepted = Some(digest);
        self.instance.seen.entry(view).or_insert_with(|| proposal.signed_claim());
        self.instance.view_entered_ms = self.now_ms;
        self.instance.voted_ms = Some(self.now_ms).filter(|_| view == 0);
        self.instance.expires_ms = Some(self.now_ms.saturating_add(self.timing.view_timeout_ms()));
        self.restart_resending();
        self.outbox.event(Event::Accepted { height: self.instance.height, view, digest });
        if self.seat.is_some() {
            self.outbox.persist(WalRecord::Accepted(proposal.clone()));
            if self.leads(view) {
                self.outbox.send(To::All, Message::Proposal(proposal.clone()));
                self.instance.proposal = Some(proposal);
            }
        }
        self.cast(Phase::Prepare, digest)
    }

    /// Whether the view binds its leader to this prepared block. An error where it binds it to
    /// another, or where the new view is not justified at all.
    fn check_justification(
        &self,
        view: View,
        justification: Option<&NewView>,
        proposal: &Proposal,
    ) -> Result<bool, Fault> {
        let Some(new_view) = justification else {
            return if view == 0 { Ok(false) } else { Err(Offence::BadJustification.into()) };
        };
        if view == 0 {
            return Err(Offence::BadJustification.into());
        }
        self.check_new_view(view, new_view)?;
        let Some(newest) = newest_prepared(new_view) else { return Ok(false) };
        if newest.vote.digest != proposal.block.header.digest() {
            return Err(BlockError::NotPrepared.into());
        }
        Ok(true)
    }

    /// A quorum's signed view changes of this view. Only the newest certificate is verified: an
    /// invalid older one binds nobody, so it is worth no more than none.
    fn check_new_view(&self, view: View, new_view: &NewView) -> Result<(), Fault> {
        let committee = &self.head.committee;
        let mut seats = BTreeSet::new();
        let mut weight: Weight = 0;
        for signed in new_view.iter() {
            let seat = committee.seat_of(&signed.node).ok_or(Offence::BadJustification)?;
            if !seats.insert(seat)
                || signed.change.view != view
                || !self.is_consistent(&signed.change)
            {
                return Err(Offence::BadJustification.into());
            }
            if self.instance.changes.get(&seat) != Some(signed) {
                signed.verify_signature().map_err(|_| Offence::BadJustification)?;
            }
            weight = weight.saturating_add(weight_of(seat, committee));
        }
        if weight < committee.quorum() {
            return Err(Offence::BadJustification.into());
        }
        match newest_prepared(new_view) {
            Some(newest) if self.instance.lock.as_ref() != Some(newest) => {
                Unverified::new(newest.clone()).verify(
                    &self.head.header.chain,
                    Phase::Prepare,
                    committee,
                )?;
            }
            _ => {}
        }
        Ok(())
    }
}
