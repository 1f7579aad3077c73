//! Proofs that a transaction is in a block ([`list`]), and that a key has a value or none in the
//! state ([`map`]). Prover and verifier are the same code on every host.

pub mod list;
pub mod map;
