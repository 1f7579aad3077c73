//! Cryptography by kept crates: BLAKE3 with a context per purpose, Ed25519 identities, BLS12-381
//! votes, and a verifiable random function and batches of signatures put together from a kept curve
//! and hash. No primitive is written here; what is ours is which bytes are signed under which name.

pub mod batch;
pub mod bls;
pub mod hash;
pub mod known_keys;
#[cfg(feature = "simulation")]
pub mod meter;
pub mod node_key;
#[cfg(feature = "simulation")]
mod recent;
pub mod vrf;

pub use hash::{Context, hash};
pub use known_keys::{KeyPoint, Keys, KnownKeys};
pub use node_key::{NodeKey, Signature};
