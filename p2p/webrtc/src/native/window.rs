//! Controls how much unacknowledged data SCTP holds.
//!
//! str0m's SCTP grows its congestion window until packets are lost, and recovers from some losses
//! only by a timeout of a second. A browser's UDP socket holds some 90 packets, so on a fast path
//! that happens all the time. Therefore this module keeps about twice the bandwidth-delay product
//! in flight, measured as BBR does (draft-ietf-ccwg-bbr): highest recent delivery rate, lowest
//! recent delay.
//!
//! The data in flight is also paced over the delay, not sent at once. When a remote that has read
//! grants much credit, a burst would overflow the first short queue on the path, and str0m's SCTP
//! repairs only one packet per round trip.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Minimum in flight: room to measure a higher rate.
const MIN: usize = 64 * 1024;
/// Maximum burst: some 60 packets, fewer than common queues hold. This is enough for a fast path,
/// because each acknowledgement refills the tokens, not only the next tick of the timer.
const BURST: f64 = 64.0 * 1024.0;
const RATE_MEMORY: Duration = Duration::from_secs(2);
const DELAY_MEMORY: Duration = Duration::from_secs(10);

/// Limits the bytes in flight to the amount that the path has shown it can carry.
pub struct SendWindow {
    limit: usize,
    max: usize,
    delay: Option<(Instant, Duration)>,
    rates: VecDeque<(Instant, f64)>,
    probe: Option<Probe>,
    /// Bytes that may be sent now, as of `refilled`.
    tokens: f64,
    refilled: Option<Instant>,
}

/// Ends when everything written before its start is acknowledged.
struct Probe {
    start: Instant,
    written: u64,
    acked: u64,
}

impl SendWindow {
    /// Creates a window of at most `max` bytes, initially the minimum.
    pub fn new(max: usize) -> Self {
        Self {
            limit: MIN.min(max),
            max,
            delay: None,
            rates: VecDeque::new(),
            probe: None,
            tokens: BURST,
            refilled: None,
        }
    }

    /// Whether `len` more bytes may be sent while `in_flight` are unacknowledged.
    pub fn has_room(&self, in_flight: usize, len: usize) -> bool {
        in_flight + len <= self.limit && self.tokens > 0.0
    }

    /// Records that `len` bytes were sent.
    pub fn spend(&mut self, len: usize) {
        self.tokens -= len as f64;
    }

    /// The time until which only pacing blocks sending; `None` if there is another limit.
    pub fn paced_until(&self, in_flight: usize) -> Option<Instant> {
        let (refilled, rate) = (self.refilled?, self.pacing_rate()?);
        // Half a burst, so that not every frame has a timer of its own.
        let missing = (BURST / 2.0 - self.tokens) / rate;
        (self.tokens <= 0.0 && in_flight < self.limit)
            .then(|| refilled + Duration::from_secs_f64(missing.min(1.0)))
    }

    /// Bytes per second: the limit, spread over the delay.
    fn pacing_rate(&self) -> Option<f64> {
        let (_, least) = self.delay?;
        Some(self.limit as f64 / least.as_secs_f64())
    }

    fn refill(&mut self, now: Instant) {
        let since = self.refilled.replace(now).unwrap_or(now);
        // Before the first probe has ended the path is unknown, and a single burst must suffice.
        let Some(rate) = self.pacing_rate() else { return };
        self.tokens =
            (self.tokens + rate * now.saturating_duration_since(since).as_secs_f64()).min(BURST);
    }

    /// Updates the window. `written` and `acked` count bytes since the connection began.
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
            self.limit =
                ((2.0 * rate * least.as_secs_f64()) as usize).clamp(MIN.min(self.max), self.max);
        }
        self.refill(now);
        if self.probe.is_none() && written > acked {
            self.probe = Some(Probe { start: now, written, acked });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Simulates a path of 10 MB/s and 50 ms: 500 kB in flight fill it. Returns the window, the
    /// bytes delivered in three seconds, and the maximum sent within a millisecond.
    fn run(mut has_data: impl FnMut(u64) -> bool) -> (SendWindow, u64, usize) {
        let mut w = SendWindow::new(4 << 20);
        let start = Instant::now();
        let (mut written, mut acked, mut line) = (0u64, 0u64, VecDeque::new());
        let (mut busy_until, mut burst_max) = (0.0f64, 0);
        for ms in 0..3000 {
            let now = ms as f64 / 1e3;
            while line.front().is_some_and(|(at, _)| *at <= now) {
                acked += line.pop_front().map_or(0, |(_, n): (f64, u64)| n);
            }
            w.update(start + Duration::from_millis(ms), written, acked);
            let before = written;
            while has_data(ms) && w.has_room((written - acked) as usize, 1000) {
                w.spend(1000);
                written += 1000;
                busy_until = busy_until.max(now) + 1000.0 / 10e6;
                line.push_back((busy_until + 0.05, 1000));
            }
            burst_max = burst_max.max((written - before) as usize);
        }
        (w, acked, burst_max)
    }

    #[test]
    fn finds_the_bandwidth_delay_product() {
        let (w, acked, _) = run(|_| true);
        assert!((500_000..1_500_000).contains(&w.limit), "{}", w.limit);
        assert!(acked > 20_000_000, "{acked}");
    }

    #[test]
    fn a_pause_is_not_followed_by_a_burst() {
        // Nothing to send for 200 ms of each half second.
        let (w, acked, burst_max) = run(|ms| ms % 500 < 300);
        assert!(burst_max < 150_000, "{burst_max} of {}", w.limit);
        assert!(acked > 12_000_000, "{acked}");
        assert!(w.paced_until(0).is_none_or(|at| at <= Instant::now() + Duration::from_secs(4)));
    }
}
