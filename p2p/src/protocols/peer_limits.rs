//! Request limits of one peer per protocol: a token bucket for requests and one for bytes, shared
//! by all its connections.
//!
//! Requests of a peer above its rate are delayed first, then refused, each refusal with a strike.
//! Too many strikes disconnect the peer. Buckets outlive the connection, so that reconnecting gains
//! nothing.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use web_time::Instant;

use crate::{
    budget::{Budget, Permit},
    protocol::{NotificationProtocol, Protocol, Rate, Rates},
};

/// Strikes forgotten per second.
const STRIKE_DECAY_PER_S: f64 = 0.5;
/// Bytes of queued responses to one slow peer.
const RESPONSE_BYTES_MAX: usize = 32 * 1024 * 1024;
const RESPONSES_MAX: usize = 512;

const MIB: usize = 1024 * 1024;

impl NotificationProtocol {
    /// Messages and bytes of one peer that the application has not yet taken; beyond them reading
    /// from the peer pauses.
    const fn unread_max_per_peer(self) -> (usize, usize) {
        match self {
            NotificationProtocol::Consensus => (256, 3 * MIB),
            NotificationProtocol::Mempool => (64, MIB),
        }
    }
}

/// The decision on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateDecision {
    /// Read it.
    Allow,
    /// Read it after this long.
    Delay(Duration),
    /// Respond that the peer exceeds its rate.
    Reject,
    /// Close the peer's connections.
    Disconnect,
}

/// The buckets of one peer.
#[derive(Debug)]
pub struct PeerLimits {
    rates: Arc<Rates>,
    state: Mutex<State>,
    responses: Arc<Budget>,
    /// Budgets of notifications that the application has not yet taken.
    unread_notifications: [Arc<Budget>; NotificationProtocol::COUNT],
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
        let unread_notifications = NotificationProtocol::ALL.map(|channel| {
            let (items, bytes) = channel.unread_max_per_peer();
            Budget::new(items, bytes)
        });
        Arc::new(Self { rates, state, responses, unread_notifications })
    }

    /// The budget of the peer's notifications that were read and not yet taken.
    pub fn unread_notifications(&self, channel: NotificationProtocol) -> &Arc<Budget> {
        &self.unread_notifications[channel.index()]
    }

    /// Decides on a new request.
    pub fn admit(&self, protocol: Protocol, now: Instant) -> RateDecision {
        let rate = self.rates.of(protocol);
        self.with_state(now, |state| {
            let bucket = &mut state.buckets[protocol.index()];
            let wait_s = ((1.0 - bucket.requests) / rate.requests_per_s)
                .max(-bucket.bytes / rate.bytes_per_s)
                .max(0.0);
            if wait_s > self.rates.delay_max.as_secs_f64() {
                state.strikes += 1.0;
                return if state.strikes > f64::from(self.rates.strikes_max) {
                    RateDecision::Disconnect
                } else {
                    RateDecision::Reject
                };
            }
            // The token is taken in advance even if the request is delayed: later requests queue up
            // behind it.
            bucket.requests -= 1.0;
            if wait_s > 0.0 {
                RateDecision::Delay(Duration::from_secs_f64(wait_s))
            } else {
                RateDecision::Allow
            }
        })
    }

    /// Charges bytes that were moved for the peer. The balance may become negative; then the next
    /// request waits.
    pub fn charge(&self, protocol: Protocol, bytes: usize, now: Instant) {
        self.with_state(now, |state| state.buckets[protocol.index()].bytes -= bytes as f64);
    }

    /// Adds a strike for behaviour that no correct peer shows. Returns `true` if the strikes exceed
    /// the limit.
    pub fn strike(&self, now: Instant) -> bool {
        self.with_state(now, |state| {
            state.strikes += 1.0;
            state.strikes > f64::from(self.rates.strikes_max)
        })
    }

    /// Reserves memory for a queued response.
    pub fn reserve_response(&self, bytes: usize) -> Option<Permit> {
        self.responses.try_acquire(bytes)
    }

    /// Whether the peer's state equals the initial one, so that it can be dropped.
    pub fn is_replenished(&self, now: Instant) -> bool {
        let rates = self.rates.clone();
        self.with_state(now, |state| {
            let full = |(p, b): (&Protocol, &Bucket)| {
                b.requests >= rates.of(*p).requests_burst && b.bytes >= rates.of(*p).bytes_burst
            };
            state.strikes <= 0.0 && Protocol::ALL.iter().zip(&state.buckets).all(full)
        })
    }

    fn with_state<T>(&self, now: Instant, f: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed_s = now.saturating_duration_since(state.at).as_secs_f64();
        state.at = now.max(state.at);
        state.strikes = (state.strikes - elapsed_s * STRIKE_DECAY_PER_S).max(0.0);
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
    fn after_the_burst_requests_wait_then_are_refused_then_the_peer_is_disconnected() {
        let now = Instant::now();
        let limits = limits(now);
        let verdicts: Vec<_> = (0..8).map(|_| limits.admit(Protocol::Light, now)).collect();
        let wait = |ms| RateDecision::Delay(Duration::from_millis(ms));
        use RateDecision::{Allow, Disconnect, Reject};
        assert_eq!(
            verdicts,
            [Allow, Allow, Allow, wait(500), wait(1000), Reject, Reject, Disconnect]
        );
        assert_eq!(limits.admit(Protocol::Work, now), Allow, "protocols have buckets of their own");
    }

    #[test]
    fn excess_bytes_delay_later_requests_until_the_bucket_refills() {
        let now = Instant::now();
        let limits = limits(now);
        limits.charge(Protocol::Light, 25, now);
        assert_eq!(
            limits.admit(Protocol::Light, now),
            RateDecision::Delay(Duration::from_millis(500))
        );
        assert!(!limits.is_replenished(now));
        let later = now + Duration::from_secs(60);
        assert_eq!(limits.admit(Protocol::Light, later), RateDecision::Allow);
        assert!(limits.is_replenished(later + Duration::from_secs(60)));
    }
}
