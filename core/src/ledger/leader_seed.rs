//! The seeds of the leader order: one for each leader term of [`Params::leader_term_blocks`]
//! blocks. The VRF of the proposer of a term's last block derives each seed from the previous one.
//!
//! Every header carries the seed of its leader term, so one certified header gives the order of
//! leaders without any earlier block. Only the proposer of the block that fixes the next seed can
//! foresee it. That proposer can only choose between publishing the seed and leaving the block to
//! the next leader (docs/consensus/protocol.md states what that is worth). Certificates are never
//! a source of seeds: their aggregator chooses the signers.

use super::{block::Header, params::Params};
use crate::{
    codec,
    crypto::{
        hash::{HashContext, hash_of},
        vrf::{self, VrfError},
    },
    types::{ChainId, Digest, Height},
};
use alloc::vec::Vec;

/// The seed of a chain's first leader term.
pub fn initial(chain: &ChainId) -> Digest {
    hash_of(HashContext::Seed, chain)
}

/// Whether the block of this height is the last of its leader term and carries a proof.
pub fn ends_leader_term(params: &Params, height: Height) -> bool {
    height.checked_add(1).is_none_or(|next| next.is_multiple_of(params.leader_term_blocks.max(1)))
}

/// The VRF input of the proposer of a leader term's last block.
pub fn vrf_input(chain: &ChainId, height: Height, seed: &Digest) -> Vec<u8> {
    codec::encode(&(HashContext::SeedProof.name(), chain, height, seed))
}

/// The seed of the block after this one. Fails only for a header whose proof is unverified.
pub fn next(header: &Header) -> Result<Digest, VrfError> {
    match &header.proof {
        None => Ok(header.seed),
        Some(proof) => Ok(hash_of(HashContext::Seed, &(header.seed, proof.output()?.0))),
    }
}

/// Checks the proof of a header, where it carries one, with the VRF key of its proposer.
pub fn verify_proof(header: &Header, key: &vrf::PublicKey) -> Result<(), VrfError> {
    match &header.proof {
        None => Ok(()),
        Some(proof) => {
            key.verify(&vrf_input(&header.chain, header.height, &header.seed), proof).map(drop)
        }
    }
}
