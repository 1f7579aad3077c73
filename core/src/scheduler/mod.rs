//! The scheduler: which worker computes which work unit, and how results are checked.
//!
//! It has two state machines that communicate only by [`crate::wire::work`]: the [`coordinator`] of
//! a job, and the [`worker`] on every full node and every contributing browser. A result enters the
//! weights only after another identity, drawn after the commitment, has computed the same digest,
//! or after the coordinator's own host has. Jobs may declare a smaller share, which their record
//! then shows.

mod common;
pub mod coordinator;
pub mod worker;

pub use common::error::ComputeFailed;
