//! The coordinator's table of workers: speed, latency, reputation, and queued lease events.
//!
//! The local reputation starts anew with each process and has no effect in the ledger. It only
//! decides which workers are checked, how likely a worker is chosen, and which workers are banned.

use super::{input::Peer, score::Candidate, work_unit::LeaseHolder};
use crate::{
    types::{NodeId, TimeMs},
    wire::work::{LEASE_EVENTS_MAX, LeaseEvent, Reason},
};
use alloc::collections::{BTreeMap, VecDeque};

/// Most workers in the table; the one with the oldest request is evicted first.
pub const WORKERS_MAX: usize = 1024;
/// Most lease events queued for one worker; the oldest are dropped first.
const QUEUED_EVENTS_MAX: usize = 2 * LEASE_EVENTS_MAX;
/// Largest local reputation.
const REPUTATION_MAX: i32 = 1000;
/// Largest contribution of the reputation in the ledger.
const LEDGER_REPUTATION_MAX: u64 = 1000;
/// Penalty of a lost lease: networks fail, tabs are closed.
const PENALTY_LOST: i32 = 2;
/// Penalty of a missing reveal or state: rarely an accident.
const PENALTY_TIMEOUT: i32 = 20;
/// Assumed speed of unmeasured workers: a slow phone, multiply-accumulates a second.
const SPEED_UNKNOWN: u64 = 20_000_000;
/// Lowest accepted speed.
const SPEED_MIN: u64 = 10_000;
/// Most times that lost leases lengthen later leases.
const LEASE_BACKOFF_MAX: u64 = 16;
/// Missing reveals or states after which a worker is banned.
const TIMEOUTS_MAX: u32 = 3;

/// The inputs sent to a worker, each with its time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SentInputs {
    /// The weights of this round.
    pub(super) weights: Option<(u32, TimeMs)>,
    /// All training rows.
    pub(super) rows: Option<TimeMs>,
}

#[derive(Clone, Debug)]
pub(super) struct WorkerEntry {
    pub(super) is_browser: bool,
    /// How many work units the worker computes in parallel.
    pub(super) slots: u8,
    pub(super) last_seen: TimeMs,
    /// Time of the last lease request over the present connection.
    pub(super) requested_at: Option<TimeMs>,
    pub(super) banned: bool,
    /// Inputs sent over the present connection.
    pub(super) sent: SentInputs,
    /// Whether a queued event should be sent at once.
    pub(super) urgent: bool,
    rtt_ms: Option<u32>,
    ledger_reputation: u64,
    reputation: i32,
    /// Factor of the lease duration: doubled by each lost lease, reset to one by a commitment.
    lease_backoff: u64,
    /// Missing reveals and states.
    timeouts: u32,
    /// Accepted results since the last rejection.
    accepted: u32,
    /// Moving average of the speed, multiply-accumulates a second; 0 if unmeasured.
    speed: u64,
    events: VecDeque<LeaseEvent>,
}

impl WorkerEntry {
    /// Expected duration of a task of this size, from lease to commitment, milliseconds.
    pub(super) fn expected_ms(&self, macs: u64) -> u64 {
        let speed = if self.speed == 0 { SPEED_UNKNOWN } else { self.speed };
        macs.saturating_mul(1000) / speed.max(1) + 2 * u64::from(self.rtt_ms.unwrap_or(0))
    }

    pub(super) fn candidate(&self) -> Candidate {
        let reputation =
            self.reputation.max(0) as u64 + self.ledger_reputation.min(LEDGER_REPUTATION_MAX);
        Candidate { compute: self.speed, latency_ms: self.rtt_ms, reputation }
    }

    /// Whether the worker requested a lease within this time.
    pub(super) fn requested_within(&self, now: TimeMs, ms: u64) -> bool {
        self.requested_at.is_some_and(|requested_at| now < requested_at.saturating_add(ms))
    }

    pub(super) const fn lease_backoff(&self) -> u64 {
        self.lease_backoff
    }

    pub(super) const fn speed(&self) -> u64 {
        self.speed
    }

    pub(super) fn take_events(&mut self) -> impl Iterator<Item = LeaseEvent> + '_ {
        self.urgent = false;
        let count = self.events.len().min(LEASE_EVENTS_MAX);
        self.events.drain(..count)
    }

    pub(super) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct WorkerTable {
    workers: BTreeMap<NodeId, WorkerEntry>,
}

impl WorkerTable {
    /// Records a request of a worker.
    pub(super) fn record_seen(&mut self, now: TimeMs, peer: &Peer) {
        if !self.workers.contains_key(&peer.node) && self.workers.len() >= WORKERS_MAX {
            let oldest = self
                .workers
                .iter()
                .min_by_key(|(node, m)| (m.last_seen, **node))
                .map(|(node, _)| *node);
            oldest.and_then(|node| self.workers.remove(&node));
        }
        let worker = self.workers.entry(peer.node).or_insert_with(|| WorkerEntry {
            is_browser: peer.is_browser,
            slots: 1,
            last_seen: now,
            requested_at: None,
            banned: false,
            sent: SentInputs::default(),
            urgent: false,
            rtt_ms: None,
            ledger_reputation: 0,
            reputation: 0,
            lease_backoff: 1,
            timeouts: 0,
            accepted: 0,
            speed: 0,
            events: VecDeque::new(),
        });
        worker.last_seen = now;
        worker.is_browser = peer.is_browser;
        worker.rtt_ms = peer.rtt_ms.or(worker.rtt_ms);
        worker.ledger_reputation = peer.reputation;
    }

    pub(super) fn get(&self, node: &NodeId) -> Option<&WorkerEntry> {
        self.workers.get(node)
    }

    pub(super) fn get_mut(&mut self, node: &NodeId) -> Option<&mut WorkerEntry> {
        self.workers.get_mut(node)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&NodeId, &WorkerEntry)> {
        self.workers.iter()
    }

    pub(super) fn is_banned(&self, node: &NodeId) -> bool {
        self.get(node).is_some_and(|m| m.banned)
    }

    /// Whether enough of the worker's results have been accepted that not all need a check.
    pub(super) fn has_history(&self, node: &NodeId, accepted_min: u32) -> bool {
        self.get(node).is_some_and(|m| !m.banned && m.accepted >= accepted_min)
    }

    /// Records the speed of a task that took `elapsed_ms` from lease to commitment.
    pub(super) fn record_speed(&mut self, node: &NodeId, macs: u64, elapsed_ms: u64) {
        if let Some(worker) = self.get_mut(node) {
            worker.lease_backoff = 1;
            let sample = (macs.saturating_mul(1000) / elapsed_ms.max(1)).max(SPEED_MIN);
            worker.speed = if worker.speed == 0 {
                sample
            } else {
                worker.speed - worker.speed / 4 + sample / 4
            };
        }
    }

    pub(super) fn record_accept(&mut self, node: &NodeId) {
        if let Some(worker) = self.get_mut(node) {
            worker.accepted = worker.accepted.saturating_add(1);
            worker.reputation = (worker.reputation + 1).min(REPUTATION_MAX);
        }
    }

    /// Records an expired lease. The next one is longer, because the worker may be a slow phone.
    pub(super) fn record_lost_lease(&mut self, node: &NodeId) {
        if let Some(worker) = self.get_mut(node) {
            worker.reputation = (worker.reputation - PENALTY_LOST).max(-REPUTATION_MAX);
            worker.lease_backoff = (2 * worker.lease_backoff).min(LEASE_BACKOFF_MAX);
        }
    }

    /// Records a rejection. A wrong result bans its worker. A missing reveal or state costs the
    /// worker its history, and bans it if repeated.
    pub(super) fn record_reject(&mut self, node: &NodeId, reason: Reason) {
        if let Some(worker) = self.get_mut(node) {
            worker.accepted = 0;
            worker.reputation = (worker.reputation.min(0) - PENALTY_TIMEOUT).max(-REPUTATION_MAX);
            let is_timeout = matches!(reason, Reason::NotRevealed | Reason::StateWithheld);
            worker.timeouts += u32::from(is_timeout);
            worker.banned |= !is_timeout || worker.timeouts >= TIMEOUTS_MAX;
        }
    }

    pub(super) fn queue_event(&mut self, holder: &LeaseHolder, event: LeaseEvent) {
        let urgent =
            matches!(event, LeaseEvent::StateRequested { .. } | LeaseEvent::Superseded { .. });
        if let Some(worker) = self.get_mut(&holder.node) {
            if worker.events.len() >= QUEUED_EVENTS_MAX {
                worker.events.pop_front();
            }
            worker.events.push_back(event);
            worker.urgent |= urgent;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_peers_cannot_overfill_the_worker_table() {
        let mut worker_table = WorkerTable::default();
        for i in 0..2 * WORKERS_MAX as u64 {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&i.to_le_bytes());
            worker_table.record_seen(
                i,
                &Peer { node: NodeId(id), is_browser: true, rtt_ms: None, reputation: 0 },
            );
        }
        assert_eq!(worker_table.workers.len(), WORKERS_MAX);
        assert!(worker_table.workers.values().all(|m| m.last_seen >= WORKERS_MAX as u64));
    }

    #[test]
    fn speed_follows_measurements_and_lost_leases() {
        let node = NodeId([1; 32]);
        let mut worker_table = WorkerTable::default();
        worker_table
            .record_seen(0, &Peer { node, is_browser: false, rtt_ms: Some(10), reputation: 0 });
        worker_table.record_speed(&node, 1_000_000, 100);
        assert_eq!(worker_table.get(&node).unwrap().speed(), 10_000_000);
        assert_eq!(worker_table.get(&node).unwrap().expected_ms(1_000_000), 120);
        (0..99).for_each(|_| worker_table.record_lost_lease(&node));
        assert_eq!(worker_table.get(&node).unwrap().lease_backoff(), LEASE_BACKOFF_MAX);
        worker_table.record_speed(&node, 1_000_000, 1000);
        assert_eq!(worker_table.get(&node).unwrap().lease_backoff(), 1);
        assert_eq!(worker_table.get(&node).unwrap().speed(), 7_750_000);
    }
}
