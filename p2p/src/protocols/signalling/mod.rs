//! Browser-to-browser `/webrtc`: a transport that signals over circuits, and a behaviour that finds
//! the circuits.
//!
//! Two tabs that are connected through a relay's circuit open a substream on it and exchange
//! session descriptions, which [`tequio_webrtc`] checks before it connects. The new direct
//! connection has the peer id of the circuit, which is authenticated. Only tabs do this: a native
//! node neither offers the protocol nor dials such addresses.
//!
//! The addresses are `<relay>/p2p-circuit/webrtc/p2p/<peer>`. This transport precedes the relay
//! client's transport, which would treat them as circuits.

#[cfg(target_arch = "wasm32")]
mod behaviour;
#[cfg(target_arch = "wasm32")]
mod handler;
mod protocol_name;
#[cfg(any(test, target_arch = "wasm32"))]
mod slots;
#[cfg(target_arch = "wasm32")]
mod transport;

pub use self::protocol_name::PROTOCOL;
#[cfg(target_arch = "wasm32")]
pub use self::{behaviour::Behaviour, transport::Transport};

/// Returns a transport and its behaviour, which belong to the same swarm.
#[cfg(target_arch = "wasm32")]
pub fn new(signaller: tequio_webrtc::Signaller) -> (Transport, Behaviour) {
    use futures::channel::mpsc;
    let slots = slots::Slots::default();
    // Each message holds a slot, so neither queue grows beyond the number of slots.
    let (open_requests_tx, open_requests) = mpsc::unbounded();
    let (incoming_tx, incoming) = mpsc::unbounded();
    let transport = Transport::new(signaller, slots.clone(), open_requests_tx, incoming);
    (transport, Behaviour::new(slots, open_requests, incoming_tx))
}
