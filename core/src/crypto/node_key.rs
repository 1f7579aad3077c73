//! Ed25519 identities (RFC 8032). A signature covers a digest made under one [`HashContext`], so it
//! cannot be moved to another purpose. Verification follows
//! [ZIP-215](https://zips.z.cash/zip-0215), which leaves no case open: a signature has the same
//! verdict alone and in a [batch](super::signature_batch), in every implementation.
//!
//! One crate creates keys, signs with them and erases them; another, which follows ZIP-215,
//! verifies single signatures.

use super::hash::{HashContext, hash};
use crate::types::{Digest, NodeId};
use borsh::{BorshDeserialize, BorshSerialize};
use ed25519_dalek::{Signer, SigningKey};
use ed25519_zebra::VerificationKey;

/// A node's secret key. Erased from memory when dropped.
#[derive(Clone)]
pub struct NodeKey(SigningKey);

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Signature(pub [u8; 64]);

/// The signature does not belong to the key and the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not valid")]
pub struct BadSignature;

impl NodeKey {
    /// From 32 secret bytes, which the caller draws from the operating system.
    pub fn from_bytes(secret: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(secret))
    }

    /// The secret itself, for the keystore and for libp2p. Handle with care.
    pub fn to_bytes(&self) -> zeroize::Zeroizing<[u8; 32]> {
        zeroize::Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    pub fn id(&self) -> NodeId {
        NodeId(self.0.verifying_key().to_bytes())
    }

    /// Signs bytes for one purpose.
    pub fn sign(&self, context: HashContext, bytes: &[u8]) -> Signature {
        self.sign_digest(&hash(context, bytes))
    }

    /// Like [`Self::sign`], for the digest of the bytes, made under the context of its purpose.
    pub(crate) fn sign_digest(&self, digest: &Digest) -> Signature {
        #[cfg(feature = "simulation")]
        super::meter::count(|operations| operations.ed25519_signed += 1);
        Signature(self.0.sign(&digest.0).to_bytes())
    }
}

impl core::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "NodeKey of {:?}", self.id())
    }
}

impl core::fmt::Debug for Signature {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Signature")
    }
}

impl NodeId {
    /// Checks that the holder of this identity signed `bytes` for this purpose.
    pub fn verify(
        &self,
        context: HashContext,
        bytes: &[u8],
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        self.verify_digest(&hash(context, bytes), signature)
    }

    /// Like [`Self::verify`], for the digest of the bytes, made under the context of its purpose.
    pub(crate) fn verify_digest(
        &self,
        digest: &Digest,
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        self.verify_message(&digest.0, signature)
    }

    fn verify_message(&self, message: &[u8], signature: &Signature) -> Result<(), BadSignature> {
        let check = || self.has_signed(message, signature);
        #[cfg(feature = "simulation")]
        let check = || {
            super::meter::count(|operations| operations.ed25519_verified += 1);
            super::verdict_cache::cached_verdict(
                &[b"ed25519", &self.0, &signature.0, message],
                check,
            )
        };
        if check() { Ok(()) } else { Err(BadSignature) }
    }

    fn has_signed(&self, message: &[u8], signature: &Signature) -> bool {
        VerificationKey::try_from(self.0)
            .is_ok_and(|key| key.verify(&signature.0.into(), message).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn a_signature_is_bound_to_key_bytes_and_purpose() {
        let (a, b) = (NodeKey::from_bytes(&[1; 32]), NodeKey::from_bytes(&[2; 32]));
        let signature = a.sign(HashContext::Transaction, b"x");
        assert_eq!(a.id().verify(HashContext::Transaction, b"x", &signature), Ok(()));
        assert!(a.id().verify(HashContext::Transaction, b"y", &signature).is_err());
        assert!(a.id().verify(HashContext::Vote, b"x", &signature).is_err());
        assert!(b.id().verify(HashContext::Transaction, b"x", &signature).is_err());
    }

    #[test]
    fn edge_cases_get_the_zip_215_verdict_alone_and_in_a_batch() {
        use crate::crypto::{
            KeyCache,
            signature_batch::tests::{speccheck, verdict_in_a_batch, zip215},
        };
        let cases: Vec<_> = zip215().into_iter().chain(speccheck()).collect();
        assert_eq!(cases.len(), 196 + 12);
        for (valid, key, signature, message) in &cases {
            assert_eq!(key.verify_message(message, signature).is_ok(), *valid, "{key:?}");
            let mut key_cache = KeyCache::default();
            assert_eq!(
                verdict_in_a_batch(&mut key_cache, key, signature, message),
                *valid,
                "{key:?}"
            );
            assert_eq!(
                verdict_in_a_batch(&mut key_cache, key, signature, message),
                *valid,
                "{key:?} is known"
            );
        }
    }
}
