//! Many Ed25519 signatures at once, for half of what they cost one by one, or less. By the rules of
//! ZIP-215 the batch holds exactly if each of its signatures does, so nobody can split those who
//! verify in batches from those who do not.
//!
//! The random coefficients of the check come from a hash over all that is checked (a Fiat-Shamir
//! transform), so this stays a pure function: whoever wants a bad batch to pass has to find one
//! whose own hash lets it, at 2^128 tries.
//!
//! No kept crate has this batch for keys whose points are known (ADR 25), so its equation stands
//! here; the curve and the hash are those of kept crates.

use super::{Context, Signature, hash, known_keys::Keys, node_key::BadSignature};
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

/// Signatures that are to be checked together.
pub struct Batch {
    claims: Vec<Claim>,
    /// Points of the keys, each once, and where each key's is.
    keys: Vec<EdwardsPoint>,
    places: BTreeMap<NodeId, usize>,
    /// No key is malformed so far.
    is_formed: bool,
    transcript: blake3::Hasher,
}

/// In the terms of RFC 8032, section 5.1.7.
struct Claim {
    /// Place of `A`, the key.
    key: usize,
    /// `k`: the hash of `R`, `A` and the message.
    challenge: Scalar,
    /// `R` and `S`.
    signature: Signature,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            claims: Vec::new(),
            keys: Vec::new(),
            places: BTreeMap::new(),
            is_formed: true,
            transcript: Context::SignatureBatch.hasher(),
        }
    }
}

impl Batch {
    /// Adds the claim that `node` has signed `bytes` for this purpose.
    pub fn add(
        &mut self,
        keys: &mut impl Keys,
        node: &NodeId,
        context: Context,
        bytes: &[u8],
        signature: &Signature,
    ) {
        self.add_digest(keys, node, &hash(context, bytes), signature);
    }

    /// The same, of the digest of what was signed, which was made under the context of its purpose.
    pub(crate) fn add_digest(
        &mut self,
        keys: &mut impl Keys,
        node: &NodeId,
        digest: &Digest,
        signature: &Signature,
    ) {
        self.add_message(keys, node, &digest.0, signature);
    }

    /// Of messages of one length, outside of tests.
    fn add_message(
        &mut self,
        keys: &mut impl Keys,
        node: &NodeId,
        message: &[u8],
        signature: &Signature,
    ) {
        #[cfg(feature = "simulation")]
        super::meter::count(|operations| operations.ed25519_verified += 1);
        // One length each, so the transcript can be read in one way only.
        self.transcript.update(&node.0).update(&signature.0).update(message);
        let place = match self.places.get(node) {
            Some(place) => *place,
            None => {
                let Some(point) = keys.point(node) else {
                    self.is_formed = false;
                    return;
                };
                self.places.insert(*node, self.keys.len());
                self.keys.push(point.0);
                self.keys.len() - 1
            }
        };
        let challenge = Sha512::new()
            .chain_update(&signature.0[..32])
            .chain_update(node.0)
            .chain_update(message);
        let challenge = Scalar::from_bytes_mod_order_wide(&challenge.finalize().into());
        self.claims.push(Claim { key: place, challenge, signature: *signature });
    }

    /// Whether all claims are true. Which of them is false, only looking at each can tell.
    pub fn verify(self) -> Result<(), BadSignature> {
        let check = || self.holds().unwrap_or(false);
        #[cfg(feature = "simulation")]
        let check =
            || super::recent::verdict(&[b"batch", self.transcript.finalize().as_bytes()], check);
        if check() { Ok(()) } else { Err(BadSignature) }
    }

    /// ZIP-215, "Batch verification": with random `z` of 128 bits for each claim, `[8] (- [sum of z
    /// S] B + sum of [z] R + sum of [z k] A)` is the identity. The terms of one key are added
    /// up. `None`: something is malformed.
    fn holds(&self) -> Option<bool> {
        if !self.is_formed {
            return None;
        }
        let mut coefficients = self.transcript.finalize_xof();
        let mut of_base = Scalar::ZERO;
        let mut of_keys = alloc::vec![Scalar::ZERO; self.keys.len()];
        let (mut of_nonces, mut nonces) =
            (Vec::with_capacity(self.claims.len()), Vec::with_capacity(self.claims.len()));
        for Claim { key, challenge, signature } in &self.claims {
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
    use crate::crypto::{KnownKeys, NodeKey};
    use alloc::vec::Vec;

    type Case = (bool, NodeId, Signature, Vec<u8>);
    type Claimed = (NodeId, [u8; 8], Signature);

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

    /// Among honest ones.
    pub fn verdict_in_a_batch(
        known: &mut KnownKeys,
        node: &NodeId,
        signature: &Signature,
        message: &[u8],
    ) -> bool {
        let key = NodeKey::from_bytes(&[7; 32]);
        let mut batch = Batch::default();
        batch.add(
            known,
            &key.id(),
            Context::Transaction,
            b"before",
            &key.sign(Context::Transaction, b"before"),
        );
        batch.add_message(known, node, message, signature);
        batch.add(
            known,
            &key.id(),
            Context::Transaction,
            b"after",
            &key.sign(Context::Transaction, b"after"),
        );
        batch.verify().is_ok()
    }

    #[test]
    fn one_false_claim_spoils_the_batch() {
        let keys: Vec<NodeKey> = (1..=20).map(|n| NodeKey::from_bytes(&[n; 32])).collect();
        let mut known = KnownKeys::default();
        let mut verdict = |spoilt: Option<usize>| {
            let mut batch = Batch::default();
            for (i, key) in keys.iter().enumerate() {
                let said: &[u8] = if spoilt == Some(i) { b"no" } else { b"yes" };
                batch.add(
                    &mut known,
                    &key.id(),
                    Context::Transaction,
                    said,
                    &key.sign(Context::Transaction, b"yes"),
                );
            }
            batch.verify()
        };
        assert_eq!(verdict(None), Ok(()));
        assert!((0..keys.len()).all(|i| verdict(Some(i)).is_err()));
        assert_eq!(Batch::default().verify(), Ok(()), "nothing is claimed");
    }

    fn key(number: u64) -> NodeKey {
        let mut secret = [9; 32];
        secret[..8].copy_from_slice(&number.to_le_bytes());
        NodeKey::from_bytes(&secret)
    }

    /// Claims of keys by their numbers, each of a message of its own.
    fn claims(keys: impl IntoIterator<Item = u64>) -> Vec<Claimed> {
        let claim = |(place, number): (usize, u64)| {
            let (key, said) = (key(number), (place as u64).to_le_bytes());
            (key.id(), said, key.sign(Context::Transaction, &said))
        };
        keys.into_iter().enumerate().map(claim).collect()
    }

    fn holds(claims: &[Claimed]) -> bool {
        let (mut batch, mut known) = (Batch::default(), KnownKeys::default());
        for (node, said, signature) in claims {
            batch.add(&mut known, node, Context::Transaction, said, signature);
        }
        batch.verify().is_ok()
    }

    /// Adds to the scalar of a signature.
    fn shifted(signature: &Signature, by: Scalar) -> Signature {
        let mut bytes = signature.0;
        let scalar = Scalar::from_canonical_bytes(bytes[32..].try_into().unwrap()).unwrap() + by;
        bytes[32..].copy_from_slice(scalar.as_bytes());
        Signature(bytes)
    }

    #[test]
    fn false_claims_whose_errors_add_up_to_nothing_spoil_the_batch() {
        for keys in [[1, 1, 2], [1, 2, 3]] {
            let mut claims = claims(keys);
            assert!(holds(&claims));
            claims[0].2 = shifted(&claims[0].2, Scalar::ONE);
            claims[1].2 = shifted(&claims[1].2, -Scalar::ONE);
            assert!(!holds(&claims), "{keys:?}");
        }
        // Each signature is there, and none is of its message.
        let mut claims = claims([1, 1, 1]);
        let (first, second) = (claims[0].2, claims[1].2);
        (claims[0].2, claims[1].2) = (second, first);
        assert!(!holds(&claims));
    }

    #[test]
    fn what_is_no_point_or_no_scalar_spoils_the_batch_wherever_it_stands() {
        let no_point = (0..=u8::MAX)
            .map(|n| [n; 32])
            .find(|bytes| CompressedEdwardsY(*bytes).decompress().is_none());
        let no_point = no_point.unwrap();
        for place in [0, 4, 9] {
            let good = claims(0..10);
            let spoilt = |spoil: &dyn Fn(&mut Claimed)| {
                let mut claims = good.clone();
                spoil(&mut claims[place]);
                !holds(&claims)
            };
            assert!(holds(&good));
            assert!(spoilt(&|claim| claim.0 = NodeId(no_point)));
            assert!(spoilt(&|claim| claim.2.0[..32].copy_from_slice(&no_point)));
            assert!(spoilt(&|claim| claim.2.0[32..].fill(0xff)));
        }
    }

    /// The curve adds many points in another way than few.
    #[test]
    fn batches_of_all_sizes_hold_and_one_false_claim_spoils_them() {
        for len in [1, 2, 50, 94, 95, 96, 200, 600] {
            let mut claims = claims((0..len).map(|number| number % 300));
            assert!(holds(&claims), "{len}");
            let last = claims.len() - 1;
            claims[last].2 = shifted(&claims[last].2, Scalar::ONE);
            assert!(!holds(&claims), "{len}");
        }
        // With what only ZIP-215 takes among them.
        let (mut batch, mut known) = (Batch::default(), KnownKeys::default());
        for (node, said, signature) in claims(0..300) {
            batch.add(&mut known, &node, Context::Transaction, &said, &signature);
        }
        for (_, node, signature, message) in zip215() {
            batch.add_message(&mut known, &node, &message, &signature);
        }
        assert_eq!(batch.verify(), Ok(()));
    }
}
