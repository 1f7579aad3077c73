//! The next height, opened before the present one is decided (docs/consensus.md, "Two heights at a
//! time").
//!
//! While a member is in the first view of height `h` and locked there on block `B`, it prepares one
//! block of `h` + 1 upon `B`, if `h` does not end a term. It goes no further with `h` + 1 until `h`
//! is final: it takes no lock there, commits nothing, gives up no view. So of `h` + 1 there is one
//! vote at most, one record in the log, and nothing to carry through a view change of `h`.
//!
//! A prepare certificate of such a block holds the locks of a quorum on `B`, all of one view:
//! nothing but `B` can become final at `h` any more. So a certificate of `h` + 1 never contradicts
//! a decision of `h`, and the rules of a height hold for `h` + 1 as if it had been opened later. If
//! another block than `B` becomes final, a member that has prepared upon `B` leaves the first view
//! of `h` + 1 at once, since its vote there is spent.

use super::{
    error::{Error, Fault},
    instance::{Held, Instance},
    output::{Event, Offence, To},
    pace::Pipeline,
    replica::{Head, Replica},
    validate::{self, BlockError},
    wal::WalRecord,
};
use crate::{
    crypto::bls,
    ledger::{Block, Outcome, Phase, SignedTransaction, State, fault, seed},
    types::{Digest, Height, TimeMs, Verified, View},
    wire::consensus::{Message, Proposal, SignedVote},
};
use alloc::vec::Vec;

/// What the leader of the next height has asked the mempool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Asked {
    /// Nothing yet, or something has come since.
    #[default]
    No,
    /// For a block upon this one.
    Upon(Digest),
    /// There was nothing to put into a block.
    Nothing,
    /// There was too much else to do: the height waits for the decision below.
    Busy,
}

impl Replica {
    /// Whether the block of this view and height may have been made before the height below was
    /// decided.
    pub(super) fn may_be_ahead(&self, height: Height, view: View) -> bool {
        let ends_term = |height| {
            seed::ends_term(&self.params, height) && !fault::is(fault::Fault::AheadAcrossTerms)
        };
        view == 0 && height.checked_sub(1).is_some_and(|parent| !ends_term(parent))
    }

    fn next_height(&self) -> Height {
        self.instance.height.saturating_add(1)
    }

    /// The block upon which the next height can be opened: this node has locked it in the first
    /// view, and is in that view still. The next seed and the next committee do not follow from
    /// it.
    fn base(&self) -> Option<(Digest, &Block, &State)> {
        let Instance { view, accepted, committed, lock, decided, .. } = &self.instance;
        let in_first_view = *view == 0 || fault::is(fault::Fault::AheadInLaterViews);
        let is_open = in_first_view && decided.is_none() && self.seat.is_some();
        if !is_open || !self.may_be_ahead(self.next_height(), 0) {
            return None;
        }
        // Locked in the present view: so the lock is of the first.
        let locked = lock.as_ref().filter(|_| *committed).map(|lock| lock.vote.digest);
        let digest = locked.or(accepted.filter(|_| fault::is(fault::Fault::AheadUnprepared)))?;
        let Held { block, outcome } = self.instance.held.get(&digest)?;
        Some((digest, block, &outcome.as_ref()?.state))
    }

    /// That block as the head of the chain.
    fn base_head(&self) -> Option<Head> {
        let (_, block, state) = self.base()?;
        Some(self.head.after_undecided(block, state.clone()))
    }

    /// Where this node leads the next height, may open it, and has not asked yet.
    fn to_ask(&self) -> Option<(Digest, &Block, &State)> {
        let opens = match self.config.pipeline {
            Pipeline::Auto => !self.is_contended && self.pace.opens(self.next_height()),
            Pipeline::On => true,
            Pipeline::Off => false,
        };
        let is_free = opens && self.ahead.is_none() && self.asked == Asked::No;
        let base = self.base().filter(|_| is_free)?;
        (self.seat == Some(self.leader_at(self.next_height(), 0))).then_some(base)
    }

    /// When to ask. While the disk is behind nothing is opened, and [`super::Input::Persisted`]
    /// calls anyway.
    pub(super) fn propose_ahead_at_ms(&self) -> Option<TimeMs> {
        let (_, block, _) = self.to_ask().filter(|_| self.outbox.is_on_disk())?;
        Some(validate::earliest_ms(&block.header, &self.params))
    }

    /// The leader of the next height asks for a block upon one that is prepared. What is wanted is
    /// only what can be applied: empty blocks are not worth it.
    pub(super) fn try_propose_ahead(&mut self) {
        if self.propose_ahead_at_ms().is_none_or(|at| self.now_ms < at) {
            return;
        }
        let Some((digest, _, state)) = self.to_ask() else { return };
        let state = state.clone();
        self.asked = Asked::Upon(digest);
        self.ask_for_block(self.next_height(), 0, digest, state);
    }

    /// Something has come into the mempool.
    pub(super) fn want_ahead(&mut self) {
        if self.asked == Asked::Nothing {
            self.asked = Asked::No;
        }
    }

    /// Whether this host has too much to do to open a height ahead of time: more than a phase of
    /// votes brings, and by the time that it has caught up the present height is decided; or
    /// more than its processors can do at a time.
    pub(super) fn is_busy(&self, waiting: usize) -> bool {
        waiting > self.head.committee.seats().len()
            || self.is_contended && self.config.pipeline == Pipeline::Auto
    }

    /// The mempool's answer. Who is busy leaves the next height for later.
    pub(super) fn on_built_ahead(
        &mut self,
        parent: &Digest,
        transactions: Vec<Verified<SignedTransaction>>,
        is_busy: bool,
    ) -> Result<(), Error> {
        if self.asked != Asked::Upon(*parent) {
            return Err(Error::NotRequested);
        }
        self.asked = if is_busy { Asked::Busy } else { Asked::Nothing };
        let base = self.base_head().filter(|base| base.digest() == parent && self.ahead.is_none());
        let Some(base) = base.filter(|_| !is_busy && !transactions.is_empty()) else {
            return Ok(());
        };
        let Some((block, outcome)) = self.make_block(&base, 0, transactions) else { return Ok(()) };
        let proposal = Proposal::sign(0, block, None, &self.config.node_key);
        self.accept_ahead(proposal, outcome);
        Ok(())
    }

    /// A proposal of the next height came before this node had locked the block that it is built
    /// upon.
    pub(super) fn on_kept_proposal(&mut self) {
        if self.config.pipeline == Pipeline::Off || self.ahead.is_some() {
            return;
        }
        let Some((digest, ..)) = self.base() else { return };
        let Some((from, proposal)) = self.future.take_proposal(self.next_height(), &digest) else {
            return;
        };
        match self.check_ahead(&proposal) {
            Ok(outcome) => self.accept_ahead(proposal, outcome),
            Err(Fault::Peer(offence)) => self.outbox.misbehaviour(from, *offence),
            Err(Fault::Own(_)) => {}
        }
    }

    /// As a proposal of the present height is checked, with the prepared block as head. Its sender
    /// is known to lead.
    fn check_ahead(&mut self, proposal: &Proposal) -> Result<Outcome, Fault> {
        let leader = self.node_at(self.leader_at(self.next_height(), 0));
        proposal.signed_claim().verify(&leader).map_err(|_| Offence::BadSignature)?;
        if proposal.justification.is_some() {
            return Err(Offence::BadJustification.into());
        }
        let Some(base) = self.base_head() else { return Err(Fault::Own(Error::NotRequested)) };
        let checked = validate::fresh(
            &base,
            &self.params,
            &mut self.remembered,
            &proposal.block,
            0,
            self.now_ms,
        );
        checked.map_err(|error: BlockError| match error.is_fault() {
            true => error.into(),
            false => Fault::Own(Error::NotRequested),
        })
    }

    /// Gives the block the only prepare vote of the first view of its height. The record of it, and
    /// the lock on its parent before, are on disk before the vote leaves.
    fn accept_ahead(&mut self, proposal: Proposal, outcome: Outcome) {
        let (height, digest) = (self.next_height(), proposal.block.header.digest());
        self.outbox.event(Event::Ahead { height, digest });
        self.outbox.persist(WalRecord::Accepted(proposal.clone()));
        self.vote_ahead(proposal, Some(outcome));
        if let Some(key) = self.keys.as_ref().map(|keys| keys.vote.clone()) {
            self.say_ahead_again(&key);
        }
    }

    /// From here on this node has voted in the first view of the next height.
    pub(super) fn vote_ahead(&mut self, proposal: Proposal, outcome: Option<Outcome>) {
        let (height, digest) = (self.next_height(), proposal.block.header.digest());
        let mut instance = Instance::new(height, self.now_ms);
        instance.hold(digest, proposal.block.clone(), outcome);
        instance.accepted = Some(digest);
        (instance.voted_ms, instance.is_ahead) = (Some(self.now_ms), true);
        instance.seen.insert(0, proposal.signed_claim());
        if self.seat == Some(self.leader_at(height, 0)) {
            instance.proposal = Some(proposal);
        }
        if let (Some(seat), Some(keys)) = (self.seat, &self.keys) {
            let vote =
                SignedVote::sign(self.vote_at(height, 0, Phase::Prepare, digest), &keys.vote);
            instance.ballots.entry((0, Phase::Prepare)).or_default().enter(seat, vote);
        }
        self.ahead = Some(instance);
    }

    /// Says what this node has said of the next height.
    pub(super) fn say_ahead_again(&mut self, key: &bls::SecretKey) {
        let Some(ahead) = &self.ahead else { return };
        let (height, accepted, proposal) = (ahead.height, ahead.accepted, ahead.proposal.clone());
        if let Some(proposal) = proposal {
            self.outbox.send(To::All, Message::Proposal(proposal));
        }
        if let Some(digest) = accepted {
            let vote = self.vote_at(height, 0, Phase::Prepare, digest);
            self.send_vote(SignedVote::sign(vote, key));
        }
    }

    /// What is known of the height after the head, which has just become final.
    pub(super) fn next_instance(&mut self) -> Instance {
        let height = self.head.header.height.saturating_add(1);
        let mut next = Instance::new(height, self.now_ms);
        let ahead = self
            .ahead
            .take()
            .filter(|ahead| ahead.height == height && !fault::is(fault::Fault::AheadForgotten));
        if let Some(ahead) = ahead {
            next = Instance { entered_ms: self.now_ms, ..ahead };
        }
        // The mempool's answer is as good for the present height.
        next.building = core::mem::take(&mut self.asked) == Asked::Upon(*self.head.digest());
        next
    }

    /// This node has voted ahead for a block whose parent did not become final: in that view it has
    /// nothing more to say.
    pub(super) fn leave_orphan(&mut self) -> Result<(), Error> {
        let Instance { view, accepted, held, .. } = &mut self.instance;
        let Some(digest) = accepted.filter(|_| *view == 0) else { return Ok(()) };
        if held.get(&digest).is_none_or(|held| held.block.header.parent == *self.head.digest()) {
            return Ok(());
        }
        held.remove(&digest);
        if fault::is(fault::Fault::OrphanForgotten) {
            self.instance = Instance::new(self.instance.height, self.now_ms);
            self.start_timers();
            return Ok(());
        }
        self.outbox.event(Event::Orphaned { height: self.instance.height, digest });
        self.change_view(1)
    }
}
