//! What a host decides about its network.

use std::{fmt, time::Duration};

use libp2p::Multiaddr;
use tequio_webrtc::IceServer;
use zeroize::Zeroizing;

use crate::protocol::{Protocol, Rates};

/// Start from [`Config::new`] and change what differs.
#[derive(Clone)]
pub struct Config {
    /// The node's Ed25519 secret. Erased when the configuration is dropped.
    pub secret: Zeroizing<[u8; 32]>,
    /// How we introduce ourselves: `name/version`.
    pub agent: String,
    /// The protocols that the application answers; peers that ask others get `Unsupported`.
    pub serve: Vec<Protocol>,
    /// Peers to stay connected to: redialled for ever. Several addresses of one peer (`…/p2p/X`)
    /// are alternatives.
    pub keep: Vec<Multiaddr>,
    /// The addresses announced as ours. If empty, those we listen on.
    pub external: Vec<Multiaddr>,
    /// How long a circuit that a direct connection has replaced, and that no stream uses, is kept
    /// to fall back on.
    pub standby: Duration,
    /// Bounds on connections and memory.
    pub limits: Limits,
    /// What one peer may ask per second.
    pub rates: Rates,
    /// Serve as a circuit relay for others.
    pub relay: Option<RelayLimits>,
    /// STUN and TURN servers that a browser may use to reach another browser; bounded as
    /// [`tequio_webrtc::check_ice_servers`] says. Native hosts have no use for them.
    pub ice_servers: Vec<IceServer>,
    /// Reach other browsers only through those TURN servers: slower, but they do not learn our
    /// addresses.
    pub ice_relay_only: bool,
    /// Needed to listen on `/udp/…/webrtc-direct`. Persist it: its hash is part of the address.
    #[cfg(not(target_arch = "wasm32"))]
    pub webrtc: Option<tequio_webrtc::Certificate>,
    /// Needed to listen on `/tcp/…/tls/ws`.
    #[cfg(not(target_arch = "wasm32"))]
    pub tls: Option<ReloadableTls>,
}

impl Config {
    /// A node that serves all protocols, keeps to itself and relays nothing.
    pub fn new(secret: [u8; 32]) -> Self {
        Self {
            secret: Zeroizing::new(secret),
            agent: concat!("tequio/", env!("CARGO_PKG_VERSION")).into(),
            serve: Protocol::ALL.into(),
            keep: Vec::new(),
            external: Vec::new(),
            standby: Duration::from_secs(60),
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
    /// Leaves out the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("agent", &self.agent)
            .field("serve", &self.serve)
            .field("keep", &self.keep)
            .field("external", &self.external)
            .field("standby", &self.standby)
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

/// The TLS identity of a running listener, shared with the program that renews it. A replaced one
/// counts for connections that are accepted from then on; open connections keep theirs.
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

    /// The identity and its generation, if that is not `known`.
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

/// Bounds on connections and memory; what is above them is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Accepted connections whose handshake is under way.
    pub pending_inbound: u32,
    /// Dials under way.
    pub pending_outbound: u32,
    /// Accepted connections.
    pub inbound: u32,
    /// Of those, from one IPv4 address or IPv6 /64.
    pub inbound_per_ip: u32,
    /// Dialled connections.
    pub outbound: u32,
    /// Connections to one peer.
    pub per_peer: u32,
    /// Resident memory of the process above which no connection is accepted. Native only.
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

/// What a relay gives away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayLimits {
    /// Peers that may be reached through us.
    pub reservations: usize,
    /// Of those, for one peer (it may be connected more than once).
    pub reservations_per_peer: usize,
    /// How long a reservation lasts; clients renew it in time.
    pub reservation_duration: Duration,
    /// Circuits at once.
    pub circuits: usize,
    /// Circuits at once from one peer.
    pub circuits_per_peer: usize,
    /// How long a circuit may last.
    pub circuit_duration: Duration,
    /// Bytes that a circuit may carry, both ways together.
    pub circuit_bytes: u64,
    /// Reservations, and circuits, that one peer may ask for in a minute.
    pub asks_per_peer_per_minute: u32,
    /// The same for one IP address.
    pub asks_per_ip_per_minute: u32,
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
            asks_per_peer_per_minute: 60,
            asks_per_ip_per_minute: 600,
        }
    }
}
