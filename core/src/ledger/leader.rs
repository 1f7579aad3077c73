//! The leader of each view. No other module decides it.

use super::{
    committee::{Committee, Seat},
    mutation::rule,
};
use crate::{
    crypto::hash::{HashContext, hash_of},
    types::{Digest, Height, View, Weight},
};
use alloc::vec;

/// The seat that leads a view of a height in the term of this seed.
///
/// The views of a height take the seats in an order drawn by weight without replacement. Each seat
/// leads the first view with a chance equal to its share of the weight; each of the others leads
/// the second view with its share of the rest, and so on. As many consecutive views as there are
/// seats have different leaders; later views start over. A draw is a digest of 128 bits modulo a
/// weight below 2^56, so no chance is off by more than 2^-72.
pub fn leader(committee: &Committee, seed: &Digest, height: Height, view: View) -> usize {
    leader_among(committee.seats(), seed, height, view)
}

/// Like [`leader`], for seats whose keys are not decoded.
pub fn leader_among(seats: &[Seat], seed: &Digest, height: Height, view: View) -> usize {
    let mut is_drawn = vec![false; seats.len()];
    let sum = seats.iter().map(|seat| seat.weight).fold(0, Weight::saturating_add);
    let even = rule!(None, UnweightedLeaders => Some(sum / (seats.len() as u64).max(1)));
    let weight = |seat: &Seat| even.unwrap_or(seat.weight);
    let mut rest = u128::from(even.map_or(sum, |weight| weight.saturating_mul(seats.len() as u64)));
    let mut drawn = 0;
    for index in 0..=view % (seats.len() as u64).max(1) {
        let slot = random_draw(seed, height, index) % rest.max(1);
        let mut end = 0;
        let left = seats
            .iter()
            .zip(&is_drawn)
            .map(|(seat, is_drawn)| if *is_drawn { 0 } else { weight(seat).into() });
        let choice = left.enumerate().find_map(|(seat, weight)| {
            end += weight;
            (slot < end).then_some((seat, weight))
        });
        let Some((seat, weight)) = choice else { break };
        rest -= weight;
        drawn = seat;
        if let Some(is_drawn) = is_drawn.get_mut(seat) {
            *is_drawn = true;
        }
    }
    drawn
}

fn random_draw(seed: &Digest, height: Height, index: View) -> u128 {
    let digest = hash_of(HashContext::Leader, &(seed, height, index));
    digest.0.first_chunk().map_or(0, |bytes| u128::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::committee::{SEAT_WEIGHT_MAX, tests::members};
    use alloc::{collections::BTreeSet, vec::Vec};

    const SEED: Digest = Digest([5; 32]);

    /// Counts how often each seat leads the first view.
    fn first_view_counts(weights: &[u64], heights: u64) -> Vec<u64> {
        let (_, committee) = members(weights);
        let mut counts = vec![0; weights.len()];
        (0..heights).for_each(|height| counts[leader(&committee, &SEED, height, 0)] += 1);
        counts
    }

    #[test]
    fn consecutive_views_have_different_leaders_until_all_have_led() {
        let (_, committee) = members(&[3, 1, 2, SEAT_WEIGHT_MAX, 1]);
        for height in (0..50).chain([u64::MAX]) {
            let order: Vec<usize> =
                (0..5).map(|view| leader(&committee, &SEED, height, view)).collect();
            assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), 5, "{order:?}");
            assert_eq!(leader(&committee, &SEED, height, 7), order[2]);
            leader(&committee, &SEED, height, u64::MAX);
        }
        let (_, alone) = members(&[9]);
        assert_eq!(leader(&alone, &SEED, 1, 3), 0);
    }

    #[test]
    fn shares_follow_weight() {
        // Within four standard deviations of 10,000 draws.
        for (seat, count) in first_view_counts(&[1, 2, 3, 4], 10_000).into_iter().enumerate() {
            let expected = 1000 * (seat as u64 + 1);
            assert!(count.abs_diff(expected) < 200, "seat {seat}: {count}");
        }
        let (_, committee) = members(&[1, 1, 8]);
        let seconds =
            (0..10_000).filter(|height| leader(&committee, &SEED, *height, 1) == 2).count();
        // It leads the second view where it has not led the first: once in five.
        assert!(seconds.abs_diff(2000) < 200, "{seconds}");
    }

    #[test]
    fn seed_and_height_change_the_order() {
        let (_, committee) = members(&[1; 7]);
        let order = |seed: u8, height: Height| {
            (0..7).map(|v| leader(&committee, &Digest([seed; 32]), height, v)).collect()
        };
        let orders: BTreeSet<Vec<usize>> =
            (0..10).flat_map(|n| [order(n, 1), order(1, n.into())]).collect();
        assert!(orders.len() > 15, "{orders:?}");
        // Pinned values: they must never change.
        let (_, committee) = members(&[2, 1, 1, 3, 1, 1, 1]);
        let order: Vec<usize> = (0..7).map(|view| leader(&committee, &SEED, 1, view)).collect();
        assert_eq!(order, [4, 3, 2, 6, 0, 5, 1]);
    }

    /// Checks the gain of withholding that docs/consensus/protocol.md states. At each end of a
    /// leader term, a coalition with a third of the weight takes the reachable seed that gives it
    /// the most first views of the next term. Two samples, one without withholding and one with it,
    /// are compared with the exact prediction of the rule.
    #[test]
    fn measured_bias_by_withholding_matches_the_prediction() {
        const TERMS: u64 = 20_000;
        const TERM_BLOCKS: u64 = 64;
        const SEATS: usize = 48;
        const BYZANTINE: usize = 16;
        let (_, committee) = members(&[1; SEATS]);
        let is_byzantine = |seat: usize| seat.is_multiple_of(SEATS / BYZANTINE);
        let share = |seed: &Digest| {
            let led = (0..TERM_BLOCKS)
                .filter(|height| is_byzantine(leader(&committee, seed, *height, 0)))
                .count();
            led as f64 / TERM_BLOCKS as f64
        };
        let fair = BYZANTINE as f64 / SEATS as f64;
        let (mut seed, mut honest, mut biased) = (SEED, Sample::default(), Sample::default());
        for term in 0..TERMS {
            let views = (0..).map_while(|view| {
                Some(leader(&committee, &seed, TERM_BLOCKS - 1, view)).filter(|s| is_byzantine(*s))
            });
            // The first correct leader's seed is unpredictable, so it is worth its expected value.
            let outputs = views.count() as u64;
            let before = seed;
            let of_view = |view: u64| hash_of(HashContext::Seed, &(before, term, view));
            let best = (0..outputs).map(of_view).max_by(|a, b| share(a).total_cmp(&share(b)));
            let unforeseen = of_view(outputs);
            seed = best.filter(|best| share(best) > fair).unwrap_or(unforeseen);
            biased.add(share(&seed));
            honest.add(share(&of_view(u64::MAX)));
        }
        let expected = withheld_share(SEATS, BYZANTINE, TERM_BLOCKS as usize);
        println!("seed {SEED:?}: first views of a third of the weight over {TERMS} terms:");
        println!(
            "{honest:?} without withholding, {fair:.4} expected; {biased:?} with it, \
             {expected:.4} expected"
        );
        assert!((honest.mean() - fair).abs() < honest.bound(), "{honest:?}");
        assert!(
            (biased.mean() - expected).abs() < biased.bound(),
            "{biased:?}, expected {expected}"
        );
        assert!(
            biased.mean() - biased.bound() > fair + honest.bound(),
            "a sample of this size shows the bias"
        );
    }

    /// The share of first views that this many equal seats get if they always choose.
    ///
    /// With `k` of them in a row in the last height of a leader term they choose among `k` known
    /// seeds and one unpredictable seed. Each known seed gives them a binomial number of the next
    /// term's first views; the unpredictable one is worth their fair share `p`. They gain the mean
    /// of what the best of `k` has above `p`. Their share `s` of first views is also their chance
    /// of leading the first view of that height: `s = p + s G`, with `G` the gain once they lead
    /// it.
    fn withheld_share(seats: usize, byzantine: usize, term: usize) -> f64 {
        let p = byzantine as f64 / seats as f64;
        let mut chance = (1.0 - p).powi(term as i32);
        let mut below = vec![0.0; term + 1];
        for (led, below) in below.iter_mut().enumerate() {
            *below = chance;
            chance *= (term - led) as f64 / (led + 1) as f64 * p / (1.0 - p);
        }
        for led in 1..=term {
            below[led] += below[led - 1];
        }
        let best_of = |k: i32| -> f64 {
            let above = |led: usize| (led as f64 / term as f64 - p).max(0.0);
            (1..=term).map(|led| above(led) * (below[led].powi(k) - below[led - 1].powi(k))).sum()
        };
        let (mut gain, mut in_a_row) = (0.0, 1.0);
        for k in 1..=byzantine {
            let and_the_next = (byzantine - k) as f64 / (seats - k) as f64;
            gain += in_a_row * (1.0 - and_the_next) * best_of(k as i32);
            in_a_row *= and_the_next;
        }
        p / (1.0 - gain)
    }

    #[derive(Debug, Default)]
    struct Sample {
        count: f64,
        sum: f64,
        squares: f64,
    }

    impl Sample {
        fn add(&mut self, value: f64) {
            self.count += 1.0;
            self.sum += value;
            self.squares += value * value;
        }

        fn mean(&self) -> f64 {
            self.sum / self.count
        }

        /// Four standard errors of the mean: chance exceeds them once in 15,000 seeds.
        fn bound(&self) -> f64 {
            4.0 * ((self.squares / self.count - self.mean() * self.mean()) / self.count).sqrt()
        }
    }
}
