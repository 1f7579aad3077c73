//! The number of active workers of a job, and what the job waits for: advice for its progress
//! report.
//!
//! While a job does not wait, the coordinator computes both at most once a second. It emits
//! [`Event::Activity`] when they change.

use super::{
    output::{Event, Output},
    state::{Activity, Coordinator, Status},
    work_unit::Phase,
    worker_table::WorkerEntry,
};
use crate::{
    types::{NodeId, TimeMs},
    wire::progress::{ACTIVE_WORKER_MS, ActiveWorkers, WaitReason, WaitingFor},
};
use alloc::collections::BTreeSet;

/// Least time between two computations, milliseconds.
const INTERVAL_MS: u64 = 1_000;
/// A job without leases waits for workers once none has requested work for this long, milliseconds:
/// longer than a request is held back, or than a worker pauses after a failure.
const SILENT_MS: u64 = 10_000;

impl Coordinator {
    /// Computes the activity, if it is due, and emits an event if it has changed.
    pub(super) fn update_activity(&mut self, now: TimeMs) {
        // A job that waits has little to compute, and must be seen to go on at once.
        let is_due = self.status != Status::Running
            || self.activity.waiting.is_some()
            || now >= self.activity.next;
        if is_due && self.compute_activity(now) {
            self.outbox.push(Output::Event(Event::Activity));
        }
    }

    /// Computes the activity. Returns whether it has changed.
    pub(super) fn compute_activity(&mut self, now: TimeMs) -> bool {
        let workers = self.workers_now(now);
        let waiting = self.waits_for(now).map(|reason| match self.activity.waiting {
            Some(previous) if previous.reason == reason => previous,
            _ => WaitingFor { reason, since_ms: now },
        });
        let changed = (workers, waiting) != (self.activity.workers, self.activity.waiting);
        self.activity = Activity { workers, waiting, next: now.saturating_add(INTERVAL_MS) };
        changed
    }

    /// When the activity is computed again.
    pub(super) const fn activity_due(&self) -> TimeMs {
        self.activity.next
    }

    fn workers_now(&self, now: TimeMs) -> ActiveWorkers {
        let mut workers = ActiveWorkers::default();
        if self.status != Status::Running {
            return workers;
        }
        let holders: BTreeSet<NodeId> =
            self.work_units.iter().flat_map(|s| &s.leases).map(|l| l.holder.node).collect();
        for (node, worker) in self.worker_table.iter().filter(|(_, m)| !m.banned) {
            if worker.requested_within(now, ACTIVE_WORKER_MS) || holders.contains(node) {
                let count =
                    if worker.is_browser { &mut workers.browsers } else { &mut workers.full };
                *count = count.saturating_add(1);
            }
        }
        workers
    }

    fn waits_for(&self, now: TimeMs) -> Option<WaitReason> {
        match self.status {
            Status::Cancelled => return None,
            Status::Finished => return Some(WaitReason::Ledger),
            Status::Running => {}
        }
        let is_active =
            |phase: &Phase| matches!(phase, Phase::Recomputing { .. } | Phase::Disputed { .. });
        if self.work_units.iter().any(|unit| !unit.leases.is_empty() || is_active(&unit.phase)) {
            return None;
        }
        let mut open = self
            .work_units
            .iter()
            .filter(|unit| !matches!(unit.phase, Phase::Accepted { .. }))
            .peekable();
        if open.peek().is_some() && open.all(|unit| matches!(unit.phase, Phase::Checking { .. })) {
            return Some(WaitReason::Checker);
        }
        let has_requested =
            |(_, m): (&NodeId, &WorkerEntry)| !m.banned && m.requested_within(now, SILENT_MS);
        (!self.worker_table.iter().any(has_requested)).then_some(WaitReason::Workers)
    }
}
