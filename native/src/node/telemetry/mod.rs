//! What the node shows of itself, and measurements of its host.

pub(super) mod cpu_pressure;
pub mod events;
pub mod metrics;
