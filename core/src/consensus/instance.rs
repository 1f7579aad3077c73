//! All that a replica knows about the height that is being decided. Everything in it is bounded:
//! one vote a seat, phase and view within [`VIEW_WINDOW`], one view change a seat, [`HELD_MAX`]
//! blocks.

use super::ballot::Ballot;
use crate::{
    ledger::{Block, Certificate, Committee, Outcome, Phase},
    types::{Digest, Height, TimeMs, View, Weight},
    wire::consensus::{NewView, Proposal, SignedClaim, SignedViewChange},
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

/// Views ahead of the present one (and, for commit votes, behind it) whose votes are kept.
pub(super) const VIEW_WINDOW: View = 4;
/// Blocks that are kept for one height: the accepted one, the locked one, and those of others'
/// certificates.
pub(super) const HELD_MAX: usize = 8;

#[derive(Debug)]
pub(super) struct Instance {
    pub(super) height: Height,
    pub(super) view: View,
    /// When this height, and when this view, began.
    pub(super) entered_ms: TimeMs,
    pub(super) view_entered_ms: TimeMs,
    /// The block that got this node's prepare vote in this view.
    pub(super) accepted: Option<Digest>,
    /// When this node voted for the block of the first view, and whether the height below was open
    /// then.
    pub(super) voted_ms: Option<TimeMs>,
    pub(super) is_ahead: bool,
    /// Whether it got the commit vote.
    pub(super) committed: bool,
    /// The prepare certificate of the newest view in which this node cast a commit vote.
    pub(super) lock: Option<Certificate>,
    /// A commit certificate whose block is missing here.
    pub(super) decided: Option<Certificate>,
    /// This node's own proposal of this view.
    pub(super) proposal: Option<Proposal>,
    pub(super) held: BTreeMap<Digest, Held>,
    pub(super) ballots: BTreeMap<(View, Phase), Ballot>,
    /// By seat, the one of the highest view.
    pub(super) changes: BTreeMap<usize, SignedViewChange>,
    /// The first justified proposal of each view from this one on.
    pub(super) seen: BTreeMap<View, SignedClaim>,
    /// Votes of this height go to all, whatever the configuration says.
    pub(super) fell_back: bool,
    /// The certificates that this node, as the collector, has given to all.
    pub(super) spread: BTreeSet<Phase>,
    /// The mempool was asked for this view.
    pub(super) building: bool,
    /// The mempool holds something.
    pub(super) wanted: bool,
    pub(super) expires_ms: Option<TimeMs>,
    pub(super) resend_ms: Option<TimeMs>,
    pub(super) resends: u32,
}

/// A block, and what it does once it has been executed.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) block: Block,
    pub(super) outcome: Option<Outcome>,
}

impl Instance {
    pub(super) fn new(height: Height, now_ms: TimeMs) -> Self {
        Self {
            height,
            view: 0,
            entered_ms: now_ms,
            view_entered_ms: now_ms,
            accepted: None,
            voted_ms: None,
            is_ahead: false,
            committed: false,
            lock: None,
            decided: None,
            proposal: None,
            held: BTreeMap::new(),
            ballots: BTreeMap::new(),
            changes: BTreeMap::new(),
            seen: BTreeMap::new(),
            fell_back: false,
            spread: BTreeSet::new(),
            building: false,
            wanted: false,
            expires_ms: None,
            resend_ms: None,
            resends: 0,
        }
    }

    /// Leaves all lower views for good.
    pub(super) fn enter(&mut self, view: View, now_ms: TimeMs) {
        self.view = view;
        self.view_entered_ms = now_ms;
        self.accepted = None;
        self.committed = false;
        self.proposal = None;
        self.building = false;
        self.expires_ms = None;
        self.resend_ms = None;
        self.resends = 0;
        self.seen.retain(|seen, _| *seen >= view);
        self.ballots.retain(|(ballot, phase), _| in_window(view, *ballot, *phase));
    }

    /// Whether votes of that view can still matter.
    pub(super) fn counts(&self, view: View, phase: Phase) -> bool {
        in_window(self.view, view, phase)
    }

    /// Keeps a block, if there is room.
    pub(super) fn hold(&mut self, digest: Digest, block: Block, outcome: Option<Outcome>) {
        if self.held.len() >= HELD_MAX && !self.held.contains_key(&digest) {
            self.prune_blocks();
        }
        let room = self.held.len() < HELD_MAX;
        match self.held.get_mut(&digest) {
            Some(held) => held.outcome = held.outcome.take().or(outcome),
            None if room => drop(self.held.insert(digest, Held { block, outcome })),
            None => {}
        }
    }

    fn prune_blocks(&mut self) {
        let Self { held, accepted, lock, decided, changes, .. } = self;
        let prepared = |digest: &Digest| {
            changes
                .values()
                .filter_map(|c| c.change.prepared.as_ref())
                .any(|c| c.vote.digest == *digest)
        };
        held.retain(|digest, _| {
            *accepted == Some(*digest)
                || lock.as_ref().is_some_and(|c| c.vote.digest == *digest)
                || decided.as_ref().is_some_and(|c| c.vote.digest == *digest)
                || prepared(digest)
        });
    }

    /// Weight of the seats that have left all views below `view`.
    pub(super) fn weight_from(&self, view: View, committee: &Committee) -> Weight {
        self.changes
            .iter()
            .filter(|(_, c)| c.change.view >= view)
            .map(|(seat, _)| weight_of(*seat, committee))
            .sum()
    }

    /// The highest view above the present one that a correct member must have entered.
    pub(super) fn view_to_join(&self, committee: &Committee) -> Option<View> {
        let mut views: Vec<View> =
            self.changes.values().map(|c| c.change.view).filter(|v| *v > self.view).collect();
        views.sort_unstable();
        views
            .into_iter()
            .rev()
            .find(|view| self.weight_from(*view, committee) >= committee.blocking())
    }

    /// A quorum's view changes of the present view, and the newest certificate among them. Members
    /// whose certified block is missing here are left out: the block cannot be proposed again.
    pub(super) fn new_view(&self, committee: &Committee) -> Option<NewView> {
        let usable = |signed: &&SignedViewChange| {
            let prepared = signed.change.prepared.as_ref();
            signed.change.view == self.view
                && prepared.is_none_or(|c| self.held.contains_key(&c.vote.digest))
        };
        let chosen: Vec<_> = self.changes.iter().filter(|(_, c)| usable(c)).collect();
        let weight: Weight = chosen.iter().map(|(seat, _)| weight_of(**seat, committee)).sum();
        (weight >= committee.quorum())
            .then(|| NewView::truncated(chosen.into_iter().map(|(_, c)| c.clone())))
    }
}

/// The certificate that binds a new view, if any of its members has one.
pub(super) fn newest_prepared(new_view: &NewView) -> Option<&Certificate> {
    new_view.iter().filter_map(|c| c.change.prepared.as_ref()).max_by_key(|c| c.vote.view)
}

fn in_window(view: View, other: View, phase: Phase) -> bool {
    let lowest = match phase {
        Phase::Prepare => view,
        // A block that a quorum committed in an older view is final whenever that is seen.
        Phase::Commit => view.saturating_sub(VIEW_WINDOW),
    };
    (lowest..=view.saturating_add(VIEW_WINDOW)).contains(&other)
}

pub(super) fn weight_of(seat: usize, committee: &Committee) -> Weight {
    committee.seats().get(seat).map_or(0, |seat| seat.weight)
}
