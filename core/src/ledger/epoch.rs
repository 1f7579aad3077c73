//! Epochs: which committee decides a height, and how one committee follows from the previous one.
//!
//! Heights are divided into epochs of [`Params::epoch_blocks`]. The last block of an epoch is the
//! epoch boundary. The epoch's committee decides it like any other block; its header carries the
//! digest of the next committee, and the state after it the record. Each committee thus certifies
//! its successor, and a light node needs one certificate per epoch.
//!
//! An epoch boundary moves a limited amount of weight. The retained weight (of each member the
//! smaller of its two weights) is a quorum of the old committee and of the new one. New members can
//! therefore neither decide alone nor block the others, and a committee cannot be replaced between
//! two certificates.

use super::{
    committee::{CommitteeRecord, SEAT_WEIGHT_MAX, SEATS_MAX, SEATS_MIN, Seat, quorum_of},
    membership::MemberKeys,
    mutation::rule,
    params::Params,
};
use crate::{
    codec::BoundedVec,
    types::{Epoch, Height, NodeId, TimeMs, Weight},
};
use alloc::{collections::BTreeMap, vec::Vec};

/// Attempts with a smaller weight cap before the remaining imbalance is left to later epoch
/// boundaries.
const WEIGHT_CAP_ATTEMPTS: usize = 64;

/// The epoch of a block, which determines the committee that decides it.
pub fn at_height(params: &Params, height: Height) -> Epoch {
    height / params.epoch_blocks.max(1)
}

/// The last height of an epoch.
pub fn last_height(params: &Params, epoch: Epoch) -> Option<Height> {
    epoch.checked_add(1)?.checked_mul(params.epoch_blocks.max(1))?.checked_sub(1)
}

/// Whether the block of this height is the epoch boundary: the last of its epoch.
pub fn is_last_height(params: &Params, height: Height) -> bool {
    height.checked_add(1).is_none_or(|next| next.is_multiple_of(params.epoch_blocks.max(1)))
}

/// Whether a change requested at height `since` takes effect in the committee formed at the epoch
/// boundary `height`. A whole leader term must lie between them: a member that chooses a VRF key or
/// a weight then cannot know the seed with which the new epoch begins.
pub fn is_effective(params: &Params, since: Height, height: Height) -> bool {
    since.saturating_add(params.leader_term_blocks) <= height
}

/// A member that requests a seat or gives one up.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) node: NodeId,
    pub(super) keys: MemberKeys,
    /// Zero for a member that leaves.
    pub(super) target_weight: Weight,
    /// Weight of a member that cannot leave yet; zero for one that must leave.
    pub(super) fallback_weight: Weight,
}

/// The next committee. Earlier candidates come first, in giving up and in gaining weight. Members
/// of the old committee that are not candidates leave last. If departures would leave another
/// member with more than a third, the last departing members stay for another epoch.
pub(super) fn successor(
    old: &CommitteeRecord,
    candidates: &[Candidate],
    formed_ms: TimeMs,
) -> CommitteeRecord {
    let leavers = candidates
        .iter()
        .filter(|candidate| candidate.fallback_weight > candidate.target_weight)
        .count();
    let with = |go: usize| {
        let mut leaver = 0;
        let requested = candidates.iter().map(|candidate| {
            leaver += usize::from(candidate.fallback_weight > candidate.target_weight);
            let stays = candidate.fallback_weight > candidate.target_weight && leaver > go;
            Candidate {
                target_weight: if stays {
                    candidate.fallback_weight
                } else {
                    candidate.target_weight
                },
                ..candidate.clone()
            }
        });
        balanced_seats(old, &requested.collect::<Vec<_>>())
    };
    let seats =
        (0..=leavers).rev().map(with).find(|seats| is_balanced(seats)).unwrap_or_else(|| with(0));
    CommitteeRecord {
        epoch: old.epoch.saturating_add(1),
        formed_ms,
        seats: BoundedVec::truncated(seats),
    }
}

/// The next seats. Weight that one epoch boundary cannot move changes the sum of weights and so a
/// third of it, so the weight cap is lowered until it holds.
fn balanced_seats(old: &CommitteeRecord, candidates: &[Candidate]) -> Vec<Seat> {
    let wanted: Vec<Weight> =
        candidates.iter().map(|c| c.target_weight).filter(|wanted| *wanted > 0).collect();
    let changes = weight_changes(old, candidates);
    let mut share = weight_cap(&wanted);
    let mut seats = apply_weight_changes(changes.clone(), share);
    for _ in 0..WEIGHT_CAP_ATTEMPTS {
        let third = balance_limit(&seats).max(1);
        if third >= share || is_balanced(&seats) {
            break;
        }
        share = third;
        seats = apply_weight_changes(changes.clone(), share);
    }
    seats
}

/// The requested changes: the candidates in their order, then the members of the old committee that
/// are not candidates.
fn weight_changes(old: &CommitteeRecord, candidates: &[Candidate]) -> Vec<WeightChange> {
    // The boundary is computed often and may have many candidates: no search for each of them.
    let mut positions: BTreeMap<NodeId, usize> =
        old.seats.iter().enumerate().map(|(position, seat)| (seat.node, position)).collect();
    let candidates = candidates
        .iter()
        .map(|candidate| WeightChange::of(candidate, positions.remove(&candidate.node), old));
    let mut changes: Vec<WeightChange> = candidates.collect();
    let others =
        positions.into_values().filter_map(|position| Some((position, old.seats.get(position)?)));
    let mut others: Vec<WeightChange> = others
        .map(|(position, seat)| WeightChange {
            seat: seat.clone(),
            position,
            old_weight: seat.weight,
            target_weight: 0,
        })
        .collect();
    others.sort_by_key(|m| m.position);
    changes.append(&mut others);
    // Seated members stay while they have any weight, so newcomers get the remaining seats.
    let mut room = SEATS_MAX.saturating_sub(old.seats.len());
    changes.retain(|m| {
        m.old_weight > 0
            || m.target_weight > 0 && room.checked_sub(1).map(|left| room = left).is_some()
    });
    changes
}

/// Moves weights towards their targets, none of which exceeds `share`.
fn apply_weight_changes(mut changes: Vec<WeightChange>, share: Weight) -> Vec<Seat> {
    changes.iter_mut().for_each(|m| m.target_weight = m.target_weight.min(share));

    let is_bounded = rule!(true, SkipOverlapLimit => false);
    let weight: Weight = changes.iter().map(|m| m.old_weight).sum();
    let budget = if is_bounded { weight.saturating_sub(quorum_of(weight)) } else { weight };
    let mut shrink = budget;
    for m in changes.iter_mut().filter(|m| m.target_weight < m.old_weight) {
        let step = (m.old_weight - m.target_weight).min(shrink);
        shrink -= step;
        m.seat.weight = m.old_weight - step;
    }
    let kept = weight - (budget - shrink);
    // The largest growth that leaves `kept` a quorum of the sum: 2 * (kept + grow) < 3 * kept.
    let mut grow = if is_bounded { kept.saturating_sub(1) / 2 } else { Weight::MAX };
    for m in changes.iter_mut().filter(|m| m.target_weight > m.old_weight) {
        let step = (m.target_weight - m.old_weight).min(grow);
        grow -= step;
        m.seat.weight = m.old_weight + step;
    }
    // Certificate bits follow the old order where they can, so that people can follow a seat.
    changes.sort_by_key(|m| m.position);
    changes.into_iter().map(|m| m.seat).filter(|seat| seat.weight > 0).collect()
}

/// The largest weight of a seat among these with which it cannot block the others alone.
fn balance_limit(seats: &[Seat]) -> Weight {
    seats.iter().map(|seat| seat.weight).fold(0, Weight::saturating_add).saturating_sub(1) / 3
}

/// Whether no seat can block the others alone. Of fewer than [`SEATS_MIN`] seats each can.
pub fn is_balanced(seats: &[Seat]) -> bool {
    seats.len() < SEATS_MIN || seats.iter().all(|seat| seat.weight <= balance_limit(seats))
}

/// Whether the weight common to two committees is a quorum of each.
pub fn overlaps(old: &[Seat], new: &[Seat]) -> bool {
    let weight =
        |seats: &[Seat]| seats.iter().map(|seat| seat.weight).fold(0, Weight::saturating_add);
    let before =
        |node: &NodeId| old.iter().find(|seat| seat.node == *node).map_or(0, |seat| seat.weight);
    let kept =
        new.iter().map(|seat| seat.weight.min(before(&seat.node))).fold(0, Weight::saturating_add);
    kept >= quorum_of(weight(old)) && kept >= quorum_of(weight(new))
}

/// The largest cap under which no seat weighs more than a third of the sum. With fewer than
/// [`SEATS_MIN`] seats there is none.
pub(super) fn weight_cap(wanted: &[Weight]) -> Weight {
    let largest = wanted.iter().copied().max().unwrap_or_default().min(SEAT_WEIGHT_MAX);
    if wanted.len() < SEATS_MIN {
        return largest;
    }
    // The capped sum grows slower than three times the cap only from some cap on: bisection finds
    // it.
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
struct WeightChange {
    /// The seat with its new weight.
    seat: Seat,
    /// Position in the old committee; newcomers come last.
    position: usize,
    old_weight: Weight,
    target_weight: Weight,
}

impl WeightChange {
    fn of(candidate: &Candidate, position: Option<usize>, old: &CommitteeRecord) -> Self {
        let old =
            position.and_then(|position| old.seats.get(position)).map_or(0, |seat| seat.weight);
        let MemberKeys { key, possession, vrf_key } = candidate.keys;
        let seat = Seat { node: candidate.node, key, possession, vrf_key, weight: old };
        Self {
            seat,
            position: position.unwrap_or(usize::MAX),
            old_weight: old,
            target_weight: candidate.target_weight,
        }
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
        Candidate { node: NodeId([n; 32]), keys, target_weight: wanted, fallback_weight: 0 }
    }

    fn record(weights: &[Weight]) -> CommitteeRecord {
        let changes = weights.iter().enumerate().map(|(n, weight)| {
            let candidate = candidate(n as u8, *weight);
            let MemberKeys { key, possession, vrf_key } = candidate.keys;
            Seat { node: candidate.node, key, possession, vrf_key, weight: *weight }
        });
        CommitteeRecord { epoch: 6, formed_ms: 0, seats: BoundedVec::truncated(changes) }
    }

    fn next_committee(old: &[Weight], wanted: &[(u8, Weight)]) -> Vec<(u8, Weight)> {
        let candidates: Vec<_> = wanted.iter().map(|(n, weight)| candidate(*n, *weight)).collect();
        let old = record(old);
        let new = successor(&old, &candidates, 9);
        assert_eq!((new.epoch, new.formed_ms), (7, 9));
        assert!(overlaps(&old.seats, &new.seats), "{wanted:?}");
        new.seats.iter().map(|seat| (seat.node.0[0], seat.weight)).collect()
    }

    #[test]
    fn at_four_seats_one_member_joins_or_leaves_per_boundary() {
        let all = [(0, 1), (1, 1), (2, 1), (3, 1)];
        assert_eq!(next_committee(&[1; 4], &all), all);
        assert_eq!(
            next_committee(&[1; 4], &[all.as_slice(), &[(4, 1), (5, 1)]].concat()),
            [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1)]
        );
        assert_eq!(
            next_committee(&[1; 4], &[(2, 0), (3, 0), (0, 1), (1, 1)]),
            [(0, 1), (1, 1), (3, 1)]
        );
        // A member that is no longer a candidate also leaves.
        assert_eq!(next_committee(&[1; 5], &[(0, 1), (1, 1), (2, 1), (3, 1)]).len(), 4);
    }

    #[test]
    fn a_newcomer_gets_only_weight_that_the_others_can_outvote_and_the_rest_later() {
        let old: Vec<_> = (0..4).map(|n| (n, 1000)).collect();
        let both = next_committee(&[1000; 4], &[old.as_slice(), &[(4, 1000), (5, 1000)]].concat());
        assert_eq!(both[4..], [(4, 1000), (5, 999)]);
        // No seat exceeds a third, however large the bond.
        let rich = next_committee(&[1000; 4], &[old.as_slice(), &[(4, 1 << 40)]].concat());
        assert_eq!(rich[4..], [(4, 1999)]);
        // A departure must not leave another member with more than a third.
        let stays = [candidate(0, 300), candidate(1, 300), candidate(2, 100), candidate(3, 100)];
        let leaver = Candidate { fallback_weight: 200, ..candidate(4, 0) };
        let old = record(&[300, 300, 100, 100, 200]);
        let next = successor(&old, &[[leaver].as_slice(), &stays].concat(), 0);
        assert_eq!(next.seats.len(), 5);
        let must = Candidate { fallback_weight: 0, ..candidate(4, 0) };
        let next = successor(&old, &[[must].as_slice(), &stays].concat(), 0);
        assert_eq!(next.seats.len(), 4);
        assert_eq!(weight_cap(&[1000, 1000, 1000, 1000, 1 << 40]), 1999);
        assert_eq!(weight_cap(&[1, 1, 1, 10]), 1);
        assert_eq!(weight_cap(&[1, 1, 10]), 10);
    }

    #[test]
    fn epochs_are_counted_by_height() {
        let params = Params { epoch_blocks: 8, leader_term_blocks: 4, ..Params::EMPTY };
        assert_eq!([0, 7, 8, 16].map(|height| at_height(&params, height)), [0, 0, 1, 2]);
        assert_eq!(
            [0, 1, u64::MAX].map(|epoch| last_height(&params, epoch)),
            [Some(7), Some(15), None]
        );
        assert_eq!(
            [0, 6, 7, 8, 15].map(|height| is_last_height(&params, height)),
            [false, false, true, false, true]
        );
        // The last leader term of an epoch is too late.
        assert!(is_effective(&params, 3, 7) && !is_effective(&params, 4, 7));
    }

    proptest! {
        #[test]
        fn consecutive_committees_overlap_and_target_weights_are_reached(
            old in prop::collection::vec(1..2000u64, 4..12),
            wanted in prop::collection::vec(0..2000u64, 4..14),
        ) {
            let candidates = wanted.iter().enumerate().map(|(n, w)| candidate(n as u8, *w));
            let candidates: Vec<_> = candidates.collect();
            let mut committee = record(&old);
            for _ in 0..64 {
                let next = successor(&committee, &candidates, 0);
                prop_assert!(overlaps(&committee.seats, &next.seats));
                committee = next;
            }
            let stay: Vec<Weight> = wanted.into_iter().filter(|w| *w > 0).collect();
            let cap = weight_cap(&stay);
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
