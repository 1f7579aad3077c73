//! Writes of this node to the ledger.

pub(super) mod error_hints;
pub mod outbox;
pub mod submit;
