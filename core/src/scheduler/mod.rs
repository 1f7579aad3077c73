//! The scheduler: which worker computes which work unit, and how results are checked.
//!
//! It has two state machines that communicate only by [`crate::wire::work`]: the [`coordinator`] of
//! a job, and the [`worker`] on every full node and every contributing browser. Rule 5 of the
//! design holds here. A result enters the weights only after another identity, drawn after the
//! commitment, has computed the same digest, or after the coordinator's own host has. Jobs may
//! declare a smaller share, which their record then shows.

pub mod coordinator;
mod outbox;
pub mod score;
pub mod seeded_rng;
pub mod worker;
