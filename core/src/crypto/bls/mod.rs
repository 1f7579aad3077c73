//! BLS12-381 votes: signatures in G1 (48 bytes), public keys in G2 (96 bytes), the
//! proof-of-possession scheme of draft-irtf-cfrg-bls-signature-05 with the hash to curve of RFC
//! 9380.
//!
//! Two implementations share one interface: `pure` (bls12_381, builds everywhere) and `fast` (blst,
//! native). They accept the same byte strings and produce the same signatures; a test compares
//! them. Refused: points off the curve or outside the subgroup, the identity as key or signature,
//! non-canonical encodings, and keys without a proof of possession.

#[cfg(feature = "blst")]
mod fast;
#[cfg(feature = "simulation")]
pub mod known_secrets;
mod pure;

#[cfg(feature = "blst")]
use fast as backend;
#[cfg(not(feature = "blst"))]
use pure as backend;

use super::hash::HashContext;
#[cfg(feature = "simulation")]
use super::meter;
use crate::{
    codec,
    types::{ChainId, NodeId},
};
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};
use zeroize::Zeroizing;

/// Ciphersuite of votes, section 4.2.3 of the draft.
const VOTE_TAG: &[u8] = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";
/// Ciphersuite of proofs of possession.
const POSSESSION_TAG: &[u8] = b"BLS_POP_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";

/// A signature or an aggregate of several, compressed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct Signature(pub [u8; 48]);

/// A public key as it travels, compressed and unchecked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct PublicKeyBytes(pub [u8; 96]);

/// A public key that has been decoded and is in the subgroup.
#[derive(Clone)]
pub struct PublicKey {
    bytes: PublicKeyBytes,
    point: backend::Point,
}

/// A secret scalar, big-endian, not zero and below the group's order. Erased when dropped.
#[derive(Clone)]
pub struct SecretKey(Zeroizing<[u8; 32]>);

/// The bytes are not a key, or a signature does not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlsError {
    /// Not a point of the subgroup, or the identity.
    #[error("not a valid BLS public key")]
    BadKey,
    /// Not a scalar between 1 and the group's order.
    #[error("not a valid BLS secret key")]
    BadSecret,
    /// Not a point of the subgroup, or the signature does not verify.
    #[error("the BLS signature is not valid")]
    BadSignature,
    /// There is no signature to aggregate.
    #[error("nothing to aggregate")]
    Empty,
}

impl SecretKey {
    /// Derives a key from 32 secret bytes drawn from the operating system.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let mut wide = Zeroizing::new([0; 64]);
        HashContext::BlsSecret.hasher().update(seed).finalize_xof().fill(wide.as_mut());
        Self(Zeroizing::new(pure::scalar_from_wide(&wide)))
    }

    /// Reads a scalar back from the keystore.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, BlsError> {
        pure::is_scalar(bytes).then(|| Self(Zeroizing::new(*bytes))).ok_or(BlsError::BadSecret)
    }

    /// The scalar, for the keystore.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        self.0.clone()
    }

    /// The public half.
    pub fn public(&self) -> PublicKeyBytes {
        PublicKeyBytes(backend::public(&self.0))
    }

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

impl core::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("bls::SecretKey")
    }
}

impl core::fmt::Debug for Signature {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("bls::Signature")
    }
}

impl core::fmt::Debug for PublicKeyBytes {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "bls {a:02x}{b:02x}{c:02x}{d:02x}…")
    }
}

impl PublicKeyBytes {
    /// Decodes and checks the point. Costs a subgroup check: keep the result.
    pub fn decode(self) -> Result<PublicKey, BlsError> {
        let point = backend::decode_key(&self.0).ok_or(BlsError::BadKey)?;
        Ok(PublicKey { bytes: self, point })
    }

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

impl PublicKey {
    /// The compressed form.
    pub fn bytes(&self) -> PublicKeyBytes {
        self.bytes
    }
}

impl core::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.bytes.fmt(f)
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

fn possession_message(chain: &ChainId, node: &NodeId, key: &PublicKeyBytes) -> Vec<u8> {
    codec::encode(&(HashContext::BlsPossession.name(), chain, node, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> SecretKey {
        SecretKey::from_seed(&[n; 32])
    }

    #[test]
    fn aggregates_verify_only_for_exactly_their_signers_and_message() {
        let secrets: Vec<_> = (1..=4).map(key).collect();
        let keys: Vec<_> = secrets.iter().map(|s| s.public().decode().unwrap()).collect();
        let parts: Vec<_> = secrets.iter().map(|s| s.sign(b"vote")).collect();
        let all = aggregate(&parts).unwrap();
        assert_eq!(verify_aggregate(&keys, b"vote", &all), Ok(()));
        assert!(verify_aggregate(&keys[..3], b"vote", &all).is_err());
        assert!(verify_aggregate(&keys, b"veto", &all).is_err());
        assert!(verify_aggregate([], b"vote", &all).is_err());
        let three = aggregate(&parts[1..]).unwrap();
        assert_eq!(verify_aggregate(&keys[1..], b"vote", &three), Ok(()));
        assert_eq!(aggregate(&[]), Err(BlsError::Empty));
    }

    #[test]
    fn possession_is_bound_to_chain_and_node() {
        let (chain, node) = (ChainId([1; 32]), NodeId([2; 32]));
        let secret = key(9);
        let proof = secret.prove_possession(&chain, &node);
        assert!(secret.public().verify_possession(&chain, &node, &proof).is_ok());
        assert!(secret.public().verify_possession(&ChainId([9; 32]), &node, &proof).is_err());
        assert!(secret.public().verify_possession(&chain, &NodeId([9; 32]), &proof).is_err());
        // A vote is never a proof of possession, whatever its message.
        let vote = secret.sign(&possession_message(&chain, &node, &secret.public()));
        assert!(secret.public().verify_possession(&chain, &node, &vote).is_err());
    }

    #[test]
    fn refuses_infinity_and_garbage() {
        let mut infinity = [0; 96];
        infinity[0] = 0xc0;
        for bytes in [infinity, [0; 96], [0xff; 96]] {
            assert_eq!(PublicKeyBytes(bytes).decode().err(), Some(BlsError::BadKey));
        }
        let mut infinity = [0; 48];
        infinity[0] = 0xc0;
        let public = key(1).public().decode().unwrap();
        for bytes in [infinity, [0; 48], [0xff; 48]] {
            assert!(verify_aggregate([&public], b"m", &Signature(bytes)).is_err());
            assert!(aggregate(&[Signature(bytes)]).is_err());
        }
        assert!(SecretKey::from_bytes(&[0; 32]).is_err());
        assert!(SecretKey::from_bytes(&[0xff; 32]).is_err());
    }

    /// A point of the curve outside of the subgroup: the first x from a start value that is on the
    /// curve gives one, except with a chance of one in the cofactor, 2^126.
    fn stray(from: u8) -> [u8; 48] {
        let candidate = |n: u8| {
            let mut bytes = [0; 48];
            (bytes[0], bytes[47]) = (0x80, n);
            bytes
        };
        let is_stray = |bytes: &[u8; 48]| {
            let point: Option<bls12_381::G1Affine> =
                bls12_381::G1Affine::from_compressed_unchecked(bytes).into();
            point.is_some_and(|p| bool::from(p.is_on_curve()) && !bool::from(p.is_torsion_free()))
        };
        (from..=255).map(candidate).find(is_stray).unwrap()
    }

    #[test]
    fn a_sum_with_a_part_outside_of_the_subgroup_never_verifies() {
        let secrets: Vec<_> = (1..=3).map(key).collect();
        let keys: Vec<_> = secrets.iter().map(|s| s.public().decode().unwrap()).collect();
        let good: Vec<_> = secrets.iter().map(|s| s.sign(b"vote")).collect();
        let stray = Signature(stray(1));
        assert!(verify_aggregate([&keys[0]], b"vote", &stray).is_err());
        // In place of a signature, or added to all of them.
        let sum = aggregate(&[good[0], good[1], stray]).unwrap();
        assert!(verify_aggregate(&keys, b"vote", &sum).is_err());
        let laced = aggregate(&[good[2], stray]).unwrap();
        assert!(verify_aggregate([&keys[2]], b"vote", &laced).is_err(), "a laced part by itself");
        let sum = aggregate(&[good[0], good[1], laced]).unwrap();
        assert!(verify_aggregate(&keys, b"vote", &sum).is_err());
        // Parts that cancel leave exactly the sum of the signatures, in the same bytes.
        let mut minus = stray;
        minus.0[0] ^= 0x20;
        let unlaced = aggregate(&[good[0], good[1], laced, minus]).unwrap();
        assert_eq!(unlaced, aggregate(&good).unwrap());
        #[cfg(feature = "blst")]
        assert_eq!(fast::aggregate(&[good[0], stray]), pure::aggregate(&[good[0], stray]));
    }

    #[cfg(feature = "blst")]
    #[test]
    fn both_implementations_agree() {
        for n in 1..20u8 {
            let secret = key(n).to_bytes();
            let message = [n; 17];
            let (a, b) =
                (fast::sign(&secret, &message, VOTE_TAG), pure::sign(&secret, &message, VOTE_TAG));
            assert_eq!(a, b);
            let bytes = fast::public(&secret);
            assert_eq!(bytes, pure::public(&secret));
            assert_eq!(
                fast::aggregate(&[Signature(a), Signature(b)]),
                pure::aggregate(&[Signature(a), Signature(b)])
            );
            // Changing any one byte of key or signature gives the same verdict.
            for at in 0..96 {
                let mut key = bytes;
                key[at] ^= 1 << (n % 8);
                let mut signature = a;
                signature[at % 48] ^= 1 << (n % 8);
                let (f, p) = (fast::decode_key(&key), pure::decode_key(&key));
                assert_eq!(f.is_some(), p.is_some());
                let (f, p) = (fast::decode_key(&bytes).unwrap(), pure::decode_key(&bytes).unwrap());
                if at < 4 {
                    assert!(!fast::verify(&[&f], &message, VOTE_TAG, &signature));
                    assert!(!pure::verify(&[&p], &message, VOTE_TAG, &signature));
                }
            }
        }
    }
}
