//! Jobs at this node: those that it coordinates, works for and audits, and the progress of all.

pub mod audit;
pub(super) mod coordinator;
pub mod coordinators;
pub(super) mod polls;
pub mod progress;
pub(super) mod worker;
