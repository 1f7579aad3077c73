//! What one peer may ask per protocol: a token bucket for requests and one for bytes, shared by all
//! its connections.
//!
//! A peer above its rate is held back first; then its requests are refused, each refusal a strike;
//! too many strikes and it is cut off. Buckets outlive the connection, so that reconnecting gains
//! nothing.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use web_time::Instant;

use crate::{
    protocol::{Channel, Protocol, Rate, Rates},
    rpc::budget::{Budget, Permit},
};

/// Strikes forgotten per second.
const FORGIVENESS_PER_S: f64 = 0.5;
/// Response bytes that may wait in memory for one slow peer.
const RESPONSE_BYTES_MAX: usize = 32 * 1024 * 1024;
const RESPONSES_MAX: usize = 512;

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Read it.
    Go,
    /// Read it after this long.
    Wait(Duration),
    /// Answer that the peer is over its rate.
    Refuse,
    /// Close the peer's connections.
    CutOff,
}

/// The buckets of one peer.
#[derive(Debug)]
pub struct PeerLimits {
    rates: Arc<Rates>,
    state: Mutex<State>,
    responses: Arc<Budget>,
    /// One-way messages that the application has not yet taken.
    told: [Arc<Budget>; Channel::COUNT],
}

#[derive(Debug)]
struct State {
    buckets: [Bucket; Protocol::COUNT],
    strikes: f64,
    at: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    requests: f64,
    bytes: f64,
}

impl PeerLimits {
    pub fn new(rates: Arc<Rates>, now: Instant) -> Arc<Self> {
        let buckets = Protocol::ALL.map(|p| {
            let rate = rates.of(p);
            Bucket { requests: rate.requests_burst, bytes: rate.bytes_burst }
        });
        let state = Mutex::new(State { buckets, strikes: 0.0, at: now });
        let responses = Budget::new(RESPONSES_MAX, RESPONSE_BYTES_MAX);
        let told = Channel::ALL.map(|channel| {
            let (items, bytes) = channel.peer_max();
            Budget::new(items, bytes)
        });
        Arc::new(Self { rates, state, responses, told })
    }

    /// The memory for what the peer has said on a channel and nobody has taken yet.
    pub fn told(&self, channel: Channel) -> &Arc<Budget> {
        &self.told[channel.index()]
    }

    /// Judges a new request.
    pub fn admit(&self, protocol: Protocol, now: Instant) -> Verdict {
        let rate = self.rates.of(protocol);
        self.with(now, |state| {
            let bucket = &mut state.buckets[protocol.index()];
            let wait_s = ((1.0 - bucket.requests) / rate.requests_per_s)
                .max(-bucket.bytes / rate.bytes_per_s)
                .max(0.0);
            if wait_s > self.rates.delay_max.as_secs_f64() {
                state.strikes += 1.0;
                return if state.strikes > f64::from(self.rates.strikes_max) {
                    Verdict::CutOff
                } else {
                    Verdict::Refuse
                };
            }
            // Taken in advance also while waiting: later requests queue up behind this one.
            bucket.requests -= 1.0;
            if wait_s > 0.0 { Verdict::Wait(Duration::from_secs_f64(wait_s)) } else { Verdict::Go }
        })
    }

    /// Counts bytes that were moved for the peer. The balance may become negative: the next request
    /// waits.
    pub fn charge(&self, protocol: Protocol, bytes: usize, now: Instant) {
        self.with(now, |state| state.buckets[protocol.index()].bytes -= bytes as f64);
    }

    /// A strike for what a well-behaved peer never does; `true` if it was one too many.
    pub fn strike(&self, now: Instant) -> bool {
        self.with(now, |state| {
            state.strikes += 1.0;
            state.strikes > f64::from(self.rates.strikes_max)
        })
    }

    /// Room for a response that waits to be written.
    pub fn hold_response(&self, bytes: usize) -> Option<Permit> {
        self.responses.take(bytes)
    }

    /// Whether forgetting the peer would change nothing.
    pub fn is_rested(&self, now: Instant) -> bool {
        let rates = self.rates.clone();
        self.with(now, |state| {
            let full = |(p, b): (&Protocol, &Bucket)| {
                b.requests >= rates.of(*p).requests_burst && b.bytes >= rates.of(*p).bytes_burst
            };
            state.strikes <= 0.0 && Protocol::ALL.iter().zip(&state.buckets).all(full)
        })
    }

    fn with<T>(&self, now: Instant, f: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed_s = now.saturating_duration_since(state.at).as_secs_f64();
        state.at = now.max(state.at);
        state.strikes = (state.strikes - elapsed_s * FORGIVENESS_PER_S).max(0.0);
        for (protocol, bucket) in Protocol::ALL.iter().zip(&mut state.buckets) {
            bucket.refill(&self.rates.of(*protocol), elapsed_s);
        }
        f(&mut state)
    }
}

impl Bucket {
    fn refill(&mut self, rate: &Rate, elapsed_s: f64) {
        self.requests = (self.requests + elapsed_s * rate.requests_per_s).min(rate.requests_burst);
        self.bytes = (self.bytes + elapsed_s * rate.bytes_per_s).min(rate.bytes_burst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(now: Instant) -> Arc<PeerLimits> {
        let mut rates = Rates::default();
        rates.delay_max = Duration::from_secs(1);
        rates.strikes_max = 2;
        rates.set(
            Protocol::Light,
            Rate { requests_per_s: 2.0, requests_burst: 3.0, bytes_per_s: 10.0, bytes_burst: 20.0 },
        );
        PeerLimits::new(Arc::new(rates), now)
    }

    #[test]
    fn burst_then_waiting_then_refusal_then_the_end() {
        let now = Instant::now();
        let limits = limits(now);
        let verdicts: Vec<_> = (0..8).map(|_| limits.admit(Protocol::Light, now)).collect();
        let wait = |ms| Verdict::Wait(Duration::from_millis(ms));
        use Verdict::{CutOff, Go, Refuse};
        assert_eq!(verdicts, [Go, Go, Go, wait(500), wait(1000), Refuse, Refuse, CutOff]);
        assert_eq!(limits.admit(Protocol::Work, now), Go, "protocols have buckets of their own");
    }

    #[test]
    fn bytes_are_paid_for_later_and_time_heals() {
        let now = Instant::now();
        let limits = limits(now);
        limits.charge(Protocol::Light, 25, now);
        assert_eq!(limits.admit(Protocol::Light, now), Verdict::Wait(Duration::from_millis(500)));
        assert!(!limits.is_rested(now));
        let later = now + Duration::from_secs(60);
        assert_eq!(limits.admit(Protocol::Light, later), Verdict::Go);
        assert!(limits.is_rested(later + Duration::from_secs(60)));
    }
}
