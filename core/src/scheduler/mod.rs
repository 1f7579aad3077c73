//! The resource pool: who computes which lane, and what has to hold before a lane counts.
//!
//! Two machines that never meet but through [`crate::wire::work`]: the [`coordinator`] of a job,
//! and the [`worker`] that every full node and every contributing browser runs. Rule 5 of the
//! design holds here: a result enters the weights only after another identity, drawn after the
//! commitment, has come to the same digest, or after the coordinator's own host has; jobs may
//! declare a smaller share, which their record then shows.

pub mod coordinator;
pub mod draw;
mod outbox;
pub mod score;
pub mod worker;
