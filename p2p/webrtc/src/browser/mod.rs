//! The browser side: a libp2p `Transport` that dials `/webrtc-direct` with `RTCPeerConnection`.
//!
//! Everything happens on one thread, and not in workers, which have no `RTCPeerConnection`. A
//! [`channel::Channel`] ties an `RTCDataChannel` to a stream's core; its callbacks hold only weak
//! references, and are taken off the data channel before they are dropped, so that no event can
//! reach a dropped closure.

mod channel;
mod peer;
mod transport;

pub use peer::Connection;
pub use transport::{Config, Transport};

use crate::Error;
use wasm_bindgen::JsValue;

/// An exception of the browser.
fn js(e: JsValue) -> Error {
    Error::Engine(format!("{e:?}"))
}
