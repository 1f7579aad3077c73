//! The upgrade of a circuit between two tabs to a direct connection. The tab that dialled the
//! circuit dials `/webrtc` over it, and retries a few times. A state machine without I/O: the
//! driver dials the addresses that are due, and closes the circuit once the new connection has
//! carried traffic.

use std::{collections::HashMap, time::Duration};

use libp2p::{Multiaddr, PeerId};
use web_time::Instant;

/// Pause after the first attempt; it doubles with each further one.
const RETRY_DELAY: Duration = Duration::from_secs(30);
/// Attempts after which the circuit is kept as it is.
const ATTEMPTS_MAX: u32 = 6;

#[derive(Debug)]
struct Entry {
    addr: Multiaddr,
    attempts: u32,
    due: Option<Instant>,
}

impl Entry {
    fn schedule_retry(&mut self, now: Instant) {
        let pause =
            RETRY_DELAY.saturating_mul(1 << self.attempts.saturating_sub(1).min(ATTEMPTS_MAX));
        self.due = (self.attempts < ATTEMPTS_MAX).then(|| now + pause);
    }
}

/// The peers whose circuit may be upgraded; at most one entry for each connected peer.
#[derive(Debug, Default)]
pub struct WebRtcUpgrades(HashMap<PeerId, Entry>);

impl WebRtcUpgrades {
    /// Schedules an upgrade: `peer` is connected by a circuit that this node dialled, and can be
    /// dialled at `addr`.
    pub fn schedule(&mut self, peer: PeerId, addr: Multiaddr, now: Instant) {
        self.0.entry(peer).or_insert(Entry { addr, attempts: 0, due: Some(now) });
    }

    /// Handles a change of the path to `peer`.
    pub fn path_changed(&mut self, peer: &PeerId, is_direct: bool, now: Instant) {
        if let Some(entry) = self.0.get_mut(peer) {
            match is_direct {
                true => (entry.attempts, entry.due) = (0, None),
                // The direct connection is lost, the circuit is not.
                false if entry.due.is_none() => entry.schedule_retry(now),
                false => {}
            }
        }
    }

    /// Handles the end of the last connection to `peer`.
    pub fn forget(&mut self, peer: &PeerId) {
        self.0.remove(peer);
    }

    /// Returns the addresses to dial now. Each is followed by a call of
    /// [`WebRtcUpgrades::path_changed`] or [`WebRtcUpgrades::failed`].
    pub fn due(&mut self, now: Instant) -> Vec<Multiaddr> {
        let due = self.0.values_mut().filter(|entry| entry.due.is_some_and(|at| at <= now));
        due.map(|entry| {
            (entry.attempts, entry.due) = (entry.attempts + 1, None);
            entry.addr.clone()
        })
        .collect()
    }

    /// Handles a failed dial, started by an upgrade or otherwise.
    pub fn failed(&mut self, addr: &Multiaddr, now: Instant) {
        for entry in self.0.values_mut().filter(|entry| entry.addr == *addr && entry.due.is_none())
        {
            entry.schedule_retry(now);
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.0.values().filter_map(|entry| entry.due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upgrades_are_tried_at_once_then_less_often_and_then_stop() {
        let (mut upgrades, mut now, peer) =
            (WebRtcUpgrades::default(), Instant::now(), PeerId::random());
        let addr: Multiaddr = "/webrtc".parse().unwrap();
        upgrades.schedule(peer, addr.clone(), now);
        let mut pauses = Vec::new();
        while let Some(at) = upgrades.deadline() {
            pauses.push(at - now);
            now = at;
            assert_eq!(upgrades.due(now), vec![addr.clone()]);
            assert!(upgrades.due(now).is_empty(), "one attempt at a time");
            upgrades.schedule(peer, addr.clone(), now);
            assert!(upgrades.due(now).is_empty(), "a repeated report changes nothing");
            upgrades.failed(&addr, now);
        }
        assert_eq!(pauses, [0, 30, 60, 120, 240, 480].map(Duration::from_secs));
        upgrades.forget(&peer);
        upgrades.schedule(peer, addr.clone(), now);
        assert_eq!(upgrades.due(now), vec![addr], "a new circuit allows another attempt");
    }

    #[test]
    fn a_lost_upgrade_is_retried_while_the_circuit_is_open() {
        let (mut upgrades, now, peer) =
            (WebRtcUpgrades::default(), Instant::now(), PeerId::random());
        upgrades.schedule(peer, "/webrtc".parse().unwrap(), now);
        assert_eq!(upgrades.due(now).len(), 1);
        upgrades.path_changed(&peer, true, now);
        assert_eq!(upgrades.deadline(), None);
        upgrades.path_changed(&peer, false, now);
        assert_eq!(upgrades.deadline(), Some(now + RETRY_DELAY));
    }
}
