//! The ufrags of ended connections: a USERNAME creates one connection, and never a second one.
//!
//! A dialer may not have detected the end, because the network was cut or this node was restarted.
//! It then continues its consent checks. An answer to them would hide the end: the dialer would
//! wait for minutes on a connection that no longer exists on this side. An honest dialer creates a
//! new ufrag for each attempt.
//!
//! A ufrag is removed once it has not been used for [`RETENTION`]; the table is bounded by
//! [`UFRAGS_MAX`].

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};

/// Longer than any dialer continues unanswered checks: ICE's consent ends after 30 s (RFC 7675).
const RETENTION: Duration = Duration::from_secs(60);
/// Ufrags in the table. Admission lets in 128 handshakes a second, so in a flood the table covers
/// half a minute.
const UFRAGS_MAX: usize = 4096;

/// The state in which a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndState {
    /// The dialer began no DTLS. It may have been too busy, so its ufrag gets one more attempt.
    HalfOpen,
    /// Any later state.
    Final,
}

/// The table of retired ufrags, see the module's documentation.
#[derive(Default)]
pub struct RetiredUfrags {
    hasher: RandomState,
    ufrags: HashMap<u64, (EndState, Instant)>,
}

impl RetiredUfrags {
    /// Retires the ufrag of an ended connection.
    pub fn insert(&mut self, user: &str, end: EndState, now: Instant) {
        let key = self.hasher.hash_one(user);
        if self.ufrags.len() >= UFRAGS_MAX && !self.ufrags.contains_key(&key) {
            self.ufrags
                .retain(|_, (_, last_seen)| now.saturating_duration_since(*last_seen) < RETENTION);
            if self.ufrags.len() >= UFRAGS_MAX
                && let Some(oldest) = self
                    .ufrags
                    .iter()
                    .min_by_key(|(_, (_, last_seen))| *last_seen)
                    .map(|(key, _)| *key)
            {
                self.ufrags.remove(&oldest);
            }
        }
        let is_first = !self.ufrags.contains_key(&key);
        let end = if is_first { end } else { EndState::Final };
        self.ufrags.insert(key, (end, now));
    }

    /// Whether a request with this ufrag must not create a connection.
    pub fn is_retired(&mut self, user: &str, now: Instant) -> bool {
        let key = self.hasher.hash_one(user);
        match self.ufrags.get_mut(&key) {
            Some((_, last_seen)) if now.saturating_duration_since(*last_seen) >= RETENTION => {
                self.ufrags.remove(&key);
                false
            }
            Some((end, last_seen)) => {
                *last_seen = now;
                *end == EndState::Final
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retired_ufrag_is_refused_while_its_requests_continue() {
        let (mut retired, mut now) = (RetiredUfrags::default(), Instant::now());
        assert!(!retired.is_retired("a", now));
        retired.insert("a", EndState::Final, now);
        for _ in 0..10 {
            now += RETENTION / 2;
            assert!(retired.is_retired("a", now) && !retired.is_retired("b", now));
        }
        assert!(!retired.is_retired("a", now + RETENTION), "forgotten");
        assert!(retired.ufrags.is_empty());
    }

    #[test]
    fn a_half_open_ufrag_is_retired_only_the_second_time() {
        let (mut retired, now) = (RetiredUfrags::default(), Instant::now());
        retired.insert("a", EndState::HalfOpen, now);
        assert!(!retired.is_retired("a", now));
        retired.insert("a", EndState::HalfOpen, now);
        assert!(retired.is_retired("a", now));
    }

    #[test]
    fn the_table_is_bounded() {
        let (mut retired, now) = (RetiredUfrags::default(), Instant::now());
        for n in 0..2 * UFRAGS_MAX as u64 {
            retired.insert(&n.to_string(), EndState::Final, now + Duration::from_millis(n));
        }
        assert_eq!(retired.ufrags.len(), UFRAGS_MAX);
        assert!(
            !retired.is_retired("0", now)
                && retired.is_retired(&(2 * UFRAGS_MAX as u64 - 1).to_string(), now)
        );
    }
}
