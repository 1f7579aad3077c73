//! The relay server: grants reservations and circuits to other peers, within the limits of
//! [`RelayLimits`](crate::config::RelayLimits).

#[cfg(not(target_arch = "wasm32"))]
use std::{num::NonZeroU32, time::Duration};

use libp2p::identity::Keypair;
#[cfg(not(target_arch = "wasm32"))]
use libp2p::{relay, swarm::behaviour::toggle::Toggle};

use crate::config::Config;
#[cfg(not(target_arch = "wasm32"))]
use crate::connections::announced_addresses::{AnnouncedAddresses, Announcer};

#[cfg(not(target_arch = "wasm32"))]
const MINUTE: Duration = Duration::from_secs(60);

#[cfg(not(target_arch = "wasm32"))]
pub type RelayServer = AnnouncedAddresses<Toggle<relay::Behaviour>>;
// A browser tab cannot be a relay.
#[cfg(target_arch = "wasm32")]
pub type RelayServer = libp2p::swarm::dummy::Behaviour;

/// Creates the relay server, if the configuration has one.
#[cfg(not(target_arch = "wasm32"))]
pub fn relay_server(config: &Config, keys: &Keypair) -> RelayServer {
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
pub fn relay_server(_: &Config, _: &Keypair) -> RelayServer {
    RelayServer {}
}
