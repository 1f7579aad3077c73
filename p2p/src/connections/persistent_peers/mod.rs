//! Persistent peers: dialled at the start, redialled for ever. A state machine without I/O: the
//! driver dials the addresses that are due.
//!
//! The addresses of one peer are alternatives, tried in a
//! [`Race`](super::happy_eyeballs::Race). When all have failed, the
//! driver emits an event, and the next race begins after a pause.
//!
//! While a peer is reachable only through a relay, its direct addresses, including advertised ones,
//! are raced again at growing intervals. The circuit stays open meanwhile. It becomes a standby
//! once the direct connection has carried traffic.

mod entry;

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};
use tequio_core::types::NodeId;
use web_time::Instant;

use self::entry::{DirectUpgrade, Entry, State, UPGRADE_PAUSE, UpgradeState};
use super::backoff::Backoff;
use crate::{
    error::DialError,
    identity::node_id,
    path::{is_circuit, relay_of, target_of},
};

/// Addresses of one peer; further ones are ignored.
const ADDRS_MAX: usize = 32;
/// Number of advertised direct addresses that are tried.
const ADVERTISED_MAX: usize = 4;
/// A connection that lasted less than this does not count as a success.
const STABLE_AFTER: Duration = Duration::from_secs(10);

/// All addresses of a persistent peer failed.
#[derive(Debug, PartialEq)]
pub struct Unreachable {
    pub peer: Option<NodeId>,
    pub error: DialError,
}

#[derive(Debug)]
pub struct PersistentPeers {
    entries: Vec<Entry>,
    backoff: Backoff,
}

impl PersistentPeers {
    pub fn new(seed: u64) -> Self {
        Self { entries: Vec::new(), backoff: Backoff::new(seed) }
    }

    /// Adds an address. `is_connected` states whether its peer is connected already.
    pub fn add(&mut self, addr: Multiaddr, is_connected: bool, now: Instant) {
        let target = target_of(&addr);
        let known = self.entries.iter_mut().find(|e| match target {
            Some(_) => e.target == target,
            None => e.addrs.contains(&addr),
        });
        match known {
            Some(entry) if entry.addrs.contains(&addr) => {}
            Some(entry) if entry.addrs.len() >= ADDRS_MAX => {
                tracing::warn!(%addr, "address ignored: its peer already has {ADDRS_MAX} \
                                       addresses");
            }
            Some(entry) => {
                entry.is_persistent = true;
                entry.addrs.push(addr.clone());
                match &mut entry.state {
                    State::Connected { .. } => {}
                    State::Due(at) => *at = now.min(*at),
                    State::Racing(race) => race.add(addr),
                }
            }
            None => {
                let state =
                    if is_connected { State::Connected { since: now } } else { State::Due(now) };
                let addrs = vec![addr];
                self.entries.push(Entry::new(target, true, addrs, state));
            }
        }
    }

    /// Tracks a `peer` that is connected by a circuit that a caller dialled. While the circuit
    /// lasts, direct paths are tried, as for persistent peers.
    pub fn track_upgrade(&mut self, peer: PeerId, now: Instant) {
        if self.entries.iter().all(|e| e.target != Some(peer)) {
            self.entries.push(Entry::new(
                Some(peer),
                false,
                Vec::new(),
                State::Connected { since: now },
            ));
        }
    }

    pub fn remove(&mut self, peer: &PeerId) {
        self.entries.retain(|e| e.target.as_ref() != Some(peer));
    }

    /// Returns the addresses to dial now, at most `room`. Each is followed by a call of
    /// [`PersistentPeers::connected`] or [`PersistentPeers::failed`].
    pub fn due(&mut self, now: Instant, room: usize) -> Vec<Multiaddr> {
        let mut out = Vec::new();
        for entry in &mut self.entries {
            entry.start_due_race(now);
            while out.len() < room {
                let Some(addr) = entry.race().and_then(|race| race.next(now)) else { break };
                out.push(addr);
            }
        }
        out
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.entries.iter().filter_map(Entry::deadline).min()
    }

    /// Handles a new connection to `peer`. `addr` is the persistent address that was dialled, if
    /// any.
    pub fn connected(&mut self, peer: PeerId, addr: Option<&Multiaddr>, now: Instant) {
        for entry in &mut self.entries {
            // At an address without a peer id, a different peer may answer each time.
            let is_bare =
                addr.is_some_and(|addr| target_of(addr).is_none() && entry.addrs.contains(addr));
            if entry.target == Some(peer) || is_bare {
                entry.target = Some(peer);
                if !matches!(entry.state, State::Connected { .. }) {
                    entry.state = State::Connected { since: now };
                }
                // The race for a direct connection is won, but the winner may still fail to carry
                // traffic.
                if let Some(upgrade) =
                    entry.upgrade.as_mut().filter(|_| addr.is_some_and(|addr| !is_circuit(addr)))
                {
                    upgrade.pause(now);
                }
            }
        }
    }

    /// Handles a change of the path to `peer`.
    pub fn path_changed(&mut self, peer: &PeerId, is_direct: bool, now: Instant) {
        for entry in self.entries.iter_mut().filter(|e| e.target.as_ref() == Some(peer)) {
            if is_direct {
                entry.upgrade = None;
            } else if entry.upgrade.is_none() && entry.direct().next().is_some() {
                entry.upgrade = Some(DirectUpgrade {
                    attempt: 0,
                    state: UpgradeState::Due(now + UPGRADE_PAUSE),
                });
            }
        }
    }

    /// Sets the direct addresses that `peer` advertises.
    pub fn set_advertised(
        &mut self,
        peer: &PeerId,
        is_direct: bool,
        addrs: impl Iterator<Item = Multiaddr>,
        now: Instant,
    ) {
        let Some(entry) = self.entries.iter_mut().find(|e| e.target.as_ref() == Some(peer)) else {
            return;
        };
        let advertised: Vec<_> = addrs
            .filter(|a| !is_circuit(a) && !entry.addrs.contains(a))
            .take(ADVERTISED_MAX)
            .collect();
        // A new address may succeed: reset the backoff.
        if advertised.iter().any(|addr| !entry.advertised.contains(addr))
            && let Some(DirectUpgrade { attempt, state: UpgradeState::Due(at) }) =
                &mut entry.upgrade
        {
            (*attempt, *at) = (0, now.min(*at) + UPGRADE_PAUSE);
        }
        entry.advertised = advertised;
        self.path_changed(peer, is_direct, now);
    }

    /// Handles the end of the last connection to `peer`.
    pub fn disconnected(&mut self, peer: &PeerId, now: Instant) {
        self.entries.retain(|e| e.is_persistent || e.target.as_ref() != Some(peer));
        for entry in self.entries.iter_mut().filter(|e| e.target.as_ref() == Some(peer)) {
            if let State::Connected { since } = entry.state {
                let was_steady = now.saturating_duration_since(since) >= STABLE_AFTER;
                entry.attempt = if was_steady { 0 } else { entry.attempt.saturating_add(1) };
                entry.upgrade = None;
                entry.state = State::Due(now + self.backoff.pause(entry.attempt));
            }
        }
    }

    /// Handles a new connection to a relay, perhaps after a long absence. Pauses of peers behind
    /// this relay, which grew meanwhile, are cut short. Those peers may reconnect to the relay
    /// later than this node did, so the attempts restart with short pauses.
    pub fn relay_connected(&mut self, relay: &PeerId, now: Instant) {
        let is_behind =
            |addr: &Multiaddr| is_circuit(addr) && relay_of(addr).as_ref() == Some(relay);
        for entry in self.entries.iter_mut().filter(|e| e.addrs.iter().any(is_behind)) {
            if entry.attempt > 0 && entry.backoff_reset.try_reset(now) {
                entry.attempt = 0;
                if let State::Due(at) = &mut entry.state {
                    *at = (*at).min(now + self.backoff.pause(0));
                }
            }
        }
    }

    /// Handles a failed dial of a persistent address. Returns the peer if all its addresses have
    /// failed.
    pub fn failed(
        &mut self,
        addr: &Multiaddr,
        error: &DialError,
        now: Instant,
    ) -> Vec<Unreachable> {
        let mut out = Vec::new();
        for entry in &mut self.entries {
            let Some(race) = entry.race() else { continue };
            if !race.failed(addr, error, now) {
                continue;
            }
            let Some(error) = race.take_failure() else { continue };
            if let Some(upgrade) = &mut entry.upgrade {
                tracing::debug!(%error, "no direct path yet");
                upgrade.pause(now);
                continue;
            }
            entry.state = State::Due(now + self.backoff.pause(entry.attempt));
            entry.attempt = entry.attempt.saturating_add(1);
            out.push(Unreachable { peer: entry.target.as_ref().and_then(node_id), error });
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connections::happy_eyeballs::CONNECTION_ATTEMPT_DELAY;

    fn addresses(peer: &PeerId) -> (Multiaddr, Multiaddr) {
        let addr = |text: &str| format!("{text}/p2p/{peer}").parse().unwrap();
        (addr("/ip4/127.0.0.1/tcp/2/ws"), addr("/ip4/127.0.0.1/udp/1/quic-v1"))
    }

    fn refused() -> DialError {
        DialError::Failed("refused".into())
    }

    #[test]
    fn addresses_are_tried_in_turn_and_then_the_race_pauses() {
        let (now, peer) = (Instant::now(), PeerId::random());
        let (ws, quic) = addresses(&peer);
        let mut peers = PersistentPeers::new(1);
        peers.add(ws.clone(), false, now);
        peers.add(quic.clone(), false, now);
        assert_eq!(peers.due(now, 9), std::slice::from_ref(&quic));
        assert!(peers.due(now, 9).is_empty());
        assert!(peers.due(now + CONNECTION_ATTEMPT_DELAY, 0).is_empty(), "no room");
        assert_eq!(
            peers.due(now + CONNECTION_ATTEMPT_DELAY, 9),
            std::slice::from_ref(&ws),
            "a slow dial does not block the others"
        );
        assert_eq!(peers.failed(&quic, &refused(), now + CONNECTION_ATTEMPT_DELAY), []);
        assert_eq!(peers.deadline(), None);
        let failures = peers.failed(&ws, &refused(), now + CONNECTION_ATTEMPT_DELAY);
        let all = DialError::NoneAnswers(vec![(quic.clone(), refused()), (ws.clone(), refused())]);
        assert_eq!(failures, [Unreachable { peer: node_id(&peer), error: all }]);
        let next = peers.deadline().unwrap();
        assert!(next > now + CONNECTION_ATTEMPT_DELAY);
        assert_eq!(peers.due(next, 9), std::slice::from_ref(&quic));
        peers.failed(&quic, &refused(), next);
        assert_eq!(peers.due(next, 9), [ws], "a failed dial is followed at once");
    }

    /// A count of dials in flight would stay above zero for ever in each of these cases.
    #[test]
    fn no_order_of_results_leaves_a_peer_undialled() {
        let (now, peer) = (Instant::now(), PeerId::random());
        let (ws, quic) = addresses(&peer);
        let dialling = || {
            let mut peers = PersistentPeers::new(1);
            peers.add(quic.clone(), false, now);
            assert_eq!(peers.due(now, 9).len(), 1);
            peers
        };
        // An address is added while the only other one is being dialled.
        let mut peers = dialling();
        peers.add(ws.clone(), false, now);
        assert_eq!(peers.due(now + CONNECTION_ATTEMPT_DELAY, 9), std::slice::from_ref(&ws));
        peers.failed(&quic, &DialError::Denied("penalty".into()), now);
        assert_eq!(peers.failed(&ws, &DialError::WrongPeer(PeerId::random()), now).len(), 1);
        assert!(peers.deadline().is_some());
        // The peer dials this node and disconnects while our own dial is in progress; that dial
        // serves the next race, too.
        let mut peers = dialling();
        peers.connected(peer, None, now);
        peers.disconnected(&peer, now);
        let at = peers.deadline().unwrap();
        assert_eq!(peers.due(at, 9), std::slice::from_ref(&quic));
        assert_eq!(peers.failed(&quic, &refused(), at).len(), 1);
        assert!(peers.deadline().is_some());
        // The peer is removed and added again during the dial.
        let mut peers = dialling();
        peers.remove(&peer);
        peers.add(quic.clone(), false, now);
        assert_eq!(peers.failed(&quic, &refused(), now), [], "not of the new race");
        assert_eq!(peers.due(now, 9), [quic]);
    }

    #[test]
    fn a_lost_peer_is_redialled_and_flapping_backs_off() {
        let (mut now, peer) = (Instant::now(), PeerId::random());
        let (_, addr) = addresses(&peer);
        let mut peers = PersistentPeers::new(1);
        peers.add(addr.clone(), false, now);
        let mut pauses = Vec::new();
        for _ in 0..6 {
            assert_eq!(peers.due(now, 9), std::slice::from_ref(&addr));
            peers.connected(peer, Some(&addr), now);
            assert_eq!(peers.deadline(), None);
            peers.disconnected(&peer, now);
            let next = peers.deadline().unwrap();
            pauses.push(next - now);
            now = next;
        }
        assert!(pauses[5] > pauses[0] * 4, "{pauses:?}");
        peers.due(now, 9);
        peers.connected(peer, Some(&addr), now);
        peers.disconnected(&peer, now + STABLE_AFTER);
        assert!(
            peers.deadline().unwrap() <= now + STABLE_AFTER + Duration::from_millis(500),
            "a steady peer is tried at once"
        );
    }

    #[test]
    fn a_circuit_is_replaced_by_a_direct_connection_when_one_is_possible() {
        let (now, peer) = (Instant::now(), PeerId::random());
        let (direct, _) = addresses(&peer);
        let relay = PeerId::random();
        let circuit: Multiaddr =
            format!("/ip4/127.0.0.1/tcp/9/p2p/{relay}/p2p-circuit/p2p/{peer}").parse().unwrap();
        let advertised: Multiaddr = format!("/ip4/127.0.0.1/tcp/7/p2p/{peer}").parse().unwrap();
        let mut peers = PersistentPeers::new(1);
        peers.add(circuit.clone(), false, now);
        assert_eq!(peers.due(now, 9), std::slice::from_ref(&circuit));
        peers.connected(peer, Some(&circuit), now);
        peers.path_changed(&peer, false, now);
        assert_eq!(peers.deadline(), None, "nothing direct is known");
        let addrs = [circuit.clone(), advertised.clone()];
        peers.set_advertised(&peer, false, addrs.into_iter(), now);
        peers.add(direct.clone(), true, now);
        let mut at = peers.deadline().unwrap();
        assert!(peers.due(now, 9).is_empty());
        let mut pauses = Vec::new();
        for _ in 0..3 {
            assert_eq!(peers.due(at, 9), std::slice::from_ref(&advertised));
            assert_eq!(peers.failed(&advertised, &refused(), at), []);
            assert_eq!(peers.due(at, 9), std::slice::from_ref(&direct));
            assert_eq!(
                peers.failed(&direct, &refused(), at),
                [],
                "the peer is reached nevertheless"
            );
            let next = peers.deadline().unwrap();
            pauses.push(next - at);
            at = next;
        }
        assert_eq!(pauses, [2, 4, 8].map(Duration::from_secs));
        assert_eq!(peers.due(at, 9), std::slice::from_ref(&advertised));
        peers.connected(peer, Some(&advertised), at);
        assert!(peers.deadline().unwrap() > at, "without an answer another race begins");
        peers.path_changed(&peer, true, at);
        assert_eq!(peers.deadline(), None, "done");
        peers.path_changed(&peer, false, at);
        assert_eq!(peers.deadline(), Some(at + UPGRADE_PAUSE), "back on the circuit");
        peers.disconnected(&peer, at);
        let next = peers.deadline().unwrap();
        assert_eq!(peers.due(next, 9), [direct]);
        assert_eq!(peers.due(next + CONNECTION_ATTEMPT_DELAY, 9), [circuit]);
        assert!(
            peers.due(next + CONNECTION_ATTEMPT_DELAY * 2, 9).is_empty(),
            "advertised addresses are not dialled after a disconnect"
        );
    }

    #[test]
    fn a_reconnected_relay_resets_the_backoff_of_peers_behind_it_once_a_minute() {
        let (mut now, peer, relay) = (Instant::now(), PeerId::random(), PeerId::random());
        let circuit: Multiaddr =
            format!("/ip4/127.0.0.1/tcp/9/p2p/{relay}/p2p-circuit/p2p/{peer}").parse().unwrap();
        let mut peers = PersistentPeers::new(1);
        peers.add(circuit.clone(), false, now);
        let fail = |peers: &mut PersistentPeers, now: &mut Instant| {
            assert_eq!(peers.due(*now, 9), std::slice::from_ref(&circuit));
            peers.failed(&circuit, &refused(), *now);
            let pause = peers.deadline().unwrap() - *now;
            *now += pause;
            pause
        };
        for _ in 0..6 {
            fail(&mut peers, &mut now);
        }
        assert!(fail(&mut peers, &mut now) > Duration::from_secs(10));
        now -= Duration::from_secs(9);
        peers.relay_connected(&PeerId::random(), now);
        assert!(peers.deadline().unwrap() - now > Duration::from_secs(8), "another one");
        peers.relay_connected(&relay, now);
        assert!(peers.deadline().unwrap() - now <= Duration::from_millis(500));
        now = peers.deadline().unwrap();
        // The peer has no reservation yet.
        assert!(fail(&mut peers, &mut now) < Duration::from_secs(1));
        for _ in 0..5 {
            fail(&mut peers, &mut now);
        }
        let before = peers.deadline();
        peers.relay_connected(&relay, now - Duration::from_secs(1));
        assert_eq!(peers.deadline(), before, "a flapping relay does not shorten the backoff");
    }

    #[test]
    fn a_peer_that_is_only_tracked_is_not_redialled() {
        let (now, peer) = (Instant::now(), PeerId::random());
        let (direct, persistent) = addresses(&peer);
        let mut peers = PersistentPeers::new(1);
        peers.track_upgrade(peer, now);
        peers.path_changed(&peer, false, now);
        peers.set_advertised(&peer, false, [direct.clone()].into_iter(), now);
        assert_eq!(peers.due(peers.deadline().unwrap(), 9), [direct]);
        peers.disconnected(&peer, now);
        assert_eq!(peers.deadline(), None);
        peers.track_upgrade(peer, now);
        peers.track_upgrade(peer, now);
        peers.add(persistent.clone(), true, now);
        peers.disconnected(&peer, now);
        assert_eq!(peers.due(peers.deadline().unwrap(), 9), [persistent]);
    }

    #[test]
    fn the_peer_behind_a_bare_address_is_learnt() {
        let (now, peer, other) = (Instant::now(), PeerId::random(), PeerId::random());
        let bare: Multiaddr = "/ip4/127.0.0.1/tcp/2".parse().unwrap();
        let mut peers = PersistentPeers::new(1);
        peers.add(bare.clone(), false, now);
        // A different peer answers the second time: the old entry must not wait for the first peer
        // for ever.
        for peer in [peer, other] {
            assert_eq!(peers.due(peers.deadline().unwrap(), 9), std::slice::from_ref(&bare));
            peers.connected(peer, Some(&bare), now);
            assert_eq!(peers.deadline(), None);
            peers.disconnected(&peer, now);
        }
        assert!(peers.deadline().is_some());
        peers.remove(&other);
        assert_eq!(peers.deadline(), None);
    }
}
