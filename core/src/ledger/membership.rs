//! Members: who has asked for a seat, with which keys, and since when. What becomes of the wish is
//! decided at the turn of an epoch, see [`super::epoch`].

use crate::{
    codec,
    crypto::{
        bls,
        hash::Context,
        vrf::{self, VrfError},
    },
    types::{ChainId, Height, NodeId, TimeMs},
};
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

/// Most members at once: seated, waiting for a seat, and waiting for their bond.
pub const MEMBERS_MAX: usize = 512;

/// The public keys of a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct MemberKeys {
    /// For votes.
    pub key: bls::PublicKeyBytes,
    /// Shows that the member holds it.
    pub possession: bls::Signature,
    /// For seeds.
    pub vrf_key: vrf::PublicKeyBytes,
}

/// Keys as they are registered: for both there is a proof that the sender holds them, so that
/// nobody can take up another's keys before their owner does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct KeyClaim {
    /// The keys.
    pub keys: MemberKeys,
    /// Shows that the sender holds the VRF key.
    pub vrf_possession: vrf::Proof,
}

/// Somebody with a bond and a wish.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Member {
    /// Who.
    pub node: NodeId,
    /// The keys of its seat, or of the one that it has asked for.
    pub keys: MemberKeys,
    /// Keys to be taken up at a turn, and when they were registered.
    pub next: Option<(MemberKeys, Height)>,
    /// Bond that was added to the seat's, and when: it weighs at the turn at which that is old
    /// enough.
    pub more: Option<(u64, Height)>,
    /// When it asked for a seat.
    pub since: Height,
    /// How far it is.
    pub status: MemberStatus,
}

/// How far a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum MemberStatus {
    /// Has a seat or waits for one.
    Active,
    /// Has asked to leave; decides on until a turn takes the seat.
    Leaving {
        /// When it asked.
        since: Height,
    },
    /// Has no seat any more; the bond still answers for what it did.
    Unbonding {
        /// When the bond is free.
        until_ms: TimeMs,
    },
    /// Has left, or was thrown out.
    Left,
}

impl KeyClaim {
    /// For a sender that holds both secrets.
    pub fn new(
        chain: &ChainId,
        node: &NodeId,
        vote: &bls::SecretKey,
        vrf: &vrf::SecretKey,
    ) -> Result<Self, VrfError> {
        let possession = vote.prove_possession(chain, node);
        let keys = MemberKeys { key: vote.public(), possession, vrf_key: vrf.public() };
        Ok(Self { keys, vrf_possession: vrf.prove(&vrf_input(chain, node))? })
    }

    /// Whether the sender holds both keys. Costs a pairing.
    pub(super) fn is_held_by(&self, chain: &ChainId, node: &NodeId) -> bool {
        let MemberKeys { key, possession, vrf_key } = &self.keys;
        key.verify_possession(chain, node, possession).is_ok()
            && vrf_key
                .decode()
                .is_ok_and(|key| key.verify(&vrf_input(chain, node), &self.vrf_possession).is_ok())
    }
}

fn vrf_input(chain: &ChainId, node: &NodeId) -> Vec<u8> {
    codec::encode(&(Context::VrfPossession.name(), chain, node))
}
