//! Handles a proposal: pre-prepare and new-view of PBFT (Castro and Liskov, OSDI 1999, sections 4.2
//! and 4.4).

use crate::{
    consensus::{
        error::{BlockError, Error, HandlerError, Offence},
        output::{Event, Recipient},
        replica::Replica,
        state::height_state::{newest_prepared, weight_of},
        validate,
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
    ) -> Result<(), HandlerError> {
        let (view, signed_header) = (proposal.view, proposal.signed_claim());
        if seat != self.leader_seat(view) {
            return Err(Offence::NotLeader.into());
        }
        signed_header.verify(&self.node_at(seat)).map_err(|_| Offence::BadSignature)?;
        if self.is_decided(&proposal) {
            return Ok(self.on_decided_block(proposal.block)?);
        }
        if view < self.height_state.view {
            return Ok(());
        }
        match self.height_state.seen_proposals.get(&view) {
            Some(first) if first.header != signed_header.header => {
                return Err(Offence::DoubleProposal(*first, signed_header).into());
            }
            _ if view == self.height_state.view && self.height_state.accepted.is_some() => {
                return Ok(());
            }
            _ => {}
        }
        let is_reproposal =
            self.check_justification(view, proposal.justification.as_ref(), &proposal)?;
        self.height_state.seen_proposals.entry(view).or_insert(signed_header);
        let validated = match is_reproposal {
            true => validate::prepared_block(
                &self.head,
                &self.params,
                &mut self.verification_cache,
                &proposal.block,
            ),
            false => validate::new_block(
                &self.head,
                &self.params,
                &mut self.verification_cache,
                &proposal.block,
                view,
                self.now_ms,
            ),
        };
        match validated {
            Ok(outcome) => Ok(self.accept(proposal, outcome)?),
            // The leader built on a prepared block, and another block became final.
            Err(BlockError::Parent) if self.may_be_pipelined(self.height_state.height, view) => {
                Ok(())
            }
            Err(error) if error.is_misbehaviour() => Err(error.into()),
            Err(_) => Ok(()),
        }
    }

    /// Casts the only prepare vote of the view for a valid proposal. The record of the vote is on
    /// disk before the vote is sent.
    pub(in crate::consensus) fn accept(
        &mut self,
        proposal: Proposal,
        outcome: Outcome,
    ) -> Result<(), Error> {
        let (view, digest) = (proposal.view, proposal.block.header.digest());
        if view > self.height_state.view {
            // The justification shows that a quorum has entered the view.
            self.timing.back_off(view - self.height_state.view);
            self.height_state.enter_view(view, self.now_ms);
        }
        self.height_state.insert_candidate(digest, proposal.block.clone(), Some(outcome));
        self.height_state.accepted = Some(digest);
        self.height_state.seen_proposals.entry(view).or_insert_with(|| proposal.signed_claim());
        self.height_state.view_entered_ms = self.now_ms;
        self.height_state.voted_ms = Some(self.now_ms).filter(|_| view == 0);
        self.height_state.expires_ms =
            Some(self.now_ms.saturating_add(self.timing.view_timeout_ms()));
        self.restart_retransmission();
        self.outbox.event(Event::Accepted { height: self.height_state.height, view, digest });
        if self.seat.is_some() {
            self.outbox.persist(WalRecord::Accepted(proposal.clone()));
            if self.leads(view) {
                self.outbox.send(Recipient::All, Message::Proposal(proposal.clone()));
                self.height_state.proposal = Some(proposal);
            }
        }
        self.cast_vote(Phase::Prepare, digest)
    }

    /// Whether the view binds its leader to this prepared block. Fails if it binds the leader to
    /// another block, or if the new view is not justified.
    fn check_justification(
        &self,
        view: View,
        justification: Option<&NewView>,
        proposal: &Proposal,
    ) -> Result<bool, HandlerError> {
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

    /// Checks a quorum's signed view changes to this view. Only the newest certificate is verified:
    /// an invalid older one does not bind the leader, so it has no effect.
    fn check_new_view(&self, view: View, new_view: &NewView) -> Result<(), HandlerError> {
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
            if self.height_state.view_changes.get(&seat) != Some(signed) {
                signed.verify_signature().map_err(|_| Offence::BadJustification)?;
            }
            weight = weight.saturating_add(weight_of(seat, committee));
        }
        if weight < committee.quorum() {
            return Err(Offence::BadJustification.into());
        }
        match newest_prepared(new_view) {
            Some(newest) if self.height_state.lock.as_ref() != Some(newest) => {
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
