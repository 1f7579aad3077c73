//! The configuration of a replica: its keys, and the choices of its operator.

use crate::{
    crypto::{NodeKey, bls, vrf},
    ledger::{Committee, Seat},
};
use alloc::vec::Vec;

/// Most sets of seat keys that a replica holds: the present keys, those of the next epoch, and keys
/// that were never registered.
pub(super) const SEAT_KEYS_MAX: usize = 8;

/// The keys of a node, and the choices of its operator.
#[derive(Clone, Debug)]
pub struct Config {
    /// Identity key of the node.
    pub node_key: NodeKey,
    /// Keys of its seat, now and after later epoch boundaries. Without a seat, or without keys
    /// that match it, the node follows the chain and sends nothing.
    pub seat_keys: Vec<SeatKeys>,
    /// Where the node sends its votes.
    pub vote_routing: VoteRouting,
    /// Whether the node opens the next height before the present one is decided.
    pub pipeline: Pipeline,
}

/// The secret keys of a seat.
#[derive(Clone, Debug)]
pub struct SeatKeys {
    /// Key that signs votes.
    pub vote: bls::SecretKey,
    /// Key that proves the seed of the next leader term, if this seat proposes the last block of a
    /// term.
    pub vrf: vrf::SecretKey,
}

/// Recipients of a member's votes. Members of one committee may differ: each accepts votes and
/// certificates on both routes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum VoteRouting {
    /// Every member: three hops to finality, for committees spread over distant sites.
    #[default]
    All,
    /// The collector of the height: five hops and the least work, for committees of one site.
    Leader,
}

impl VoteRouting {
    /// The routing with this name in configurations and on command lines.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::All, Self::Leader].into_iter().find(|routing| routing.name() == name)
    }

    /// Name in configurations and on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Leader => "leader",
        }
    }
}

/// Whether a leader opens the next height before the present one is decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pipeline {
    /// If it hardly slows blocks down.
    #[default]
    Auto,
    /// Whenever possible.
    On,
    /// Never. The node does not vote for pipelined blocks of other leaders either.
    Off,
}

impl Pipeline {
    /// Name in configurations and on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

impl SeatKeys {
    /// Whether these keys are the registered keys of a seat.
    pub fn matches(&self, seat: &Seat) -> bool {
        seat.key == self.vote.public() && seat.vrf_key == self.vrf.public()
    }
}

/// This node's registered seat in a committee, whether it has the keys for it or not.
pub(super) fn own_seat<'a>(config: &Config, committee: &'a Committee) -> Option<&'a Seat> {
    committee.seat_of(&config.node_key.id()).and_then(|seat| committee.seats().get(seat))
}

/// This node's seat in a committee, with the keys for it.
pub(super) fn seat_with_keys(config: &Config, committee: &Committee) -> Option<(usize, SeatKeys)> {
    let seat = own_seat(config, committee)?;
    let keys = config.seat_keys.iter().find(|keys| keys.matches(seat))?;
    Some((committee.seat_of(&seat.node)?, keys.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for routing in [VoteRouting::All, VoteRouting::Leader] {
            assert_eq!(VoteRouting::from_name(routing.name()), Some(routing));
        }
        assert_eq!(VoteRouting::from_name("some"), None);
    }
}
