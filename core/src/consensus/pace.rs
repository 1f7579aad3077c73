//! Whether it pays to open the next height while one is being decided.
//!
//! Where messages are under way for most of the time, two heights take as long as one. Where processors or links are busy already, the two
//! hold each other up. Nobody sees that by looking at itself: what is slow may be the other members. So the leader goes by how long
//! blocks have taken lately, with and without another height beside them, as TCP Vegas goes by round trips and not by losses
//! (Brakmo and Peterson, 1995). Each way is tried now and then whatever it seems to be worth, at heights that are the same for all members.

use crate::types::Height;

/// In so many heights both ways are tried.
const CYCLE: Height = 32;
/// How much longer a block may take beside another one, in quarters, and milliseconds that are within a clock's error.
const QUARTERS_MAX: u64 = 5;
const SLACK_MS: u64 = 2;
/// A new time counts for a quarter.
const WEIGHT: u64 = 4;
/// Times are kept in parts of a millisecond, so that means move.
const PARTS: u64 = 16;

/// Whether a leader opens the next height while one is being decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pipeline {
    /// Where blocks take hardly longer by it.
    #[default]
    Auto,
    /// Wherever it may.
    On,
    /// Never, nor does this node vote for what others open.
    Off,
}

impl Pipeline {
    /// Its name in configurations and on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

/// How long blocks with transactions take this node, from its vote to the end.
#[derive(Debug, Default)]
pub(super) struct Pace {
    alone: Mean,
    together: Mean,
}

#[derive(Debug, Default)]
struct Mean(Option<u64>);

impl Pace {
    /// A block has become final in its first view, with another height open beside it or without.
    pub(super) fn note(&mut self, is_together: bool, took_ms: u64) {
        let mean = if is_together { &mut self.together } else { &mut self.alone };
        mean.add(took_ms.saturating_mul(PARTS));
    }

    /// Whether this height is to be opened before the one below is decided.
    pub(super) fn opens(&self, height: Height) -> bool {
        match height % CYCLE {
            0 | 1 => true,
            // The lower of the two has neither neighbour beside it.
            16 | 17 => false,
            _ => self.pays(),
        }
    }

    fn pays(&self) -> bool {
        let Mean(Some(together)) = &self.together else { return true };
        let Mean(Some(alone)) = &self.alone else { return false };
        *together <= (alone / 4).saturating_mul(QUARTERS_MAX).saturating_add(SLACK_MS * PARTS)
    }
}

impl Mean {
    fn add(&mut self, sample: u64) {
        self.0 = Some(match self.0 {
            None => sample,
            Some(mean) => (mean - mean / WEIGHT).saturating_add(sample / WEIGHT),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(samples: impl IntoIterator<Item = (bool, u64)>) -> Pace {
        let mut pace = Pace::default();
        samples.into_iter().for_each(|(is_together, took_ms)| pace.note(is_together, took_ms));
        pace
    }

    #[test]
    fn opens_while_a_block_takes_no_longer_beside_another() {
        assert!(Pace::default().opens(5));
        assert!(!after([(true, 900)]).opens(5), "there is nothing to compare with yet");
        assert!(after([(false, 200)]).opens(5));
        assert!(after([(false, 200), (true, 250)]).opens(5));
        assert!(!after([(false, 200), (true, 260)]).opens(5));
        // Times of a few milliseconds are no better than the clock.
        assert!(after([(false, 3), (true, 5)]).opens(5));
        assert!(!after([(false, 3), (true, 12)]).opens(5));
    }

    #[test]
    fn both_ways_are_tried_whatever_they_seem_to_be_worth() {
        let (bad, good) = (after([(false, 100), (true, 300)]), after([(false, 100), (true, 100)]));
        let heights = |pace: &Pace| (64..96).filter(|height| pace.opens(*height)).collect::<alloc::vec::Vec<_>>();
        assert_eq!(heights(&bad), [64, 65]);
        assert_eq!(heights(&good).len(), 30);
        assert!(!good.opens(80) && !good.opens(81));
    }

    #[test]
    fn forgets_what_was() {
        let mut pace = after([(false, 100), (true, 400)]);
        assert!(!pace.opens(5));
        (0..16).for_each(|_| pace.note(true, 110));
        assert!(pace.opens(5));
        (0..16).for_each(|_| pace.note(false, 50));
        assert!(!pace.opens(5));
        pace.note(true, u64::MAX);
        (0..200).for_each(|_| pace.note(true, 50));
        assert!(pace.opens(5));
    }
}
