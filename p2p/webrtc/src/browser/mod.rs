//! The browser side, on `RTCPeerConnection`: a libp2p `Transport` that dials `/webrtc-direct`, and
//! a [`Signaller`] for connections to other browsers.
//!
//! All of it runs on one thread with a window: workers have no `RTCPeerConnection`. A
//! [`channel::Channel`] connects an `RTCDataChannel` to a stream's core. Its callbacks hold only
//! weak references. They are removed from the data channel before they are dropped, so that no
//! event can reach a dropped closure.

mod channel;
mod events;
mod peer;
mod route;
mod signaller;
mod transport;

pub use peer::Connection;
pub use route::Route;
pub use signaller::Signaller;
pub use transport::{Config, Transport};

use crate::Error;
use wasm_bindgen::JsValue;

/// Converts a browser exception to an error.
fn js(e: JsValue) -> Error {
    Error::Engine(format!("{e:?}"))
}
