//! Whose turn it is. The one place that knows; a VRF's order will stand here too.

use crate::{
    ledger::Committee,
    types::{Height, View},
};

/// The golden section in millionths: steps of this size spread any seat's turns evenly.
const GOLDEN_MILLIONTHS: u128 = 618_034;

/// The seat that leads a view of a height.
///
/// Every seat owns as many slots as its weight, in units of the greatest common divisor of all weights,
/// in the order of the seats. Turn `t = height + view` falls on slot `t · stride mod slots`, where the
/// stride is the first number from `0.618034 · slots` on that shares no divisor with `slots`. So each
/// seat has its exact share of any `slots` turns in a row, spread out, and equal seats strictly take turns.
pub fn leader(committee: &Committee, height: Height, view: View) -> usize {
    let unit = committee.seats().iter().fold(0, |unit, seat| gcd(unit, seat.weight.into())).max(1);
    let slots = (u128::from(committee.weight()) / unit).max(1);
    let turn = (u128::from(height) + u128::from(view)) % slots;
    let slot = turn * stride(slots) % slots;
    let mut end = 0;
    committee
        .seats()
        .iter()
        .position(|seat| {
            end += u128::from(seat.weight) / unit;
            slot < end
        })
        .unwrap_or_default()
}

fn stride(slots: u128) -> u128 {
    let mut stride = slots * GOLDEN_MILLIONTHS / 1_000_000;
    while gcd(stride, slots) != 1 {
        stride += 1;
    }
    stride
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::committee::{SEAT_WEIGHT_MAX, tests::members};

    fn turns(weights: &[u64], count: u64) -> Vec<usize> {
        let (_, committee) = members(weights);
        (0..count).map(|height| leader(&committee, height, 0)).collect()
    }

    #[test]
    fn equal_seats_take_turns_whatever_their_weight() {
        for weights in [[1; 4], [10; 4], [SEAT_WEIGHT_MAX; 4]] {
            assert_eq!(turns(&weights, 8), [0, 3, 2, 1, 0, 3, 2, 1], "{weights:?}");
        }
        assert_eq!(turns(&[5; 7], 7), [0, 4, 1, 5, 2, 6, 3]);
        assert_eq!(turns(&[9], 3), [0; 3]);
    }

    #[test]
    fn shares_follow_weight_exactly_and_are_spread_out() {
        let turns = turns(&[1, 2, 3, 4], 20);
        for (seat, weight) in [1, 2, 3, 4].into_iter().enumerate() {
            assert_eq!(turns.iter().filter(|t| **t == seat).count(), 2 * weight);
        }
        // The stride is 7 of 10 slots, three backwards: only the seat of four slots can meet itself, and once at most.
        for run in turns.chunk_by(|a, b| a == b) {
            assert!(run.len() == 1 || (run.len() == 2 && run[0] == 3), "{turns:?}");
        }
    }

    #[test]
    fn the_next_view_and_the_next_height_move_on_alike() {
        let (_, committee) = members(&[3, 1, 2]);
        for height in 0..12 {
            assert_eq!(leader(&committee, height, 5), leader(&committee, height + 5, 0));
        }
        leader(&committee, u64::MAX, u64::MAX);
    }
}
