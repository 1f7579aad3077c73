//! Ed25519 identities (RFC 8032). A signature covers a digest made under one [`Context`], so it
//! cannot be moved to another purpose. Verification is strict: non-canonical encodings and
//! small-order keys are refused, so a signature has one verdict everywhere.

use super::hash::{Context, hash};
use crate::types::NodeId;
use borsh::{BorshDeserialize, BorshSerialize};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};

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
    pub fn sign(&self, context: Context, bytes: &[u8]) -> Signature {
        #[cfg(feature = "simulation")]
        super::meter::count(|operations| operations.ed25519_signed += 1);
        Signature(self.0.sign(&hash(context, bytes).0).to_bytes())
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
    pub fn verify(&self, context: Context, bytes: &[u8], signature: &Signature) -> Result<(), BadSignature> {
        #[cfg(feature = "simulation")]
        super::meter::count(|operations| operations.ed25519_verified += 1);
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| BadSignature)?;
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        key.verify_strict(&hash(context, bytes).0, &signature).map_err(|_| BadSignature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_bound_to_key_bytes_and_purpose() {
        let (a, b) = (NodeKey::from_bytes(&[1; 32]), NodeKey::from_bytes(&[2; 32]));
        let signature = a.sign(Context::Transaction, b"x");
        assert_eq!(a.id().verify(Context::Transaction, b"x", &signature), Ok(()));
        assert!(a.id().verify(Context::Transaction, b"y", &signature).is_err());
        assert!(a.id().verify(Context::Vote, b"x", &signature).is_err());
        assert!(b.id().verify(Context::Transaction, b"x", &signature).is_err());
        let small_order = NodeId([0; 32]);
        assert!(small_order.verify(Context::Transaction, b"x", &Signature([0; 64])).is_err());
    }
}
