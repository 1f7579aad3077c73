//! Pipelining: opens the next height before the present one is decided
//! (docs/consensus/pipelining-and-aggregation.md).
//!
//! While a member is in the first view of height `h` and locked on block `B`, it prepares one block
//! of `h` + 1 with parent `B`, if `h` does not end a term. Until `h` is final, the member does
//! nothing else at `h` + 1: it takes no lock, casts no commit vote and changes no view. So `h` + 1
//! has at most one vote and one log record, and a view change of `h` carries nothing of it.
//!
//! A prepare certificate of such a block implies locks of a quorum on `B`, all of one view: only
//! `B` can become final at `h`. So a certificate of `h` + 1 never contradicts a decision of `h`,
//! and the rules of a height hold for `h` + 1 as if it had started later. If another block than `B`
//! becomes final, a member that has prepared a child of `B` leaves the first view of `h` + 1 at
//! once, because its vote there is spent.

use crate::{
    consensus::{
        config::Pipeline,
        error::{BlockError, Error, HandlerError, Offence},
        head::Head,
        output::{Event, Recipient},
        replica::Replica,
        state::block_request::BlockRequest,
        state::height_state::{CandidateBlock, HeightState},
        validate,
        wal::WalRecord,
    },
    crypto::bls,
    ledger::{Block, Outcome, Phase, SignedTransaction, State, leader_seed, mutation::rule},
    types::{Digest, Height, TimeMs, Verified, View},
    wire::consensus::{Message, Proposal, SignedVote},
};
use alloc::vec::Vec;

impl Replica {
    /// Whether the block of this view and height may have been proposed before its parent was
    /// final.
    pub(in crate::consensus) fn may_be_pipelined(&self, height: Height, view: View) -> bool {
        let ends_term = |height| {
            let is_end = leader_seed::ends_leader_term(&self.params, height);
            rule!(is_end, PipelineAcrossTerms => false)
        };
        view == 0 && height.checked_sub(1).is_some_and(|parent| !ends_term(parent))
    }

    fn next_height(&self) -> Height {
        self.height_state.height.saturating_add(1)
    }

    /// The block that can be the parent of a pipelined block: this node has locked it in the first
    /// view and is still in that view. The block must not end a term or an epoch.
    fn pipeline_parent(&self) -> Option<(Digest, &Block, &State)> {
        let HeightState { view, accepted, commit_vote_cast, lock, decided, .. } =
            &self.height_state;
        let in_first_view = rule!(*view == 0, PipelineInLaterViews => true);
        let is_open = in_first_view && decided.is_none() && self.seat.is_some();
        if !is_open || !self.may_be_pipelined(self.next_height(), 0) {
            return None;
        }
        // The lock was taken in the present view, so it is of the first view.
        let locked = lock.as_ref().filter(|_| *commit_vote_cast).map(|lock| lock.vote.digest);
        let digest = rule!(locked, PipelineUnprepared => locked.or(*accepted))?;
        let CandidateBlock { block, outcome } = self.height_state.candidates.get(&digest)?;
        Some((digest, block, &outcome.as_ref()?.state))
    }

    /// The head of the chain as if that parent were final.
    fn pipeline_head(&self) -> Option<Head> {
        let (_, block, state) = self.pipeline_parent()?;
        Some(self.head.after_prepared(block, state.clone()))
    }

    /// The parent, if this node leads the next height, may open it, and has not requested a block
    /// yet.
    fn pipeline_candidate(&self) -> Option<(Digest, &Block, &State)> {
        let should_pipeline = match self.config.pipeline {
            Pipeline::Auto => self.pacing.should_pipeline(self.next_height()),
            Pipeline::On => true,
            Pipeline::Off => false,
        };
        let is_available = should_pipeline
            && self.pipelined.is_none()
            && self.block_request == BlockRequest::NotRequested;
        let parent = self.pipeline_parent().filter(|_| is_available)?;
        (self.seat == Some(self.leader_at(self.next_height(), 0))).then_some(parent)
    }

    /// The time to request the block. None while writes are pending:
    /// [`Input::Persisted`](crate::consensus::Input::Persisted) runs the timers again.
    pub(in crate::consensus) fn propose_pipelined_at_ms(&self) -> Option<TimeMs> {
        let (_, block, _) = self.pipeline_candidate().filter(|_| self.outbox.is_on_disk())?;
        Some(validate::earliest_ms(&block.header, &self.params))
    }

    /// Requests a block of the next height if this node leads it. Only transactions justify a
    /// pipelined block, never an empty one.
    pub(in crate::consensus) fn try_propose_pipelined(&mut self) {
        if self.propose_pipelined_at_ms().is_none_or(|at| self.now_ms < at) {
            return;
        }
        let Some((digest, _, state)) = self.pipeline_candidate() else { return };
        let state = state.clone();
        self.block_request = BlockRequest::Requested(digest);
        self.request_block(self.next_height(), 0, digest, state);
    }

    /// Allows a new request after transactions have arrived in the mempool.
    pub(in crate::consensus) fn retry_empty_request(&mut self) {
        if self.block_request == BlockRequest::Empty {
            self.block_request = BlockRequest::NotRequested;
        }
    }

    /// Whether this host is too busy to pipeline: more inputs are queued than one voting phase
    /// brings, so the present height is decided before the host catches up.
    pub(in crate::consensus) fn is_busy(&self, queued_inputs: usize) -> bool {
        queued_inputs > self.head.committee.seats().len()
    }

    /// Handles the mempool's answer. A busy node leaves the next height for later.
    pub(in crate::consensus) fn on_built_pipelined(
        &mut self,
        parent: &Digest,
        transactions: Vec<Verified<SignedTransaction>>,
        is_busy: bool,
    ) -> Result<(), Error> {
        if self.block_request != BlockRequest::Requested(*parent) {
            return Err(Error::NotRequested);
        }
        self.block_request = if is_busy { BlockRequest::Busy } else { BlockRequest::Empty };
        let head =
            self.pipeline_head().filter(|head| head.digest() == parent && self.pipelined.is_none());
        let Some(head) = head.filter(|_| !is_busy && !transactions.is_empty()) else {
            return Ok(());
        };
        let Some((block, outcome)) = self.make_block(&head, 0, transactions) else { return Ok(()) };
        let proposal = Proposal::sign(0, block, None, &self.config.node_key);
        self.accept_pipelined(proposal, outcome);
        Ok(())
    }

    /// Handles a stored proposal of the next height that arrived before this node locked its
    /// parent.
    pub(in crate::consensus) fn on_pending_proposal(&mut self) {
        if self.config.pipeline == Pipeline::Off || self.pipelined.is_some() {
            return;
        }
        let Some((digest, ..)) = self.pipeline_parent() else { return };
        let Some((from, proposal)) =
            self.pending_messages.take_proposal(self.next_height(), &digest)
        else {
            return;
        };
        match self.check_pipelined(&proposal) {
            Ok(outcome) => self.accept_pipelined(proposal, outcome),
            Err(HandlerError::Peer(offence)) => self.outbox.misbehaviour(from, *offence),
            Err(HandlerError::Local(_)) => {}
        }
    }

    /// Checks a proposal like one of the present height, with the prepared block as head. The
    /// caller has checked that its sender leads.
    fn check_pipelined(&mut self, proposal: &Proposal) -> Result<Outcome, HandlerError> {
        let leader = self.node_at(self.leader_at(self.next_height(), 0));
        proposal.signed_claim().verify(&leader).map_err(|_| Offence::BadSignature)?;
        if proposal.justification.is_some() {
            return Err(Offence::BadJustification.into());
        }
        let Some(head) = self.pipeline_head() else {
            return Err(HandlerError::Local(Error::NotRequested));
        };
        let checked = validate::new_block(
            &head,
            &self.params,
            &mut self.verification_cache,
            &proposal.block,
            0,
            self.now_ms,
        );
        checked.map_err(|error: BlockError| match error.is_misbehaviour() {
            true => error.into(),
            false => HandlerError::Local(Error::NotRequested),
        })
    }

    /// Casts the only prepare vote of the first view of the next height. The record of the vote,
    /// and before it the lock on the parent, are on disk before the vote is sent.
    fn accept_pipelined(&mut self, proposal: Proposal, outcome: Outcome) {
        let (height, digest) = (self.next_height(), proposal.block.header.digest());
        self.outbox.event(Event::PipelinedAccepted { height, digest });
        self.outbox.persist(WalRecord::Accepted(proposal.clone()));
        self.record_pipelined_vote(proposal, Some(outcome));
        if let Some(key) = self.keys.as_ref().map(|keys| keys.vote.clone()) {
            self.retransmit_pipelined(&key);
        }
    }

    /// Records this node's vote in the first view of the next height.
    pub(in crate::consensus) fn record_pipelined_vote(
        &mut self,
        proposal: Proposal,
        outcome: Option<Outcome>,
    ) {
        let (height, digest) = (self.next_height(), proposal.block.header.digest());
        let mut height_state = HeightState::new(height, self.now_ms);
        height_state.insert_candidate(digest, proposal.block.clone(), outcome);
        height_state.accepted = Some(digest);
        (height_state.voted_ms, height_state.is_pipelined) = (Some(self.now_ms), true);
        height_state.seen_proposals.insert(0, proposal.signed_claim());
        if self.seat == Some(self.leader_at(height, 0)) {
            height_state.proposal = Some(proposal);
        }
        if let (Some(seat), Some(keys)) = (self.seat, &self.keys) {
            let vote =
                SignedVote::sign(self.vote_at(height, 0, Phase::Prepare, digest), &keys.vote);
            height_state.vote_sets.entry((0, Phase::Prepare)).or_default().insert(seat, vote);
        }
        self.pipelined = Some(height_state);
    }

    /// Retransmits this node's messages of the next height.
    pub(in crate::consensus) fn retransmit_pipelined(&mut self, key: &bls::SecretKey) {
        let Some(pipelined) = &self.pipelined else { return };
        let (height, accepted, proposal) =
            (pipelined.height, pipelined.accepted, pipelined.proposal.clone());
        if let Some(proposal) = proposal {
            self.outbox.send(Recipient::All, Message::Proposal(proposal));
        }
        if let Some(digest) = accepted {
            let vote = self.vote_at(height, 0, Phase::Prepare, digest);
            self.send_vote(SignedVote::sign(vote, key));
        }
    }

    /// The state of the height after the head, which has just become final.
    pub(in crate::consensus) fn next_height_state(&mut self) -> HeightState {
        let height = self.head.header.height.saturating_add(1);
        let mut next = HeightState::new(height, self.now_ms);
        let pipelined = self
            .pipelined
            .take()
            .filter(|pipelined| rule!(pipelined.height == height, ForgetPipelinedVotes => false));
        if let Some(pipelined) = pipelined {
            next = HeightState { entered_ms: self.now_ms, ..pipelined };
        }
        // The mempool's answer to the pipelined request also serves the present height.
        next.is_building = core::mem::take(&mut self.block_request)
            == BlockRequest::Requested(*self.head.digest());
        next
    }

    /// Leaves the first view if this node has voted there for a block whose parent did not become
    /// final: its vote in that view is spent.
    pub(in crate::consensus) fn abandon_orphan(&mut self) -> Result<(), Error> {
        let HeightState { view, accepted, candidates, .. } = &mut self.height_state;
        let Some(digest) = accepted.filter(|_| *view == 0) else { return Ok(()) };
        if candidates
            .get(&digest)
            .is_none_or(|candidate| candidate.block.header.parent == *self.head.digest())
        {
            return Ok(());
        }
        candidates.remove(&digest);
        rule!(
            self.leave_first_view(digest),
            ForgetOrphanedVotes => self.start_height_over()
        )
    }

    fn leave_first_view(&mut self, orphan: Digest) -> Result<(), Error> {
        self.outbox.event(Event::Orphaned { height: self.height_state.height, digest: orphan });
        self.change_view(1)
    }

    /// Treats this height as if this node had never voted in it. Only a mutation calls this.
    fn start_height_over(&mut self) -> Result<(), Error> {
        self.height_state = HeightState::new(self.height_state.height, self.now_ms);
        self.start_timers();
        Ok(())
    }
}
