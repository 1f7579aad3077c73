//! How many workers take part in a job, and what the job waits for: advice for its progress report.
//!
//! While a job does not wait, the coordinator computes both at most once a second. It emits
//! [`Event::Activity`] when they change.

use super::{Coordinator, Output, Status, lane::Phase, output::Event};
use crate::{
    types::{NodeId, TimeMs},
    wire::progress::{TAKING_PART_MS, Waiting, WaitingFor, WorkersNow},
};
use alloc::collections::BTreeSet;

/// Least time between two computations, milliseconds.
const INTERVAL_MS: u64 = 1_000;
/// A job without leases waits for workers once none has requested work for this long, milliseconds:
/// longer than a request is held back, or than a worker pauses after a failure.
const SILENT_MS: u64 = 10_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Activity {
    pub(super) workers: WorkersNow,
    pub(super) waiting: Option<WaitingFor>,
    /// When to compute it again.
    next: TimeMs,
}

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
        let waiting = self.waits_for(now).map(|what| match self.activity.waiting {
            Some(before) if before.what == what => before,
            _ => WaitingFor { what, since_ms: now },
        });
        let changed = (workers, waiting) != (self.activity.workers, self.activity.waiting);
        self.activity = Activity { workers, waiting, next: now.saturating_add(INTERVAL_MS) };
        changed
    }

    /// When the activity is computed again.
    pub(super) const fn activity_due(&self) -> TimeMs {
        self.activity.next
    }

    fn workers_now(&self, now: TimeMs) -> WorkersNow {
        let mut workers = WorkersNow::default();
        if self.status != Status::Running {
            return workers;
        }
        let holders: BTreeSet<NodeId> =
            self.slots.iter().flat_map(|s| &s.leases).map(|l| l.party.node).collect();
        for (node, member) in self.roster.iter().filter(|(_, m)| !m.banned) {
            if member.asked_within(now, TAKING_PART_MS) || holders.contains(node) {
                let count = if member.guest { &mut workers.browsers } else { &mut workers.full };
                *count = count.saturating_add(1);
            }
        }
        workers
    }

    fn waits_for(&self, now: TimeMs) -> Option<Waiting> {
        match self.status {
            Status::Cancelled => return None,
            Status::Finished => return Some(Waiting::Ledger),
            Status::Running => {}
        }
        let works =
            |phase: &Phase| matches!(phase, Phase::Recomputing { .. } | Phase::Disputed { .. });
        if self.slots.iter().any(|slot| !slot.leases.is_empty() || works(&slot.phase)) {
            return None;
        }
        let mut open = self
            .slots
            .iter()
            .filter(|slot| !matches!(slot.phase, Phase::Accepted { .. }))
            .peekable();
        if open.peek().is_some() && open.all(|slot| matches!(slot.phase, Phase::Checking { .. })) {
            return Some(Waiting::Checker);
        }
        let asks =
            |(_, m): (&NodeId, &super::roster::Member)| !m.banned && m.asked_within(now, SILENT_MS);
        (!self.roster.iter().any(asks)).then_some(Waiting::Workers)
    }
}
