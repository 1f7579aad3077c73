//! Cryptography by adopted crates: BLAKE3 with a context per purpose, Ed25519 identities and
//! BLS12-381 votes. A verifiable random function and batch verification are built from the curve
//! and hash of adopted crates. No primitive is implemented here; Tequio defines only which bytes
//! are signed under which name.

pub mod bls;
pub mod hash;
pub mod key_cache;
#[cfg(feature = "simulation")]
pub mod meter;
pub mod node_key;
pub mod signature_batch;
#[cfg(feature = "simulation")]
mod verdict_cache;
pub mod vrf;

pub use hash::{HashContext, hash};
pub use key_cache::{KeyCache, KeyLookup, KeyPoint};
pub use node_key::{NodeKey, Signature};
