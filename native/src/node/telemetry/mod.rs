//! Metrics and events of the node.

pub mod events;
pub mod metrics;
