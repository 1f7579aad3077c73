//! The libp2p behaviours of a node, composed for each host.

use std::sync::Arc;
#[cfg(not(target_arch = "wasm32"))]
use std::{num::NonZeroU32, time::Duration};

#[cfg(not(target_arch = "wasm32"))]
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{connection_limits, identify, identity::Keypair, relay, swarm::NetworkBehaviour};

use crate::{
    config::Config,
    connections::{
        announced_addresses::{AnnouncedAddresses, Announcer},
        limits::{ip_limits, totals},
        ping_waker::PingWaker,
        pings::Pings,
    },
    protocols::{self, notifications::NotificationRouter},
};

/// Name and version of the protocol family, sent in identify.
const PROTOCOL_VERSION: &str = "tequio/1";
#[cfg(not(target_arch = "wasm32"))]
const MINUTE: Duration = Duration::from_secs(60);

#[cfg(not(target_arch = "wasm32"))]
type RelayServer = AnnouncedAddresses<Toggle<relay::Behaviour>>;
// Only browser tabs use signalling.
#[cfg(not(target_arch = "wasm32"))]
pub type Signalling = libp2p::swarm::dummy::Behaviour;
#[cfg(target_arch = "wasm32")]
pub type Signalling = crate::protocols::signalling::Behaviour;
// A browser tab cannot be a relay.
#[cfg(target_arch = "wasm32")]
type RelayServer = libp2p::swarm::dummy::Behaviour;

/// The order matters: the limits come first.
#[derive(NetworkBehaviour)]
pub struct Behaviour {
    connections: connection_limits::Behaviour,
    ip_limits: ip_limits::Behaviour,
    memory: totals::Memory,
    relay_client: relay::client::Behaviour,
    relay_server: RelayServer,
    signalling: Signalling,
    identify: AnnouncedAddresses<identify::Behaviour>,
    ping: PingWaker<Pings>,
    pub protocols: protocols::Behaviour,
}

impl Behaviour {
    pub fn new(
        config: &Config,
        keys: &Keypair,
        relay_client: relay::client::Behaviour,
        signalling: Signalling,
        notifications: Arc<NotificationRouter>,
    ) -> Self {
        let identify = identify::Config::new(PROTOCOL_VERSION.into(), keys.public())
            .with_agent_version(config.agent.clone())
            .with_push_listen_addr_updates(true)
            // `AnnouncedAddresses` chooses among them.
            .with_hide_listen_addrs(true)
            .with_cache_size(0);
        Self {
            connections: totals::connections(&config.limits),
            ip_limits: ip_limits::Behaviour::new(config.limits.inbound_per_ip),
            memory: totals::memory(&config.limits),
            relay_client,
            relay_server: relay_server(config, keys),
            signalling,
            identify: AnnouncedAddresses::new(
                identify::Behaviour::new(identify),
                keys.public().to_peer_id(),
                &config.external_addrs,
                Announcer::Identify,
            ),
            ping: PingWaker(Pings::new()),
            protocols: protocols::Behaviour::new(
                config.serve.clone(),
                config.rates.clone(),
                notifications,
            ),
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn relay_server(config: &Config, keys: &Keypair) -> RelayServer {
    let server = config.relay.as_ref().map(|limits| {
        let empty = relay::Config {
            max_reservations: limits.reservations,
            max_reservations_per_peer: limits.reservations_per_peer,
            reservation_duration: limits.reservation_duration,
            reservation_rate_limiters: Vec::new(),
            max_circuits: limits.circuits,
            max_circuits_per_peer: limits.circuits_per_peer,
            // The protocol encodes the duration in 32 bits.
            max_circuit_duration: limits.circuit_duration.min(Duration::from_secs(u32::MAX.into())),
            max_circuit_bytes: limits.circuit_bytes,
            circuit_src_rate_limiters: Vec::new(),
        };
        let per_peer =
            NonZeroU32::new(limits.requests_per_peer_per_minute).unwrap_or(NonZeroU32::MIN);
        let per_ip = NonZeroU32::new(limits.requests_per_ip_per_minute).unwrap_or(NonZeroU32::MIN);
        let config = empty
            .reservation_rate_per_peer(per_peer, MINUTE)
            .reservation_rate_per_ip(per_ip, MINUTE)
            .circuit_src_per_peer(per_peer, MINUTE)
            .circuit_src_per_ip(per_ip, MINUTE);
        relay::Behaviour::new(keys.public().to_peer_id(), config)
    });
    AnnouncedAddresses::new(
        server.into(),
        keys.public().to_peer_id(),
        &config.external_addrs,
        Announcer::Reservation,
    )
}

#[cfg(target_arch = "wasm32")]
fn relay_server(_: &Config, _: &Keypair) -> RelayServer {
    RelayServer {}
}
