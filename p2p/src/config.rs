//! The configuration of a host's network.

use std::{fmt, time::Duration};

use libp2p::Multiaddr;
use tequio_webrtc::IceServer;
use zeroize::Zeroizing;

use crate::protocol::{Protocol, Rates};

/// Configuration of the network. Start from [`Config::new`] and change what differs.
#[derive(Clone)]
pub struct Config {
    /// The node's Ed25519 secret. Erased when the configuration is dropped.
    pub secret: Zeroizing<[u8; 32]>,
    /// The agent string sent to peers: `name/version`.
    pub agent: String,
    /// The protocols that the application answers. Requests on other protocols get `Unsupported`.
    pub serve: Vec<Protocol>,
    /// Persistent peers: the network redials them for ever. Several addresses of one peer
    /// (`…/p2p/X`) are alternatives.
    pub persistent_peers: Vec<Multiaddr>,
    /// The addresses to announce. If empty, the node announces its listening addresses.
    pub external_addrs: Vec<Multiaddr>,
    /// How long a standby circuit stays open as a fallback: a circuit that a direct connection has
    /// replaced and that no stream uses.
    pub standby_timeout: Duration,
    /// Bounds on connections and memory.
    pub limits: Limits,
    /// Request rates granted to one peer.
    pub rates: Rates,
    /// If set, the node serves as a circuit relay.
    pub relay: Option<RelayLimits>,
    /// STUN and TURN servers that a browser may use to reach another browser. The bounds are those
    /// of [`tequio_webrtc::check_ice_servers`]. Native hosts do not use them.
    pub ice_servers: Vec<IceServer>,
    /// If set, browsers reach each other only through these TURN servers: slower, but it hides the
    /// node's addresses from peers.
    pub ice_relay_only: bool,
    /// Needed to listen on `/udp/…/webrtc-direct`. Persist it: its hash is part of the address.
    #[cfg(not(target_arch = "wasm32"))]
    pub webrtc: Option<tequio_webrtc::Certificate>,
    /// Needed to listen on `/tcp/…/tls/ws`.
    #[cfg(not(target_arch = "wasm32"))]
    pub tls: Option<ReloadableTls>,
}

impl Config {
    /// Returns the configuration of a node that serves all protocols, has no persistent peers and
    /// relays nothing.
    pub fn new(secret: [u8; 32]) -> Self {
        Self {
            secret: Zeroizing::new(secret),
            agent: concat!("tequio/", env!("CARGO_PKG_VERSION")).into(),
            serve: Protocol::ALL.into(),
            persistent_peers: Vec::new(),
            external_addrs: Vec::new(),
            standby_timeout: Duration::from_secs(60),
            limits: Limits::default(),
            rates: Rates::default(),
            relay: None,
            ice_servers: Vec::new(),
            ice_relay_only: false,
            #[cfg(not(target_arch = "wasm32"))]
            webrtc: None,
            #[cfg(not(target_arch = "wasm32"))]
            tls: None,
        }
    }
}

impl fmt::Debug for Config {
    /// Omits the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("agent", &self.agent)
            .field("serve", &self.serve)
            .field("persistent_peers", &self.persistent_peers)
            .field("external_addrs", &self.external_addrs)
            .field("standby_timeout", &self.standby_timeout)
            .field("limits", &self.limits)
            .field("rates", &self.rates)
            .field("relay", &self.relay)
            .field("ice_servers", &self.ice_servers)
            .field("ice_relay_only", &self.ice_relay_only)
            .finish_non_exhaustive()
    }
}

/// A TLS certificate chain and its key, in DER.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Clone)]
pub struct TlsIdentity {
    /// The private key (PKCS #8, PKCS #1 or SEC 1).
    pub key_der: Zeroizing<Vec<u8>>,
    /// The certificates, the end entity's first.
    pub chain_der: Vec<Vec<u8>>,
}

/// The TLS identity of a running listener, shared with the program that renews it. A new identity
/// applies to connections accepted from then on; open connections keep the old one.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Clone)]
pub struct ReloadableTls(std::sync::Arc<std::sync::Mutex<(u64, TlsIdentity)>>);

#[cfg(not(target_arch = "wasm32"))]
impl ReloadableTls {
    /// Replaces the identity.
    pub fn replace(&self, identity: TlsIdentity) {
        let mut held = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        held.0 += 1;
        held.1 = identity;
    }

    /// Returns the identity and its generation if the generation differs from `known`.
    pub(crate) fn newer_than(&self, known: Option<u64>) -> Option<(u64, TlsIdentity)> {
        let held = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        (Some(held.0) != known).then(|| held.clone())
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl From<TlsIdentity> for ReloadableTls {
    fn from(identity: TlsIdentity) -> Self {
        Self(std::sync::Arc::new(std::sync::Mutex::new((0, identity))))
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl fmt::Debug for ReloadableTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReloadableTls").finish_non_exhaustive()
    }
}

/// Bounds on connections and memory. The network refuses what exceeds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Accepted connections whose handshake is in progress.
    pub pending_inbound: u32,
    /// Dials in progress.
    pub pending_outbound: u32,
    /// Accepted connections.
    pub inbound: u32,
    /// Accepted connections from one IPv4 address or IPv6 /64.
    pub inbound_per_ip: u32,
    /// Dialled connections.
    pub outbound: u32,
    /// Connections to one peer.
    pub per_peer: u32,
    /// Resident memory of the process above which the network accepts no connection. Native only.
    pub memory_bytes: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pending_inbound: 128,
            pending_outbound: 64,
            inbound: 1024,
            inbound_per_ip: 256,
            outbound: 256,
            per_peer: 6,
            memory_bytes: Some(2 * 1024 * 1024 * 1024),
        }
    }
}

/// Limits of the relay service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayLimits {
    /// Reservations at the same time.
    pub reservations: usize,
    /// Reservations of one peer, which may have several connections.
    pub reservations_per_peer: usize,
    /// Lifetime of a reservation; clients renew it before it expires.
    pub reservation_duration: Duration,
    /// Circuits at the same time.
    pub circuits: usize,
    /// Circuits of one peer at the same time.
    pub circuits_per_peer: usize,
    /// Maximum lifetime of a circuit.
    pub circuit_duration: Duration,
    /// Maximum bytes over one circuit, both directions together.
    pub circuit_bytes: u64,
    /// Reservation requests, and circuit requests, that one peer may send in a minute.
    pub requests_per_peer_per_minute: u32,
    /// The same limit for one IP address.
    pub requests_per_ip_per_minute: u32,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self {
            reservations: 512,
            reservations_per_peer: 4,
            reservation_duration: Duration::from_secs(60 * 60),
            circuits: 1024,
            circuits_per_peer: 32,
            circuit_duration: Duration::from_secs(2 * 60 * 60),
            circuit_bytes: 2 * 1024 * 1024 * 1024,
            requests_per_peer_per_minute: 60,
            requests_per_ip_per_minute: 600,
        }
    }
}
