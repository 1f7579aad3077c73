//! Signalling of browser-to-browser `/webrtc` (libp2p's `webrtc/webrtc.md`), without a browser and
//! without I/O of its own.
//!
//! Two peers that are connected through a relay's circuit exchange an offer, an answer and ICE
//! candidates over a stream on it. The circuit is authenticated, and the descriptions contain the
//! certificates' hashes. So the descriptions authenticate the new connection, and no Noise
//! handshake follows on it. These few messages are therefore part of the authentication: a message
//! that is not exactly as expected is refused with a [`BadSignal`].
//!
//! - [`message`]: the encoding;
//! - [`description`]: the required content of a session description, and the added window;
//! - [`exchange`]: the order of the messages;
//! - [`limits`]: the lengths, numbers and times that they may have.

pub mod description;
mod error;
pub mod exchange;
pub mod limits;
pub mod message;

pub use error::BadSignal;
pub use exchange::Role;
pub use limits::SIGNALLING_TIMEOUT;

/// The libp2p protocol name.
pub const SIGNALLING_PROTOCOL: &str = "/webrtc-signaling/0.0.1";
