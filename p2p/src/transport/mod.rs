//! The transports of a host, composed by hand so that exactly one of them accepts each address.
//!
//! Order: in a browser signalled connections, then circuits, WebRTC-direct and WebSocket. The
//! transport that resolves names is the last, because a DNS transport accepts every address and
//! fails only later. All transports below the circuits are metered.

#[cfg(target_arch = "wasm32")]
mod browser;
pub mod cancel;
#[cfg(target_arch = "wasm32")]
mod deferred_close;
mod deferred_flush;
pub mod idle_timeout;
#[cfg(not(target_arch = "wasm32"))]
mod native;
#[cfg(not(target_arch = "wasm32"))]
mod reload;
pub mod traffic;
mod typed_end;

use std::time::Duration;

#[cfg(target_arch = "wasm32")]
pub use browser::{build, can_dial, probe};
use libp2p::{
    PeerId, Transport, core::muxing::StreamMuxerBox, core::transport::Boxed,
    core::upgrade::Version, identity::Keypair, noise, relay, yamux,
};
#[cfg(not(target_arch = "wasm32"))]
pub use native::{build, can_dial, probe};

use self::{deferred_flush::DeferredFlushNoise, idle_timeout::IdleTimeout, typed_end::TypedYamux};
use crate::error::SpawnError;

/// Time limit for a connection and its upgrades, dialled or accepted.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// Substreams of one connection; both sides together use fewer.
const SUBSTREAMS_MAX: usize = 512;

pub type Connections = Boxed<(PeerId, StreamMuxerBox)>;

fn noise(keys: &Keypair) -> Result<noise::Config, SpawnError> {
    noise::Config::new(keys).map_err(|error| SpawnError::Transport(error.to_string()))
}

/// Noise for transports where an extra message costs more than an extra poll of the writing task.
fn deferred_noise(keys: &Keypair) -> Result<DeferredFlushNoise, SpawnError> {
    noise(keys).map(DeferredFlushNoise)
}

fn yamux() -> TypedYamux {
    let mut config = yamux::Config::default();
    config.set_max_num_streams(SUBSTREAMS_MAX);
    TypedYamux(config)
}

/// Circuits through a relay, authenticated and encrypted end to end inside the circuit.
fn circuits(relay: relay::client::Transport, keys: &Keypair) -> Result<Connections, SpawnError> {
    let transport = relay.map(|circuit, _| IdleTimeout::new(circuit));
    Ok(transport
        .upgrade(Version::V1Lazy)
        .authenticate(deferred_noise(keys)?)
        .multiplex(yamux())
        .timeout(CONNECT_TIMEOUT)
        .boxed())
}
