//! Secret keys, and public keys whose point has been checked.

use super::{backend, encoded::PublicKeyBytes, pure};
use crate::crypto::hash::HashContext;
use zeroize::Zeroizing;

/// A public key that has been decoded and is in the subgroup.
#[derive(Clone)]
pub struct PublicKey {
    pub(super) bytes: PublicKeyBytes,
    pub(super) point: backend::Point,
}

/// A secret scalar, big-endian, not zero and below the group's order. Erased when dropped.
#[derive(Clone)]
pub struct SecretKey(pub(super) Zeroizing<[u8; 32]>);

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
}

impl core::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("bls::SecretKey")
    }
}

impl PublicKeyBytes {
    /// Decodes and checks the point. Costs a subgroup check: keep the result.
    pub fn decode(self) -> Result<PublicKey, BlsError> {
        let point = backend::decode_key(&self.0).ok_or(BlsError::BadKey)?;
        Ok(PublicKey { bytes: self, point })
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
