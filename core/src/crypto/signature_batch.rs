//! Batch verification of Ed25519 signatures, for half of the cost of single checks, or less. By the
//! rules of ZIP-215 a batch is valid exactly if each of its signatures is. Nodes that verify in
//! batches and nodes that do not therefore always agree.
//!
//! The random coefficients of the check come from a hash over everything that is checked (a
//! Fiat-Shamir transform), so this stays a pure function. An attacker needs 2^128 tries to find a
//! bad batch that passes under its own hash.
//!
//! No adopted crate has this batch for keys whose points are known (ADR 25), so its equation is
//! implemented here; the curve and the hash are those of adopted crates.

use super::{HashContext, Signature, hash, key_cache::KeyLookup, node_key::BadSignature};
use crate::types::{Digest, NodeId};
use alloc::{collections::BTreeMap, vec::Vec};
use core::iter::once;
use curve25519_dalek::{
    EdwardsPoint, Scalar,
    constants::ED25519_BASEPOINT_POINT,
    edwards::CompressedEdwardsY,
    traits::{IsIdentity, VartimeMultiscalarMul},
};
use sha2::{Digest as _, Sha512};

/// A batch of signatures that are checked together.
pub struct SignatureBatch {
    entries: Vec<BatchEntry>,
    /// Points of the keys, each once, and the index of each key's point.
    keys: Vec<EdwardsPoint>,
    key_indices: BTreeMap<NodeId, usize>,
    /// Whether all keys so far are well-formed.
    is_well_formed: bool,
    transcript: blake3::Hasher,
}

/// A signature of the batch, in the terms of RFC 8032, section 5.1.7.
struct BatchEntry {
    /// Index of `A`, the key.
    key: usize,
    /// `k`: the hash of `R`, `A` and the message.
    challenge: Scalar,
    /// `R` and `S`.
    signature: Signature,
}

impl Default for SignatureBatch {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            keys: Vec::new(),
            key_indices: BTreeMap::new(),
            is_well_formed: true,
            transcript: HashContext::SignatureBatch.hasher(),
        }
    }
}

impl SignatureBatch {
    /// Adds the signature of `node` over `bytes` for this purpose.
    pub fn add(
        &mut self,
        keys: &mut impl KeyLookup,
        node: &NodeId,
        context: HashContext,
        bytes: &[u8],
        signature: &Signature,
    ) {
        self.add_digest(keys, node, &hash(context, bytes), signature);
    }

    /// Like [`Self::add`], for the digest of the signed bytes, made under the context of its
    /// purpose.
    pub(crate) fn add_digest(
        &mut self,
        keys: &mut impl KeyLookup,
        node: &NodeId,
        digest: &Digest,
        signature: &Signature,
    ) {
        self.add_message(keys, node, &digest.0, signature);
    }

    /// Adds a message. Outside of tests all messages have one length.
    fn add_message(
        &mut self,
        keys: &mut impl KeyLookup,
        node: &NodeId,
        message: &[u8],
        signature: &Signature,
    ) {
        #[cfg(feature = "simulation")]
        super::meter::count(|operations| operations.ed25519_verified += 1);
        // Each part has one length, so the transcript is unambiguous.
        self.transcript.update(&node.0).update(&signature.0).update(message);
        let index = match self.key_indices.get(node) {
            Some(index) => *index,
            None => {
                let Some(point) = keys.point(node) else {
                    self.is_well_formed = false;
                    return;
                };
                self.key_indices.insert(*node, self.keys.len());
                self.keys.push(point.0);
                self.keys.len() - 1
            }
        };
        let challenge = Sha512::new()
            .chain_update(&signature.0[..32])
            .chain_update(node.0)
            .chain_update(message);
        let challenge = Scalar::from_bytes_mod_order_wide(&challenge.finalize().into());
        self.entries.push(BatchEntry { key: index, challenge, signature: *signature });
    }

    /// Whether all signatures are valid. Only single checks show which of them is not.
    pub fn verify(self) -> Result<(), BadSignature> {
        let check = || self.is_valid().unwrap_or(false);
        #[cfg(feature = "simulation")]
        let check = || {
            super::verdict_cache::cached_verdict(
                &[b"batch", self.transcript.finalize().as_bytes()],
                check,
            )
        };
        if check() { Ok(()) } else { Err(BadSignature) }
    }

    /// ZIP-215, "Batch verification": with random `z` of 128 bits for each signature, `[8] (- [sum
    /// of z S] B + sum of [z] R + sum of [z k] A)` is the identity. The terms of one key are
    /// summed. `None`: a key or signature is malformed.
    fn is_valid(&self) -> Option<bool> {
        if !self.is_well_formed {
            return None;
        }
        let mut coefficients = self.transcript.finalize_xof();
        let mut of_base = Scalar::ZERO;
        let mut of_keys = alloc::vec![Scalar::ZERO; self.keys.len()];
        let (mut of_nonces, mut nonces) =
            (Vec::with_capacity(self.entries.len()), Vec::with_capacity(self.entries.len()));
        for BatchEntry { key, challenge, signature } in &self.entries {
            let (nonce, scalar) = signature.0.split_first_chunk::<32>()?;
            nonces.push(CompressedEdwardsY(*nonce).decompress()?);
            let scalar: Option<Scalar> =
                Scalar::from_canonical_bytes(scalar.try_into().ok()?).into();
            let mut bytes = [0; 16];
            coefficients.fill(&mut bytes);
            let coefficient = Scalar::from(u128::from_le_bytes(bytes));
            of_base -= coefficient * scalar?;
            *of_keys.get_mut(*key)? += coefficient * challenge;
            of_nonces.push(coefficient);
        }
        let scalars = once(&of_base).chain(&of_keys).chain(&of_nonces);
        let points = once(&ED25519_BASEPOINT_POINT).chain(&self.keys).chain(&nonces);
        Some(EdwardsPoint::vartime_multiscalar_mul(scalars, points).mul_by_cofactor().is_identity())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::crypto::{KeyCache, NodeKey};
    use alloc::vec::Vec;

    type Case = (bool, NodeId, Signature, Vec<u8>);
    type SignedMessage = (NodeId, [u8; 8], Signature);

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        hex::decode(hex).unwrap().try_into().unwrap()
    }

    pub fn zip215() -> Vec<Case> {
        let case = |line: &str| {
            let (key, signature) = line.split_once(' ').unwrap();
            (true, NodeId(bytes(key)), Signature(bytes(signature)), b"Zcash".to_vec())
        };
        include_str!("../../../tests/vectors/ed25519/zip215.txt").lines().map(case).collect()
    }

    pub fn speccheck() -> Vec<Case> {
        let case = |line: &str| {
            let fields: Vec<&str> = line.split(' ').collect();
            let message = hex::decode(fields[3]).unwrap();
            (fields[0] == "valid", NodeId(bytes(fields[1])), Signature(bytes(fields[2])), message)
        };
        include_str!("../../../tests/vectors/ed25519/speccheck.txt").lines().map(case).collect()
    }

    /// The verdict on a signature in a batch with valid ones.
    pub fn verdict_in_a_batch(
        key_cache: &mut KeyCache,
        node: &NodeId,
        signature: &Signature,
        message: &[u8],
    ) -> bool {
        let key = NodeKey::from_bytes(&[7; 32]);
        let mut batch = SignatureBatch::default();
        batch.add(
            key_cache,
            &key.id(),
            HashContext::Transaction,
            b"before",
            &key.sign(HashContext::Transaction, b"before"),
        );
        batch.add_message(key_cache, node, message, signature);
        batch.add(
            key_cache,
            &key.id(),
            HashContext::Transaction,
            b"after",
            &key.sign(HashContext::Transaction, b"after"),
        );
        batch.verify().is_ok()
    }

    #[test]
    fn one_bad_signature_fails_the_batch() {
        let keys: Vec<NodeKey> = (1..=20).map(|n| NodeKey::from_bytes(&[n; 32])).collect();
        let mut key_cache = KeyCache::default();
        let mut verdict = |spoilt: Option<usize>| {
            let mut batch = SignatureBatch::default();
            for (i, key) in keys.iter().enumerate() {
                let signed: &[u8] = if spoilt == Some(i) { b"no" } else { b"yes" };
                batch.add(
                    &mut key_cache,
                    &key.id(),
                    HashContext::Transaction,
                    signed,
                    &key.sign(HashContext::Transaction, b"yes"),
                );
            }
            batch.verify()
        };
        assert_eq!(verdict(None), Ok(()));
        assert!((0..keys.len()).all(|i| verdict(Some(i)).is_err()));
        assert_eq!(SignatureBatch::default().verify(), Ok(()), "no share is taken");
    }

    fn key(number: u64) -> NodeKey {
        let mut secret = [9; 32];
        secret[..8].copy_from_slice(&number.to_le_bytes());
        NodeKey::from_bytes(&secret)
    }

    /// Signatures by keys with these numbers, each of a different message.
    fn signed_messages(keys: impl IntoIterator<Item = u64>) -> Vec<SignedMessage> {
        let message = |(index, number): (usize, u64)| {
            let (key, signed) = (key(number), (index as u64).to_le_bytes());
            (key.id(), signed, key.sign(HashContext::Transaction, &signed))
        };
        keys.into_iter().enumerate().map(message).collect()
    }

    fn verifies(messages: &[SignedMessage]) -> bool {
        let (mut batch, mut key_cache) = (SignatureBatch::default(), KeyCache::default());
        for (node, signed, signature) in messages {
            batch.add(&mut key_cache, node, HashContext::Transaction, signed, signature);
        }
        batch.verify().is_ok()
    }

    /// The signature with `by` added to its scalar.
    fn shifted(signature: &Signature, by: Scalar) -> Signature {
        let mut bytes = signature.0;
        let scalar = Scalar::from_canonical_bytes(bytes[32..].try_into().unwrap()).unwrap() + by;
        bytes[32..].copy_from_slice(scalar.as_bytes());
        Signature(bytes)
    }

    #[test]
    fn bad_signatures_whose_errors_cancel_fail_the_batch() {
        for keys in [[1, 1, 2], [1, 2, 3]] {
            let mut messages = signed_messages(keys);
            assert!(verifies(&messages));
            messages[0].2 = shifted(&messages[0].2, Scalar::ONE);
            messages[1].2 = shifted(&messages[1].2, -Scalar::ONE);
            assert!(!verifies(&messages), "{keys:?}");
        }
        // Each signature occurs, but none with its own message.
        let mut messages = signed_messages([1, 1, 1]);
        let (first, second) = (messages[0].2, messages[1].2);
        (messages[0].2, messages[1].2) = (second, first);
        assert!(!verifies(&messages));
    }

    #[test]
    fn an_invalid_point_or_scalar_fails_the_batch_at_any_position() {
        let no_point = (0..=u8::MAX)
            .map(|n| [n; 32])
            .find(|bytes| CompressedEdwardsY(*bytes).decompress().is_none());
        let no_point = no_point.unwrap();
        for index in [0, 4, 9] {
            let good = signed_messages(0..10);
            let spoilt = |spoil: &dyn Fn(&mut SignedMessage)| {
                let mut messages = good.clone();
                spoil(&mut messages[index]);
                !verifies(&messages)
            };
            assert!(verifies(&good));
            assert!(spoilt(&|message| message.0 = NodeId(no_point)));
            assert!(spoilt(&|message| message.2.0[..32].copy_from_slice(&no_point)));
            assert!(spoilt(&|message| message.2.0[32..].fill(0xff)));
        }
    }

    /// The curve sums many points with another algorithm than few.
    #[test]
    fn batches_of_all_sizes_verify_and_one_bad_signature_fails_them() {
        for len in [1, 2, 50, 94, 95, 96, 200, 600] {
            let mut messages = signed_messages((0..len).map(|number| number % 300));
            assert!(verifies(&messages), "{len}");
            let last = messages.len() - 1;
            messages[last].2 = shifted(&messages[last].2, Scalar::ONE);
            assert!(!verifies(&messages), "{len}");
        }
        // With signatures among them that only ZIP-215 accepts.
        let (mut batch, mut key_cache) = (SignatureBatch::default(), KeyCache::default());
        for (node, signed, signature) in signed_messages(0..300) {
            batch.add(&mut key_cache, &node, HashContext::Transaction, &signed, &signature);
        }
        for (_, node, signature, message) in zip215() {
            batch.add_message(&mut key_cache, &node, &message, &signature);
        }
        assert_eq!(batch.verify(), Ok(()));
    }
}
