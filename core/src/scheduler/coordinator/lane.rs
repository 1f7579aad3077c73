//! One lane on its way from free to accepted.
//!
//! | phase | leases out | ends with |
//! |---|---|---|
//! | `Open` | none, a worker's, or a worker's and a backup's | the first commitment opened: `Checking`, or accepted if the job lets it go unchecked; too many leases lost: `Recomputing` |
//! | `Checking` | none, a checker's, or a checker's and a backup's | the second commitment opened: accepted if the digests agree, else `Disputed`; no checker in time: `Recomputing` |
//! | `Recomputing` | none | this host's own result, which decides |
//! | `Disputed` | none | the state before the step at which they part, which decides; the one found right is `Checking` again |
//! | `Accepted` | none | the round |

use crate::{
    compute::lane::LaneResult,
    types::{Digest, NodeId, TimeMs},
};
use alloc::vec::Vec;

/// Most leases on one lane at once: one and its backup.
pub(super) const LEASES_MAX: usize = 2;

/// Leases lost on one lane after which this host computes it.
const LOST_MAX: u32 = 4;

/// Who holds or held a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Party {
    pub(super) number: u64,
    pub(super) node: NodeId,
    pub(super) guest: bool,
}

/// A lease that runs.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) party: Party,
    pub(super) granted: TimeMs,
    /// Of the commitment, then of its opening.
    pub(super) deadline: TimeMs,
    /// From when on somebody else may get a copy.
    pub(super) backup_at: TimeMs,
    pub(super) commitment: Option<Digest>,
    /// The worker's connection is lost: if it does not come back, that is an accident.
    pub(super) gone: bool,
}

/// A result whose commitment was opened and whose form is right.
#[derive(Clone, Debug)]
pub(super) struct Submission {
    pub(super) party: Party,
    pub(super) result: LaneResult,
}

#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)]
pub(super) enum Phase {
    Open,
    Checking {
        first: Submission,
        since: TimeMs,
    },
    Recomputing {
        /// None if no worker has brought anything.
        first: Option<Submission>,
        /// Agrees with the first.
        second: Option<Submission>,
        unit: u64,
        /// When this host is asked again.
        retry_at: TimeMs,
    },
    Disputed {
        /// Is asked for the state.
        first: Submission,
        second: Submission,
        step: u32,
        until: TimeMs,
    },
    Accepted {
        /// Whether a browser computed it.
        guest: bool,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) phase: Phase,
    /// Leases that ran out.
    pub(super) lost: u32,
    pub(super) leases: Vec<Running>,
}

impl Slot {
    pub(super) const fn open() -> Self {
        Self { phase: Phase::Open, lost: 0, leases: Vec::new() }
    }

    pub(super) fn lease_mut(&mut self, number: u64, node: &NodeId) -> Option<&mut Running> {
        self.leases.iter_mut().find(|l| l.party.number == number && l.party.node == *node)
    }

    pub(super) fn take_lease(&mut self, number: u64, node: &NodeId) -> Option<Running> {
        let index =
            self.leases.iter().position(|l| l.party.number == number && l.party.node == *node)?;
        Some(self.leases.remove(index))
    }

    pub(super) fn is_free(&self) -> bool {
        matches!(self.phase, Phase::Open) && self.leases.is_empty()
    }

    /// Whether leases on it were lost again and again: this host computes it.
    pub(super) fn is_forlorn(&self) -> bool {
        self.is_free() && self.lost >= LOST_MAX
    }

    /// Whether results of this lane are held in memory, or will be.
    pub(super) fn in_flight(&self) -> bool {
        !self.is_free() && !matches!(self.phase, Phase::Accepted { .. })
    }

    /// Whether a guest has it, or has handed in its first result.
    pub(super) fn with_guest(&self) -> bool {
        match &self.phase {
            Phase::Open => self.leases.iter().any(|l| l.party.guest),
            Phase::Checking { first, .. } | Phase::Disputed { first, .. } => first.party.guest,
            Phase::Recomputing { first, .. } => first.as_ref().is_some_and(|f| f.party.guest),
            Phase::Accepted { guest } => *guest,
        }
    }

    /// Whether this worker has part in the lane already: it may not check itself, nor back itself
    /// up.
    pub(super) fn involves(&self, node: &NodeId) -> bool {
        let holds = |s: &Submission| s.party.node == *node;
        self.leases.iter().any(|l| l.party.node == *node)
            || match &self.phase {
                Phase::Checking { first, .. } => holds(first),
                Phase::Recomputing { first, second, .. } => {
                    [first, second].into_iter().flatten().any(holds)
                }
                Phase::Disputed { first, second, .. } => holds(first) || holds(second),
                Phase::Open | Phase::Accepted { .. } => false,
            }
    }

    /// Whether this lease was opened and the lane is not settled yet.
    pub(super) fn has_opened(&self, number: u64, node: &NodeId) -> bool {
        let is = |s: &Submission| s.party.number == number && s.party.node == *node;
        match &self.phase {
            Phase::Checking { first, .. } => is(first),
            Phase::Recomputing { first, second, .. } => {
                [first, second].into_iter().flatten().any(is)
            }
            Phase::Disputed { first, second, .. } => is(first) || is(second),
            Phase::Open | Phase::Accepted { .. } => false,
        }
    }
}
