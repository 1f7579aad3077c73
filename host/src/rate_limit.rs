//! A rate limit of requests per client ([`address_key`]: an IPv4 address or an IPv6 /64).

use governor::{Quota, RateLimiter, clock::Clock, state::keyed::DashMapStateStore};
use std::{
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, Weak},
    time::Duration,
};
use tequio_p2p::address_key;

/// How often idle clients are dropped from the table.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);
/// Most clients in the table; above that, requests wait for the next sweep.
const CLIENTS_MAX: usize = 100_000;

type Inner = RateLimiter<IpAddr, DashMapStateStore<IpAddr>, governor::clock::DefaultClock>;

/// A token bucket per client. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RateLimit(Arc<Inner>);

impl RateLimit {
    /// Allows `per_second` requests on average and bursts of `burst`. Starts the task that drops
    /// idle clients; the task ends with the last clone. Needs a tokio runtime.
    pub fn start(per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        let inner = Arc::new(Inner::dashmap(Quota::per_second(per_second).allow_burst(burst)));
        let weak: Weak<Inner> = Arc::downgrade(&inner);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP_INTERVAL).await;
                let Some(inner) = weak.upgrade() else { return };
                inner.retain_recent();
                inner.shrink_to_fit();
            }
        });
        Self(inner)
    }

    /// Counts one request of a client. The error is the time that the client has to wait.
    pub fn check(&self, client: IpAddr) -> Result<(), Duration> {
        if self.0.len() > CLIENTS_MAX {
            return Err(SWEEP_INTERVAL);
        }
        self.0
            .check_key(&address_key(client))
            .map_err(|until| until.wait_time_from(self.0.clock().now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_client_has_a_rate_of_its_own() {
        let [rate, burst] = [2, 10].map(|n| NonZeroU32::new(n).unwrap());
        let limit = RateLimit::start(rate, burst);
        let [a, b]: [IpAddr; 2] = ["10.0.0.1", "10.0.0.2"].map(|s| s.parse().unwrap());
        assert_eq!((0..100).filter(|_| limit.check(a).is_ok()).count(), 10);
        assert!(limit.check(a).unwrap_err() <= Duration::from_millis(500));
        assert!(limit.check(b).is_ok());
    }

    #[tokio::test]
    async fn a_client_does_not_multiply_its_rate_within_its_ipv6_prefix() {
        let limit = RateLimit::start(NonZeroU32::MIN, NonZeroU32::MIN);
        assert!(limit.check("2001:db8::1".parse().unwrap()).is_ok());
        assert!(limit.check("2001:db8::2".parse().unwrap()).is_err());
    }
}
