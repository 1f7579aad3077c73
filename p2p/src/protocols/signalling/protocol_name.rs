//! The name by which tabs recognise each other.

use libp2p::StreamProtocol;

/// The libp2p protocol name.
pub const PROTOCOL: StreamProtocol = StreamProtocol::new(tequio_webrtc::SIGNALLING_PROTOCOL);
