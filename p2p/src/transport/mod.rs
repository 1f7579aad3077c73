//! The transports of a host, composed by hand so that each address is claimed by exactly one of
//! them.
//!
//! Order: in a browser what is signalled over circuits, then circuits, WebRTC-direct, WebSocket,
//! and last what resolves names, because a DNS transport accepts every address and fails only
//! later. Everything below the circuits is metered per transport.

#[cfg(target_arch = "wasm32")]
mod browser;
pub mod cancel;
mod deferred_flush;
#[cfg(not(target_arch = "wasm32"))]
mod native;
#[cfg(target_arch = "wasm32")]
mod quiet;
#[cfg(not(target_arch = "wasm32"))]
mod reload;
pub mod silence;

use std::time::Duration;

#[cfg(target_arch = "wasm32")]
pub use browser::{build, dials, probe};
use libp2p::{
    PeerId, Transport, core::muxing::StreamMuxerBox, core::transport::Boxed,
    core::upgrade::Version, identity::Keypair, noise, relay, yamux,
};
#[cfg(not(target_arch = "wasm32"))]
pub use native::{build, dials, probe};

use self::{deferred_flush::DeferredFlushNoise, silence::Heard};
use crate::error::SpawnError;

/// For a connection and its upgrades, dialled or accepted.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// Substreams of one connection; both sides together use fewer.
const SUBSTREAMS_MAX: usize = 512;

type Connections = Boxed<(PeerId, StreamMuxerBox)>;

fn noise(keys: &Keypair) -> Result<noise::Config, SpawnError> {
    noise::Config::new(keys).map_err(|error| SpawnError::Transport(error.to_string()))
}

/// Noise for transports where a message costs more than one more poll of the task that writes it.
fn deferred_noise(keys: &Keypair) -> Result<DeferredFlushNoise, SpawnError> {
    noise(keys).map(DeferredFlushNoise)
}

fn yamux() -> yamux::Config {
    let mut config = yamux::Config::default();
    config.set_max_num_streams(SUBSTREAMS_MAX);
    config
}

/// End to end through a relay: authenticated and encrypted again inside the circuit.
fn circuits(relay: relay::client::Transport, keys: &Keypair) -> Result<Connections, SpawnError> {
    let heard = relay.map(|circuit, _| Heard::new(circuit));
    Ok(heard
        .upgrade(Version::V1Lazy)
        .authenticate(deferred_noise(keys)?)
        .multiplex(yamux())
        .timeout(CONNECT_TIMEOUT)
        .boxed())
}
