//! Browser-to-browser `/webrtc`: a transport that signals over circuits, and the behaviour that
//! finds those.
//!
//! Two tabs that reach each other through a relay's circuit open a substream of it, tell each other
//! session descriptions ([`tequio_webrtc`] judges and connects), and have a connection of their
//! own. Its peer is the circuit's, which is authenticated. Only tabs do this: a native node neither
//! offers the protocol nor dials such addresses.
//!
//! The addresses are `<relay>/p2p-circuit/webrtc/p2p/<peer>`. The transport stands before the relay
//! client's, which would take them for circuits.

#[cfg(target_arch = "wasm32")]
mod behaviour;
#[cfg(target_arch = "wasm32")]
mod handler;
#[cfg(any(test, target_arch = "wasm32"))]
mod slots;
#[cfg(target_arch = "wasm32")]
mod transport;

#[cfg(target_arch = "wasm32")]
pub use self::{behaviour::Behaviour, transport::Transport};

use libp2p::StreamProtocol;

/// The libp2p protocol name.
pub const PROTOCOL: StreamProtocol = StreamProtocol::new(tequio_webrtc::SIGNALLING_PROTOCOL);

/// A transport and its behaviour, which belong into one swarm.
#[cfg(target_arch = "wasm32")]
pub fn new(signaller: tequio_webrtc::Signaller) -> (Transport, Behaviour) {
    use futures::channel::mpsc;
    let slots = slots::Slots::default();
    // Each message holds a slot, so neither queue grows beyond their number.
    let (wishes_tx, wishes) = mpsc::unbounded();
    let (incoming_tx, incoming) = mpsc::unbounded();
    let transport = Transport::new(signaller, slots.clone(), wishes_tx, incoming);
    (transport, Behaviour::new(slots, wishes, incoming_tx))
}
