//! BLS12-381 votes: signatures in G1 (48 bytes), public keys in G2 (96 bytes), the
//! proof-of-possession scheme of draft-irtf-cfrg-bls-signature-05 with the hash to curve of RFC
//! 9380.
//!
//! Two implementations share one interface: `pure` (bls12_381, builds everywhere) and `fast` (blst,
//! native). They accept the same byte strings and produce the same signatures; a test compares
//! them. Refused: points off the curve or outside the subgroup, the identity as key or signature,
//! non-canonical encodings, and keys without a proof of possession.

mod encoded;
#[cfg(feature = "blst")]
mod fast;
mod keys;
#[cfg(feature = "simulation")]
pub mod known_secrets;
mod pure;
mod votes;

#[cfg(feature = "blst")]
use fast as backend;
#[cfg(not(feature = "blst"))]
use pure as backend;

pub use encoded::{PublicKeyBytes, Signature};
pub use keys::{BlsError, PublicKey, SecretKey};
pub use votes::{aggregate, verify_aggregate};

#[cfg(test)]
mod tests;
