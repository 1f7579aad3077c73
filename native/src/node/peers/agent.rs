//! Agent strings: what peers claim to be, full nodes or relays.

use tequio_core::types::NodeId;
use tequio_p2p::{Network, Path, PeerInfo};

/// Prefix of the agent string of full nodes.
pub const AGENT_PREFIX: &str = "tequio-node/";
/// Prefix of the agent string of relays.
const RELAY_AGENT_PREFIX: &str = "tequio-relay/";

/// Agent string of this program.
pub fn agent() -> String {
    format!("{AGENT_PREFIX}{}", env!("CARGO_PKG_VERSION"))
}

/// Connected peers that claim to be full nodes.
pub fn full_nodes(network: &Network) -> Vec<NodeId> {
    network.peers_by_agent(|agent| agent.starts_with(AGENT_PREFIX))
}

/// Whether a peer claims to be a full node.
pub fn is_full_node(peer: &PeerInfo) -> bool {
    peer.agent.as_ref().is_some_and(|agent| agent.starts_with(AGENT_PREFIX))
}

/// Whether a peer is a full node and connected without a circuit.
pub fn is_direct_full_node(peer: &PeerInfo) -> bool {
    matches!(peer.path, Path::Direct(_)) && is_full_node(peer)
}

/// Whether a peer claims to be a relay.
pub fn is_relay(peer: &PeerInfo) -> bool {
    peer.agent.as_ref().is_some_and(|agent| agent.starts_with(RELAY_AGENT_PREFIX))
}
