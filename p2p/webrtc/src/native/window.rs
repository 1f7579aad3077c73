//! How much to hand to SCTP before it is acknowledged.
//!
//! str0m's SCTP grows its congestion window until packets are lost, and recovers from some
//! losses only by a timeout of a second. A browser's UDP socket holds some 90 packets, so on a
//! fast path that happens all the time. We therefore keep about twice the bandwidth-delay
//! product in flight, measured as BBR does (draft-ietf-ccwg-bbr): highest recent delivery rate,
//! lowest recent delay.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The least that may be in flight: room to measure a higher rate.
const MIN: usize = 64 * 1024;
const RATE_MEMORY: Duration = Duration::from_secs(2);
const DELAY_MEMORY: Duration = Duration::from_secs(10);

/// Bytes in flight that the path has shown it can carry.
pub struct SendWindow {
    limit: usize,
    max: usize,
    delay: Option<(Instant, Duration)>,
    rates: VecDeque<(Instant, f64)>,
    probe: Option<Probe>,
}

/// Ends when everything written before its start is acknowledged.
struct Probe {
    start: Instant,
    written: u64,
    acked: u64,
}

impl SendWindow {
    /// At most `max` bytes, and at first the least.
    pub fn new(max: usize) -> Self {
        Self { limit: MIN.min(max), max, delay: None, rates: VecDeque::new(), probe: None }
    }

    /// Bytes that may be written and unacknowledged.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// `written` and `acked` count bytes since the connection began.
    pub fn update(&mut self, now: Instant, written: u64, acked: u64) {
        if let Some(p) = self.probe.take_if(|p| acked >= p.written) {
            let delay = (now - p.start).max(Duration::from_micros(200));
            self.rates.retain(|(at, _)| now - *at < RATE_MEMORY);
            self.rates.push_back((now, (acked - p.acked) as f64 / delay.as_secs_f64()));
            let (at, least) = match self.delay {
                Some((at, least)) if delay > least && now - at < DELAY_MEMORY => (at, least),
                _ => (now, delay),
            };
            self.delay = Some((at, least));
            let rate = self.rates.iter().map(|(_, r)| *r).fold(0.0, f64::max);
            self.limit = ((2.0 * rate * least.as_secs_f64()) as usize).clamp(MIN.min(self.max), self.max);
        }
        if self.probe.is_none() && written > acked {
            self.probe = Some(Probe { start: now, written, acked });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path of 10 MB/s and 50 ms: 500 kB in flight fill it.
    #[test]
    fn finds_the_bandwidth_delay_product() {
        let mut w = SendWindow::new(4 << 20);
        let start = Instant::now();
        let (mut written, mut acked, mut line) = (0u64, 0u64, VecDeque::new());
        let mut busy_until = 0.0f64;
        for ms in 0..3000 {
            let now = ms as f64 / 1e3;
            while line.front().is_some_and(|(at, _)| *at <= now) {
                acked += line.pop_front().map_or(0, |(_, n): (f64, u64)| n);
            }
            w.update(start + Duration::from_millis(ms), written, acked);
            while written - acked + 1000 <= w.limit() as u64 {
                written += 1000;
                busy_until = busy_until.max(now) + 1000.0 / 10e6;
                line.push_back((busy_until + 0.05, 1000));
            }
        }
        assert!((500_000..1_500_000).contains(&w.limit()), "{}", w.limit());
        assert!(acked > 20_000_000, "{acked}");
    }
}
