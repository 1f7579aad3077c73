//! Signing and verifying votes, and proofs of possession.

#[cfg(feature = "simulation")]
use super::known_secrets;
use super::{
    backend,
    encoded::{POSSESSION_TAG, PublicKeyBytes, Signature, VOTE_TAG},
    keys::{BlsError, PublicKey, SecretKey},
};
#[cfg(feature = "simulation")]
use crate::crypto::meter;
use crate::{
    codec,
    crypto::hash::HashContext,
    types::{ChainId, NodeId},
};
use alloc::vec::Vec;

impl SecretKey {
    /// Signs a vote's bytes.
    pub fn sign(&self, message: &[u8]) -> Signature {
        #[cfg(feature = "simulation")]
        {
            meter::count(|operations| operations.bls_signed += 1);
            if let Some(signature) = known_secrets::sign(self, message) {
                return Signature(signature);
            }
        }
        Signature(backend::sign(&self.0, message, VOTE_TAG))
    }

    /// Proves possession of the key to one chain and under one identity, so that the proof can be
    /// neither replayed on another network nor claimed by another node.
    pub fn prove_possession(&self, chain: &ChainId, node: &NodeId) -> Signature {
        Signature(backend::sign(
            &self.0,
            &possession_message(chain, node, &self.public()),
            POSSESSION_TAG,
        ))
    }
}

impl PublicKeyBytes {
    /// Decodes the key and checks that `node` holds it on this chain.
    pub fn verify_possession(
        self,
        chain: &ChainId,
        node: &NodeId,
        proof: &Signature,
    ) -> Result<PublicKey, BlsError> {
        let key = self.decode()?;
        let message = possession_message(chain, node, &self);
        match backend::verify(&[&key.point], &message, POSSESSION_TAG, &proof.0) {
            true => Ok(key),
            false => Err(BlsError::BadSignature),
        }
    }
}

/// Checks an aggregate of signatures of one message (FastAggregateVerify, section 3.3.4). Safe
/// against rogue keys only for keys with a proof of possession.
pub fn verify_aggregate<'a>(
    keys: impl IntoIterator<Item = &'a PublicKey>,
    message: &[u8],
    signature: &Signature,
) -> Result<(), BlsError> {
    let keys: Vec<&PublicKey> = keys.into_iter().collect();
    #[cfg(feature = "simulation")]
    {
        meter::count(|operations| {
            operations.bls_verified += 1;
            operations.bls_keys += keys.len() as u64;
        });
        let keys: Vec<_> = keys.iter().map(|key| key.bytes.0).collect();
        if let Some(verdict) = known_secrets::verify(&keys, message, &signature.0) {
            return if verdict { Ok(()) } else { Err(BlsError::BadSignature) };
        }
    }
    let points: Vec<&backend::Point> = keys.iter().map(|k| &k.point).collect();
    match !points.is_empty() && backend::verify(&points, message, VOTE_TAG, &signature.0) {
        true => Ok(()),
        false => Err(BlsError::BadSignature),
    }
}

/// Sums signatures (Aggregate, section 2.8). The sum is unverified, and so are its parts.
///
/// The parts must be points of the curve other than the identity. Their subgroup is not checked one
/// by one, which would cost more than all the rest of a vote. A sum counts only after
/// [`verify_aggregate`] has accepted it, and that checks the sum's subgroup and the pairing. An
/// accepted sum that names a seat which has not signed is a forged multi-signature, however it was
/// put together: the scheme's proof concerns the sum alone. Parts outside of the subgroup can
/// cancel each other only among colluding seats, which could as well have signed, or have added R
/// and -R within the subgroup. If a sum fails, its parts are checked in full to find the bad ones.
/// Evidence against a seat counts only if [`verify_aggregate`] accepts it by itself.
pub fn aggregate(parts: &[Signature]) -> Result<Signature, BlsError> {
    if parts.is_empty() {
        return Err(BlsError::Empty);
    }
    #[cfg(feature = "simulation")]
    {
        meter::count(|operations| operations.bls_aggregated += parts.len() as u64);
        if let Some(sum) = known_secrets::aggregate(parts) {
            return Ok(Signature(sum));
        }
    }
    backend::aggregate(parts).map(Signature).ok_or(BlsError::BadSignature)
}

pub(super) fn possession_message(chain: &ChainId, node: &NodeId, key: &PublicKeyBytes) -> Vec<u8> {
    codec::encode(&(HashContext::BlsPossession.name(), chain, node, key))
}
