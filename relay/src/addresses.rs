//! The addresses of this relay at this moment: interfaces appear and disappear.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};
use tequio_core::types::NodeId;
use tequio_p2p::{Multiaddr, TransportKind, identity};

/// The relay's addresses, each announced with its `/p2p/<id>`.
#[derive(Debug)]
pub struct Addresses {
    id: NodeId,
    external: Vec<Multiaddr>,
    listening: Mutex<BTreeSet<Multiaddr>>,
}

impl Addresses {
    /// Announces `external` instead of the listening addresses, if `external` is not empty.
    pub fn new(id: NodeId, external: Vec<Multiaddr>) -> Self {
        Self { id, external, listening: Mutex::default() }
    }

    /// The relay's node id.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Adds a listening address.
    pub fn add(&self, addr: Multiaddr) {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner).insert(addr);
    }

    /// Removes a listening address.
    pub fn remove(&self, addr: &Multiaddr) {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner).remove(addr);
    }

    /// The listening addresses.
    pub fn listening(&self) -> Vec<Multiaddr> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// The addresses to announce.
    pub fn all(&self) -> Vec<Multiaddr> {
        let named = |addr: &Multiaddr| identity::with_peer(addr.clone(), self.id);
        if self.external.is_empty() {
            self.listening
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
                .map(named)
                .collect()
        } else {
            self.external.iter().map(named).collect()
        }
    }

    /// The addresses that a browser can dial, WebRTC-direct first.
    pub fn for_browsers(&self) -> Vec<Multiaddr> {
        let all = self.all();
        let of = |kind| all.iter().filter(move |a| TransportKind::of(a) == Some(kind)).cloned();
        of(TransportKind::WebRtc).chain(of(TransportKind::WebSocket)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_get_only_addresses_that_they_can_dial() {
        // Any valid key will do: this is the base point of Ed25519.
        let mut id = [0x66; 32];
        id[0] = 0x58;
        let addresses = Addresses::new(NodeId(id), vec![]);
        for addr in [
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/127.0.0.1/tcp/2/ws",
            "/ip4/127.0.0.1/udp/3/webrtc-direct",
        ] {
            addresses.add(addr.parse().unwrap());
        }
        assert_eq!(addresses.all().len(), 3);
        let got: Vec<String> = addresses.for_browsers().iter().map(ToString::to_string).collect();
        assert!(got[0].starts_with("/ip4/127.0.0.1/udp/3/webrtc-direct/p2p/12D3Koo"), "{got:?}");
        assert!(got[1].starts_with("/ip4/127.0.0.1/tcp/2/ws/p2p/12D3Koo"), "{got:?}");
        addresses.remove(&"/ip4/127.0.0.1/tcp/2/ws".parse().unwrap());
        assert_eq!(addresses.for_browsers().len(), 1);
    }
}
