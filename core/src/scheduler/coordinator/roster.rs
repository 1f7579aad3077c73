//! What a coordinator knows of each worker: speed, distance, standing, and news not told yet.
//!
//! Local reputation is local: it starts anew with the process, blames nobody in the ledger, and
//! only decides who is checked, how likely one is chosen, and who is barred.

use super::{input::Peer, lane::Party};
use crate::{
    scheduler::score::Candidate,
    types::{NodeId, TimeMs},
    wire::work::{NOTICES_MAX, Notice, Reason},
};
use alloc::collections::{BTreeMap, VecDeque};

/// Most workers known at once; who asked longest ago is forgotten first.
pub const MEMBERS_MAX: usize = 1024;
/// Notices kept for one worker; the oldest are dropped first.
const NOTICES_KEPT_MAX: usize = 2 * NOTICES_MAX;
/// Most that good work counts for.
const REPUTATION_MAX: i32 = 1000;
/// What reputation from the ledger counts for at most.
const STANDING_MAX: u64 = 1000;
/// A lease that is lost: networks fail, tabs are closed.
const PENALTY_LOST: i32 = 2;
/// A commitment not opened, or a state not shown: rarely an accident.
const PENALTY_SILENT: i32 = 20;
/// Speed assumed of those not measured: a slow phone, multiply-accumulates a second.
const SPEED_UNKNOWN: u64 = 20_000_000;
/// Least speed believed.
const SPEED_MIN: u64 = 10_000;
/// Leases of a worker that lost some get longer, up to this many times.
const PATIENCE_MAX: u64 = 16;
/// Silences after which a worker is barred.
const SILENCES_MAX: u32 = 3;

/// The material that the coordinator has sent to a worker, each with its time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SentTo {
    /// The weights of this round.
    pub(super) weights: Option<(u32, TimeMs)>,
    /// All training rows.
    pub(super) rows: Option<TimeMs>,
}

#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) guest: bool,
    /// How many lanes it says it computes side by side.
    pub(super) lanes: u8,
    pub(super) seen: TimeMs,
    /// When it last asked for a lane, over a connection that still stands.
    pub(super) asked: Option<TimeMs>,
    pub(super) banned: bool,
    /// Material sent over the present connection.
    pub(super) sent: SentTo,
    /// Something that it should hear at once is among its notices.
    pub(super) urgent: bool,
    rtt_ms: Option<u32>,
    standing: u64,
    reputation: i32,
    /// How many times longer its leases are: doubled by each that is lost, one again after a
    /// commitment.
    patience: u64,
    /// Commitments not opened, states not shown.
    silences: u32,
    /// Accepted since its last silence.
    accepted: u32,
    /// Moving average, multiply-accumulates a second; 0 if not measured.
    speed: u64,
    notices: VecDeque<Notice>,
}

impl Member {
    /// Time that a task of this size is expected to take, from lease to commitment.
    pub(super) fn expected_ms(&self, macs: u64) -> u64 {
        let speed = if self.speed == 0 { SPEED_UNKNOWN } else { self.speed };
        macs.saturating_mul(1000) / speed.max(1) + 2 * u64::from(self.rtt_ms.unwrap_or(0))
    }

    pub(super) fn candidate(&self) -> Candidate {
        let reputation = self.reputation.max(0) as u64 + self.standing.min(STANDING_MAX);
        Candidate { compute: self.speed, latency_ms: self.rtt_ms, reputation }
    }

    /// Whether it asked for a lane within this time.
    pub(super) fn asked_within(&self, now: TimeMs, ms: u64) -> bool {
        self.asked.is_some_and(|asked| now < asked.saturating_add(ms))
    }

    pub(super) const fn patience(&self) -> u64 {
        self.patience
    }

    pub(super) const fn speed(&self) -> u64 {
        self.speed
    }

    pub(super) fn take_notices(&mut self) -> impl Iterator<Item = Notice> + '_ {
        self.urgent = false;
        let count = self.notices.len().min(NOTICES_MAX);
        self.notices.drain(..count)
    }

    pub(super) fn has_notices(&self) -> bool {
        !self.notices.is_empty()
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Roster {
    members: BTreeMap<NodeId, Member>,
}

impl Roster {
    /// Notes that a worker has spoken.
    pub(super) fn see(&mut self, now: TimeMs, peer: &Peer) {
        if !self.members.contains_key(&peer.node) && self.members.len() >= MEMBERS_MAX {
            let oldest =
                self.members.iter().min_by_key(|(node, m)| (m.seen, **node)).map(|(node, _)| *node);
            oldest.and_then(|node| self.members.remove(&node));
        }
        let member = self.members.entry(peer.node).or_insert_with(|| Member {
            guest: peer.guest,
            lanes: 1,
            seen: now,
            asked: None,
            banned: false,
            sent: SentTo::default(),
            urgent: false,
            rtt_ms: None,
            standing: 0,
            reputation: 0,
            patience: 1,
            silences: 0,
            accepted: 0,
            speed: 0,
            notices: VecDeque::new(),
        });
        member.seen = now;
        member.guest = peer.guest;
        member.rtt_ms = peer.rtt_ms.or(member.rtt_ms);
        member.standing = peer.reputation;
    }

    pub(super) fn of(&self, node: &NodeId) -> Option<&Member> {
        self.members.get(node)
    }

    pub(super) fn of_mut(&mut self, node: &NodeId) -> Option<&mut Member> {
        self.members.get_mut(node)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&NodeId, &Member)> {
        self.members.iter()
    }

    pub(super) fn is_banned(&self, node: &NodeId) -> bool {
        self.of(node).is_some_and(|m| m.banned)
    }

    /// Whether enough of its work has been accepted that not all of it must be checked.
    pub(super) fn has_history(&self, node: &NodeId, accepted_min: u32) -> bool {
        self.of(node).is_some_and(|m| !m.banned && m.accepted >= accepted_min)
    }

    /// Measures a task that took `elapsed_ms` from lease to commitment.
    pub(super) fn measure(&mut self, node: &NodeId, macs: u64, elapsed_ms: u64) {
        if let Some(member) = self.of_mut(node) {
            member.patience = 1;
            let sample = (macs.saturating_mul(1000) / elapsed_ms.max(1)).max(SPEED_MIN);
            member.speed = if member.speed == 0 {
                sample
            } else {
                member.speed - member.speed / 4 + sample / 4
            };
        }
    }

    pub(super) fn praise(&mut self, node: &NodeId) {
        if let Some(member) = self.of_mut(node) {
            member.accepted = member.accepted.saturating_add(1);
            member.reputation = (member.reputation + 1).min(REPUTATION_MAX);
        }
    }

    /// A lease ran out: the next one is longer, for it may be a slow phone.
    pub(super) fn lost(&mut self, node: &NodeId) {
        if let Some(member) = self.of_mut(node) {
            member.reputation = (member.reputation - PENALTY_LOST).max(-REPUTATION_MAX);
            member.patience = (2 * member.patience).min(PATIENCE_MAX);
        }
    }

    /// A result was rejected. Proof of a wrong one bars its worker; silence costs it its history,
    /// and bars it too when it becomes a habit.
    pub(super) fn punish(&mut self, node: &NodeId, reason: Reason) {
        if let Some(member) = self.of_mut(node) {
            member.accepted = 0;
            member.reputation = (member.reputation.min(0) - PENALTY_SILENT).max(-REPUTATION_MAX);
            let silent = matches!(reason, Reason::NotOpened | Reason::StateWithheld);
            member.silences += u32::from(silent);
            member.banned |= !silent || member.silences >= SILENCES_MAX;
        }
    }

    pub(super) fn tell(&mut self, party: &Party, notice: Notice) {
        let urgent = matches!(notice, Notice::NeedState { .. } | Notice::Superseded { .. });
        if let Some(member) = self.of_mut(&party.node) {
            if member.notices.len() >= NOTICES_KEPT_MAX {
                member.notices.pop_front();
            }
            member.notices.push_back(notice);
            member.urgent |= urgent;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_cannot_fill_the_roster() {
        let mut roster = Roster::default();
        for i in 0..2 * MEMBERS_MAX as u64 {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&i.to_le_bytes());
            roster.see(i, &Peer { node: NodeId(id), guest: true, rtt_ms: None, reputation: 0 });
        }
        assert_eq!(roster.members.len(), MEMBERS_MAX);
        assert!(roster.members.values().all(|m| m.seen >= MEMBERS_MAX as u64));
    }

    #[test]
    fn speed_follows_measurements_and_lost_leases() {
        let node = NodeId([1; 32]);
        let mut roster = Roster::default();
        roster.see(0, &Peer { node, guest: false, rtt_ms: Some(10), reputation: 0 });
        roster.measure(&node, 1_000_000, 100);
        assert_eq!(roster.of(&node).unwrap().speed(), 10_000_000);
        assert_eq!(roster.of(&node).unwrap().expected_ms(1_000_000), 120);
        (0..99).for_each(|_| roster.lost(&node));
        assert_eq!(roster.of(&node).unwrap().patience(), PATIENCE_MAX);
        roster.measure(&node, 1_000_000, 1000);
        assert_eq!(roster.of(&node).unwrap().patience(), 1);
        assert_eq!(roster.of(&node).unwrap().speed(), 7_750_000);
    }
}
