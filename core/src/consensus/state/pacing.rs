//! Pacing of blocks: whether pipelining is worthwhile.
//!
//! If messages spend most of a block's time in transit, two heights take as long as one. If
//! processors or links are saturated, the two heights delay each other. A node cannot see this
//! locally, because other members may be the slow ones. So the leader compares recent block times
//! with and without pipelining, as TCP Vegas uses round trips rather than losses (Brakmo and
//! Peterson, 1995). Both modes are sampled periodically, at heights that are the same for all
//! members.

use crate::types::Height;

/// Heights in a sampling cycle: the first two are pipelined, and the range below is not. Each
/// height of that range but the last has no pipelined neighbour.
const CYCLE: Height = 32;
const UNPIPELINED_FIRST: Height = 16;
const UNPIPELINED_LAST: Height = 18;
/// How much longer a pipelined block may take, in quarters of an unpipelined one, and a tolerance
/// for clock error, milliseconds.
const SLOWDOWN_QUARTERS_MAX: u64 = 5;
const SLACK_MS: u64 = 2;
/// Weight of a new sample: one quarter.
const SMOOTHING: u64 = 4;
/// Times are stored in fractions of a millisecond, so that the means can converge.
const UNITS_PER_MS: u64 = 16;

/// Mean time from this node's vote to finality, for blocks with transactions.
#[derive(Debug, Default)]
pub(in crate::consensus) struct Pacing {
    unpipelined: Mean,
    pipelined: Mean,
}

#[derive(Debug, Default)]
struct Mean(Option<u64>);

impl Pacing {
    /// Records a block that became final in its first view. `is_pipelined`: whether this node had
    /// another height open at the same time.
    pub(in crate::consensus) fn record(
        &mut self,
        height: Height,
        is_pipelined: bool,
        took_ms: u64,
    ) {
        let sample_units = took_ms.saturating_mul(UNITS_PER_MS);
        let mean = match is_pipelined {
            true => &mut self.pipelined,
            false if (UNPIPELINED_FIRST..UNPIPELINED_LAST).contains(&(height % CYCLE)) => {
                &mut self.unpipelined
            }
            // About half of the members vote for a pipelined block only after its parent is final,
            // so they see one open height where others see two. Only those heights count as samples
            // without pipelining.
            false => return,
        };
        mean.add(sample_units);
    }

    /// The means without and with pipelining, milliseconds.
    pub(in crate::consensus) fn means_ms(&self) -> (Option<u64>, Option<u64>) {
        (self.unpipelined.ms(), self.pipelined.ms())
    }

    /// Whether to open this height before its parent is final.
    pub(in crate::consensus) fn should_pipeline(&self, height: Height) -> bool {
        match height % CYCLE {
            0 | 1 => true,
            UNPIPELINED_FIRST..=UNPIPELINED_LAST => false,
            _ => self.is_pipelining_worthwhile(),
        }
    }

    fn is_pipelining_worthwhile(&self) -> bool {
        let Mean(Some(pipelined)) = &self.pipelined else { return true };
        let Mean(Some(unpipelined)) = &self.unpipelined else { return false };
        *pipelined
            <= (unpipelined / 4)
                .saturating_mul(SLOWDOWN_QUARTERS_MAX)
                .saturating_add(SLACK_MS * UNITS_PER_MS)
    }
}

impl Mean {
    fn ms(&self) -> Option<u64> {
        self.0.map(|units| units / UNITS_PER_MS)
    }

    fn add(&mut self, sample: u64) {
        self.0 = Some(match self.0 {
            None => sample,
            Some(mean) => (mean - mean / SMOOTHING).saturating_add(sample / SMOOTHING),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(samples: impl IntoIterator<Item = (bool, u64)>) -> Pacing {
        let mut pacing = Pacing::default();
        samples
            .into_iter()
            .for_each(|(is_pipelined, took_ms)| add_sample(&mut pacing, is_pipelined, took_ms));
        pacing
    }

    fn add_sample(pacing: &mut Pacing, is_pipelined: bool, took_ms: u64) {
        pacing.record(if is_pipelined { 5 } else { UNPIPELINED_FIRST }, is_pipelined, took_ms);
    }

    #[test]
    fn pipelines_while_pipelined_blocks_take_no_longer() {
        assert!(Pacing::default().should_pipeline(5));
        assert!(!after([(true, 900)]).should_pipeline(5), "no earlier measurement exists");
        assert!(after([(false, 200)]).should_pipeline(5));
        assert!(after([(false, 200), (true, 250)]).should_pipeline(5));
        assert!(!after([(false, 200), (true, 260)]).should_pipeline(5));
        // Times of a few milliseconds are within the clock's error.
        assert!(after([(false, 3), (true, 5)]).should_pipeline(5));
        assert!(!after([(false, 3), (true, 12)]).should_pipeline(5));
    }

    #[test]
    fn both_modes_are_sampled_in_every_cycle() {
        let (bad, good) = (after([(false, 100), (true, 300)]), after([(false, 100), (true, 100)]));
        let heights = |pacing: &Pacing| {
            (64..96)
                .filter(|height| pacing.should_pipeline(*height))
                .collect::<alloc::vec::Vec<_>>()
        };
        assert_eq!(heights(&bad), [64, 65]);
        assert_eq!(heights(&good).len(), 29);
        assert!((80..83).all(|height| !good.should_pipeline(height)));
    }

    #[test]
    fn a_height_beside_a_pipelined_one_is_no_unpipelined_sample() {
        let mut pacing = after([(false, 100), (true, 120)]);
        let is_alone = |pacing: &Pacing, height: Height| {
            !pacing.should_pipeline(height) && !pacing.should_pipeline(height + 1)
        };
        for height in CYCLE..2 * CYCLE {
            let before = pacing.means_ms();
            pacing.record(height, false, 300);
            // Neither this height nor the next one is pipelined.
            assert_eq!(
                pacing.means_ms() != before,
                is_alone(&after([(false, 100), (true, 100)]), height),
                "{height}"
            );
        }
        assert_eq!(pacing.means_ms(), (Some(187), Some(120)));
    }

    #[test]
    fn recent_samples_outweigh_old_ones() {
        let mut pacing = after([(false, 100), (true, 400)]);
        assert!(!pacing.should_pipeline(5));
        (0..16).for_each(|_| add_sample(&mut pacing, true, 110));
        assert!(pacing.should_pipeline(5));
        (0..16).for_each(|_| add_sample(&mut pacing, false, 50));
        assert!(!pacing.should_pipeline(5));
        add_sample(&mut pacing, true, u64::MAX);
        (0..200).for_each(|_| add_sample(&mut pacing, true, 50));
        assert!(pacing.should_pipeline(5));
    }
}
