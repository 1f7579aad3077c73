//! The browser side, on `RTCPeerConnection`: a libp2p `Transport` that dials `/webrtc-direct`, and
//! a [`Signaller`] for connections to other browsers.
//!
//! Everything happens on one thread, and not in workers, which have no `RTCPeerConnection`. A
//! [`channel::Channel`] ties an `RTCDataChannel` to a stream's core; its callbacks hold only weak
//! references, and are taken off the data channel before they are dropped, so that no event can
//! reach a dropped closure.

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

/// An exception of the browser.
fn js(e: JsValue) -> Error {
    Error::Engine(format!("{e:?}"))
}
