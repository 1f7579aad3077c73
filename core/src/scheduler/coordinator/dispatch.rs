//! Dispatch of work units: lease requests wait here for a free unit.
//!
//! Units that lack a checker come first, then free units, then, if none is free, backups of overdue
//! ones. A waiting worker is drawn with the weights of `score`. A part of each round is reserved
//! for browsers for a while, so that a browser on a slow path also gets some.

use super::{
    config::{
        ACTIVE_MS, BACKUP_MS_MIN, BROWSER_WAIT_MS, CHECKER_TIMEOUT_MS, FULL_SHARE, LEASE_MS_MAX,
        LEASES_PER_WORKER_MAX,
    },
    error::Error,
    input::Peer,
    score,
    state::{Coordinator, Status},
    training::RowsToSend,
    waiting_request::WaitingRequest,
    work_unit::{ActiveLease, LEASES_MAX, LeaseHolder, Phase, WorkUnit},
};
use crate::{
    types::{NodeId, TimeMs},
    wire::work::{Answer, Assignment, CachedInputs, Lease, LeaseEvent, LeaseId, Refusal, Task},
};
use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};

/// Most requests held back at once.
const WAITING_MAX: usize = 512;
/// Most requests of one worker held back at once.
const WAITING_PER_WORKER_MAX: usize = 16;
/// Retry delay of a request for which there is no room, milliseconds.
const BUSY_RETRY_MS: u32 = 1_000;
/// A lease lasts this many times the expected duration of its task.
const LEASE_FACTOR: u64 = 4;
/// A task is overdue after this many times its expected duration.
const OVERDUE_FACTOR: u64 = 3;
/// Most bytes of unverified results and states.
const UNVERIFIED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// How long weights, and all rows, may be in transit before they are sent again to a worker that
/// lacks them, milliseconds.
const WEIGHTS_TRANSIT_MS: u64 = 2_000;
const ROWS_TRANSIT_MS: u64 = 10_000;

/// The purpose of a lease, in order of urgency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum LeaseRole {
    Checker,
    Worker,
    Backup,
}

impl Coordinator {
    /// Holds a request back; [`Coordinator::dispatch`] answers it.
    pub(super) fn on_request_lease(
        &mut self,
        now: TimeMs,
        id: u64,
        peer: &Peer,
        slots: u8,
        cached: CachedInputs,
    ) {
        if self.worker_table.is_banned(&peer.node) {
            return self.reply(id, &peer.node, Answer::Refused(Refusal::Banned));
        }
        if let Some(worker) = self.worker_table.get_mut(&peer.node) {
            worker.slots = slots;
            if slots > 0 {
                worker.requested_at = Some(now);
            }
        }
        let of_worker = self.waiting.iter().filter(|p| p.node == peer.node).count();
        let oldest = self.waiting.iter().position(|p| p.node == peer.node);
        if let Some(request) = oldest
            .filter(|_| of_worker >= WAITING_PER_WORKER_MAX)
            .and_then(|at| self.waiting.remove(at))
        {
            self.reply(request.id, &request.node, Answer::Idle { retry_ms: BUSY_RETRY_MS });
        }
        if self.waiting.len() >= WAITING_MAX {
            return self.reply(id, &peer.node, Answer::Idle { retry_ms: BUSY_RETRY_MS });
        }
        self.waiting.push_back(WaitingRequest { id, node: peer.node, since: now, slots, cached });
    }

    /// Leases work units, and lets this host recompute what no worker can check.
    pub(super) fn dispatch(&mut self, now: TimeMs) -> Result<(), Error> {
        if self.status != Status::Running {
            return Ok(());
        }
        let mut waiting = self.waiting_workers();
        for (role, unit) in self.unfilled_roles(now) {
            if waiting.is_empty() {
                break;
            }
            if let Some(node) = self.choose(now, role, unit, &waiting) {
                self.grant(now, unit, node)?;
                waiting = self.waiting_workers();
            }
        }
        self.recompute_unchecked(now)?;
        self.flush_urgent_events();
        Ok(())
    }

    /// Work units that need a worker, most urgent first.
    fn unfilled_roles(&self, now: TimeMs) -> Vec<(LeaseRole, u32)> {
        let in_flight_max =
            (UNVERIFIED_BYTES_MAX / self.workload.unverified_len().max(1)).max(LEASES_MAX);
        let room =
            in_flight_max.saturating_sub(self.work_units.iter().filter(|s| s.in_flight()).count());
        let overdue = |work_unit: &WorkUnit| {
            let is_late = |l: &ActiveLease| l.backup_at <= now && l.commitment.is_none();
            matches!(&*work_unit.leases, [only] if is_late(only))
                && matches!(work_unit.phase, Phase::Pending | Phase::Checking { .. })
        };
        let mut roles: Vec<(LeaseRole, u32)> = Vec::new();
        let mut free = 0;
        for (unit, work_unit) in (0u32..).zip(&self.work_units) {
            match work_unit.phase {
                _ if work_unit.retries_exhausted() => {}
                // This host recomputes it instead.
                Phase::Checking { since, .. }
                    if since.saturating_add(CHECKER_TIMEOUT_MS) <= now => {}
                Phase::Checking { .. } if work_unit.leases.is_empty() => {
                    roles.push((LeaseRole::Checker, unit))
                }
                Phase::Pending if work_unit.leases.is_empty() => {
                    free += 1;
                    if free <= room {
                        roles.push((LeaseRole::Worker, unit));
                    }
                }
                _ if overdue(work_unit) => roles.push((LeaseRole::Backup, unit)),
                _ => {}
            }
        }
        roles.retain(|(role, _)| *role != LeaseRole::Backup || free == 0);
        roles.sort_unstable();
        roles
    }

    /// The workers with a waiting request and room for a lease.
    fn waiting_workers(&self) -> Vec<NodeId> {
        let mut leased: BTreeMap<NodeId, u32> = BTreeMap::new();
        for lease in
            self.work_units.iter().flat_map(|s| &s.leases).filter(|l| l.commitment.is_none())
        {
            *leased.entry(lease.holder.node).or_default() += 1;
        }
        let mut nodes: Vec<NodeId> =
            self.waiting.iter().filter(|p| p.slots > 0).map(|p| p.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.retain(|node| {
            !self.worker_table.is_banned(node)
                && leased.get(node).copied().unwrap_or(0) < self.leases_max(node)
        });
        nodes
    }

    /// Most leases of a worker: by its relative speed, and one more than it computes in parallel,
    /// so that it has the next unit while the last one uploads.
    fn leases_max(&self, node: &NodeId) -> u32 {
        let speeds: Vec<u64> =
            self.worker_table.iter().map(|(_, m)| m.speed()).filter(|s| *s > 0).collect();
        let mean = (speeds.iter().sum::<u64>() / (speeds.len() as u64).max(1)).max(1);
        let Some(worker) = self.worker_table.get(node) else { return 1 };
        let by_speed = (2 * worker.speed() / mean).clamp(2, u64::from(u32::MAX)) as u32;
        by_speed.min(u32::from(worker.slots) + 1).clamp(1, LEASES_PER_WORKER_MAX)
    }

    fn choose(
        &mut self,
        now: TimeMs,
        role: LeaseRole,
        unit: u32,
        waiting: &[NodeId],
    ) -> Option<NodeId> {
        let work_unit = self.work_units.get(unit as usize)?;
        let reserve = self.browser_reserve(now);
        let free = self.work_units.iter().filter(|s| s.is_unassigned()).count() as u32;
        let is_browser_node =
            |node: &NodeId| self.worker_table.get(node).is_some_and(|m| m.is_browser);
        let mut eligible: Vec<NodeId> =
            waiting.iter().filter(|node| !work_unit.involves(node)).copied().collect();
        match role {
            // Reserved units are for browsers only.
            LeaseRole::Worker if free <= reserve => eligible.retain(is_browser_node),
            // While units are reserved for browsers, full nodes check.
            LeaseRole::Checker
                if reserve > 0 && eligible.iter().any(|node| !is_browser_node(node)) =>
            {
                eligible.retain(|node| !is_browser_node(node));
            }
            _ => {}
        }
        let candidates: Vec<_> = eligible
            .iter()
            .filter_map(|n| self.worker_table.get(n))
            .map(|m| m.candidate())
            .collect();
        let index = self.rng.weighted_index(&score::scores(&candidates))?;
        eligible.get(index).copied()
    }

    /// Free work units that are still reserved for browsers.
    fn browser_reserve(&self, now: TimeMs) -> u32 {
        let waited = now >= self.round_since.saturating_add(BROWSER_WAIT_MS);
        if waited
            || !self.worker_table.iter().any(|(node, m)| m.is_browser && self.is_active(now, node))
        {
            return 0;
        }
        let share = u64::from(self.workload.units_per_round())
            * u64::from(self.config.browser_share.min(FULL_SHARE));
        let taken = self.work_units.iter().filter(|s| s.involves_browser()).count() as u32;
        (share.div_ceil(u64::from(FULL_SHARE)) as u32).saturating_sub(taken)
    }

    /// Whether a worker waits, has sent a request lately, or holds a lease.
    fn is_active(&self, now: TimeMs, node: &NodeId) -> bool {
        self.worker_table.get(node).is_some_and(|m| !m.banned && m.slots > 0)
            && (self.waiting.iter().any(|p| p.node == *node)
                || self
                    .worker_table
                    .get(node)
                    .is_some_and(|m| now < m.last_seen.saturating_add(ACTIVE_MS))
                || self.work_units.iter().flat_map(|s| &s.leases).any(|l| l.holder.node == *node))
    }

    fn grant(&mut self, now: TimeMs, unit: u32, node: NodeId) -> Result<(), Error> {
        let Some(at) = self.waiting.iter().position(|p| p.node == node && p.slots > 0) else {
            return Ok(());
        };
        let Some(request) = self.waiting.remove(at) else { return Ok(()) };
        let assignment = self.assign(now, unit, &request)?;
        let (is_browser, lease_backoff, expected_ms) = match self.worker_table.get(&node) {
            Some(worker) => (
                worker.is_browser,
                worker.lease_backoff(),
                worker.expected_ms(self.workload.macs(unit)),
            ),
            None => (false, 1, self.config.lease_ms_min),
        };
        let lease_ms = expected_ms
            .saturating_mul(LEASE_FACTOR)
            .max(self.config.lease_ms_min)
            .saturating_mul(lease_backoff)
            .min(LEASE_MS_MAX);
        let overdue_ms = expected_ms.saturating_mul(OVERDUE_FACTOR).max(BACKUP_MS_MIN);
        let number = self.rng.next_u64();
        self.leases.insert(number, unit);
        if let Some(work_unit) = self.work_unit(unit) {
            work_unit.leases.push(ActiveLease {
                holder: LeaseHolder { lease_number: number, node, is_browser },
                granted: now,
                deadline: now.saturating_add(lease_ms),
                backup_at: now.saturating_add(overdue_ms),
                commitment: None,
                is_disconnected: false,
            });
        }
        let id = LeaseId { job: self.job, number };
        let lease = Lease { id, assignment, deadline_ms: lease_ms.min(u64::from(u32::MAX)) as u32 };
        self.reply(request.id, &node, Answer::Lease(Box::new(lease)));
        Ok(())
    }

    /// The assignment for a worker, without inputs that it has cached or that are in transit.
    fn assign(
        &mut self,
        now: TimeMs,
        unit: u32,
        request: &WaitingRequest,
    ) -> Result<Assignment, Error> {
        let (id, round) = (self.work_unit_id(unit), self.round);
        let sent =
            self.worker_table.get(&request.node).map(|worker| worker.sent).unwrap_or_default();
        // A worker that requests work well after the answer must have arrived has received it.
        let in_transit = |at: TimeMs, within_ms: u64| request.since <= at.saturating_add(within_ms);
        let weights_cached = request.cached.weights_round == Some(round)
            || sent
                .weights
                .is_some_and(|(of, at)| of == round && in_transit(at, WEIGHTS_TRANSIT_MS));
        let rows = match sent.rows {
            _ if request.cached.rows => RowsToSend::None,
            Some(at) if in_transit(at, ROWS_TRANSIT_MS) => RowsToSend::Unit,
            _ => RowsToSend::All,
        };
        let (assignment, sent) = self.workload.assignment(id, weights_cached, rows)?;
        if let Some(worker) = self.worker_table.get_mut(&request.node) {
            if sent.weights {
                worker.sent.weights = Some((round, now));
            }
            if sent.rows {
                worker.sent.rows = Some(now);
            }
        }
        Ok(assignment)
    }

    /// The task of a work unit.
    pub(super) fn task(&mut self, unit: u32) -> Result<Task, Error> {
        let id = self.work_unit_id(unit);
        Ok(self.workload.task(id)?)
    }

    /// Recomputes units on this host that no worker checks: no other worker is active, or the wait
    /// is over and the lease holder is overdue. The same applies to units whose leases were lost
    /// too often. So a worker cannot delay a job for long.
    fn recompute_unchecked(&mut self, now: TimeMs) -> Result<(), Error> {
        for unit in 0..self.work_units.len() as u32 {
            let Some(work_unit) = self.work_units.get(unit as usize) else { continue };
            match &work_unit.phase {
                Phase::Pending if work_unit.retries_exhausted() => {
                    self.recompute(now, unit, None)?
                }
                Phase::Checking { since, .. }
                    if work_unit
                        .leases
                        .iter()
                        .all(|l| l.backup_at <= now && l.commitment.is_none()) =>
                {
                    let waited = since.saturating_add(CHECKER_TIMEOUT_MS) <= now;
                    let possible = !work_unit.leases.is_empty()
                        || self
                            .worker_table
                            .iter()
                            .any(|(n, _)| !work_unit.involves(n) && self.is_active(now, n));
                    if waited || !possible {
                        self.supersede_leases(unit);
                        self.recompute(now, unit, None)?;
                    }
                }
                Phase::Recomputing { retry_at, .. } if *retry_at <= now => {
                    self.retry_recompute(now, unit)?
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Answers waiting workers with urgent events, and workers that wait for events only.
    fn flush_urgent_events(&mut self) {
        while let Some(at) = self
            .waiting
            .iter()
            .position(|p| self.worker_table.get(&p.node).is_some_and(|m| m.urgent))
        {
            let Some(request) = self.waiting.remove(at) else { break };
            self.reply(request.id, &request.node, Answer::Idle { retry_ms: 0 });
        }
        while let Some(at) = self.waiting.iter().position(|p| {
            p.slots == 0 && self.worker_table.get(&p.node).is_some_and(|m| m.has_events())
        }) {
            let Some(request) = self.waiting.remove(at) else { break };
            self.reply(request.id, &request.node, Answer::Idle { retry_ms: 0 });
        }
    }

    /// Notifies the other lease holders of a work unit that it is settled.
    pub(super) fn supersede_leases(&mut self, unit: u32) {
        let Some(work_unit) = self.work_unit(unit) else { return };
        for lease in core::mem::take(&mut work_unit.leases) {
            self.leases.remove(&lease.holder.lease_number);
            let id = LeaseId { job: self.job, number: lease.holder.lease_number };
            self.worker_table.queue_event(&lease.holder, LeaseEvent::Superseded { lease: id });
        }
    }
}
