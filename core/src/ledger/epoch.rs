//! Epochs: which committee decides a height, and how one committee follows from the one before.
//!
//! Heights are cut into epochs of [`Params::epoch_blocks`]. The last block of an epoch, the turn,
//! is decided by the epoch's committee like any other; its header carries the digest of the next
//! committee, and the state after it the record. So the old committee certifies the new one, and
//! one certificate an epoch takes a light node along.
//!
//! A turn moves weight, and not too much of it: what is kept (of each member the smaller of its two
//! weights) is a quorum of the old committee and of the new one. Members that were not there before
//! can so neither decide alone nor stop the others, and a committee cannot be exchanged between two
//! certificates.

use super::{
    Params, Seat,
    committee::{CommitteeRecord, SEAT_WEIGHT_MAX, SEATS_MAX, SEATS_MIN, quorum_of},
    fault,
    membership::MemberKeys,
};
use crate::{
    codec::BoundedVec,
    types::{Epoch, Height, NodeId, TimeMs, Weight},
};
use alloc::{collections::BTreeMap, vec::Vec};

/// How often a smaller largest share is tried before what is out of balance is left to the next
/// turns.
const SHARE_TRIES: usize = 64;

/// The epoch of a block, and so the committee that decides it.
pub fn of(params: &Params, height: Height) -> Epoch {
    height / params.epoch_blocks.max(1)
}

/// The last height of an epoch.
pub fn last_height(params: &Params, epoch: Epoch) -> Option<Height> {
    epoch.checked_add(1)?.checked_mul(params.epoch_blocks.max(1))?.checked_sub(1)
}

/// Whether the block of this height is the turn: the last of its epoch.
pub fn ends(params: &Params, height: Height) -> bool {
    height.checked_add(1).is_none_or(|next| next.is_multiple_of(params.epoch_blocks.max(1)))
}

/// Whether what was asked for at `since` is old enough for the committee that the turn at `height`
/// makes. A whole term lies between: whoever draws a VRF key, or weight, does not know yet with
/// which seed the new epoch begins.
pub fn is_ripe(params: &Params, since: Height, height: Height) -> bool {
    since.saturating_add(params.term_blocks) <= height
}

/// Somebody who wants a seat, or gives one up.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) node: NodeId,
    pub(super) keys: MemberKeys,
    /// Zero to leave.
    pub(super) wanted: Weight,
    /// What it gets if it cannot leave yet; zero for those who must.
    pub(super) fallback: Weight,
}

/// The next committee. Earlier candidates come first, with what they give up and with what they
/// gain; members of the old committee that are no candidates leave last. Where those who want to
/// leave would leave others with more than a third, the last of them stay for another epoch.
pub(super) fn successor(
    old: &CommitteeRecord,
    candidates: &[Candidate],
    formed_ms: TimeMs,
) -> CommitteeRecord {
    let leavers =
        candidates.iter().filter(|candidate| candidate.fallback > candidate.wanted).count();
    let with = |go: usize| {
        let mut leaver = 0;
        let wish = candidates.iter().map(|candidate| {
            leaver += usize::from(candidate.fallback > candidate.wanted);
            let stays = candidate.fallback > candidate.wanted && leaver > go;
            Candidate {
                wanted: if stays { candidate.fallback } else { candidate.wanted },
                ..candidate.clone()
            }
        });
        within_a_third(old, &wish.collect::<Vec<_>>())
    };
    let seats =
        (0..=leavers).rev().map(with).find(|seats| is_balanced(seats)).unwrap_or_else(|| with(0));
    CommitteeRecord {
        epoch: old.epoch.saturating_add(1),
        formed_ms,
        seats: BoundedVec::truncated(seats),
    }
}

/// What a turn cannot move at once makes the sum another than was wished for, and so the third of
/// it.
fn within_a_third(old: &CommitteeRecord, candidates: &[Candidate]) -> Vec<Seat> {
    let wanted: Vec<Weight> =
        candidates.iter().map(|c| c.wanted).filter(|wanted| *wanted > 0).collect();
    let moves = moves(old, candidates);
    let mut share = largest_share(&wanted);
    let mut seats = moved(moves.clone(), share);
    for _ in 0..SHARE_TRIES {
        let third = largest_of(&seats).max(1);
        if third >= share || is_balanced(&seats) {
            break;
        }
        share = third;
        seats = moved(moves.clone(), share);
    }
    seats
}

/// What everybody wants: the candidates in their order, then those of the old committee that are
/// none.
fn moves(old: &CommitteeRecord, candidates: &[Candidate]) -> Vec<Move> {
    // A turn is tried often, and there may be many who want something: no search for each of them.
    let mut places: BTreeMap<NodeId, usize> =
        old.seats.iter().enumerate().map(|(place, seat)| (seat.node, place)).collect();
    let candidates =
        candidates.iter().map(|candidate| Move::of(candidate, places.remove(&candidate.node), old));
    let mut moves: Vec<Move> = candidates.collect();
    let others = places.into_values().filter_map(|place| Some((place, old.seats.get(place)?)));
    let mut others: Vec<Move> = others
        .map(|(place, seat)| Move { seat: seat.clone(), place, old: seat.weight, wanted: 0 })
        .collect();
    others.sort_by_key(|m| m.place);
    moves.append(&mut others);
    // Those who are seated stay as long as they weigh anything, so newcomers get what is left of
    // the seats.
    let mut room = SEATS_MAX.saturating_sub(old.seats.len());
    moves.retain(|m| {
        m.old > 0 || m.wanted > 0 && room.checked_sub(1).map(|left| room = left).is_some()
    });
    moves
}

/// Weights moved towards what is wanted, with nobody wanting more than `share`.
fn moved(mut moves: Vec<Move>, share: Weight) -> Vec<Seat> {
    moves.iter_mut().for_each(|m| m.wanted = m.wanted.min(share));

    let is_bounded = !fault::is(fault::Fault::NoOverlap);
    let weight: Weight = moves.iter().map(|m| m.old).sum();
    let budget = if is_bounded { weight.saturating_sub(quorum_of(weight)) } else { weight };
    let mut shrink = budget;
    for m in moves.iter_mut().filter(|m| m.wanted < m.old) {
        let step = (m.old - m.wanted).min(shrink);
        shrink -= step;
        m.seat.weight = m.old - step;
    }
    let kept = weight - (budget - shrink);
    // The most that leaves `kept` a quorum of the sum: 2 * (kept + grow) < 3 * kept.
    let mut grow = if is_bounded { kept.saturating_sub(1) / 2 } else { Weight::MAX };
    for m in moves.iter_mut().filter(|m| m.wanted > m.old) {
        let step = (m.wanted - m.old).min(grow);
        grow -= step;
        m.seat.weight = m.old + step;
    }
    // Bits of certificates follow the old order where they can, so that seats are easy to follow
    // for people.
    moves.sort_by_key(|m| m.place);
    moves.into_iter().map(|m| m.seat).filter(|seat| seat.weight > 0).collect()
}

/// The most that a seat among these may weigh so that it cannot stop the others alone.
fn largest_of(seats: &[Seat]) -> Weight {
    seats.iter().map(|seat| seat.weight).fold(0, Weight::saturating_add).saturating_sub(1) / 3
}

/// Whether no seat can stop the others alone; of fewer than [`SEATS_MIN`] each can.
pub fn is_balanced(seats: &[Seat]) -> bool {
    seats.len() < SEATS_MIN || seats.iter().all(|seat| seat.weight <= largest_of(seats))
}

/// Whether what two committees have in common is a quorum of each.
pub fn overlaps(old: &[Seat], new: &[Seat]) -> bool {
    let weight =
        |seats: &[Seat]| seats.iter().map(|seat| seat.weight).fold(0, Weight::saturating_add);
    let before =
        |node: &NodeId| old.iter().find(|seat| seat.node == *node).map_or(0, |seat| seat.weight);
    let kept =
        new.iter().map(|seat| seat.weight.min(before(&seat.node))).fold(0, Weight::saturating_add);
    kept >= quorum_of(weight(old)) && kept >= quorum_of(weight(new))
}

/// The largest weight that no seat may exceed so that none is more than a third of the sum: with
/// fewer than [`SEATS_MIN`] seats there is none.
pub(super) fn largest_share(wanted: &[Weight]) -> Weight {
    let largest = wanted.iter().copied().max().unwrap_or_default().min(SEAT_WEIGHT_MAX);
    if wanted.len() < SEATS_MIN {
        return largest;
    }
    // The sum of what is cut off at a cap grows slower than the cap's threefold only from some cap
    // on: halving finds it.
    let holds = |cap: Weight| {
        wanted.iter().map(|w| u128::from(*w.min(&cap))).sum::<u128>() > 3 * u128::from(cap)
    };
    let (mut low, mut high) = (1, largest.max(1));
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if holds(middle) { low = middle } else { high = middle - 1 }
    }
    low
}

#[derive(Clone)]
struct Move {
    /// As it will be.
    seat: Seat,
    /// In the old committee; newcomers come last.
    place: usize,
    old: Weight,
    wanted: Weight,
}

impl Move {
    fn of(candidate: &Candidate, place: Option<usize>, old: &CommitteeRecord) -> Self {
        let old = place.and_then(|place| old.seats.get(place)).map_or(0, |seat| seat.weight);
        let MemberKeys { key, possession, vrf_key } = candidate.keys;
        let seat = Seat { node: candidate.node, key, possession, vrf_key, weight: old };
        Self { seat, place: place.unwrap_or(usize::MAX), old, wanted: candidate.wanted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{bls, vrf};
    use proptest::prelude::*;

    fn candidate(n: u8, wanted: Weight) -> Candidate {
        let keys = MemberKeys {
            key: bls::PublicKeyBytes([n; 96]),
            possession: bls::Signature([n; 48]),
            vrf_key: vrf::PublicKeyBytes([n; 32]),
        };
        Candidate { node: NodeId([n; 32]), keys, wanted, fallback: 0 }
    }

    fn record(weights: &[Weight]) -> CommitteeRecord {
        let moves = weights.iter().enumerate().map(|(n, weight)| {
            let candidate = candidate(n as u8, *weight);
            let MemberKeys { key, possession, vrf_key } = candidate.keys;
            Seat { node: candidate.node, key, possession, vrf_key, weight: *weight }
        });
        CommitteeRecord { epoch: 6, formed_ms: 0, seats: BoundedVec::truncated(moves) }
    }

    fn turn(old: &[Weight], wanted: &[(u8, Weight)]) -> Vec<(u8, Weight)> {
        let candidates: Vec<_> = wanted.iter().map(|(n, weight)| candidate(*n, *weight)).collect();
        let old = record(old);
        let new = successor(&old, &candidates, 9);
        assert_eq!((new.epoch, new.formed_ms), (7, 9));
        assert!(overlaps(&old.seats, &new.seats), "{wanted:?}");
        new.seats.iter().map(|seat| (seat.node.0[0], seat.weight)).collect()
    }

    #[test]
    fn one_of_four_joins_or_leaves_at_a_turn_and_the_next_one_waits() {
        let all = [(0, 1), (1, 1), (2, 1), (3, 1)];
        assert_eq!(turn(&[1; 4], &all), all);
        assert_eq!(
            turn(&[1; 4], &[all.as_slice(), &[(4, 1), (5, 1)]].concat()),
            [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1)]
        );
        assert_eq!(turn(&[1; 4], &[(2, 0), (3, 0), (0, 1), (1, 1)]), [(0, 1), (1, 1), (3, 1)]);
        // Who is no candidate any more leaves likewise.
        assert_eq!(turn(&[1; 5], &[(0, 1), (1, 1), (2, 1), (3, 1)]).len(), 4);
    }

    #[test]
    fn a_newcomer_gets_as_much_as_the_others_can_outvote_and_the_rest_later() {
        let old: Vec<_> = (0..4).map(|n| (n, 1000)).collect();
        let both = turn(&[1000; 4], &[old.as_slice(), &[(4, 1000), (5, 1000)]].concat());
        assert_eq!(both[4..], [(4, 1000), (5, 999)]);
        // Nobody above a third, however large the bond.
        let rich = turn(&[1000; 4], &[old.as_slice(), &[(4, 1 << 40)]].concat());
        assert_eq!(rich[4..], [(4, 1999)]);
        // Whoever leaves must not leave another with more than a third.
        let stays = [candidate(0, 300), candidate(1, 300), candidate(2, 100), candidate(3, 100)];
        let leaver = Candidate { fallback: 200, ..candidate(4, 0) };
        let old = record(&[300, 300, 100, 100, 200]);
        let next = successor(&old, &[[leaver].as_slice(), &stays].concat(), 0);
        assert_eq!(next.seats.len(), 5);
        let must = Candidate { fallback: 0, ..candidate(4, 0) };
        let next = successor(&old, &[[must].as_slice(), &stays].concat(), 0);
        assert_eq!(next.seats.len(), 4);
        assert_eq!(largest_share(&[1000, 1000, 1000, 1000, 1 << 40]), 1999);
        assert_eq!(largest_share(&[1, 1, 1, 10]), 1);
        assert_eq!(largest_share(&[1, 1, 10]), 10);
    }

    #[test]
    fn epochs_are_counted_by_height() {
        let params = Params { epoch_blocks: 8, term_blocks: 4, ..Params::EMPTY };
        assert_eq!([0, 7, 8, 16].map(|height| of(&params, height)), [0, 0, 1, 2]);
        assert_eq!(
            [0, 1, u64::MAX].map(|epoch| last_height(&params, epoch)),
            [Some(7), Some(15), None]
        );
        assert_eq!(
            [0, 6, 7, 8, 15].map(|height| ends(&params, height)),
            [false, false, true, false, true]
        );
        // The last term of an epoch is too late.
        assert!(is_ripe(&params, 3, 7) && !is_ripe(&params, 4, 7));
    }

    proptest! {
        #[test]
        fn every_turn_overlaps_and_wishes_are_reached_in_the_end(
            old in prop::collection::vec(1..2000u64, 4..12),
            wanted in prop::collection::vec(0..2000u64, 4..14),
        ) {
            let candidates: Vec<_> = wanted.iter().enumerate().map(|(n, w)| candidate(n as u8, *w)).collect();
            let mut committee = record(&old);
            for _ in 0..64 {
                let next = successor(&committee, &candidates, 0);
                prop_assert!(overlaps(&committee.seats, &next.seats));
                committee = next;
            }
            let stay: Vec<Weight> = wanted.into_iter().filter(|w| *w > 0).collect();
            let cap = largest_share(&stay);
            let total: Weight = stay.iter().map(|w| (*w).min(cap)).sum();
            // With very little left of a committee its last member cannot go.
            if stay.len() >= SEATS_MIN {
                let weights: Weight = committee.seats.iter().map(|seat| seat.weight).sum();
                prop_assert_eq!(weights, total);
                prop_assert!(committee.seats.iter().all(|seat| seat.weight <= cap));
            }
        }
    }
}
