//! Connections: what is dialled and when, which connection to a peer is used, and what bounds them.
//!
//! The state machines do no I/O: they return the actions that are due, and [`crate::swarm`] does
//! it.

pub mod address_filter;
pub mod announced_addresses;
pub mod backoff;
pub mod happy_eyeballs;
pub mod limits;
pub mod listeners;
pub mod peers;
pub mod pending_dials;
pub mod persistent_peers;
pub mod ping_waker;
pub mod pings;
pub mod relay_metrics;
pub mod webrtc_upgrade;
