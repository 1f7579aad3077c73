//! Peers: which ones this node is connected with, and by which paths.

pub mod agent;
pub(super) mod coordinator_discovery;
pub mod devnet;
pub(super) mod relay_reservations;
