//! Keys and signatures as they travel, and the ciphersuites that they are made for.

use borsh::{BorshDeserialize, BorshSerialize};

/// Ciphersuite of votes, section 4.2.3 of the draft.
pub(super) const VOTE_TAG: &[u8] = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";
/// Ciphersuite of proofs of possession.
pub(super) const POSSESSION_TAG: &[u8] = b"BLS_POP_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";

/// A signature or an aggregate of several, compressed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct Signature(pub [u8; 48]);

/// A public key as it travels, compressed and unchecked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct PublicKeyBytes(pub [u8; 96]);

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
