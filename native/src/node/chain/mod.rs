//! The chain at this node: the consensus driver, and what follows or bounds the chain of blocks.

pub(super) mod driver;
pub(super) mod handovers;
pub(super) mod inputs;
pub mod proofs;
pub mod prune;
pub(super) mod snapshot_cache;
pub(super) mod state_sync;
pub mod sync;
pub mod sync_status;
