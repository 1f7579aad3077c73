//! The state of one persistent peer: its addresses, and the race or the pause that it is in.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};
use web_time::Instant;

use crate::{
    connections::{backoff::BackoffReset, happy_eyeballs::Race},
    path::is_circuit,
};

/// Pause before a direct dial to a peer that is connected through a relay; it doubles with each
/// failed race.
pub const UPGRADE_PAUSE: Duration = Duration::from_secs(1);
const UPGRADE_DOUBLINGS_MAX: u32 = 8;

#[derive(Debug)]
pub struct Entry {
    pub target: Option<PeerId>,
    /// False for a peer that is only tracked while it is connected, see
    /// [`track_upgrade`](super::PersistentPeers::track_upgrade).
    pub is_persistent: bool,
    pub addrs: Vec<Multiaddr>,
    /// Direct addresses that the peer advertises. They are dialled only to replace a circuit.
    pub advertised: Vec<Multiaddr>,
    /// Set while the peer is connected through a relay only.
    pub upgrade: Option<DirectUpgrade>,
    pub attempt: u32,
    pub backoff_reset: BackoffReset,
    pub state: State,
}

#[derive(Debug, PartialEq)]
pub enum State {
    Connected {
        since: Instant,
    },
    /// The next race starts at this time.
    Due(Instant),
    Racing(Race),
}

#[derive(Debug)]
pub struct DirectUpgrade {
    pub attempt: u32,
    pub state: UpgradeState,
}

#[derive(Debug)]
pub enum UpgradeState {
    Due(Instant),
    Racing(Race),
}

impl DirectUpgrade {
    pub fn pause(&mut self, now: Instant) {
        self.attempt = (self.attempt + 1).min(UPGRADE_DOUBLINGS_MAX);
        self.state = UpgradeState::Due(now + UPGRADE_PAUSE * (1 << self.attempt));
    }
}

impl Entry {
    pub fn new(
        target: Option<PeerId>,
        is_persistent: bool,
        addrs: Vec<Multiaddr>,
        state: State,
    ) -> Self {
        let (advertised, backoff_reset) = (Vec::new(), BackoffReset::default());
        Self {
            target,
            is_persistent,
            addrs,
            advertised,
            upgrade: None,
            attempt: 0,
            backoff_reset,
            state,
        }
    }

    pub fn direct(&self) -> impl Iterator<Item = &Multiaddr> {
        self.addrs.iter().filter(|addr| !is_circuit(addr)).chain(&self.advertised)
    }

    /// Starts the race that is due.
    pub fn start_due_race(&mut self, now: Instant) {
        match (&self.state, &self.upgrade) {
            (State::Due(at), _) if *at <= now => {
                self.state = State::Racing(Race::new(self.addrs.clone(), now))
            }
            (State::Connected { .. }, Some(DirectUpgrade { state: UpgradeState::Due(at), .. }))
                if *at <= now =>
            {
                let race = Race::new(self.direct().cloned(), now);
                if let Some(upgrade) = &mut self.upgrade {
                    upgrade.state = UpgradeState::Racing(race);
                }
            }
            _ => {}
        }
    }

    pub fn race(&mut self) -> Option<&mut Race> {
        match (&mut self.state, &mut self.upgrade) {
            (State::Racing(race), _) => Some(race),
            (
                State::Connected { .. },
                Some(DirectUpgrade { state: UpgradeState::Racing(race), .. }),
            ) => Some(race),
            _ => None,
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        match (&self.state, &self.upgrade) {
            (State::Due(at), _) => Some(*at),
            (State::Racing(race), _) => race.deadline(),
            (State::Connected { .. }, Some(upgrade)) => match &upgrade.state {
                UpgradeState::Due(at) => Some(*at),
                UpgradeState::Racing(race) => race.deadline(),
            },
            (State::Connected { .. }, None) => None,
        }
    }
}
