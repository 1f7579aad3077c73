//! Tequio's peer-to-peer network, behind a handle that hides libp2p.
//!
//! [`spawn`] starts one task that owns the swarm, on tokio or in a browser tab. It returns a
//! [`Network`], which sends commands and requests, and a stream of [`Events`]. Bodies are opaque
//! bytes within the caps of their [`Protocol`]; `tequio_core::wire` defines their contents. Every
//! queue is bounded in items and in bytes, and every peer in its rate.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod address_key;
mod budget;
mod config;
mod connections;
mod error;
mod event;
#[cfg(not(target_arch = "wasm32"))]
#[doc(hidden)]
pub mod framing;
pub mod identity;
mod network;
mod path;
mod protocol;
mod protocols;
mod swarm;
mod timer;
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
    config::{Config, Limits, RelayLimits},
    connections::{address_filter::may_dial, peers::PeerInfo, relay_metrics::RelayStats},
    error::{DialError, ListenError, RequestError, SpawnError},
    event::{
        DisconnectReason, Event, Events, MemoryPermit, Notification, NotificationStream,
        PathReason, Reply,
    },
    network::Network,
    path::{Path, TransportKind},
    protocol::{NotificationProtocol, Protocol, Rate, Rates},
    transport::traffic::{Counters, Traffic},
};

/// Starts the network. On native hosts this must be called inside a tokio runtime.
///
/// # Errors
/// If the secret or an ICE server is invalid, no runtime is running, or a transport cannot be set
/// up. Sockets are opened by [`Network::listen`], not here.
pub fn spawn(config: Config) -> Result<(Network, Events), SpawnError> {
    #[cfg(not(target_arch = "wasm32"))]
    let runtime = {
        // WebSocket brings rustls' ring provider and QUIC its aws-lc-rs. With two compiled in, one
        // must be installed; a provider that the program has installed before stays.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        tokio::runtime::Handle::try_current().map_err(|_| SpawnError::NoRuntime)?
    };

    let ice_servers = tequio_webrtc::IceServers::default();
    ice_servers.set(config.ice_servers.clone())?;
    let keys = identity::keypair(&config.secret).ok_or(SpawnError::InvalidKey)?;
    let local = identity::node_id(&keys.public().to_peer_id()).ok_or(SpawnError::InvalidKey)?;
    let (commands_tx, commands) = mpsc::channel(network::COMMANDS_MAX);
    let (events_tx, events) = mpsc::channel(swarm::EVENTS_MAX);
    let (notifications, receivers) = protocols::notifications::NotificationRouter::new();
    let (peers, meter, relay_metrics) = Default::default();
    let shared = swarm::Shared {
        peers,
        meter,
        relay_metrics,
        notifications,
        #[cfg(target_arch = "wasm32")]
        signaller: tequio_webrtc::Signaller::new(ice_servers.clone(), config.ice_relay_only),
        ice_servers,
    };
    let driver = swarm::Driver::new(config, &keys, commands, events_tx, shared.clone())?;

    #[cfg(not(target_arch = "wasm32"))]
    drop(runtime.spawn(driver.run()));
    #[cfg(target_arch = "wasm32")]
    wasm_bindgen_futures::spawn_local(driver.run());

    let notifications = receivers.map(|receiver| Some(event::NotificationStream(receiver)));
    let events = Events { events, notifications };
    Ok((Network::new(local, commands_tx, shared), events))
}
