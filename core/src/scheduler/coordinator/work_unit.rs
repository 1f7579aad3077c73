//! A work unit on its way from pending to accepted.
//!
//! | phase | leases out | ends with |
//! |---|---|---|
//! | `Pending` | none, a worker's, or a worker's and a backup's | the first reveal: `Checking`, or `Accepted` if the job lets it go unchecked; too many leases lost: `Recomputing` |
//! | `Checking` | none, a checker's, or a checker's and a backup's | the second reveal: `Accepted` if the digests agree, otherwise `Disputed`; no checker in time: `Recomputing` |
//! | `Recomputing` | none | this host's own result, which decides |
//! | `Disputed` | none | the state before the first differing step, which decides; the correct result is `Checking` again |
//! | `Accepted` | none | the end of the round |

use crate::{
    compute::{exact::ExactStepResult, local_steps::LocalStepsResult},
    types::{Digest, NodeId, TimeMs},
};
use alloc::vec::Vec;

/// Most concurrent leases of one work unit: one and its backup.
pub(super) const LEASES_MAX: usize = 2;

/// Lost leases of one work unit after which this host computes it.
const RETRIES_MAX: u32 = 4;

/// The holder of a lease, present or past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LeaseHolder {
    pub(super) lease_number: u64,
    pub(super) node: NodeId,
    pub(super) is_browser: bool,
}

/// A lease in progress.
#[derive(Clone, Debug)]
pub(super) struct ActiveLease {
    pub(super) holder: LeaseHolder,
    pub(super) granted: TimeMs,
    /// Deadline of the commitment, then of the reveal.
    pub(super) deadline: TimeMs,
    /// When another worker may get a backup lease.
    pub(super) backup_at: TimeMs,
    pub(super) commitment: Option<Digest>,
    /// The worker's connection is lost. If the worker does not return, the loss counts as an
    /// accident.
    pub(super) is_disconnected: bool,
}

/// The part of a verified output that the coordinator keeps.
#[derive(Clone, Debug)]
pub(super) enum WorkUnitResult {
    LocalSteps(LocalStepsResult),
    ExactStep(ExactStepResult),
    /// The classes of the rows.
    InferencePart(Vec<u8>),
}

/// A revealed result of valid form.
#[derive(Clone, Debug)]
pub(super) struct Submission {
    pub(super) holder: LeaseHolder,
    pub(super) result: LocalStepsResult,
}

#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)]
pub(super) enum Phase {
    Pending,
    Checking {
        first: Submission,
        since: TimeMs,
    },
    Recomputing {
        /// The first result; `None` if no worker has submitted one.
        first: Option<Submission>,
        /// The second result, which agrees with the first.
        second: Option<Submission>,
        compute_id: u64,
        /// When the request to this host is repeated.
        retry_at: TimeMs,
    },
    Disputed {
        /// The first result, whose worker must send the state.
        first: Submission,
        second: Submission,
        step: u32,
        until: TimeMs,
    },
    Accepted {
        /// Whether a browser computed it.
        is_browser: bool,
    },
}

#[derive(Clone, Debug)]
pub(super) struct WorkUnit {
    pub(super) phase: Phase,
    /// Number of expired leases.
    pub(super) lost_leases: u32,
    pub(super) leases: Vec<ActiveLease>,
}

impl WorkUnit {
    pub(super) const fn pending() -> Self {
        Self { phase: Phase::Pending, lost_leases: 0, leases: Vec::new() }
    }

    pub(super) fn lease_mut(&mut self, number: u64, node: &NodeId) -> Option<&mut ActiveLease> {
        self.leases.iter_mut().find(|l| l.holder.lease_number == number && l.holder.node == *node)
    }

    pub(super) fn take_lease(&mut self, number: u64, node: &NodeId) -> Option<ActiveLease> {
        let index = self
            .leases
            .iter()
            .position(|l| l.holder.lease_number == number && l.holder.node == *node)?;
        Some(self.leases.remove(index))
    }

    pub(super) fn is_unassigned(&self) -> bool {
        matches!(self.phase, Phase::Pending) && self.leases.is_empty()
    }

    /// Whether so many leases of this unit were lost that this host computes it.
    pub(super) fn retries_exhausted(&self) -> bool {
        self.is_unassigned() && self.lost_leases >= RETRIES_MAX
    }

    /// Whether results of this unit are in memory, or will be.
    pub(super) fn in_flight(&self) -> bool {
        !self.is_unassigned() && !matches!(self.phase, Phase::Accepted { .. })
    }

    /// Whether a browser holds the lease, or has submitted the first result.
    pub(super) fn involves_browser(&self) -> bool {
        match &self.phase {
            Phase::Pending => self.leases.iter().any(|l| l.holder.is_browser),
            Phase::Checking { first, .. } | Phase::Disputed { first, .. } => {
                first.holder.is_browser
            }
            Phase::Recomputing { first, .. } => first.as_ref().is_some_and(|f| f.holder.is_browser),
            Phase::Accepted { is_browser } => *is_browser,
        }
    }

    /// Whether this worker already takes part in the unit. It may not check or back up itself.
    pub(super) fn involves(&self, node: &NodeId) -> bool {
        let holds = |s: &Submission| s.holder.node == *node;
        self.leases.iter().any(|l| l.holder.node == *node)
            || match &self.phase {
                Phase::Checking { first, .. } => holds(first),
                Phase::Recomputing { first, second, .. } => {
                    [first, second].into_iter().flatten().any(holds)
                }
                Phase::Disputed { first, second, .. } => holds(first) || holds(second),
                Phase::Pending | Phase::Accepted { .. } => false,
            }
    }

    /// Whether this lease was revealed and the unit is not settled yet.
    pub(super) fn has_revealed(&self, number: u64, node: &NodeId) -> bool {
        let is = |s: &Submission| s.holder.lease_number == number && s.holder.node == *node;
        match &self.phase {
            Phase::Checking { first, .. } => is(first),
            Phase::Recomputing { first, second, .. } => {
                [first, second].into_iter().flatten().any(is)
            }
            Phase::Disputed { first, second, .. } => is(first) || is(second),
            Phase::Pending | Phase::Accepted { .. } => false,
        }
    }
}
