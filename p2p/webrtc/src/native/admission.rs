//! Admission of handshakes: limits in number and in rate, before any state is created.
//!
//! A first STUN message is free to forge, including its source address. So the cost of handshakes
//! is bounded in four ways: handshakes in progress, in total and per source, and a token bucket in
//! total and per source. A source's bucket also bounds what a forged address makes this node send
//! to the owner of that address: DTLS answers a ClientHello with a few times its size. A source is
//! an IPv4 address or an IPv6 /64.
//!
//! An attacker that forges many sources can keep new dialers out as long as the attack lasts, at a
//! cost within these limits. Existing connections are not affected: their datagrams do not pass
//! admission.

use super::config::Config;
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Sources in the table; further ones share one bucket until some are removed.
const SOURCES_MAX: usize = 4096;
/// Minimum interval between two searches of the table for removable sources.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The reason why a handshake is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too many handshakes are in progress.
    Pending,
    /// Too many handshakes from this source are in progress.
    PendingFromSource,
    /// This source starts handshakes too fast.
    Rate,
    /// All sources together start handshakes too fast.
    RateOfAll,
}

/// Counts handshakes for one transport.
pub struct Admission {
    config: Config,
    state: Mutex<State>,
}

struct State {
    pending: usize,
    all: Bucket,
    sources: HashMap<IpAddr, Source>,
    others: Source,
    swept: Instant,
}

struct Source {
    pending: usize,
    bucket: Bucket,
}

struct Bucket {
    tokens: f64,
    at: Instant,
    burst: f64,
    per_s: f64,
}

impl Bucket {
    fn new(burst: u32, per_s: u32, now: Instant) -> Self {
        Self { tokens: burst.into(), at: now, burst: burst.into(), per_s: per_s.into() }
    }

    /// Refills the bucket and returns whether it has a token.
    fn refill(&mut self, now: Instant) -> bool {
        let elapsed_s = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + elapsed_s * self.per_s).min(self.burst);
        self.at = now;
        self.tokens >= 1.0
    }

    fn is_full(&self) -> bool {
        self.tokens >= self.burst
    }
}

impl Source {
    fn new(config: &Config, now: Instant) -> Self {
        let bucket =
            Bucket::new(config.handshake_burst_per_source, config.handshakes_per_source_per_s, now);
        Self { pending: 0, bucket }
    }
}

/// A handshake in progress, counted until dropped.
pub struct Permit {
    admission: Arc<Admission>,
    source: IpAddr,
}

impl Admission {
    pub fn new(config: &Config, now: Instant) -> Arc<Self> {
        let others = Source::new(config, now);
        let all = Bucket::new(config.handshake_burst, config.handshakes_per_s, now);
        let state = State { pending: 0, all, sources: HashMap::new(), others, swept: now };
        Arc::new(Self { config: config.clone(), state: Mutex::new(state) })
    }

    /// Admits a handshake, or returns the reason of the refusal.
    pub fn admit(self: &Arc<Self>, source: IpAddr, now: Instant) -> Result<Permit, Refused> {
        let source = key(source);
        let state = &mut *self.state();
        if state.pending >= self.config.max_pending {
            return Err(Refused::Pending);
        }
        if !state.all.refill(now) {
            return Err(Refused::RateOfAll);
        }
        let entry = self.entry(state, source, now);
        if entry.pending >= self.config.max_pending_per_source {
            return Err(Refused::PendingFromSource);
        }
        if !entry.bucket.refill(now) {
            return Err(Refused::Rate);
        }
        entry.bucket.tokens -= 1.0;
        entry.pending += 1;
        state.all.tokens -= 1.0;
        state.pending += 1;
        Ok(Permit { admission: self.clone(), source })
    }

    fn entry<'a>(&self, state: &'a mut State, source: IpAddr, now: Instant) -> &'a mut Source {
        let full = state.sources.len() >= SOURCES_MAX && !state.sources.contains_key(&source);
        if full && now.saturating_duration_since(state.swept) >= SWEEP_INTERVAL {
            state.swept = now;
            state.sources.retain(|_, s| {
                s.bucket.refill(now);
                s.pending > 0 || !s.bucket.is_full()
            });
        }
        if state.sources.len() >= SOURCES_MAX && !state.sources.contains_key(&source) {
            return &mut state.others;
        }
        state.sources.entry(source).or_insert_with(|| Source::new(&self.config, now))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let state = &mut *self.admission.state();
        state.pending = state.pending.saturating_sub(1);
        let source = state.sources.get_mut(&self.source).unwrap_or(&mut state.others);
        source.pending = source.pending.saturating_sub(1);
    }
}

/// The key of a source: the holder of an IPv6 address holds its whole /64.
fn key(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission() -> (Arc<Admission>, Instant) {
        let config = Config {
            max_pending: 5,
            max_pending_per_source: 3,
            handshake_burst_per_source: 4,
            handshakes_per_source_per_s: 2,
            handshake_burst: 6,
            handshakes_per_s: 4,
            ..Config::default()
        };
        let now = Instant::now();
        (Admission::new(&config, now), now)
    }

    fn ip(n: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(n).into()
    }

    #[test]
    fn pending_handshakes_are_bounded_per_source_and_over_all() {
        let (a, now) = admission();
        let mut permits: Vec<_> = (0..3).map(|_| a.admit(ip(1), now).unwrap()).collect();
        assert_eq!(a.admit(ip(1), now).err(), Some(Refused::PendingFromSource));
        permits.extend((0..2).map(|_| a.admit(ip(2), now).unwrap()));
        assert_eq!(a.admit(ip(3), now).err(), Some(Refused::Pending));
        permits.clear();
        assert!(a.admit(ip(3), now).is_ok());
    }

    #[test]
    fn a_source_that_starts_too_fast_must_wait() {
        let (a, now) = admission();
        for _ in 0..4 {
            drop(a.admit(ip(1), now).unwrap());
        }
        assert_eq!(a.admit(ip(1), now).err(), Some(Refused::Rate));
        assert!(a.admit(ip(2), now).is_ok(), "other connections may not");
        let later = now + Duration::from_millis(600);
        assert!(a.admit(ip(1), later).is_ok());
        assert_eq!(a.admit(ip(1), later).err(), Some(Refused::Rate));
    }

    #[test]
    fn the_total_rate_of_all_sources_is_limited() {
        let (a, now) = admission();
        for n in 0..6 {
            drop(a.admit(ip(n), now).unwrap());
        }
        assert_eq!(a.admit(ip(9), now).err(), Some(Refused::RateOfAll));
        let later = now + Duration::from_millis(300);
        assert!(a.admit(ip(9), later).is_ok());
        assert_eq!(a.admit(ip(10), later).err(), Some(Refused::RateOfAll));
    }

    #[test]
    fn forged_sources_do_not_grow_the_table() {
        let config = Config { handshake_burst: u32::MAX, ..Config::default() };
        let now = Instant::now();
        let a = Admission::new(&config, now);
        for n in 0..3 * SOURCES_MAX as u32 {
            let _ = a.admit(ip(n), now);
        }
        assert!(a.state().sources.len() <= SOURCES_MAX);
        assert_eq!(a.state().pending, 0);
        // Once they are idle again, they are removed, and a new source gets an entry of its own.
        let later = now + Duration::from_secs(60);
        assert!(a.admit(ip(u32::MAX), later).is_ok());
        assert!(a.state().sources.len() < 10);
    }

    #[test]
    fn an_ipv6_network_is_one_source() {
        let parse = |s: &str| s.parse::<IpAddr>().unwrap();
        assert_eq!(key(parse("2001:db8::1")), key(parse("2001:db8::ffff:1:2:3")));
        assert_ne!(key(parse("2001:db8::1")), key(parse("2001:db8:0:1::1")));
        assert_eq!(key(parse("::ffff:10.0.0.1")), parse("10.0.0.1"));
    }
}
