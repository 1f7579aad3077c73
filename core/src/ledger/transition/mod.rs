//! The state transition: one pure function from a state, a block's context and its transactions to
//! the next state.
//!
//! An inadmissible transaction (nonce, expiry, unknown account) changes nothing. An admissible one
//! that fails uses up its nonce and leaves a receipt with the reason. Every replica computes the
//! same receipts.
//!
//! `apply.rs` is the order of a block; each other file holds the rules of one domain.

mod accounts;
pub mod admission;
mod apply;
mod error;
mod executor;
pub mod jobs;
mod membership;
mod penalties;
pub mod refs;
pub mod rewards;

pub use accounts::SenderView;
pub use apply::{Outcome, Receipt};
pub use error::TransactionError;
pub use executor::BlockContext;

#[cfg(test)]
mod tests;
