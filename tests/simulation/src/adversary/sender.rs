//! The Byzantine sender of a message, and the receivers of its messages.

use super::fault::ByzantineFault;
use crate::{chain_fixture::ChainFixture, random::Rng};
use tequio_core::{
    consensus::Recipient,
    crypto::bls,
    types::{NodeId, TimeMs},
    wire::consensus::Message,
};

/// The Byzantine sender of a message.
pub struct ByzantineSender<'a> {
    /// The sender's seat.
    pub seat: usize,
    /// The sender's fault.
    pub fault: ByzantineFault,
    /// Keys of all members.
    pub fixture: &'static ChainFixture,
    /// The seats to which the replica would send the message.
    pub receivers: Vec<usize>,
    /// The time of the sender's clock.
    pub now_ms: TimeMs,
    /// Source of random choices.
    pub rng: &'a mut Rng,
}

pub(super) type Outgoing = Vec<(usize, Message)>;

impl ByzantineSender<'_> {
    pub(super) fn to_all(&self, message: &Message) -> Outgoing {
        self.receivers.iter().map(|to| (*to, message.clone())).collect()
    }

    pub(super) fn vote_key(&self) -> &bls::SecretKey {
        &self.fixture.keys[self.seat].1
    }
}

/// Returns the members that receive a message, if it is addressed to all members that the sender
/// knows.
pub fn receivers(
    fixture: &ChainFixture,
    known_members: &[NodeId],
    member: usize,
    to: Recipient,
) -> Vec<usize> {
    match to {
        Recipient::All => known_members
            .iter()
            .filter_map(|node| fixture.member(node))
            .filter(|other| *other != member)
            .collect(),
        Recipient::One(node) => fixture.member(&node).into_iter().collect(),
    }
}
