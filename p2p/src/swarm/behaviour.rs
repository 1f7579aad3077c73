//! The libp2p behaviours of a node, composed for each host.

use std::sync::Arc;

use libp2p::{connection_limits, identify, identity::Keypair, relay, swarm::NetworkBehaviour};

use super::relay_server::{RelayServer, relay_server};
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

// Only browser tabs use signalling.
#[cfg(not(target_arch = "wasm32"))]
pub type Signalling = libp2p::swarm::dummy::Behaviour;
#[cfg(target_arch = "wasm32")]
pub type Signalling = crate::protocols::signalling::Behaviour;

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
