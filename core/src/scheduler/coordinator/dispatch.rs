//! Who gets the next lane: questions wait here until there is one, leases end here when their time
//! is up.
//!
//! First come the lanes that lack a checker, then free ones, then, when none is free, copies of
//! overdue ones. Among the workers that wait, one is drawn with the weights of
//! [`score`](crate::scheduler::score). A part of each round waits a while for guests, so that a
//! browser on a slow path is not left without any.

use super::{
    Coordinator, Error, Output, Status,
    config::ALL,
    input::Peer,
    lane::{LEASES_MAX, Party, Phase, Running, Slot},
    roster::SentTo,
    training::RowsWanted,
};
use crate::{
    scheduler::score,
    types::{NodeId, TimeMs},
    wire::work::{
        Answer, Assignment, Holds, Lease, LeaseId, Notice, Reason, Refusal, Response, Task,
    },
};
use alloc::{
    boxed::Box,
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};

/// Most questions held back at once.
const PARKED_MAX: usize = 512;
/// Most questions of one worker held back at once.
const PARKED_PER_WORKER_MAX: usize = 16;
/// When to ask again where there is no room to wait here.
const BUSY_RETRY_MS: u32 = 1_000;
/// A lease lasts this many times what the task is expected to take.
const LEASE_FACTOR: u64 = 4;
/// A task is overdue after this many times what it is expected to take.
const OVERDUE_FACTOR: u64 = 3;
/// Bytes of results and states that may lie here unchecked.
const HELD_BYTES_MAX: usize = 256 * 1024 * 1024;

/// How long weights, and all rows, may be on their way before a worker that says it has none is
/// sent them again, milliseconds.
const WEIGHTS_TRAVEL_MS: u64 = 2_000;
const ROWS_TRAVEL_MS: u64 = 10_000;

/// A question that waits for its answer.
#[derive(Clone, Debug)]
pub(super) struct Parked {
    pub(super) id: u64,
    pub(super) node: NodeId,
    pub(super) since: TimeMs,
    /// How many lanes the worker computes side by side; 0 if it only wants news.
    pub(super) lanes: u8,
    /// The material that the worker holds already.
    pub(super) holds: Holds,
}

/// Why a lane is to be leased, in order of urgency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    Checker,
    Worker,
    Backup,
}

impl Coordinator {
    /// Holds a question back; [`Coordinator::dispatch`] answers it.
    pub(super) fn ask(&mut self, now: TimeMs, id: u64, peer: &Peer, lanes: u8, holds: Holds) {
        if self.roster.is_banned(&peer.node) {
            return self.reply(id, &peer.node, Answer::Refused(Refusal::Banned));
        }
        if let Some(member) = self.roster.of_mut(&peer.node) {
            member.lanes = lanes;
            if lanes > 0 {
                member.asked = Some(now);
            }
        }
        let of_worker = self.parked.iter().filter(|p| p.node == peer.node).count();
        let oldest = self.parked.iter().position(|p| p.node == peer.node);
        if let Some(ask) = oldest
            .filter(|_| of_worker >= PARKED_PER_WORKER_MAX)
            .and_then(|at| self.parked.remove(at))
        {
            self.reply(ask.id, &ask.node, Answer::Idle { retry_ms: BUSY_RETRY_MS });
        }
        if self.parked.len() >= PARKED_MAX {
            return self.reply(id, &peer.node, Answer::Idle { retry_ms: BUSY_RETRY_MS });
        }
        self.parked.push_back(Parked { id, node: peer.node, since: now, lanes, holds });
    }

    /// The worker's connection is lost: what it waited for is moot, what it computes it may still
    /// bring back soon.
    pub(super) fn gone(&mut self, now: TimeMs, node: &NodeId) {
        let (of_node, others): (VecDeque<Parked>, VecDeque<Parked>) =
            self.parked.drain(..).partition(|p| p.node == *node);
        self.parked = others;
        for Parked { id, .. } in of_node {
            // Nobody hears it, but the host must not keep the question.
            self.outbox
                .push(Output::Reply { id, response: Response::of(Answer::Idle { retry_ms: 0 }) });
        }
        if let Some(member) = self.roster.of_mut(node) {
            member.lanes = 0;
            member.asked = None;
            member.sent = SentTo::default();
        }
        let until = now.saturating_add(self.config.gone_grace_ms);
        for lease in self
            .slots
            .iter_mut()
            .flat_map(|s| s.leases.iter_mut())
            .filter(|l| l.party.node == *node)
        {
            lease.deadline = lease.deadline.min(until);
            lease.gone = true;
        }
    }

    /// Ends what has run out of time.
    pub(super) fn expire(&mut self, now: TimeMs) {
        for lane in 0..self.slots.len() as u32 {
            let Some(slot) = self.slot(lane) else { continue };
            let (over, running): (Vec<Running>, Vec<Running>) =
                core::mem::take(&mut slot.leases).into_iter().partition(|l| l.deadline <= now);
            slot.leases = running;
            slot.lost = slot.lost.saturating_add(over.len() as u32);
            for lease in over {
                self.leases.remove(&lease.party.number);
                if lease.commitment.is_some() && !lease.gone {
                    self.reject(lane, &lease.party, Reason::NotOpened);
                } else {
                    self.roster.lost(&lease.party.node);
                }
            }
            self.expire_dispute(now, lane);
        }
        let park_ms = self.config.park_ms;
        while self.parked.front().is_some_and(|ask| ask.since.saturating_add(park_ms) <= now) {
            if let Some(ask) = self.parked.pop_front() {
                self.reply(ask.id, &ask.node, Answer::Idle { retry_ms: 0 });
            }
        }
    }

    /// Leases what can be leased, and lets this host recompute what nobody else can check.
    pub(super) fn dispatch(&mut self, now: TimeMs) -> Result<(), Error> {
        if self.status != Status::Running {
            return Ok(());
        }
        let mut waiting = self.waiting();
        for (need, lane) in self.needs(now) {
            if waiting.is_empty() {
                break;
            }
            if let Some(node) = self.choose(now, need, lane, &waiting) {
                self.grant(now, lane, node)?;
                waiting = self.waiting();
            }
        }
        self.recompute_unattended(now)?;
        self.tell_urgent();
        Ok(())
    }

    /// Lanes that lack somebody, most urgent first.
    fn needs(&self, now: TimeMs) -> Vec<(Need, u32)> {
        let in_flight_max = (HELD_BYTES_MAX / self.course.held_len().max(1)).max(LEASES_MAX);
        let room =
            in_flight_max.saturating_sub(self.slots.iter().filter(|s| s.in_flight()).count());
        let checker_wait_ms = self.config.checker_wait_ms;
        let overdue = |slot: &Slot| {
            matches!(&*slot.leases, [only] if only.backup_at <= now && only.commitment.is_none())
                && matches!(slot.phase, Phase::Open | Phase::Checking { .. })
        };
        let mut needs: Vec<(Need, u32)> = Vec::new();
        let mut free = 0;
        for (lane, slot) in (0u32..).zip(&self.slots) {
            match slot.phase {
                _ if slot.is_forlorn() => {}
                // Later this host does it.
                Phase::Checking { since, .. } if since.saturating_add(checker_wait_ms) <= now => {}
                Phase::Checking { .. } if slot.leases.is_empty() => {
                    needs.push((Need::Checker, lane))
                }
                Phase::Open if slot.leases.is_empty() => {
                    free += 1;
                    if free <= room {
                        needs.push((Need::Worker, lane));
                    }
                }
                _ if overdue(slot) => needs.push((Need::Backup, lane)),
                _ => {}
            }
        }
        needs.retain(|(need, _)| *need != Need::Backup || free == 0);
        needs.sort_unstable();
        needs
    }

    /// The workers with a question here and room for a lease.
    fn waiting(&self) -> Vec<NodeId> {
        let mut leased: BTreeMap<NodeId, u32> = BTreeMap::new();
        for lease in self.slots.iter().flat_map(|s| &s.leases).filter(|l| l.commitment.is_none()) {
            *leased.entry(lease.party.node).or_default() += 1;
        }
        let mut nodes: Vec<NodeId> =
            self.parked.iter().filter(|p| p.lanes > 0).map(|p| p.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.retain(|node| {
            !self.roster.is_banned(node)
                && leased.get(node).copied().unwrap_or(0) < self.leases_max(node)
        });
        nodes
    }

    /// How many lanes at once: by speed relative to the others, and one more than it says it
    /// computes side by side, so that it has the next while the last is under way to us.
    fn leases_max(&self, node: &NodeId) -> u32 {
        let speeds: Vec<u64> =
            self.roster.iter().map(|(_, m)| m.speed()).filter(|s| *s > 0).collect();
        let mean = (speeds.iter().sum::<u64>() / (speeds.len() as u64).max(1)).max(1);
        let Some(member) = self.roster.of(node) else { return 1 };
        let by_speed = (2 * member.speed() / mean).clamp(2, u64::from(u32::MAX)) as u32;
        by_speed.min(u32::from(member.lanes) + 1).min(self.config.leases_per_worker_max).max(1)
    }

    fn choose(&mut self, now: TimeMs, need: Need, lane: u32, waiting: &[NodeId]) -> Option<NodeId> {
        let slot = self.slots.get(lane as usize)?;
        let reserve = self.guest_reserve(now);
        let free = self.slots.iter().filter(|s| s.is_free()).count() as u32;
        let is_guest = |node: &NodeId| self.roster.of(node).is_some_and(|m| m.guest);
        let mut eligible: Vec<NodeId> =
            waiting.iter().filter(|node| !slot.involves(node)).copied().collect();
        match need {
            // What is reserved for guests, only guests get.
            Need::Worker if free <= reserve => eligible.retain(is_guest),
            // While lanes wait for guests, others check.
            Need::Checker if reserve > 0 && eligible.iter().any(|node| !is_guest(node)) => {
                eligible.retain(|node| !is_guest(node));
            }
            _ => {}
        }
        let candidates: Vec<_> =
            eligible.iter().filter_map(|n| self.roster.of(n)).map(|m| m.candidate()).collect();
        let index = self.draw.weighted(&score::scores(&candidates))?;
        eligible.get(index).copied()
    }

    /// Free lanes that still wait for guests.
    fn guest_reserve(&self, now: TimeMs) -> u32 {
        let waited = now >= self.round_since.saturating_add(self.config.guest_wait_ms);
        if waited || !self.roster.iter().any(|(node, m)| m.guest && self.is_active(now, node)) {
            return 0;
        }
        let share = u64::from(self.course.lanes()) * u64::from(self.config.guest_share.min(ALL));
        let taken = self.slots.iter().filter(|s| s.with_guest()).count() as u32;
        (share.div_ceil(u64::from(ALL)) as u32).saturating_sub(taken)
    }

    /// Whether a worker waits, has asked lately, or computes.
    fn is_active(&self, now: TimeMs, node: &NodeId) -> bool {
        self.roster.of(node).is_some_and(|m| !m.banned && m.lanes > 0)
            && (self.parked.iter().any(|p| p.node == *node)
                || self
                    .roster
                    .of(node)
                    .is_some_and(|m| now < m.seen.saturating_add(self.config.active_ms))
                || self.slots.iter().flat_map(|s| &s.leases).any(|l| l.party.node == *node))
    }

    fn grant(&mut self, now: TimeMs, lane: u32, node: NodeId) -> Result<(), Error> {
        let Some(at) = self.parked.iter().position(|p| p.node == node && p.lanes > 0) else {
            return Ok(());
        };
        let Some(ask) = self.parked.remove(at) else { return Ok(()) };
        let assignment = self.assign(now, lane, &ask)?;
        let (guest, patience, expected_ms) = match self.roster.of(&node) {
            Some(member) => {
                (member.guest, member.patience(), member.expected_ms(self.course.macs(lane)))
            }
            None => (false, 1, self.config.lease_ms_min),
        };
        let lease_ms = expected_ms
            .saturating_mul(LEASE_FACTOR)
            .max(self.config.lease_ms_min)
            .saturating_mul(patience)
            .min(self.config.lease_ms_max);
        let overdue_ms = expected_ms.saturating_mul(OVERDUE_FACTOR).max(self.config.backup_ms_min);
        let number = self.draw.number();
        self.leases.insert(number, lane);
        if let Some(slot) = self.slot(lane) {
            slot.leases.push(Running {
                party: Party { number, node, guest },
                granted: now,
                deadline: now.saturating_add(lease_ms),
                backup_at: now.saturating_add(overdue_ms),
                commitment: None,
                gone: false,
            });
        }
        let id = LeaseId { job: self.job, number };
        let lease = Lease { id, assignment, deadline_ms: lease_ms.min(u64::from(u32::MAX)) as u32 };
        self.reply(ask.id, &node, Answer::Lease(Box::new(lease)));
        Ok(())
    }

    /// The assignment for a worker, without material that it holds or that is on its way to it.
    fn assign(&mut self, now: TimeMs, lane: u32, ask: &Parked) -> Result<Assignment, Error> {
        let (id, round) = (self.lane_id(lane), self.round);
        let sent_to = self.roster.of(&ask.node).map(|member| member.sent).unwrap_or_default();
        // A worker that requests work well after the answer must have arrived has received it.
        let on_its_way = |at: TimeMs, within_ms: u64| ask.since <= at.saturating_add(within_ms);
        let weights_held = ask.holds.weights_of == Some(round)
            || sent_to
                .weights
                .is_some_and(|(of, at)| of == round && on_its_way(at, WEIGHTS_TRAVEL_MS));
        let rows = match sent_to.rows {
            _ if ask.holds.rows => RowsWanted::None,
            Some(at) if on_its_way(at, ROWS_TRAVEL_MS) => RowsWanted::Lane,
            _ => RowsWanted::All,
        };
        let (assignment, sent) = self.course.assignment(id, weights_held, rows)?;
        if let Some(member) = self.roster.of_mut(&ask.node) {
            if sent.weights {
                member.sent.weights = Some((round, now));
            }
            if sent.rows {
                member.sent.rows = Some(now);
            }
        }
        Ok(assignment)
    }

    /// What a lane's worker is to do.
    pub(super) fn task(&mut self, lane: u32) -> Result<Task, Error> {
        let id = self.lane_id(lane);
        Ok(self.course.task(id)?)
    }

    /// Results that wait for a checker in vain are recomputed here: nobody else is active, or time
    /// is up and who has the lease is overdue. So are lanes whose leases were lost too often.
    /// Thus nobody can hold a job up for long.
    fn recompute_unattended(&mut self, now: TimeMs) -> Result<(), Error> {
        for lane in 0..self.slots.len() as u32 {
            let Some(slot) = self.slots.get(lane as usize) else { continue };
            match &slot.phase {
                Phase::Open if slot.is_forlorn() => self.recompute(now, lane, None)?,
                Phase::Checking { since, .. }
                    if slot.leases.iter().all(|l| l.backup_at <= now && l.commitment.is_none()) =>
                {
                    let waited = since.saturating_add(self.config.checker_wait_ms) <= now;
                    let possible = !slot.leases.is_empty()
                        || self
                            .roster
                            .iter()
                            .any(|(n, _)| !slot.involves(n) && self.is_active(now, n));
                    if waited || !possible {
                        self.supersede(lane);
                        self.recompute(now, lane, None)?;
                    }
                }
                Phase::Recomputing { retry_at, .. } if *retry_at <= now => {
                    self.recompute_again(now, lane)?
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Answers those who wait and have something that they should hear at once.
    fn tell_urgent(&mut self) {
        while let Some(at) =
            self.parked.iter().position(|p| self.roster.of(&p.node).is_some_and(|m| m.urgent))
        {
            let Some(ask) = self.parked.remove(at) else { break };
            self.reply(ask.id, &ask.node, Answer::Idle { retry_ms: 0 });
        }
        while let Some(at) = self
            .parked
            .iter()
            .position(|p| p.lanes == 0 && self.roster.of(&p.node).is_some_and(|m| m.has_notices()))
        {
            let Some(ask) = self.parked.remove(at) else { break };
            self.reply(ask.id, &ask.node, Answer::Idle { retry_ms: 0 });
        }
    }

    /// Tells the holders of other leases on a lane that it has been decided without them.
    pub(super) fn supersede(&mut self, lane: u32) {
        let Some(slot) = self.slot(lane) else { return };
        for lease in core::mem::take(&mut slot.leases) {
            self.leases.remove(&lease.party.number);
            let id = LeaseId { job: self.job, number: lease.party.number };
            self.roster.tell(&lease.party, Notice::Superseded { lease: id });
        }
    }

    /// Finds the next time at which something ends or begins by itself.
    pub(super) fn schedule(&mut self, now: TimeMs) {
        let config = &self.config;
        let mut times: Vec<TimeMs> = Vec::new();
        if self.status == Status::Running {
            times.extend(self.parked.front().map(|p| p.since.saturating_add(config.park_ms)));
            times.push(self.round_since.saturating_add(config.guest_wait_ms));
            times.push(self.activity_due());
            for slot in &self.slots {
                times.extend(slot.leases.iter().flat_map(|l| [l.deadline, l.backup_at]));
                match &slot.phase {
                    Phase::Checking { since, .. } => {
                        times.push(since.saturating_add(config.checker_wait_ms))
                    }
                    Phase::Recomputing { retry_at, .. } => times.push(*retry_at),
                    Phase::Disputed { until, .. } => times.push(*until),
                    Phase::Open | Phase::Accepted { .. } => {}
                }
            }
        }
        self.wake = times.into_iter().filter(|t| *t > now).min();
    }
}
