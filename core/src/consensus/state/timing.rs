//! Timeouts. A failed view doubles the timeout of the next one. A final block resets it to the time
//! that block needed. All times are relative to this node's own clock.

use crate::ledger::Params;

/// Longest view timeout, milliseconds.
pub const VIEW_TIMEOUT_MS_MAX: u64 = 120_000;
const DOUBLINGS_MAX: u32 = 16;
/// Retransmission intervals grow up to 2^3 times the first.
const RESEND_DOUBLINGS_MAX: u32 = 3;

#[derive(Debug)]
pub(in crate::consensus) struct Timing {
    base_ms: u64,
    doublings: u32,
}

impl Timing {
    pub(in crate::consensus) fn new(params: &Params) -> Self {
        Self { base_ms: params.view_timeout_ms.max(2), doublings: 0 }
    }

    /// Timeout of a view, counted from its start, milliseconds.
    pub(in crate::consensus) fn view_timeout_ms(&self) -> u64 {
        shifted(self.base_ms, self.doublings).min(VIEW_TIMEOUT_MS_MAX.max(self.base_ms))
    }

    /// Delay before the n-th retransmission, milliseconds.
    pub(in crate::consensus) fn resend_ms(&self, resends: u32) -> u64 {
        shifted(self.base_ms / 2, resends.min(RESEND_DOUBLINGS_MAX))
    }

    /// Increases the timeout after failed views.
    pub(in crate::consensus) fn back_off(&mut self, views: u64) {
        let views = u32::try_from(views).unwrap_or(DOUBLINGS_MAX);
        self.doublings = self.doublings.saturating_add(views).min(DOUBLINGS_MAX);
    }

    /// Reduces the timeout after a block that became final `took_ms` after its view began.
    pub(in crate::consensus) fn recover(&mut self, took_ms: u64) {
        let needed = (0..DOUBLINGS_MAX).find(|d| shifted(self.base_ms, *d) / 2 >= took_ms);
        self.doublings = self.doublings.min(needed.unwrap_or(DOUBLINGS_MAX));
    }
}

fn shifted(ms: u64, doublings: u32) -> u64 {
    ms.saturating_mul(1 << doublings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backs_off_and_recovers_to_the_time_that_a_block_needs() {
        let mut timing = Timing { base_ms: 1000, doublings: 0 };
        assert_eq!(timing.view_timeout_ms(), 1000);
        timing.back_off(3);
        assert_eq!(timing.view_timeout_ms(), 8000);
        timing.recover(1900);
        assert_eq!(timing.view_timeout_ms(), 4000);
        timing.recover(9000);
        assert_eq!(timing.view_timeout_ms(), 4000);
        timing.recover(20);
        assert_eq!(timing.view_timeout_ms(), 1000);
        timing.back_off(u64::MAX);
        assert_eq!(timing.view_timeout_ms(), VIEW_TIMEOUT_MS_MAX);
        assert_eq!(
            (timing.resend_ms(0), timing.resend_ms(2), timing.resend_ms(99)),
            (500, 2000, 4000)
        );
    }
}
