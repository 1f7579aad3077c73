//! Lease expiry: takes a work unit back from a worker that is too slow or has disconnected, and
//! computes when that is next due.

use super::{
    config::{BROWSER_WAIT_MS, CHECKER_TIMEOUT_MS, DISCONNECT_GRACE_MS, LONG_POLL_MS},
    output::Output,
    state::{Coordinator, Status},
    waiting_request::WaitingRequest,
    work_unit::{ActiveLease, Phase},
    worker_table::SentInputs,
};
use crate::{
    types::{NodeId, TimeMs},
    wire::work::{Answer, Reason, Response},
};
use alloc::{collections::VecDeque, vec::Vec};

impl Coordinator {
    /// Handles a lost connection. The worker's requests are dropped; it may still submit results
    /// within the grace period.
    pub(super) fn on_disconnect(&mut self, now: TimeMs, node: &NodeId) {
        let (of_node, others): (VecDeque<WaitingRequest>, VecDeque<WaitingRequest>) =
            self.waiting.drain(..).partition(|p| p.node == *node);
        self.waiting = others;
        for WaitingRequest { id, .. } in of_node {
            // The worker is gone, but the host expects a reply to every request.
            self.outbox.push(Output::Reply {
                id,
                response: Response::from_answer(Answer::Idle { retry_ms: 0 }),
            });
        }
        if let Some(worker) = self.worker_table.get_mut(node) {
            worker.slots = 0;
            worker.requested_at = None;
            worker.sent = SentInputs::default();
        }
        let until = now.saturating_add(DISCONNECT_GRACE_MS);
        for lease in self
            .work_units
            .iter_mut()
            .flat_map(|s| s.leases.iter_mut())
            .filter(|l| l.holder.node == *node)
        {
            lease.deadline = lease.deadline.min(until);
            lease.is_disconnected = true;
        }
    }

    /// Ends requests, leases and disputes whose time is up.
    pub(super) fn expire(&mut self, now: TimeMs) {
        for unit in 0..self.work_units.len() as u32 {
            let Some(work_unit) = self.work_unit(unit) else { continue };
            let (over, running): (Vec<ActiveLease>, Vec<ActiveLease>) =
                core::mem::take(&mut work_unit.leases).into_iter().partition(|l| l.deadline <= now);
            work_unit.leases = running;
            work_unit.lost_leases = work_unit.lost_leases.saturating_add(over.len() as u32);
            for lease in over {
                self.leases.remove(&lease.holder.lease_number);
                if lease.commitment.is_some() && !lease.is_disconnected {
                    self.reject(unit, &lease.holder, Reason::NotRevealed);
                } else {
                    self.worker_table.record_lost_lease(&lease.holder.node);
                }
            }
            self.expire_dispute(now, unit);
        }
        while self
            .waiting
            .front()
            .is_some_and(|request| request.since.saturating_add(LONG_POLL_MS) <= now)
        {
            if let Some(request) = self.waiting.pop_front() {
                self.reply(request.id, &request.node, Answer::Idle { retry_ms: 0 });
            }
        }
    }

    /// Computes the next time at which something expires or becomes due.
    pub(super) fn schedule(&mut self, now: TimeMs) {
        let mut times: Vec<TimeMs> = Vec::new();
        if self.status == Status::Running {
            times.extend(self.waiting.front().map(|p| p.since.saturating_add(LONG_POLL_MS)));
            times.push(self.round_since.saturating_add(BROWSER_WAIT_MS));
            times.push(self.activity_due());
            for work_unit in &self.work_units {
                times.extend(work_unit.leases.iter().flat_map(|l| [l.deadline, l.backup_at]));
                match &work_unit.phase {
                    Phase::Checking { since, .. } => {
                        times.push(since.saturating_add(CHECKER_TIMEOUT_MS))
                    }
                    Phase::Recomputing { retry_at, .. } => times.push(*retry_at),
                    Phase::Disputed { until, .. } => times.push(*until),
                    Phase::Pending | Phase::Accepted { .. } => {}
                }
            }
        }
        self.wake = times.into_iter().filter(|t| *t > now).min();
    }
}
