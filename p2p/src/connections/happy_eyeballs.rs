//! Races the addresses of one peer, after RFC 8305 (Happy Eyeballs). The next address is dialled
//! [`CONNECTION_ATTEMPT_DELAY`] after the previous one, or as soon as that one has failed. A state
//! machine without I/O: it returns the addresses to dial.
//!
//! The race tracks dials in flight as a set of addresses, not as a count. So a result that arrives
//! twice, late, or for another dial changes nothing.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use libp2p::{Multiaddr, multiaddr::Protocol};
use web_time::Instant;

use crate::{
    error::DialError,
    path::{TransportKind, is_circuit},
};

/// The "Connection Attempt Delay" of RFC 8305, section 5.
pub const CONNECTION_ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Dials of one race in flight; further addresses wait until one fails.
pub const IN_FLIGHT_MAX: usize = 8;

#[derive(Debug, PartialEq)]
pub struct Race {
    waiting: VecDeque<Multiaddr>,
    in_flight: Vec<Multiaddr>,
    failures: Vec<(Multiaddr, DialError)>,
    next_at: Instant,
}

impl Race {
    pub fn new(addrs: impl IntoIterator<Item = Multiaddr>, now: Instant) -> Self {
        let waiting = dial_order(addrs).into();
        Self { waiting, in_flight: Vec::new(), failures: Vec::new(), next_at: now }
    }

    /// Adds an address at the end of the queue.
    pub fn add(&mut self, addr: Multiaddr) {
        self.waiting.push_back(addr);
    }

    /// Returns the address to dial now. Each is followed by a call of [`Race::failed`] or by the
    /// end of the race.
    pub fn next(&mut self, now: Instant) -> Option<Multiaddr> {
        if self.deadline()? > now {
            return None;
        }
        let addr = self.waiting.pop_front()?;
        self.in_flight.push(addr.clone());
        self.next_at = now + CONNECTION_ATTEMPT_DELAY;
        Some(addr)
    }

    pub fn deadline(&self) -> Option<Instant> {
        let may_dial = !self.waiting.is_empty() && self.in_flight.len() < IN_FLIGHT_MAX;
        may_dial.then_some(self.next_at)
    }

    /// Records a failed dial. Returns whether the dial belongs to this race.
    pub fn failed(&mut self, addr: &Multiaddr, error: &DialError, now: Instant) -> bool {
        let Some(position) = self.in_flight.iter().position(|a| a == addr) else { return false };
        self.in_flight.swap_remove(position);
        self.failures.push((addr.clone(), error.clone()));
        self.next_at = self.next_at.min(now);
        true
    }

    /// Returns the error of the race once all addresses have failed.
    pub fn take_failure(&mut self) -> Option<DialError> {
        if !self.waiting.is_empty() || !self.in_flight.is_empty() {
            return None;
        }
        Some(DialError::NoneAnswers(std::mem::take(&mut self.failures)))
    }
}

/// The order in which transports are tried: in a browser the available ones, elsewhere by cost
/// (`docs/webrtc.md`).
fn rank(addr: &Multiaddr) -> u8 {
    let is_browser = cfg!(target_arch = "wasm32");
    match TransportKind::of(addr) {
        _ if is_circuit(addr) => u8::MAX,
        Some(TransportKind::WebRtc) if is_browser => 0,
        Some(TransportKind::Quic) => 1,
        Some(TransportKind::Tcp) => 2,
        Some(TransportKind::WebSocket) | None => 3,
        Some(TransportKind::WebRtc) => 4,
    }
}

/// Sorts preferred transports first, but one address of each before the second of any, because a
/// network that blocks a transport blocks all its addresses. Within a transport IPv6 and IPv4
/// alternate (RFC 8305, section 4). Circuits come last.
fn dial_order(addrs: impl IntoIterator<Item = Multiaddr>) -> Vec<Multiaddr> {
    let mut groups: BTreeMap<u8, [VecDeque<Multiaddr>; 2]> = BTreeMap::new();
    for addr in addrs {
        let is_v6 = matches!(addr.iter().next(), Some(Protocol::Ip6(_) | Protocol::Dns6(_)));
        groups.entry(rank(&addr)).or_default()[usize::from(!is_v6)].push_back(addr);
    }
    let circuits = groups.remove(&u8::MAX);
    let mut out = Vec::new();
    let mut turn = 0;
    while groups.values().flatten().any(|group| !group.is_empty()) {
        for [v6, v4] in groups.values_mut() {
            let (first, second) = if turn % 2 == 0 { (v6, v4) } else { (v4, v6) };
            out.extend(first.pop_front().or_else(|| second.pop_front()));
        }
        turn += 1;
    }
    out.extend(circuits.into_iter().flatten().flatten());
    out
}

#[cfg(test)]
mod tests {
    use libp2p::PeerId;

    use super::*;

    fn addr(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn all(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| addr(text)).collect()
    }

    #[test]
    fn transports_and_families_take_turns_and_circuits_come_last() {
        let circuit = format!("/ip4/10.0.0.9/udp/1/quic-v1/p2p/{}/p2p-circuit", PeerId::random());
        let given = [
            &circuit,
            "/ip4/10.0.0.1/tcp/1",
            "/ip4/10.0.0.2/tcp/1",
            "/ip4/10.0.0.1/udp/1/webrtc-direct",
            "/ip6/fd00::1/tcp/1",
            "/ip4/10.0.0.1/udp/1/quic-v1",
            "/dns4/a.example/tcp/1/tls/ws",
        ];
        let expected = [
            "/ip4/10.0.0.1/udp/1/quic-v1",
            "/ip6/fd00::1/tcp/1",
            "/dns4/a.example/tcp/1/tls/ws",
            "/ip4/10.0.0.1/udp/1/webrtc-direct",
            "/ip4/10.0.0.1/tcp/1",
            "/ip4/10.0.0.2/tcp/1",
            &circuit,
        ];
        assert_eq!(dial_order(all(&given)), all(&expected));
    }

    #[test]
    fn a_silent_address_costs_the_stagger_and_a_failed_one_nothing() {
        let now = Instant::now();
        let [a, b, c] =
            ["/ip4/10.0.0.1/tcp/1", "/ip4/10.0.0.2/tcp/1", "/ip4/10.0.0.3/tcp/1"].map(addr);
        let mut race = Race::new([a.clone(), b.clone(), c.clone()], now);
        assert_eq!(race.next(now), Some(a.clone()));
        assert_eq!(race.next(now), None);
        assert_eq!(race.deadline(), Some(now + CONNECTION_ATTEMPT_DELAY));
        assert_eq!(race.next(now + CONNECTION_ATTEMPT_DELAY), Some(b.clone()));
        let error = DialError::Failed("refused".into());
        assert!(race.failed(&b, &error, now + CONNECTION_ATTEMPT_DELAY));
        assert_eq!(race.next(now + CONNECTION_ATTEMPT_DELAY), Some(c.clone()));
        assert!(!race.failed(&b, &error, now + CONNECTION_ATTEMPT_DELAY), "a result counts once");
        assert!(!race.failed(&addr("/ip4/10.0.0.4/tcp/1"), &error, now), "and only on request");
        assert!(
            race.failed(&a, &DialError::Denied("full".into()), now)
                && race.take_failure().is_none()
        );
        assert!(race.failed(&c, &DialError::WrongPeer(PeerId::random()), now));
        let failure = race.take_failure().unwrap().to_string();
        for part in [
            "10.0.0.2/tcp/1: refused",
            "10.0.0.1/tcp/1: refused locally: full",
            "10.0.0.3/tcp/1: another peer",
        ] {
            assert!(failure.contains(part), "{failure}");
        }
    }

    #[test]
    fn dials_at_once_are_bounded() {
        let mut now = Instant::now();
        let addrs: Vec<_> =
            (0..20).map(|n| addr(&format!("/ip4/10.0.0.1/tcp/{}", n + 1))).collect();
        let mut race = Race::new(addrs.clone(), now);
        for (n, addr) in addrs.iter().enumerate().take(IN_FLIGHT_MAX) {
            assert_eq!(race.next(now).as_ref(), Some(addr), "dial {n}");
            now += CONNECTION_ATTEMPT_DELAY;
        }
        assert_eq!((race.next(now), race.deadline()), (None, None));
        race.failed(&addrs[3], &DialError::Failed("gone".into()), now);
        assert_eq!(race.next(now).as_ref(), addrs.get(IN_FLIGHT_MAX));
    }
}
