//! Members: their seat requests, keys and bonds. The epoch boundary decides on the requests, see
//! [`super::epoch`].

use crate::{
    codec,
    crypto::{
        bls,
        hash::HashContext,
        vrf::{self, VrfError},
    },
    types::{ChainId, Height, NodeId, TimeMs},
};
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

/// Most members at once: seated, waiting for a seat, or waiting for the release of their bond.
pub const MEMBERS_MAX: usize = 512;

/// The public keys of a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct MemberKeys {
    /// BLS key for votes.
    pub key: bls::PublicKeyBytes,
    /// Proof that the member holds the BLS key.
    pub possession: bls::Signature,
    /// VRF key for seeds.
    pub vrf_key: vrf::PublicKeyBytes,
}

/// Keys as they are registered. Both have a proof that the sender holds them, so that no other node
/// can register another's keys before their owner does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct KeyRegistration {
    /// The keys.
    pub keys: MemberKeys,
    /// Proof that the sender holds the VRF key.
    pub vrf_possession: vrf::Proof,
}

/// A node that has requested a seat and bonded for it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// The keys of its seat, or of the requested one.
    pub keys: MemberKeys,
    /// Keys that take effect at an epoch boundary, and the height of their registration.
    pub pending_keys: Option<(MemberKeys, Height)>,
    /// Bond added to the seat's, and the height of the addition. It counts at the first epoch
    /// boundary at which it is effective.
    pub pending_bond: Option<(u64, Height)>,
    /// Height of the seat request.
    pub since: Height,
    /// Status of the member.
    pub status: MemberStatus,
}

/// The status of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum MemberStatus {
    /// Has a seat or waits for one.
    Active,
    /// The member has requested to leave; it votes until an epoch boundary takes the seat.
    Leaving {
        /// Height of the request.
        since: Height,
    },
    /// Has no seat any more; the bond is still liable.
    Unbonding {
        /// Time at which the bond is released.
        until_ms: TimeMs,
    },
    /// Has left, or was expelled.
    Left,
}

impl KeyRegistration {
    /// Registers the keys of a sender that holds both secrets.
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
    pub(super) fn proves_possession(&self, chain: &ChainId, node: &NodeId) -> bool {
        let MemberKeys { key, possession, vrf_key } = &self.keys;
        key.verify_possession(chain, node, possession).is_ok()
            && vrf_key
                .decode()
                .is_ok_and(|key| key.verify(&vrf_input(chain, node), &self.vrf_possession).is_ok())
    }
}

fn vrf_input(chain: &ChainId, node: &NodeId) -> Vec<u8> {
    codec::encode(&(HashContext::VrfPossession.name(), chain, node))
}
