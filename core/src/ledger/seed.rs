//! The seeds that fix who leads: one for each term of [`Params::term_blocks`] blocks, each from the
//! one before by the VRF of whoever proposed the last block of the term.
//!
//! Every header bears the seed of its term, so whoever holds one certified header knows the order
//! of leaders without any block before it. Nobody can foresee the next seed but the proposer of the
//! block that fixes it, who can choose only between publishing it and leaving the block to the next
//! leader (docs/consensus.md says what that is worth). Certificates are never a source: who puts
//! them together chooses the signers.

use super::{Header, Params};
use crate::{
    codec,
    crypto::{
        hash::{Context, hash_of},
        vrf::{self, VrfError},
    },
    types::{ChainId, Digest, Height},
};
use alloc::vec::Vec;

/// The seed of a chain's first term.
pub fn first(chain: &ChainId) -> Digest {
    hash_of(Context::Seed, chain)
}

/// Whether the block of this height is the last of its term, and so bears a proof.
pub fn ends_term(params: &Params, height: Height) -> bool {
    height.checked_add(1).is_none_or(|next| next.is_multiple_of(params.term_blocks.max(1)))
}

/// What the proposer of a term's last block puts into its VRF.
pub fn input(chain: &ChainId, height: Height, seed: &Digest) -> Vec<u8> {
    codec::encode(&(Context::SeedProof.name(), chain, height, seed))
}

/// The seed of the block after this one. Fails only for a header whose proof nobody has verified.
pub fn after(header: &Header) -> Result<Digest, VrfError> {
    match &header.proof {
        None => Ok(header.seed),
        Some(proof) => Ok(hash_of(Context::Seed, &(header.seed, proof.output()?.0))),
    }
}

/// Checks the proof of a header, where it bears one, by the VRF key of its proposer.
pub fn verify(header: &Header, key: &vrf::PublicKey) -> Result<(), VrfError> {
    match &header.proof {
        None => Ok(()),
        Some(proof) => {
            key.verify(&input(&header.chain, header.height, &header.seed), proof).map(drop)
        }
    }
}
