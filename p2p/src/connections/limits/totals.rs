//! Bounds on all connections together, by number and by the memory of the process.

use libp2p::connection_limits::{self, ConnectionLimits};
#[cfg(not(target_arch = "wasm32"))]
use libp2p::{memory_connection_limits, swarm::behaviour::toggle::Toggle};

use crate::config::Limits;

#[cfg(not(target_arch = "wasm32"))]
pub type Memory = Toggle<memory_connection_limits::Behaviour>;
// A browser tab cannot read its memory use.
#[cfg(target_arch = "wasm32")]
pub type Memory = libp2p::swarm::dummy::Behaviour;

/// The bounds on the number of connections.
pub fn connections(limits: &Limits) -> connection_limits::Behaviour {
    let connections = ConnectionLimits::default()
        .with_max_pending_incoming(Some(limits.pending_inbound))
        .with_max_pending_outgoing(Some(limits.pending_outbound))
        .with_max_established_incoming(Some(limits.inbound))
        .with_max_established_outgoing(Some(limits.outbound))
        .with_max_established_per_peer(Some(limits.per_peer));
    connection_limits::Behaviour::new(connections)
}

/// The bound on the memory of the process.
#[cfg(not(target_arch = "wasm32"))]
pub fn memory(limits: &Limits) -> Memory {
    limits.memory_bytes.map(memory_connection_limits::Behaviour::with_max_bytes).into()
}

#[cfg(target_arch = "wasm32")]
pub fn memory(_: &Limits) -> Memory {
    Memory {}
}
