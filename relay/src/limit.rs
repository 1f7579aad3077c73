//! The rate of requests per client: an IPv4 address or an IPv6 /64.

use governor::{Quota, RateLimiter, clock::Clock, state::keyed::DashMapStateStore};
use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::{Arc, Weak},
    time::Duration,
};

/// How often clients that are at rest are forgotten.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);
/// Clients remembered; beyond that, newcomers wait for the next sweep.
const CLIENTS_MAX: usize = 100_000;
/// Requests at once, in seconds of the long-run rate.
const BURST_S: u32 = 5;

type Inner = RateLimiter<IpAddr, DashMapStateStore<IpAddr>, governor::clock::DefaultClock>;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Limiter(Arc<Inner>);

impl Limiter {
    /// Starts the task that forgets; it ends with the last clone. Needs a tokio runtime.
    pub fn start(requests_per_s: u32) -> Self {
        let rate = NonZeroU32::new(requests_per_s).unwrap_or(NonZeroU32::MIN);
        let burst = rate.saturating_mul(NonZeroU32::new(BURST_S).unwrap_or(NonZeroU32::MIN));
        let inner = Arc::new(Inner::dashmap(Quota::per_second(rate).allow_burst(burst)));
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

    /// Lets one request pass, or says how long to wait.
    pub fn check(&self, client: IpAddr) -> Result<(), Duration> {
        if self.0.len() > CLIENTS_MAX {
            return Err(SWEEP_INTERVAL);
        }
        self.0
            .check_key(&client_key(client))
            .map_err(|until| until.wait_time_from(self.0.clock().now()))
    }
}

/// What counts as one client: whoever has an IPv6 address has its whole /64.
pub fn client_key(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_client_does_not_use_up_anothers_rate() {
        let limiter = Limiter::start(2);
        let [a, b]: [IpAddr; 2] = ["10.0.0.1", "10.0.0.2"].map(|s| s.parse().unwrap());
        assert_eq!((0..100).filter(|_| limiter.check(a).is_ok()).count(), 10);
        assert!(limiter.check(a).unwrap_err() <= Duration::from_millis(500));
        assert!(limiter.check(b).is_ok());
    }
}
