//! The relay of Tequio: the entry point for browsers. Anyone can run one, and no one has to trust
//! it.
//!
//! It listens for browsers (WebRTC-direct, WebSocket) and full nodes (TCP, QUIC), carries circuits
//! between them, forwards [`Light`](tequio_p2p::Protocol::Light) requests to full nodes
//! ([`forward`]), and serves the page with the data that a browser needs to start ([`http`]).
//! With `--turn` it is a STUN and TURN server too ([`turn`]), through which browsers reach each
//! other. It returns answers unchanged. Light nodes verify them, so they detect a changed byte.
//!
//! Its only state is its identity and its WebRTC certificate ([`keys`]).

#![forbid(unsafe_code)]

mod addresses;
mod checkpoint_age;
pub mod cli;
mod config;
mod error;
pub mod forward;
pub mod http;
pub mod keys;
mod metrics;
mod service;
mod tls;
pub mod turn;

pub use addresses::Addresses;
pub use config::{Config, Operator, TlsFiles};
pub use error::StartError;
pub use service::Relay;
pub use turn::{TurnConfig, TurnLimits, TurnServer};

use std::num::NonZeroU32;
use tequio_host::RateLimit;

/// Burst of requests, in seconds of the average rate.
const BURST_S: NonZeroU32 = NonZeroU32::new(5).unwrap();

/// The rate limit of requests per client, at least one per second.
fn rate_limit(per_s: u32) -> RateLimit {
    let per_s = NonZeroU32::new(per_s).unwrap_or(NonZeroU32::MIN);
    RateLimit::start(per_s, per_s.saturating_mul(BURST_S))
}
