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

/// Connected peers that may be full nodes.
pub fn full_nodes(network: &Network) -> Vec<NodeId> {
    network.peers_where(may_be_full_node)
}

/// Whether a peer claims to be a full node, or could not be identified. Requests to another kind of
/// peer fail without harm, whereas a node whose only peer is unidentified would never follow the
/// chain.
pub fn may_be_full_node(peer: &PeerInfo) -> bool {
    is_full_node(peer) || peer.agent.is_none() && peer.identify_error.is_some()
}

/// Whether a peer claims to be a full node.
pub fn is_full_node(peer: &PeerInfo) -> bool {
    peer.agent.as_ref().is_some_and(|agent| agent.starts_with(AGENT_PREFIX))
}

/// Whether a peer may be a full node and is connected without a circuit.
pub fn is_direct_full_node(peer: &PeerInfo) -> bool {
    matches!(peer.path, Path::Direct(_)) && may_be_full_node(peer)
}

/// Whether a peer claims to be a relay.
pub fn is_relay(peer: &PeerInfo) -> bool {
    peer.agent.as_ref().is_some_and(|agent| agent.starts_with(RELAY_AGENT_PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Regression: a node whose only peer could not be identified never followed the chain.
    #[test]
    fn an_unidentified_peer_may_be_a_full_node() {
        let peer = |agent: Option<&str>, identify_error: Option<&str>| PeerInfo {
            id: NodeId([1; 32]),
            path: Path::Direct(tequio_p2p::TransportKind::Tcp),
            addr: tequio_p2p::Multiaddr::empty(),
            agent: agent.map(str::to_owned),
            identify_error: identify_error.map(str::to_owned),
            rtt: None,
            addrs: Vec::new(),
        };
        assert!(may_be_full_node(&peer(Some("tequio-node/1"), None)));
        assert!(may_be_full_node(&peer(None, Some("message too long"))));
        assert!(!may_be_full_node(&peer(None, None)), "identify may still arrive");
        assert!(!may_be_full_node(&peer(Some("tequio-relay/1"), None)));
        assert!(!is_full_node(&peer(None, Some("message too long"))));
    }
}
