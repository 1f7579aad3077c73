//! Node identities: an Ed25519 public key is the node id, and its libp2p form is the peer id.
//!
//! Connections of peers with any other kind of key are refused, so inside Tequio the two are
//! equivalent.

pub use libp2p::PeerId;
use libp2p::{
    identity::{Keypair, PublicKey, ed25519},
    multiaddr::{Multiaddr, Protocol},
};
use tequio_core::types::NodeId;
use zeroize::Zeroizing;

/// A peer id of an Ed25519 key is the key itself: identity multihash (code 0, 36 bytes) over the
/// protobuf `{type = 1 (Ed25519), data = 32 bytes}`, as the libp2p peer-id specification has it.
const ED25519_PREFIX: [u8; 4] = [0x08, 0x01, 0x12, 0x20];
const IDENTITY_CODE: u64 = 0;

/// The peer id of a node, or `None` if the bytes are not a point of the curve.
pub fn peer_id(id: NodeId) -> Option<PeerId> {
    let key = ed25519::PublicKey::try_from_bytes(&id.0).ok()?;
    Some(PublicKey::from(key).to_peer_id())
}

/// The node behind a peer id, or `None` if its key is not an Ed25519 key.
pub fn node_id(peer: &PeerId) -> Option<NodeId> {
    let hash = peer.as_ref();
    let key = hash.digest().strip_prefix(&ED25519_PREFIX)?;
    (hash.code() == IDENTITY_CODE).then_some(())?;
    key.try_into().ok().map(NodeId)
}

/// Appends `/p2p/<id>` to `addr`, unless it already ends in a peer id.
pub fn with_peer(addr: Multiaddr, id: NodeId) -> Multiaddr {
    match (addr.iter().last(), peer_id(id)) {
        (Some(Protocol::P2p(_)), _) | (_, None) => addr,
        (_, Some(peer)) => addr.with(Protocol::P2p(peer)),
    }
}

/// The node id at the end of an address, if present.
pub fn node_of(addr: &Multiaddr) -> Option<NodeId> {
    match addr.iter().last()? {
        Protocol::P2p(peer) => node_id(&peer),
        _ => None,
    }
}

/// The address of a node by a circuit through the relay at `relay`, which must end in the relay's
/// `/p2p/<id>`.
pub fn circuit(relay: &Multiaddr, node: NodeId) -> Option<Multiaddr> {
    node_of(relay)?;
    Some(relay.clone().with(Protocol::P2pCircuit).with(Protocol::P2p(peer_id(node)?)))
}

/// The libp2p key pair of a secret; intermediate copies are erased.
pub(crate) fn keypair(secret: &Zeroizing<[u8; 32]>) -> Option<Keypair> {
    let mut bytes = secret.clone();
    Keypair::ed25519_from_bytes(bytes.as_mut_slice()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_and_peer_ids_convert_both_ways() {
        let keys = keypair(&Zeroizing::new([7; 32])).unwrap();
        let peer = keys.public().to_peer_id();
        let node = node_id(&peer).unwrap();
        assert_eq!(node.0, keys.public().try_into_ed25519().unwrap().to_bytes());
        assert_eq!(peer_id(node), Some(peer));
    }

    #[test]
    fn other_peer_ids_are_no_nodes() {
        // A SHA-256 peer id, as RSA keys have.
        let rsa: PeerId = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".parse().unwrap();
        assert_eq!(node_id(&rsa), None);
    }

    #[test]
    fn an_address_with_a_peer_id_is_unchanged() {
        let id =
            node_id(&keypair(&Zeroizing::new([7; 32])).unwrap().public().to_peer_id()).unwrap();
        let bare: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        let named = with_peer(bare.clone(), id);
        assert_eq!(named, bare.clone().with(Protocol::P2p(peer_id(id).unwrap())));
        assert_eq!(with_peer(named.clone(), id), named);
        assert_eq!((node_of(&named), node_of(&bare)), (Some(id), None));
        let circuit = circuit(&named, id).unwrap();
        assert_eq!(
            circuit.to_string(),
            format!("{named}/p2p-circuit/p2p/{}", peer_id(id).unwrap())
        );
    }

    #[test]
    fn a_circuit_needs_a_named_relay() {
        let id =
            node_id(&keypair(&Zeroizing::new([7; 32])).unwrap().public().to_peer_id()).unwrap();
        assert_eq!(circuit(&"/ip4/127.0.0.1/tcp/1".parse().unwrap(), id), None);
    }
}
