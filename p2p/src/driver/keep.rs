//! Persistent peers: dialled at the start, redialled for ever. A machine without I/O: the driver dials what is due.
//!
//! The addresses of one peer are alternatives. They are tried by transport (WebRTC, QUIC, TCP, WebSocket, circuits
//! last), the next one as soon as the one before failed or has not answered for [`STAGGER`].
//!
//! While a peer is reached only through a relay, its direct addresses are tried again now and then, those too that it
//! says it has. The circuit stays meanwhile; it is closed by whoever sees the direct connection carry traffic.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};
use web_time::Instant;

use super::backoff::Backoff;
use crate::path::{TransportKind, is_circuit, target_of};

const STAGGER: Duration = Duration::from_secs(2);
/// Pause before a peer that is reached through a relay is dialled directly again.
const UPGRADE_PAUSE: Duration = Duration::from_secs(30);
/// Direct addresses of a peer's own claim that are tried.
const CLAIMED_MAX: usize = 4;
/// A connection that lasted less than this does not count as a success.
const STEADY: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Entry {
    target: Option<PeerId>,
    addrs: Vec<Multiaddr>,
    /// Direct addresses that the peer says it has. They are tried only to replace a circuit.
    claimed: Vec<Multiaddr>,
    /// While connected through a relay only: when to dial directly, and how many times that was done.
    upgrade: Option<(Instant, usize)>,
    /// The address to try next; past the end when all of this round have been tried.
    next: usize,
    in_flight: usize,
    attempt: u32,
    state: State,
}

#[derive(Debug, PartialEq)]
enum State {
    Connected {
        since: Instant,
    },
    /// Dial the next address at this time.
    Due(Instant),
    /// All addresses of this round are being dialled.
    Dialling,
}

#[derive(Debug)]
pub struct Keep {
    entries: Vec<Entry>,
    backoff: Backoff,
}

impl Keep {
    pub fn new(seed: u64) -> Self {
        Self { entries: Vec::new(), backoff: Backoff::new(seed) }
    }

    /// Adds an address; `is_connected` if its peer is connected already.
    pub fn add(&mut self, addr: Multiaddr, is_connected: bool, now: Instant) {
        let target = target_of(&addr);
        let known = self.entries.iter_mut().find(|e| match target {
            Some(_) => e.target == target,
            None => e.addrs.contains(&addr),
        });
        match known {
            Some(entry) => {
                if !entry.addrs.contains(&addr) {
                    entry.addrs.push(addr);
                    // Stable: the caller's order counts within one kind of transport.
                    entry.addrs.sort_by_key(rank);
                    if entry.state == State::Dialling {
                        entry.state = State::Due(now);
                        entry.next = 0;
                    }
                }
            }
            None => {
                let state = if is_connected { State::Connected { since: now } } else { State::Due(now) };
                self.entries.push(Entry {
                    target,
                    addrs: vec![addr],
                    claimed: Vec::new(),
                    upgrade: None,
                    next: 0,
                    in_flight: 0,
                    attempt: 0,
                    state,
                });
            }
        }
    }

    pub fn remove(&mut self, peer: &PeerId) {
        self.entries.retain(|e| e.target.as_ref() != Some(peer));
    }

    /// The addresses to dial now. Each must be answered by [`Keep::connected`] or [`Keep::failed`].
    pub fn due(&mut self, now: Instant) -> Vec<Multiaddr> {
        let mut out = Vec::new();
        for entry in &mut self.entries {
            out.extend(entry.due_upgrade(now));
            let State::Due(at) = entry.state else { continue };
            if at > now {
                continue;
            }
            out.extend(entry.addrs.get(entry.next).cloned());
            entry.next += 1;
            entry.in_flight += 1;
            let is_last = entry.next >= entry.addrs.len();
            entry.state = if is_last { State::Dialling } else { State::Due(now + STAGGER) };
        }
        out
    }

    pub fn deadline(&self) -> Option<Instant> {
        let due = |e: &Entry| if let State::Due(at) = e.state { Some(at) } else { e.upgrade.map(|(at, _)| at) };
        self.entries.iter().filter_map(due).min()
    }

    /// A connection to `peer` stands; `addr` is the kept address it was dialled at, if it was.
    pub fn connected(&mut self, peer: PeerId, addr: Option<&Multiaddr>, now: Instant) {
        for entry in &mut self.entries {
            let was_dialled = addr.is_some_and(|addr| entry.addrs.contains(addr));
            if was_dialled {
                entry.in_flight = entry.in_flight.saturating_sub(1);
            }
            if entry.target == Some(peer) || entry.target.is_none() && was_dialled {
                entry.target = Some(peer);
                if !matches!(entry.state, State::Connected { .. }) {
                    entry.state = State::Connected { since: now };
                }
            }
        }
    }

    /// How `peer` is reached now.
    pub fn reached(&mut self, peer: &PeerId, is_direct: bool, now: Instant) {
        for entry in self.entries.iter_mut().filter(|e| e.target.as_ref() == Some(peer)) {
            entry.upgrade = match entry.upgrade {
                _ if is_direct => None,
                None if entry.direct().next().is_some() => Some((now + UPGRADE_PAUSE, 0)),
                before => before,
            };
        }
    }

    /// Direct addresses that `peer` says it has.
    pub fn claims(&mut self, peer: &PeerId, is_direct: bool, addrs: impl Iterator<Item = Multiaddr>, now: Instant) {
        let Some(entry) = self.entries.iter_mut().find(|e| e.target.as_ref() == Some(peer)) else { return };
        entry.claimed = addrs.filter(|a| !is_circuit(a) && !entry.addrs.contains(a)).take(CLAIMED_MAX).collect();
        self.reached(peer, is_direct, now);
    }

    /// The last connection to `peer` is gone.
    pub fn disconnected(&mut self, peer: &PeerId, now: Instant) {
        for entry in self.entries.iter_mut().filter(|e| e.target.as_ref() == Some(peer)) {
            if let State::Connected { since } = entry.state {
                let was_steady = now.saturating_duration_since(since) >= STEADY;
                entry.attempt = if was_steady { 0 } else { entry.attempt.saturating_add(1) };
                entry.next = 0;
                entry.upgrade = None;
                entry.state = State::Due(now + self.backoff.pause(entry.attempt));
            }
        }
    }

    /// The dial of a kept address failed.
    pub fn failed(&mut self, addr: &Multiaddr, now: Instant) {
        for entry in self.entries.iter_mut().filter(|e| e.addrs.contains(addr)) {
            entry.in_flight = entry.in_flight.saturating_sub(1);
            match entry.state {
                State::Connected { .. } => {}
                // Another address of this round is left: do not wait for its turn.
                State::Due(at) if entry.next > 0 => entry.state = State::Due(at.min(now)),
                State::Due(_) => {}
                State::Dialling if entry.in_flight > 0 => {}
                State::Dialling => {
                    entry.next = 0;
                    entry.state = State::Due(now + self.backoff.pause(entry.attempt));
                    entry.attempt = entry.attempt.saturating_add(1);
                }
            }
        }
    }
}

impl Entry {
    fn direct(&self) -> impl Iterator<Item = &Multiaddr> {
        self.addrs.iter().filter(|addr| !is_circuit(addr)).chain(&self.claimed)
    }

    /// The direct address whose turn it is, once the time has come.
    fn due_upgrade(&mut self, now: Instant) -> Option<Multiaddr> {
        let (at, tried) = self.upgrade.filter(|_| matches!(self.state, State::Connected { .. }))?;
        if at > now {
            return None;
        }
        self.upgrade = Some((now + UPGRADE_PAUSE, tried.wrapping_add(1)));
        let count = self.direct().count().max(1);
        self.direct().nth(tried % count).cloned()
    }
}

fn rank(addr: &Multiaddr) -> u8 {
    match TransportKind::of(addr) {
        _ if is_circuit(addr) => 4,
        Some(TransportKind::WebRtc) => 0,
        Some(TransportKind::Quic) => 1,
        Some(TransportKind::Tcp) => 2,
        Some(TransportKind::WebSocket) | None => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(peer: &PeerId) -> (Multiaddr, Multiaddr) {
        let addr = |text: &str| format!("{text}/p2p/{peer}").parse().unwrap();
        (addr("/ip4/127.0.0.1/tcp/2/ws"), addr("/ip4/127.0.0.1/udp/1/webrtc-direct"))
    }

    #[test]
    fn alternatives_follow_each_other_then_the_round_pauses() {
        let (now, peer) = (Instant::now(), PeerId::random());
        let (ws, rtc) = addresses(&peer);
        let mut keep = Keep::new(1);
        keep.add(ws.clone(), false, now);
        keep.add(rtc.clone(), false, now);
        assert_eq!(keep.due(now), vec![rtc.clone()], "WebRTC comes first");
        assert!(keep.due(now).is_empty());
        assert_eq!(keep.due(now + STAGGER), vec![ws.clone()], "a slow dial is not waited for");
        keep.failed(&rtc, now + STAGGER);
        assert_eq!(keep.deadline(), None);
        keep.failed(&ws, now + STAGGER);
        let next = keep.deadline().unwrap();
        assert!(next > now + STAGGER);
        assert_eq!(keep.due(next), vec![rtc.clone()]);
        keep.failed(&rtc, next);
        assert_eq!(keep.due(next), vec![ws], "a failed dial is followed at once");
    }

    #[test]
    fn a_lost_peer_is_redialled_and_flapping_backs_off() {
        let (mut now, peer) = (Instant::now(), PeerId::random());
        let (_, addr) = addresses(&peer);
        let mut keep = Keep::new(1);
        keep.add(addr.clone(), false, now);
        let mut pauses = Vec::new();
        for _ in 0..6 {
            assert_eq!(keep.due(now), vec![addr.clone()]);
            keep.connected(peer, Some(&addr), now);
            assert_eq!(keep.deadline(), None);
            keep.disconnected(&peer, now);
            let next = keep.deadline().unwrap();
            pauses.push(next - now);
            now = next;
        }
        assert!(pauses[5] > pauses[0] * 4, "{pauses:?}");
        keep.due(now);
        keep.connected(peer, Some(&addr), now);
        keep.disconnected(&peer, now + STEADY);
        assert!(
            keep.deadline().unwrap() <= now + STEADY + Duration::from_millis(500),
            "a steady peer is tried at once"
        );
    }

    #[test]
    fn a_circuit_is_replaced_by_a_direct_connection_when_one_is_possible() {
        let (now, peer) = (Instant::now(), PeerId::random());
        let (direct, _) = addresses(&peer);
        let relay = PeerId::random();
        let circuit: Multiaddr = format!("/ip4/127.0.0.1/tcp/9/p2p/{relay}/p2p-circuit/p2p/{peer}").parse().unwrap();
        let claimed: Multiaddr = format!("/ip4/127.0.0.1/tcp/7/p2p/{peer}").parse().unwrap();
        let mut keep = Keep::new(1);
        keep.add(circuit.clone(), false, now);
        assert_eq!(keep.due(now), vec![circuit.clone()]);
        keep.connected(peer, Some(&circuit), now);
        keep.reached(&peer, false, now);
        assert_eq!(keep.deadline(), None, "nothing direct is known");
        let claims = [circuit.clone(), claimed.clone()];
        keep.claims(&peer, false, claims.into_iter(), now);
        keep.add(direct.clone(), true, now);
        let at = keep.deadline().unwrap();
        assert!(keep.due(now).is_empty());
        assert_eq!(keep.due(at), vec![direct]);
        let next = keep.deadline().unwrap();
        assert!(next > at);
        assert_eq!(keep.due(next), vec![claimed], "they take turns");
        keep.reached(&peer, true, next);
        assert_eq!(keep.deadline(), None, "done");
        keep.disconnected(&peer, next);
        assert_eq!(keep.due(keep.deadline().unwrap()).len(), 1, "what a peer claims is not dialled when it is gone");
    }

    #[test]
    fn the_peer_behind_a_bare_address_is_learnt() {
        let (now, peer) = (Instant::now(), PeerId::random());
        let bare: Multiaddr = "/ip4/127.0.0.1/tcp/2".parse().unwrap();
        let mut keep = Keep::new(1);
        keep.add(bare.clone(), false, now);
        keep.due(now);
        keep.connected(peer, Some(&bare), now);
        assert_eq!(keep.deadline(), None);
        keep.disconnected(&peer, now);
        assert!(keep.deadline().is_some());
        keep.remove(&peer);
        assert_eq!(keep.deadline(), None);
    }
}
