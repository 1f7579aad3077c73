//! How fast blocks follow one another: whether it pays to open the next height while one is being
//! decided, and how long a leader rests where processors are contended.
//!
//! Where messages are under way for most of the time, two heights take as long as one. Where
//! processors or links are busy already, the two hold each other up. Nobody sees that by looking at
//! itself: what is slow may be the other members. So the leader goes by how long blocks have taken
//! lately, with and without another height beside them, as TCP Vegas goes by round trips and not by
//! losses (Brakmo and Peterson, 1995). Each way is tried now and then whatever it seems to be
//! worth, at heights that are the same for all members.

use crate::types::Height;

/// In so many heights both ways are tried: the first two are opened beside each other, and these
/// one by one. All of these but the last have neither neighbour beside them.
const CYCLE: Height = 32;
const APART: Height = 16;
const APART_LAST: Height = 18;
/// How much longer a block may take beside another one, in quarters, and milliseconds that are
/// within a clock's error.
const QUARTERS_MAX: u64 = 5;
const SLACK_MS: u64 = 2;
/// What part of the time that blocks take a leader rests, and how long at most: so a longer rest,
/// which is a larger block, which takes longer, comes to an end.
const REST_PART: u64 = 2;
const REST_MS_MAX: u64 = 100;
/// A new time counts for a quarter.
const WEIGHT: u64 = 4;
/// Times are kept in parts of a millisecond, so that means move.
const PARTS: u64 = 16;

/// Whether a leader opens the next height while one is being decided. Where its host's processors
/// are contended it rests before it proposes, unless it is to open wherever it may.
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
    /// Of both.
    any: Mean,
}

#[derive(Debug, Default)]
struct Mean(Option<u64>);

impl Pace {
    /// A block has become final in its first view; this node had another height open beside it, or
    /// had not.
    pub(super) fn note(&mut self, height: Height, is_together: bool, took_ms: u64) {
        let took = took_ms.saturating_mul(PARTS);
        self.any.add(took);
        let mean = match is_together {
            true => &mut self.together,
            false if (APART..APART_LAST).contains(&(height % CYCLE)) => &mut self.alone,
            // About half of the members vote for a block that was opened ahead only when its parent
            // is final, and see one height at a time where others have two. So what was
            // alone is known by its number only.
            false => return,
        };
        mean.add(took);
    }

    /// The means, milliseconds: alone, and beside another.
    pub(super) fn means_ms(&self) -> (Option<u64>, Option<u64>) {
        (self.alone.ms(), self.together.ms())
    }

    /// How long a leader rests after a block where processors are contended, milliseconds.
    pub(super) fn rest_ms(&self) -> u64 {
        (self.any.ms().unwrap_or_default() / REST_PART).min(REST_MS_MAX)
    }

    /// Whether this height is to be opened before the one below is decided.
    pub(super) fn opens(&self, height: Height) -> bool {
        match height % CYCLE {
            0 | 1 => true,
            APART..=APART_LAST => false,
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
    fn ms(&self) -> Option<u64> {
        self.0.map(|parts| parts / PARTS)
    }

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
        samples
            .into_iter()
            .for_each(|(is_together, took_ms)| note(&mut pace, is_together, took_ms));
        pace
    }

    fn note(pace: &mut Pace, is_together: bool, took_ms: u64) {
        pace.note(if is_together { 5 } else { APART }, is_together, took_ms);
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
    fn rests_for_half_of_what_blocks_take_but_not_for_long() {
        assert_eq!(Pace::default().rest_ms(), 0);
        let rest_ms = |samples: &[(bool, u64)]| after(samples.iter().copied()).rest_ms();
        assert_eq!(rest_ms(&[(false, 90)]), 45);
        // Whatever is beside a block, and with no more than the last ones in mind.
        assert_eq!(rest_ms(&[(false, 90), (true, 130)]), 50);
        assert_eq!(rest_ms(&[(false, 500)]), 100);
        assert_eq!(rest_ms(&[(false, u64::MAX)]), 100);
    }

    #[test]
    fn both_ways_are_tried_whatever_they_seem_to_be_worth() {
        let (bad, good) = (after([(false, 100), (true, 300)]), after([(false, 100), (true, 100)]));
        let heights = |pace: &Pace| {
            (64..96).filter(|height| pace.opens(*height)).collect::<alloc::vec::Vec<_>>()
        };
        assert_eq!(heights(&bad), [64, 65]);
        assert_eq!(heights(&good).len(), 29);
        assert!((80..83).all(|height| !good.opens(height)));
    }

    #[test]
    fn who_sees_one_height_open_does_not_take_it_for_alone() {
        let mut pace = after([(false, 100), (true, 120)]);
        let is_alone = |pace: &Pace, height: Height| !pace.opens(height) && !pace.opens(height + 1);
        for height in CYCLE..2 * CYCLE {
            let before = pace.means_ms();
            pace.note(height, false, 300);
            // Nobody opens it ahead, nor the one above.
            assert_eq!(
                pace.means_ms() != before,
                is_alone(&after([(false, 100), (true, 100)]), height),
                "{height}"
            );
        }
        assert_eq!(pace.means_ms(), (Some(187), Some(120)));
    }

    #[test]
    fn forgets_what_was() {
        let mut pace = after([(false, 100), (true, 400)]);
        assert!(!pace.opens(5));
        (0..16).for_each(|_| note(&mut pace, true, 110));
        assert!(pace.opens(5));
        (0..16).for_each(|_| note(&mut pace, false, 50));
        assert!(!pace.opens(5));
        note(&mut pace, true, u64::MAX);
        (0..200).for_each(|_| note(&mut pace, true, 50));
        assert!(pace.opens(5));
    }
}
