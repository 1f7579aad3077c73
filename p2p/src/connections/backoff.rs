//! Exponential backoff with jitter, so that peers that lost the same neighbour do not all reconnect
//! at once.

use std::time::Duration;

use web_time::Instant;

const FIRST: Duration = Duration::from_millis(500);
const MAX: Duration = Duration::from_secs(30);
/// Minimum interval between two backoff resets.
const BACKOFF_RESET_INTERVAL: Duration = Duration::from_secs(60);

/// A deterministic source of jitter (splitmix64): the same node draws the same values in a replay.
#[derive(Clone, Debug)]
pub struct Backoff(u64);

impl Backoff {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the pause before attempt `attempt` (from 0). Half of it is fixed, half is random.
    pub fn pause(&mut self, attempt: u32) -> Duration {
        let full = FIRST.saturating_mul(1 << attempt.min(16)).min(MAX);
        full.mul_f64(0.5 + 0.5 * self.fraction())
    }

    fn fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Limits how often a backoff is reset, so that a relay that reconnects all the time does not
/// disable it. Holds the time of the last reset.
#[derive(Debug, Default)]
pub struct BackoffReset(Option<Instant>);

impl BackoffReset {
    /// Returns whether a reset is allowed now, and if so records it.
    pub fn try_reset(&mut self, now: Instant) -> bool {
        let may =
            self.0.is_none_or(|last| now.saturating_duration_since(last) >= BACKOFF_RESET_INTERVAL);
        if may {
            self.0 = Some(now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_with_bounded_jitter() {
        let mut backoff = Backoff::new(7);
        for attempt in 0..100 {
            let full = FIRST.saturating_mul(1 << attempt.min(16)).min(MAX);
            let pause = backoff.pause(attempt);
            assert!(pause >= full / 2 && pause <= full, "attempt {attempt}: {pause:?} of {full:?}");
        }
    }
}
