//! Persistent peers: dialled at the start, redialled for ever. A machine without I/O: the driver
//! dials what is due.
//!
//! The addresses of one peer are alternatives, tried in a [`Race`]. When all have failed, that is
//! told, and the next race begins after a pause.
//!
//! While a peer is reached only through a relay, its direct addresses are raced again and again,
//! ever more rarely, those too that it says it has. The circuit stays meanwhile, and stands by once
//! the direct connection has carried traffic.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};
use tequio_core::types::NodeId;
use web_time::Instant;

use super::{
    backoff::{Backoff, Haste},
    race::Race,
};
use crate::{
    error::DialError,
    identity::node_id,
    path::{is_circuit, relay_of, target_of},
};

/// Addresses of one peer; more are ignored.
const ADDRS_MAX: usize = 32;
/// Pause before a peer that is reached through a relay is dialled directly; it doubles with each
/// failed race.
const UPGRADE_PAUSE: Duration = Duration::from_secs(1);
const UPGRADE_DOUBLINGS_MAX: u32 = 8;
/// Direct addresses of a peer's own claim that are tried.
const CLAIMED_MAX: usize = 4;
/// A connection that lasted less than this does not count as a success.
const STEADY: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Entry {
    target: Option<PeerId>,
    /// Or only attended to while it is connected, see [`Keep::attend`].
    is_kept: bool,
    addrs: Vec<Multiaddr>,
    /// Direct addresses that the peer says it has. They are tried only to replace a circuit.
    claimed: Vec<Multiaddr>,
    /// While connected through a relay only.
    upgrade: Option<Upgrade>,
    attempt: u32,
    haste: Haste,
    state: State,
}

#[derive(Debug, PartialEq)]
enum State {
    Connected {
        since: Instant,
    },
    /// Begin a race at this time.
    Due(Instant),
    Racing(Race),
}

#[derive(Debug)]
struct Upgrade {
    attempt: u32,
    state: Course,
}

#[derive(Debug)]
enum Course {
    Due(Instant),
    Racing(Race),
}

/// No address of a kept peer leads to it.
#[derive(Debug, PartialEq)]
pub struct Unreachable {
    pub peer: Option<NodeId>,
    pub error: DialError,
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
            Some(entry) if entry.addrs.contains(&addr) => {}
            Some(entry) if entry.addrs.len() >= ADDRS_MAX => {
                tracing::warn!(%addr, "a peer has {ADDRS_MAX} addresses already: not used");
            }
            Some(entry) => {
                entry.is_kept = true;
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

    /// `peer` is reached by a circuit that somebody wanted: while it stands, direct paths are
    /// looked for, as to kept peers.
    pub fn attend(&mut self, peer: PeerId, now: Instant) {
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

    /// The addresses to dial now, not more than there is `room` for. Each must be answered by
    /// [`Keep::connected`] or [`Keep::failed`].
    pub fn due(&mut self, now: Instant, room: usize) -> Vec<Multiaddr> {
        let mut out = Vec::new();
        for entry in &mut self.entries {
            entry.begin(now);
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

    /// A connection to `peer` stands; `addr` is the kept address it was dialled at, if it was.
    pub fn connected(&mut self, peer: PeerId, addr: Option<&Multiaddr>, now: Instant) {
        for entry in &mut self.entries {
            // Who answers at an address that names nobody may be another one each time.
            let is_bare =
                addr.is_some_and(|addr| target_of(addr).is_none() && entry.addrs.contains(addr));
            if entry.target == Some(peer) || is_bare {
                entry.target = Some(peer);
                if !matches!(entry.state, State::Connected { .. }) {
                    entry.state = State::Connected { since: now };
                }
                // The race for a direct connection is won; what it has won may still fail to carry
                // anything.
                if let Some(upgrade) =
                    entry.upgrade.as_mut().filter(|_| addr.is_some_and(|addr| !is_circuit(addr)))
                {
                    upgrade.pause(now);
                }
            }
        }
    }

    /// How `peer` is reached now.
    pub fn reached(&mut self, peer: &PeerId, is_direct: bool, now: Instant) {
        for entry in self.entries.iter_mut().filter(|e| e.target.as_ref() == Some(peer)) {
            if is_direct {
                entry.upgrade = None;
            } else if entry.upgrade.is_none() && entry.direct().next().is_some() {
                entry.upgrade =
                    Some(Upgrade { attempt: 0, state: Course::Due(now + UPGRADE_PAUSE) });
            }
        }
    }

    /// Direct addresses that `peer` says it has.
    pub fn claims(
        &mut self,
        peer: &PeerId,
        is_direct: bool,
        addrs: impl Iterator<Item = Multiaddr>,
        now: Instant,
    ) {
        let Some(entry) = self.entries.iter_mut().find(|e| e.target.as_ref() == Some(peer)) else {
            return;
        };
        let claimed: Vec<_> = addrs
            .filter(|a| !is_circuit(a) && !entry.addrs.contains(a))
            .take(CLAIMED_MAX)
            .collect();
        // A new one is a new chance.
        if claimed.iter().any(|addr| !entry.claimed.contains(addr))
            && let Some(Upgrade { attempt, state: Course::Due(at) }) = &mut entry.upgrade
        {
            (*attempt, *at) = (0, now.min(*at) + UPGRADE_PAUSE);
        }
        entry.claimed = claimed;
        self.reached(peer, is_direct, now);
    }

    /// The last connection to `peer` is gone.
    pub fn disconnected(&mut self, peer: &PeerId, now: Instant) {
        self.entries.retain(|e| e.is_kept || e.target.as_ref() != Some(peer));
        for entry in self.entries.iter_mut().filter(|e| e.target.as_ref() == Some(peer)) {
            if let State::Connected { since } = entry.state {
                let was_steady = now.saturating_duration_since(since) >= STEADY;
                entry.attempt = if was_steady { 0 } else { entry.attempt.saturating_add(1) };
                entry.upgrade = None;
                entry.state = State::Due(now + self.backoff.pause(entry.attempt));
            }
        }
    }

    /// A relay is connected, perhaps after a long absence: those who are reached through it need
    /// not wait out a pause that grew meanwhile. They may come back to it later than we did, so
    /// the attempts begin anew with short pauses.
    pub fn relay_is_back(&mut self, relay: &PeerId, now: Instant) {
        let is_behind =
            |addr: &Multiaddr| is_circuit(addr) && relay_of(addr).as_ref() == Some(relay);
        for entry in self.entries.iter_mut().filter(|e| e.addrs.iter().any(is_behind)) {
            if entry.attempt > 0 && entry.haste.may(now) {
                entry.attempt = 0;
                if let State::Due(at) = &mut entry.state {
                    *at = (*at).min(now + self.backoff.pause(0));
                }
            }
        }
    }

    /// The dial of a kept address failed. Who cannot be reached at all by now.
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
            let Some(error) = race.lost() else { continue };
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

impl Upgrade {
    fn pause(&mut self, now: Instant) {
        self.attempt = (self.attempt + 1).min(UPGRADE_DOUBLINGS_MAX);
        self.state = Course::Due(now + UPGRADE_PAUSE * (1 << self.attempt));
    }
}

impl Entry {
    fn new(target: Option<PeerId>, is_kept: bool, addrs: Vec<Multiaddr>, state: State) -> Self {
        let (claimed, haste) = (Vec::new(), Haste::default());
        Self { target, is_kept, addrs, claimed, upgrade: None, attempt: 0, haste, state }
    }

    fn direct(&self) -> impl Iterator<Item = &Multiaddr> {
        self.addrs.iter().filter(|addr| !is_circuit(addr)).chain(&self.claimed)
    }

    /// Begins the race that is due.
    fn begin(&mut self, now: Instant) {
        match (&self.state, &self.upgrade) {
            (State::Due(at), _) if *at <= now => {
                self.state = State::Racing(Race::new(self.addrs.clone(), now))
            }
            (State::Connected { .. }, Some(Upgrade { state: Course::Due(at), .. }))
                if *at <= now =>
            {
                let race = Race::new(self.direct().cloned(), now);
                if let Some(upgrade) = &mut self.upgrade {
                    upgrade.state = Course::Racing(race);
                }
            }
            _ => {}
        }
    }

    fn race(&mut self) -> Option<&mut Race> {
        match (&mut self.state, &mut self.upgrade) {
            (State::Racing(race), _) => Some(race),
            (State::Connected { .. }, Some(Upgrade { state: Course::Racing(race), .. })) => {
                Some(race)
            }
            _ => None,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match (&self.state, &self.upgrade) {
            (State::Due(at), _) => Some(*at),
            (State::Racing(race), _) => race.deadline(),
            (State::Connected { .. }, Some(upgrade)) => match &upgrade.state {
                Course::Due(at) => Some(*at),
                Course::Racing(race) => race.deadline(),
            },
            (State::Connected { .. }, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::race::STAGGER, *};

    fn addresses(peer: &PeerId) -> (Multiaddr, Multiaddr) {
        let addr = |text: &str| format!("{text}/p2p/{peer}").parse().unwrap();
        (addr("/ip4/127.0.0.1/tcp/2/ws"), addr("/ip4/127.0.0.1/udp/1/quic-v1"))
    }

    fn refused() -> DialError {
        DialError::Failed("refused".into())
    }

    #[test]
    fn alternatives_follow_each_other_then_the_round_pauses() {
        let (now, peer) = (Instant::now(), PeerId::random());
        let (ws, quic) = addresses(&peer);
        let mut keep = Keep::new(1);
        keep.add(ws.clone(), false, now);
        keep.add(quic.clone(), false, now);
        assert_eq!(keep.due(now, 9), std::slice::from_ref(&quic));
        assert!(keep.due(now, 9).is_empty());
        assert!(keep.due(now + STAGGER, 0).is_empty(), "no room");
        assert_eq!(
            keep.due(now + STAGGER, 9),
            std::slice::from_ref(&ws),
            "a slow dial is not waited for"
        );
        assert_eq!(keep.failed(&quic, &refused(), now + STAGGER), []);
        assert_eq!(keep.deadline(), None);
        let told = keep.failed(&ws, &refused(), now + STAGGER);
        let all = DialError::NoneAnswers(vec![(quic.clone(), refused()), (ws.clone(), refused())]);
        assert_eq!(told, [Unreachable { peer: node_id(&peer), error: all }]);
        let next = keep.deadline().unwrap();
        assert!(next > now + STAGGER);
        assert_eq!(keep.due(next, 9), std::slice::from_ref(&quic));
        keep.failed(&quic, &refused(), next);
        assert_eq!(keep.due(next, 9), [ws], "a failed dial is followed at once");
    }

    /// What a count of dials in flight got wrong: each of these left it above zero for ever.
    #[test]
    fn no_order_of_results_leaves_a_peer_undialled() {
        let (now, peer) = (Instant::now(), PeerId::random());
        let (ws, quic) = addresses(&peer);
        let kept = || {
            let mut keep = Keep::new(1);
            keep.add(quic.clone(), false, now);
            assert_eq!(keep.due(now, 9).len(), 1);
            keep
        };
        // An address is added while the only one is being dialled.
        let mut keep = kept();
        keep.add(ws.clone(), false, now);
        assert_eq!(keep.due(now + STAGGER, 9), std::slice::from_ref(&ws));
        keep.failed(&quic, &DialError::Denied("penalty".into()), now);
        assert_eq!(keep.failed(&ws, &DialError::WrongPeer(PeerId::random()), now).len(), 1);
        assert!(keep.deadline().is_some());
        // The peer dials us and goes while our own dial is under way; that one serves the next
        // race, too.
        let mut keep = kept();
        keep.connected(peer, None, now);
        keep.disconnected(&peer, now);
        let at = keep.deadline().unwrap();
        assert_eq!(keep.due(at, 9), std::slice::from_ref(&quic));
        assert_eq!(keep.failed(&quic, &refused(), at).len(), 1);
        assert!(keep.deadline().is_some());
        // Removed and added again meanwhile.
        let mut keep = kept();
        keep.remove(&peer);
        keep.add(quic.clone(), false, now);
        assert_eq!(keep.failed(&quic, &refused(), now), [], "not of the new race");
        assert_eq!(keep.due(now, 9), [quic]);
    }

    #[test]
    fn a_lost_peer_is_redialled_and_flapping_backs_off() {
        let (mut now, peer) = (Instant::now(), PeerId::random());
        let (_, addr) = addresses(&peer);
        let mut keep = Keep::new(1);
        keep.add(addr.clone(), false, now);
        let mut pauses = Vec::new();
        for _ in 0..6 {
            assert_eq!(keep.due(now, 9), std::slice::from_ref(&addr));
            keep.connected(peer, Some(&addr), now);
            assert_eq!(keep.deadline(), None);
            keep.disconnected(&peer, now);
            let next = keep.deadline().unwrap();
            pauses.push(next - now);
            now = next;
        }
        assert!(pauses[5] > pauses[0] * 4, "{pauses:?}");
        keep.due(now, 9);
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
        let circuit: Multiaddr =
            format!("/ip4/127.0.0.1/tcp/9/p2p/{relay}/p2p-circuit/p2p/{peer}").parse().unwrap();
        let claimed: Multiaddr = format!("/ip4/127.0.0.1/tcp/7/p2p/{peer}").parse().unwrap();
        let mut keep = Keep::new(1);
        keep.add(circuit.clone(), false, now);
        assert_eq!(keep.due(now, 9), std::slice::from_ref(&circuit));
        keep.connected(peer, Some(&circuit), now);
        keep.reached(&peer, false, now);
        assert_eq!(keep.deadline(), None, "nothing direct is known");
        let claims = [circuit.clone(), claimed.clone()];
        keep.claims(&peer, false, claims.into_iter(), now);
        keep.add(direct.clone(), true, now);
        let mut at = keep.deadline().unwrap();
        assert!(keep.due(now, 9).is_empty());
        let mut pauses = Vec::new();
        for _ in 0..3 {
            assert_eq!(keep.due(at, 9), std::slice::from_ref(&claimed));
            assert_eq!(keep.failed(&claimed, &refused(), at), []);
            assert_eq!(keep.due(at, 9), std::slice::from_ref(&direct));
            assert_eq!(
                keep.failed(&direct, &refused(), at),
                [],
                "the peer is reached all the same"
            );
            let next = keep.deadline().unwrap();
            pauses.push(next - at);
            at = next;
        }
        assert_eq!(pauses, [2, 4, 8].map(Duration::from_secs));
        assert_eq!(keep.due(at, 9), std::slice::from_ref(&claimed));
        keep.connected(peer, Some(&claimed), at);
        assert!(keep.deadline().unwrap() > at, "should it never answer, there is another race");
        keep.reached(&peer, true, at);
        assert_eq!(keep.deadline(), None, "done");
        keep.reached(&peer, false, at);
        assert_eq!(keep.deadline(), Some(at + UPGRADE_PAUSE), "back on the circuit");
        keep.disconnected(&peer, at);
        let next = keep.deadline().unwrap();
        assert_eq!(keep.due(next, 9), [direct]);
        assert_eq!(keep.due(next + STAGGER, 9), [circuit]);
        assert!(
            keep.due(next + STAGGER * 2, 9).is_empty(),
            "what a peer claims is not dialled when it is gone"
        );
    }

    #[test]
    fn a_relay_that_is_back_ends_the_long_pauses_of_those_behind_it_once_a_minute() {
        let (mut now, peer, relay) = (Instant::now(), PeerId::random(), PeerId::random());
        let circuit: Multiaddr =
            format!("/ip4/127.0.0.1/tcp/9/p2p/{relay}/p2p-circuit/p2p/{peer}").parse().unwrap();
        let mut keep = Keep::new(1);
        keep.add(circuit.clone(), false, now);
        let fail = |keep: &mut Keep, now: &mut Instant| {
            assert_eq!(keep.due(*now, 9), std::slice::from_ref(&circuit));
            keep.failed(&circuit, &refused(), *now);
            let pause = keep.deadline().unwrap() - *now;
            *now += pause;
            pause
        };
        for _ in 0..6 {
            fail(&mut keep, &mut now);
        }
        assert!(fail(&mut keep, &mut now) > Duration::from_secs(10));
        now -= Duration::from_secs(9);
        keep.relay_is_back(&PeerId::random(), now);
        assert!(keep.deadline().unwrap() - now > Duration::from_secs(8), "another one");
        keep.relay_is_back(&relay, now);
        assert!(keep.deadline().unwrap() - now <= Duration::from_millis(500));
        now = keep.deadline().unwrap();
        // The peer has no reservation yet.
        assert!(fail(&mut keep, &mut now) < Duration::from_secs(1));
        for _ in 0..5 {
            fail(&mut keep, &mut now);
        }
        let before = keep.deadline();
        keep.relay_is_back(&relay, now - Duration::from_secs(1));
        assert_eq!(keep.deadline(), before, "a relay that comes and goes does not make us hasty");
    }

    #[test]
    fn a_peer_that_is_only_attended_to_is_not_redialled() {
        let (now, peer) = (Instant::now(), PeerId::random());
        let (direct, kept) = addresses(&peer);
        let mut keep = Keep::new(1);
        keep.attend(peer, now);
        keep.reached(&peer, false, now);
        keep.claims(&peer, false, [direct.clone()].into_iter(), now);
        assert_eq!(keep.due(keep.deadline().unwrap(), 9), [direct]);
        keep.disconnected(&peer, now);
        assert_eq!(keep.deadline(), None);
        keep.attend(peer, now);
        keep.attend(peer, now);
        keep.add(kept.clone(), true, now);
        keep.disconnected(&peer, now);
        assert_eq!(keep.due(keep.deadline().unwrap(), 9), [kept]);
    }

    #[test]
    fn the_peer_behind_a_bare_address_is_learnt() {
        let (now, peer, other) = (Instant::now(), PeerId::random(), PeerId::random());
        let bare: Multiaddr = "/ip4/127.0.0.1/tcp/2".parse().unwrap();
        let mut keep = Keep::new(1);
        keep.add(bare.clone(), false, now);
        // Another one answers the second time: the old entry waited for the first for ever.
        for peer in [peer, other] {
            assert_eq!(keep.due(keep.deadline().unwrap(), 9), std::slice::from_ref(&bare));
            keep.connected(peer, Some(&bare), now);
            assert_eq!(keep.deadline(), None);
            keep.disconnected(&peer, now);
        }
        assert!(keep.deadline().is_some());
        keep.remove(&other);
        assert_eq!(keep.deadline(), None);
    }
}
