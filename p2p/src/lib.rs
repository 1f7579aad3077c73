//! Everything of Tequio that speaks libp2p, behind a handle that does not show it.
//!
//! [`spawn`] starts one task that owns the swarm, on tokio or in a browser tab, and returns a
//! [`Network`] to ask and a stream of [`Events`] to answer. Bodies are opaque bytes within the caps
//! of their [`Protocol`]; what they mean is `tequio_core::wire`. Every queue is bounded in items
//! and in bytes, and every peer in its rate.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod address_key;
mod circuits;
mod config;
mod driver;
mod error;
mod event;
#[cfg(not(target_arch = "wasm32"))]
#[doc(hidden)]
pub mod framing;
pub mod identity;
mod network;
mod path;
mod protocol;
mod rpc;
mod signalling;
mod tell;
mod timer;
mod traffic;
mod transport;

pub use address_key::address_key;
use futures::channel::mpsc;
pub use libp2p::Multiaddr;
#[cfg(not(target_arch = "wasm32"))]
pub use tequio_webrtc::Certificate as WebRtcCertificate;
#[cfg(target_arch = "wasm32")]
pub use tequio_webrtc::Route;
pub use tequio_webrtc::{BadIceServers, IceServer};

#[cfg(not(target_arch = "wasm32"))]
pub use self::config::{ReloadableTls, TlsIdentity};
pub use self::{
    circuits::Circuits,
    config::{Config, Limits, RelayLimits},
    driver::{PeerInfo, may_try},
    error::{DialError, ListenError, RequestError, SpawnError},
    event::{DisconnectReason, Event, Events, PathReason, Reply, Share, Tells, Told},
    network::Network,
    path::{Path, TransportKind},
    protocol::{Channel, Protocol, Rate, Rates},
    traffic::{Counters, Traffic},
};

/// Starts the network. On native hosts this must be called inside a tokio runtime.
///
/// # Errors
/// If the secret or an ICE server is invalid, no runtime is running, or a transport cannot be set
/// up. Sockets are opened by [`Network::listen`], not here.
pub fn spawn(config: Config) -> Result<(Network, Events), SpawnError> {
    #[cfg(not(target_arch = "wasm32"))]
    let runtime = {
        // WebSocket brings rustls' ring provider and QUIC its aws-lc-rs: with two compiled in, one
        // must be chosen. If the program has chosen before, that stands.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        tokio::runtime::Handle::try_current().map_err(|_| SpawnError::NoRuntime)?
    };

    let ice_servers = tequio_webrtc::IceServers::default();
    ice_servers.set(config.ice_servers.clone())?;
    let keys = identity::keypair(&config.secret).ok_or(SpawnError::InvalidKey)?;
    let local = identity::node_id(&keys.public().to_peer_id()).ok_or(SpawnError::InvalidKey)?;
    let (commands_tx, commands) = mpsc::channel(network::COMMANDS_MAX);
    let (events_tx, events) = mpsc::channel(driver::EVENTS_MAX);
    let (hub, tells) = tell::Hub::new();
    let (peers, meter, circuits) = Default::default();
    let shared = driver::Shared {
        peers,
        meter,
        circuits,
        hub,
        #[cfg(target_arch = "wasm32")]
        signaller: tequio_webrtc::Signaller::new(ice_servers.clone(), config.ice_relay_only),
        ice_servers,
    };
    let driver = driver::Driver::new(config, &keys, commands, events_tx, shared.clone())?;

    #[cfg(not(target_arch = "wasm32"))]
    drop(runtime.spawn(driver.run()));
    #[cfg(target_arch = "wasm32")]
    wasm_bindgen_futures::spawn_local(driver.run());

    let events = Events { events, tells: tells.map(|tells| Some(event::Tells(tells))) };
    Ok((Network::new(local, commands_tx, shared), events))
}
