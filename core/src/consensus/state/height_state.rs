//! The state of one height. It is bounded: one vote per seat, phase and view within
//! [`VIEW_WINDOW`], one view change per seat, [`CANDIDATES_MAX`] blocks.

use super::vote_set::VoteSet;
use crate::{
    ledger::{Block, Certificate, Committee, Outcome, Phase},
    types::{Digest, Height, TimeMs, View, Weight},
    wire::consensus::{NewView, Proposal, SignedProposalHeader, SignedViewChange},
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

/// Votes are kept for this many views above the present one, and commit votes also for as many
/// below.
pub(in crate::consensus) const VIEW_WINDOW: View = 4;
/// Most blocks stored for one height: the accepted one, the locked one, and those of other members'
/// certificates.
pub(in crate::consensus) const CANDIDATES_MAX: usize = 8;

#[derive(Debug)]
pub(in crate::consensus) struct HeightState {
    pub(in crate::consensus) height: Height,
    pub(in crate::consensus) view: View,
    /// When this height and this view began.
    pub(in crate::consensus) entered_ms: TimeMs,
    pub(in crate::consensus) view_entered_ms: TimeMs,
    /// The block that got this node's prepare vote in this view.
    pub(in crate::consensus) accepted: Option<Digest>,
    /// When this node voted for the block of the first view, and whether the parent was not final
    /// at that time.
    pub(in crate::consensus) voted_ms: Option<TimeMs>,
    pub(in crate::consensus) is_pipelined: bool,
    /// Whether the accepted block got this node's commit vote.
    pub(in crate::consensus) commit_vote_cast: bool,
    /// The prepare certificate of the newest view in which this node cast a commit vote.
    pub(in crate::consensus) lock: Option<Certificate>,
    /// A commit certificate whose block is missing.
    pub(in crate::consensus) decided: Option<Certificate>,
    /// This node's own proposal of this view.
    pub(in crate::consensus) proposal: Option<Proposal>,
    pub(in crate::consensus) candidates: BTreeMap<Digest, CandidateBlock>,
    pub(in crate::consensus) vote_sets: BTreeMap<(View, Phase), VoteSet>,
    /// The view change of the highest view of each seat.
    pub(in crate::consensus) view_changes: BTreeMap<usize, SignedViewChange>,
    /// The first justified proposal of each view from this one on.
    pub(in crate::consensus) seen_proposals: BTreeMap<View, SignedProposalHeader>,
    /// Votes of this height go to all members, regardless of the configuration.
    pub(in crate::consensus) collector_bypassed: bool,
    /// The phases whose certificates this node has broadcast as the collector.
    pub(in crate::consensus) broadcast_phases: BTreeSet<Phase>,
    /// A request to the mempool for this view is pending.
    pub(in crate::consensus) is_building: bool,
    /// The mempool holds transactions.
    pub(in crate::consensus) transactions_waiting: bool,
    pub(in crate::consensus) expires_ms: Option<TimeMs>,
    pub(in crate::consensus) resend_ms: Option<TimeMs>,
    pub(in crate::consensus) resends: u32,
}

/// A block, and its outcome once it has been executed.
#[derive(Debug)]
pub(in crate::consensus) struct CandidateBlock {
    pub(in crate::consensus) block: Block,
    pub(in crate::consensus) outcome: Option<Outcome>,
}

impl HeightState {
    pub(in crate::consensus) fn new(height: Height, now_ms: TimeMs) -> Self {
        Self {
            height,
            view: 0,
            entered_ms: now_ms,
            view_entered_ms: now_ms,
            accepted: None,
            voted_ms: None,
            is_pipelined: false,
            commit_vote_cast: false,
            lock: None,
            decided: None,
            proposal: None,
            candidates: BTreeMap::new(),
            vote_sets: BTreeMap::new(),
            view_changes: BTreeMap::new(),
            seen_proposals: BTreeMap::new(),
            collector_bypassed: false,
            broadcast_phases: BTreeSet::new(),
            is_building: false,
            transactions_waiting: false,
            expires_ms: None,
            resend_ms: None,
            resends: 0,
        }
    }

    /// Leaves all lower views.
    pub(in crate::consensus) fn enter_view(&mut self, view: View, now_ms: TimeMs) {
        self.view = view;
        self.view_entered_ms = now_ms;
        self.accepted = None;
        self.commit_vote_cast = false;
        self.proposal = None;
        self.is_building = false;
        self.expires_ms = None;
        self.resend_ms = None;
        self.resends = 0;
        self.seen_proposals.retain(|seen, _| *seen >= view);
        self.vote_sets.retain(|(voted, phase), _| in_window(view, *voted, *phase));
    }

    /// Whether votes of that view can still matter.
    pub(in crate::consensus) fn is_relevant(&self, view: View, phase: Phase) -> bool {
        in_window(self.view, view, phase)
    }

    /// Stores a block if there is room.
    pub(in crate::consensus) fn insert_candidate(
        &mut self,
        digest: Digest,
        block: Block,
        outcome: Option<Outcome>,
    ) {
        if self.candidates.len() >= CANDIDATES_MAX && !self.candidates.contains_key(&digest) {
            self.prune_candidates();
        }
        let room = self.candidates.len() < CANDIDATES_MAX;
        match self.candidates.get_mut(&digest) {
            Some(candidate) => candidate.outcome = candidate.outcome.take().or(outcome),
            None if room => drop(self.candidates.insert(digest, CandidateBlock { block, outcome })),
            None => {}
        }
    }

    fn prune_candidates(&mut self) {
        let Self { candidates, accepted, lock, decided, view_changes, .. } = self;
        let prepared = |digest: &Digest| {
            view_changes
                .values()
                .filter_map(|c| c.change.prepared.as_ref())
                .any(|c| c.vote.digest == *digest)
        };
        candidates.retain(|digest, _| {
            *accepted == Some(*digest)
                || lock.as_ref().is_some_and(|c| c.vote.digest == *digest)
                || decided.as_ref().is_some_and(|c| c.vote.digest == *digest)
                || prepared(digest)
        });
    }

    /// Weight of the seats that have left all views below `view`.
    pub(in crate::consensus) fn view_change_weight(
        &self,
        view: View,
        committee: &Committee,
    ) -> Weight {
        self.view_changes
            .iter()
            .filter(|(_, c)| c.change.view >= view)
            .map(|(seat, _)| weight_of(*seat, committee))
            .sum()
    }

    /// The highest view above the present one that a correct member must have entered.
    pub(in crate::consensus) fn view_to_join(&self, committee: &Committee) -> Option<View> {
        let mut views: Vec<View> =
            self.view_changes.values().map(|c| c.change.view).filter(|v| *v > self.view).collect();
        views.sort_unstable();
        views
            .into_iter()
            .rev()
            .find(|view| self.view_change_weight(*view, committee) >= committee.blocking_weight())
    }

    /// A quorum's view changes of the present view. View changes whose certified block is missing
    /// here are left out, because the block cannot be proposed again.
    pub(in crate::consensus) fn new_view(&self, committee: &Committee) -> Option<NewView> {
        let usable = |signed: &&SignedViewChange| {
            let prepared = signed.change.prepared.as_ref();
            signed.change.view == self.view
                && prepared.is_none_or(|c| self.candidates.contains_key(&c.vote.digest))
        };
        let chosen: Vec<_> = self.view_changes.iter().filter(|(_, c)| usable(c)).collect();
        let weight: Weight = chosen.iter().map(|(seat, _)| weight_of(**seat, committee)).sum();
        (weight >= committee.quorum())
            .then(|| NewView::truncated(chosen.into_iter().map(|(_, c)| c.clone())))
    }
}

/// The newest prepare certificate of a new view, which binds its leader.
pub(in crate::consensus) fn newest_prepared(new_view: &NewView) -> Option<&Certificate> {
    new_view.iter().filter_map(|c| c.change.prepared.as_ref()).max_by_key(|c| c.vote.view)
}

fn in_window(view: View, other: View, phase: Phase) -> bool {
    let lowest = match phase {
        Phase::Prepare => view,
        // A block that a quorum committed in an older view is final, whenever its certificate
        // appears.
        Phase::Commit => view.saturating_sub(VIEW_WINDOW),
    };
    (lowest..=view.saturating_add(VIEW_WINDOW)).contains(&other)
}

pub(in crate::consensus) fn weight_of(seat: usize, committee: &Committee) -> Weight {
    committee.seats().get(seat).map_or(0, |seat| seat.weight)
}
