//! Limits of signalling: one exchange per peer and direction, a few in total, and a low rate per
//! peer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use libp2p::PeerId;
use web_time::Instant;

/// Exchanges in progress, both directions together.
pub const ALL_MAX: usize = 8;
/// Burst of exchanges of one peer and direction after a pause, and the time until one more is
/// granted.
const BURST: f64 = 4.0;
const REFILL: Duration = Duration::from_secs(10);
/// Peers in the rate table; beyond that new peers are refused until the bucket of one is full
/// again.
const REMEMBERED_MAX: usize = 256;

/// The side that starts an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The remote starts it.
    Incoming,
    /// This node starts it.
    Outgoing,
}

/// The reason why no slot is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// An exchange in this direction is in progress already.
    #[error("signalling with this peer is already in progress")]
    Busy,
    /// [`ALL_MAX`] exchanges are in progress.
    #[error("{ALL_MAX} other peers are being signalled with; try again")]
    Full,
    /// The peer, or this node, started too many exchanges.
    #[error("too many signalling attempts with this peer; try again in a few seconds")]
    Rate,
}

/// The signalling slots of one node.
#[derive(Clone, Debug, Default)]
pub struct Slots(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    held: Vec<(PeerId, Direction)>,
    buckets: HashMap<(PeerId, Direction), Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn tokens(&self, now: Instant) -> f64 {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() / REFILL.as_secs_f64();
        (self.tokens + gained).min(BURST)
    }
}

/// A slot, released when dropped.
#[derive(Debug)]
pub struct Slot {
    slots: Slots,
    key: (PeerId, Direction),
}

impl Slots {
    /// Takes a slot.
    pub fn take(&self, peer: PeerId, direction: Direction, now: Instant) -> Result<Slot, Refused> {
        let key = (peer, direction);
        let mut state = self.state();
        if state.held.contains(&key) {
            return Err(Refused::Busy);
        }
        if state.held.len() >= ALL_MAX {
            return Err(Refused::Full);
        }
        if !state.buckets.contains_key(&key) && state.buckets.len() >= REMEMBERED_MAX {
            state.buckets.retain(|_, bucket| bucket.tokens(now) < BURST);
            if state.buckets.len() >= REMEMBERED_MAX {
                return Err(Refused::Full);
            }
        }
        let bucket = state.buckets.entry(key).or_insert(Bucket { tokens: BURST, at: now });
        let tokens = bucket.tokens(now);
        if tokens < 1.0 {
            return Err(Refused::Rate);
        }
        *bucket = Bucket { tokens: tokens - 1.0, at: now };
        state.held.push(key);
        Ok(Slot { slots: self.clone(), key })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.slots.state();
        if let Some(position) = state.held.iter().position(|held| *held == self.key) {
            state.held.swap_remove(position);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Direction::{Incoming, Outgoing},
        *,
    };

    #[test]
    fn one_exchange_per_peer_and_direction_and_eight_in_total() {
        let (slots, now, peer) = (Slots::default(), Instant::now(), PeerId::random());
        let first = slots.take(peer, Incoming, now).unwrap();
        assert_eq!(slots.take(peer, Incoming, now).unwrap_err(), Refused::Busy);
        let mut held = vec![slots.take(peer, Outgoing, now).unwrap()];
        held.extend((2..ALL_MAX).map(|_| slots.take(PeerId::random(), Incoming, now).unwrap()));
        assert_eq!(slots.take(PeerId::random(), Outgoing, now).unwrap_err(), Refused::Full);
        drop(first);
        assert!(slots.take(PeerId::random(), Outgoing, now).is_ok());
    }

    #[test]
    fn a_peer_that_starts_too_often_must_wait() {
        let (slots, now, peer) = (Slots::default(), Instant::now(), PeerId::random());
        for _ in 0..BURST as usize {
            drop(slots.take(peer, Incoming, now).unwrap());
        }
        assert_eq!(slots.take(peer, Incoming, now).unwrap_err(), Refused::Rate);
        assert!(slots.take(peer, Outgoing, now).is_ok(), "the peer's behaviour costs nothing");
        assert!(slots.take(PeerId::random(), Incoming, now).is_ok(), "nor others");
        assert!(slots.take(peer, Incoming, now + REFILL).is_ok());
        assert_eq!(slots.take(peer, Incoming, now + REFILL).unwrap_err(), Refused::Rate);
    }

    #[test]
    fn unknown_peers_cannot_fill_the_table() {
        let (slots, now) = (Slots::default(), Instant::now());
        for _ in 0..REMEMBERED_MAX {
            drop(slots.take(PeerId::random(), Incoming, now).unwrap());
        }
        assert_eq!(slots.take(PeerId::random(), Incoming, now).unwrap_err(), Refused::Full);
        assert!(
            slots.take(PeerId::random(), Incoming, now + REFILL).is_ok(),
            "idle entries are dropped"
        );
        assert_eq!(slots.state().buckets.len(), 1);
    }
}
