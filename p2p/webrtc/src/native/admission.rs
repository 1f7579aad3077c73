//! Who may start a handshake: limits in number and in rate, before any state is made.
//!
//! A first STUN message is free to forge, its source address too. So what a handshake costs us is
//! bounded three ways: handshakes in progress over all, per source, and a token bucket per
//! source. The last one also bounds what a forged source makes us send to its owner: DTLS
//! answers a ClientHello with a few times its size. A source is an IPv4 address or an IPv6 /64.

use super::Config;
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Sources remembered; those beyond share one bucket until some are forgotten.
const SOURCES_MAX: usize = 4096;
/// How often at most the table is searched for sources that can be forgotten.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Why a handshake is not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too many handshakes in progress.
    Pending,
    /// Too many of them from this source.
    PendingFromSource,
    /// This source starts them too fast.
    Rate,
}

/// Counts handshakes for one transport.
pub struct Admission {
    config: Config,
    state: Mutex<State>,
}

struct State {
    pending: usize,
    sources: HashMap<IpAddr, Source>,
    others: Source,
    swept: Instant,
}

struct Source {
    pending: usize,
    tokens: f64,
    at: Instant,
}

/// A handshake in progress, counted until dropped.
pub struct Permit {
    admission: Arc<Admission>,
    source: IpAddr,
}

impl Admission {
    pub fn new(config: &Config, now: Instant) -> Arc<Self> {
        let others = Source { pending: 0, tokens: f64::from(config.handshake_burst_per_source), at: now };
        let state = State { pending: 0, sources: HashMap::new(), others, swept: now };
        Arc::new(Self { config: config.clone(), state: Mutex::new(state) })
    }

    /// Lets one handshake in, or says why not.
    pub fn admit(self: &Arc<Self>, source: IpAddr, now: Instant) -> Result<Permit, Refused> {
        let source = key(source);
        let state = &mut *self.state();
        if state.pending >= self.config.max_pending {
            return Err(Refused::Pending);
        }
        let entry = self.entry(state, source, now);
        if entry.pending >= self.config.max_pending_per_source {
            return Err(Refused::PendingFromSource);
        }
        self.refill(entry, now);
        if entry.tokens < 1.0 {
            return Err(Refused::Rate);
        }
        entry.tokens -= 1.0;
        entry.pending += 1;
        state.pending += 1;
        Ok(Permit { admission: self.clone(), source })
    }

    fn entry<'a>(&self, state: &'a mut State, source: IpAddr, now: Instant) -> &'a mut Source {
        let full = state.sources.len() >= SOURCES_MAX && !state.sources.contains_key(&source);
        if full && now.saturating_duration_since(state.swept) >= SWEEP_INTERVAL {
            state.swept = now;
            state.sources.retain(|_, s| {
                self.refill(s, now);
                s.pending > 0 || s.tokens < self.burst()
            });
        }
        if state.sources.len() >= SOURCES_MAX && !state.sources.contains_key(&source) {
            return &mut state.others;
        }
        state.sources.entry(source).or_insert(Source { pending: 0, tokens: self.burst(), at: now })
    }

    fn refill(&self, source: &mut Source, now: Instant) {
        let elapsed_s = now.saturating_duration_since(source.at).as_secs_f64();
        let new = elapsed_s * f64::from(self.config.handshakes_per_source_per_s);
        source.tokens = (source.tokens + new).min(self.burst());
        source.at = now;
    }

    fn burst(&self) -> f64 {
        f64::from(self.config.handshake_burst_per_source)
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

/// What counts as one source: whoever has an IPv6 address has its whole /64.
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
    fn a_source_that_hurries_waits() {
        let (a, now) = admission();
        for _ in 0..4 {
            drop(a.admit(ip(1), now).unwrap());
        }
        assert_eq!(a.admit(ip(1), now).err(), Some(Refused::Rate));
        assert!(a.admit(ip(2), now).is_ok(), "others do not");
        let later = now + Duration::from_millis(600);
        assert!(a.admit(ip(1), later).is_ok());
        assert_eq!(a.admit(ip(1), later).err(), Some(Refused::Rate));
    }

    #[test]
    fn forged_sources_do_not_grow_the_table() {
        let (a, now) = admission();
        for n in 0..3 * SOURCES_MAX as u32 {
            let _ = a.admit(ip(n), now);
        }
        assert!(a.state().sources.len() <= SOURCES_MAX);
        assert_eq!(a.state().pending, 0);
        // Once they are idle again, they are forgotten, and a newcomer gets a place of its own.
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
