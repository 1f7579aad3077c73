//! WebRTC for libp2p: WebRTC-direct with a native listener and dialer (on `str0m`) and a browser
//! dialer (on `web-sys`), and browser-to-browser `/webrtc`.
//!
//! The specification is libp2p's `webrtc/webrtc-direct.md` (handshakes v1 and v2) and the framing
//! of `webrtc/README.md`. Both halves share all code that does no I/O:
//!
//! - `frame`: the protobuf framing of a data channel;
//! - `stream`: the state machine of one stream, with flow control per stream;
//! - `budget`: the memory limits of one connection, and of all together;
//! - `addr`: addresses and certificate fingerprints;
//! - `auth`: Noise on data channel 0, bound to both DTLS certificates;
//! - `version`: the two handshakes;
//! - `signal`: offer, answer and candidates of browser-to-browser `/webrtc`, checked before a
//!   browser receives them;
//! - `ice_server`: the STUN and TURN servers that a browser may use, bounded.
//!
//! No input of a remote can panic this crate or make it hold more memory than the named limits of
//! `Config` and of these modules.

mod addr;
mod auth;
mod budget;
mod error;
mod frame;
mod ice_server;
mod signal;
mod stream;
mod version;

#[cfg(not(target_arch = "wasm32"))]
mod native;
#[cfg(not(target_arch = "wasm32"))]
pub use native::{BadCertificate, Certificate, Config, Connection, Transport};

#[cfg(target_arch = "wasm32")]
mod browser;
#[cfg(target_arch = "wasm32")]
pub use browser::{Config, Connection, Route, Signaller, Transport};

#[cfg(not(target_arch = "wasm32"))]
#[doc(hidden)]
pub mod fuzzing;
mod sdp;

pub use error::{Closed, Error, Violation};
pub use ice_server::{
    BadIceServers, ICE_SERVERS_MAX, ICE_TEXT_LEN_MAX, ICE_URLS_MAX, IceServer, IceServers,
    check_ice_servers,
};
pub use signal::{BadSignal, Role, SIGNALLING_PROTOCOL, SIGNALLING_TIMEOUT};
pub use stream::Stream;
pub use version::DialVersion;
