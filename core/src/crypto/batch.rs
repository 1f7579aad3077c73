//! Many Ed25519 signatures at once, for about half of what they cost one by one. By the rules of ZIP-215 the batch holds
//! exactly if each of its signatures does, so nobody can split those who verify in batches from those who do not.
//!
//! The random coefficients of the check come from a hash over all that is checked (a Fiat-Shamir transform), so this stays
//! a pure function: whoever wants a bad batch to pass has to find one whose own hash lets it, at 2^128 tries.

use super::{Context, Signature, hash, node_key::BadSignature};
use crate::types::{Digest, NodeId};
use core::convert::Infallible;
use ed25519_zebra::batch::Verifier;
use rand_core::{TryCryptoRng, TryRng};

/// Signatures that are to be checked together.
pub struct Batch {
    verifier: Verifier,
    transcript: blake3::Hasher,
}

impl Default for Batch {
    fn default() -> Self {
        Self { verifier: Verifier::new(), transcript: Context::SignatureBatch.hasher() }
    }
}

impl Batch {
    /// Adds the claim that `node` has signed `bytes` for this purpose.
    pub fn add(&mut self, node: &NodeId, context: Context, bytes: &[u8], signature: &Signature) {
        self.add_digest(node, &hash(context, bytes), signature);
    }

    /// The same, of the digest of what was signed, which was made under the context of its purpose.
    pub(crate) fn add_digest(&mut self, node: &NodeId, digest: &Digest, signature: &Signature) {
        self.add_message(node, &digest.0, signature);
    }

    fn add_message(&mut self, node: &NodeId, message: &[u8], signature: &Signature) {
        #[cfg(feature = "simulation")]
        super::meter::count(|operations| operations.ed25519_verified += 1);
        // Fixed lengths first, and the message by its digest: the transcript can be read in one way only.
        self.transcript.update(&node.0).update(&signature.0).update(blake3::hash(message).as_bytes());
        self.verifier.queue((node.0.into(), signature.0.into(), message));
    }

    /// Whether all claims are true. Which of them is false, only looking at each can tell.
    pub fn verify(self) -> Result<(), BadSignature> {
        let Self { verifier, transcript } = self;
        let check = || verifier.verify(Coefficients(transcript.finalize_xof())).is_ok();
        #[cfg(feature = "simulation")]
        let check = || super::recent::verdict(&[b"batch", transcript.finalize().as_bytes()], check);
        if check() { Ok(()) } else { Err(BadSignature) }
    }
}

/// Unpredictable before the batch is complete.
struct Coefficients(blake3::OutputReader);

impl TryRng for Coefficients {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Coefficients {}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::crypto::NodeKey;
    use alloc::vec::Vec;

    type Case = (bool, NodeId, Signature, Vec<u8>);

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
    pub fn verdict_in_a_batch(node: &NodeId, signature: &Signature, message: &[u8]) -> bool {
        let key = NodeKey::from_bytes(&[7; 32]);
        let mut batch = Batch::default();
        batch.add(&key.id(), Context::Transaction, b"before", &key.sign(Context::Transaction, b"before"));
        batch.add_message(node, message, signature);
        batch.add(&key.id(), Context::Transaction, b"after", &key.sign(Context::Transaction, b"after"));
        batch.verify().is_ok()
    }

    #[test]
    fn one_false_claim_spoils_the_batch() {
        let keys: Vec<NodeKey> = (1..=20).map(|n| NodeKey::from_bytes(&[n; 32])).collect();
        let verdict = |spoilt: Option<usize>| {
            let mut batch = Batch::default();
            for (i, key) in keys.iter().enumerate() {
                let said: &[u8] = if spoilt == Some(i) { b"no" } else { b"yes" };
                batch.add(&key.id(), Context::Transaction, said, &key.sign(Context::Transaction, b"yes"));
            }
            batch.verify()
        };
        assert_eq!(verdict(None), Ok(()));
        assert!((0..keys.len()).all(|i| verdict(Some(i)).is_err()));
        assert_eq!(Batch::default().verify(), Ok(()), "nothing is claimed");
    }
}
