//! Verification of transactions before they enter the pool: those of clients and those of peers.

pub mod admission;
pub(super) mod fetch;
pub mod ingest;
pub mod signature_batcher;
