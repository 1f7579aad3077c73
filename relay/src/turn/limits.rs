//! Limits for clients of the TURN server, and the accounting of their use.

use std::time::{Duration, Instant};

/// Limits on the resources for which the operator pays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnLimits {
    /// Concurrent allocations.
    pub allocations: usize,
    /// Concurrent allocations of one client address (an IPv4 address or an IPv6 /64).
    pub allocations_per_ip: usize,
    /// Concurrent allocations of one credential.
    pub allocations_per_credential: usize,
    /// Payload bytes that one allocation may carry, in both directions together; then it ends.
    pub allocation_bytes: u64,
    /// Payload bytes a second of one client address, in both directions together; the excess is
    /// dropped.
    pub bytes_per_s_per_ip: u64,
    /// Payload bytes a second of all clients together.
    pub bytes_per_s: u64,
    /// Lifetime of an allocation unless the client refreshes it.
    pub lifetime: Duration,
}

impl Default for TurnLimits {
    fn default() -> Self {
        Self {
            allocations: 512,
            allocations_per_ip: 32,
            allocations_per_credential: 16,
            allocation_bytes: 2 * 1024 * 1024 * 1024,
            bytes_per_s_per_ip: 8 * 1024 * 1024,
            bytes_per_s: 32 * 1024 * 1024,
            lifetime: Duration::from_secs(10 * 60),
        }
    }
}

/// A token bucket with the capacity of one second.
#[derive(Clone, Debug)]
pub struct Bucket {
    per_s: u64,
    left: u64,
    at: Instant,
}

impl Bucket {
    pub fn full(per_s: u64, now: Instant) -> Self {
        Self { per_s, left: per_s, at: now }
    }

    /// Refills the bucket, and returns whether it holds this many bytes.
    pub fn has(&mut self, bytes: u64, now: Instant) -> bool {
        let us =
            u64::try_from(now.saturating_duration_since(self.at).as_micros()).unwrap_or(u64::MAX);
        let refill = us.min(1_000_000).saturating_mul(self.per_s) / 1_000_000;
        // A fraction of a byte stays in the time, so that a slow bucket fills too.
        if refill > 0 {
            self.left = self.left.saturating_add(refill).min(self.per_s);
            self.at = now;
        }
        self.left >= bytes
    }

    pub fn take(&mut self, bytes: u64) {
        self.left = self.left.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_allows_its_rate_and_a_burst_of_one_second() {
        let start = Instant::now();
        let mut bucket = Bucket::full(1000, start);
        assert!(bucket.has(1000, start));
        bucket.take(1000);
        assert!(!bucket.has(1, start));
        assert!(bucket.has(100, start + Duration::from_millis(100)));
        assert!(!bucket.has(101, start + Duration::from_millis(100)));
        assert!(bucket.has(1000, start + Duration::from_secs(60)));
        assert!(!bucket.has(1001, start + Duration::from_secs(60)));
    }
}
