//! The names of connections that have ended: a USERNAME makes one connection, and no second one.
//!
//! A dialer that has not noticed the end yet, because the network was cut or this node was
//! restarted meanwhile, goes on with its consent checks. Whoever answers them keeps it from
//! noticing at all: it would wait for minutes on a connection that nobody else has. An honest
//! dialer makes a new name for each attempt.
//!
//! A name is forgotten once it has not been heard for [`MEMORY`]; the table is bounded by
//! [`NAMES_MAX`].

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};

/// Longer than a dialer of any kind checks in vain: ICE's consent ends after 30 s (RFC 7675).
const MEMORY: Duration = Duration::from_secs(60);
/// Names remembered. Admission lets in 128 handshakes a second: a flood of them is remembered for
/// half a minute.
const NAMES_MAX: usize = 4096;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The dialer began no DTLS. It may have been too busy, so its name gets one more chance.
    HalfOpen,
    /// Anything later.
    Final,
}

/// See the module's documentation.
#[derive(Default)]
pub struct Ended {
    hasher: RandomState,
    names: HashMap<u64, (End, Instant)>,
}

impl Ended {
    /// The connection of this name is no more.
    pub fn insert(&mut self, user: &str, end: End, now: Instant) {
        let key = self.hasher.hash_one(user);
        if self.names.len() >= NAMES_MAX && !self.names.contains_key(&key) {
            self.names.retain(|_, (_, heard)| now.saturating_duration_since(*heard) < MEMORY);
            if self.names.len() >= NAMES_MAX
                && let Some(oldest) =
                    self.names.iter().min_by_key(|(_, (_, heard))| *heard).map(|(key, _)| *key)
            {
                self.names.remove(&oldest);
            }
        }
        let is_first = !self.names.contains_key(&key);
        let end = if is_first { end } else { End::Final };
        self.names.insert(key, (end, now));
    }

    /// Whether a request of this name must make no connection.
    pub fn refuses(&mut self, user: &str, now: Instant) -> bool {
        let key = self.hasher.hash_one(user);
        match self.names.get_mut(&key) {
            Some((_, heard)) if now.saturating_duration_since(*heard) >= MEMORY => {
                self.names.remove(&key);
                false
            }
            Some((end, heard)) => {
                *heard = now;
                *end == End::Final
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_refused_for_as_long_as_it_asks() {
        let (mut ended, mut now) = (Ended::default(), Instant::now());
        assert!(!ended.refuses("a", now));
        ended.insert("a", End::Final, now);
        for _ in 0..10 {
            now += MEMORY / 2;
            assert!(ended.refuses("a", now) && !ended.refuses("b", now));
        }
        assert!(!ended.refuses("a", now + MEMORY), "forgotten");
        assert!(ended.names.is_empty());
    }

    #[test]
    fn who_began_nothing_has_a_second_chance() {
        let (mut ended, now) = (Ended::default(), Instant::now());
        ended.insert("a", End::HalfOpen, now);
        assert!(!ended.refuses("a", now));
        ended.insert("a", End::HalfOpen, now);
        assert!(ended.refuses("a", now));
    }

    #[test]
    fn the_table_is_bounded() {
        let (mut ended, now) = (Ended::default(), Instant::now());
        for n in 0..2 * NAMES_MAX as u64 {
            ended.insert(&n.to_string(), End::Final, now + Duration::from_millis(n));
        }
        assert_eq!(ended.names.len(), NAMES_MAX);
        assert!(
            !ended.refuses("0", now) && ended.refuses(&(2 * NAMES_MAX as u64 - 1).to_string(), now)
        );
    }
}
