//! Makes this node reachable through other peers. It reserves circuits at relays at all times, so
//! that browsers can reach it. While it coordinates a job it also reserves circuits at full nodes,
//! for workers that are connected only to those.
//!
//! The carrier of a circuit is not trusted: the connection inside is encrypted and authenticated
//! from end to end. This module also sets how much this node carries for others. Relays received
//! from peers are dialled sparingly.

use super::agent::{is_direct_full_node, is_relay};
use crate::node::chain_view::ChainView;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use tequio_core::{
    codec,
    ledger::job::JobStatus,
    types::NodeId,
    wire::light::{AddressQuery, RESPONSE_LEN_MAX, Request, Response},
};
use tequio_p2p::{Multiaddr, Network, PeerInfo, Protocol, RelayLimits, identity, may_dial};

/// Most relays from peers at which a node makes reservations.
const RELAYS_MAX: usize = 8;
/// Most full nodes at which a coordinator makes reservations.
const FULL_NODES_MAX: usize = 3;
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Pause before the next request to a peer that refused a reservation; the second is for configured
/// relays.
const REFUSED_BACKOFF: Duration = Duration::from_secs(30);
const CONFIGURED_REFUSED_BACKOFF: Duration = Duration::from_secs(5);
/// How long a relay or full node may be disconnected before its reservation is released and another
/// peer takes its place.
const RELAY_AWAY_MAX: Duration = Duration::from_secs(60 * 60);
const FULL_NODE_AWAY_MAX: Duration = Duration::from_secs(2 * 60);
/// Interval of requests for relays.
const RELAY_QUERY_INTERVAL: Duration = Duration::from_secs(10);
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);
/// Full nodes that are queried for relays at a time, and relays of each answer that are dialled.
const ASKED_PEERS_MAX: usize = 4;
const RELAYS_RECEIVED_MAX: usize = 2;
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// Limits on the circuits that a full node carries for others. None for 0 circuits.
pub fn relay_limits(circuits: usize) -> Option<RelayLimits> {
    (circuits > 0).then(|| RelayLimits {
        reservations: 64,
        reservations_per_peer: 1,
        circuits,
        circuits_per_peer: 4,
        circuit_duration: Duration::from_secs(60 * 60),
        circuit_bytes: 256 * 1024 * 1024,
        requests_per_peer_per_minute: 20,
        requests_per_ip_per_minute: 120,
        ..RelayLimits::default()
    })
}

/// Reserves circuits until the node stops. Configured relays stay connected.
pub async fn run(chain: ChainView, network: Network, configured: Vec<Multiaddr>) {
    let configured =
        configured.into_iter().filter_map(|addr| Some((identity::node_of(&addr)?, addr)));
    let mut reservations =
        Reservations { configured: configured.collect(), ..Reservations::default() };
    let mut relays_asked: Option<Instant> = None;
    let mut interval = tokio::time::interval(POLL_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let coordinates = chain
            .jobs()
            .iter()
            .any(|(_, job)| job.coordinator == chain.node && job.status == JobStatus::Running);
        let mut peers = network.peers();
        for circuit in reservations.take_released(&peers, coordinates) {
            network.unlisten(circuit).await;
        }
        // Committee members first, because any peer can claim to be a full node.
        peers.sort_by_key(|peer| !is_seated(&chain, &peer.id));
        for (peer, kind, circuit) in reservations.missing(&peers, coordinates) {
            let made = network.listen(circuit.clone()).await;
            match &made {
                Err(error) if reservations.configured.contains_key(&peer) => {
                    tracing::warn!(%circuit, %error, "the relay refused a reservation");
                }
                Err(error) => tracing::debug!(%circuit, %error, "no reservation"),
                Ok(_) => {}
            }
            reservations.record(peer, kind, circuit, made.is_ok());
        }
        if coordinates && relays_asked.is_none_or(|at| at.elapsed() >= RELAY_QUERY_INTERVAL) {
            relays_asked = Some(Instant::now());
            request_relays(&network, chain.node).await;
        }
    }
}

fn is_seated(chain: &ChainView, node: &NodeId) -> bool {
    let tip = chain.tip();
    let committee = tip.state.committee(tip.header.header.epoch);
    committee.is_some_and(|committee| committee.seats.iter().any(|seat| seat.node == *node))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CarrierKind {
    Relay,
    FullNode,
}

/// A reservation that the network renews until it is released.
#[derive(Debug)]
struct Reservation {
    kind: CarrierKind,
    circuit: Multiaddr,
    /// Time since which its carrier is disconnected.
    away: Option<Instant>,
}

impl Reservation {
    fn is_lost(&self) -> bool {
        let away_max = match self.kind {
            CarrierKind::Relay => RELAY_AWAY_MAX,
            CarrierKind::FullNode => FULL_NODE_AWAY_MAX,
        };
        self.away.is_some_and(|since| since.elapsed() >= away_max)
    }
}

/// Active reservations, and peers that refused one. Each carrier has one reservation, because a
/// second one would end the first.
#[derive(Debug, Default)]
struct Reservations {
    /// The configured relays.
    configured: BTreeMap<NodeId, Multiaddr>,
    active: BTreeMap<NodeId, Reservation>,
    refused: BTreeMap<NodeId, Instant>,
}

impl Reservations {
    /// Removes reservations at full nodes once no job is coordinated, and those whose carriers stay
    /// disconnected. A full node has few slots, and so does this node.
    fn take_released(&mut self, peers: &[PeerInfo], coordinates: bool) -> Vec<Multiaddr> {
        let mut released = Vec::new();
        self.active.retain(|carrier, made| {
            let is_connected = peers.iter().any(|peer| peer.id == *carrier);
            made.away =
                if is_connected { None } else { made.away.or_else(|| Some(Instant::now())) };
            let stays = !made.is_lost() && (coordinates || made.kind == CarrierKind::Relay);
            if !stays {
                released.push(made.circuit.clone());
            }
            stays
        });
        released
    }

    fn missing(
        &mut self,
        peers: &[PeerInfo],
        coordinates: bool,
    ) -> Vec<(NodeId, CarrierKind, Multiaddr)> {
        let configured = &self.configured;
        self.refused.retain(|peer, at| {
            let pause = if configured.contains_key(peer) {
                CONFIGURED_REFUSED_BACKOFF
            } else {
                REFUSED_BACKOFF
            };
            at.elapsed() < pause
        });
        let mut wanted: Vec<(NodeId, CarrierKind, Multiaddr)> = Vec::new();
        for peer in peers
            .iter()
            .filter(|p| !self.active.contains_key(&p.id) && !self.refused.contains_key(&p.id))
        {
            let (kind, max, circuit) = if let Some(relay) = self.configured.get(&peer.id) {
                (CarrierKind::Relay, usize::MAX, circuit_of(relay))
            } else if is_relay(peer) {
                (CarrierKind::Relay, RELAYS_MAX, circuit_through_relay(peer))
            } else if coordinates && is_direct_full_node(peer) {
                (CarrierKind::FullNode, FULL_NODES_MAX, circuit_through(peer))
            } else {
                continue;
            };
            let made = self.active.values().map(|made| made.kind);
            let count =
                made.chain(wanted.iter().map(|(_, kind, _)| *kind)).filter(|k| *k == kind).count();
            if let Some(circuit) = circuit.filter(|_| count < max) {
                wanted.push((peer.id, kind, circuit));
            }
        }
        wanted
    }

    fn record(&mut self, peer: NodeId, kind: CarrierKind, circuit: Multiaddr, made: bool) {
        if made {
            self.active.insert(peer, Reservation { kind, circuit, away: None });
        } else {
            self.refused.insert(peer, Instant::now());
        }
    }
}

/// The address of this node through a relay, by the simplest of the relay's addresses.
fn circuit_through_relay(relay: &PeerInfo) -> Option<Multiaddr> {
    let plain = |addr: &&Multiaddr| {
        let text = addr.to_string();
        !text.contains("/ws") && !text.contains("webrtc") && !text.contains("p2p-circuit")
    };
    let addr = relay
        .addrs
        .iter()
        .find(plain)
        .or_else(|| relay.addrs.iter().find(|a| a.to_string().contains("/ws")))?;
    circuit_of(&identity::with_peer(addr.clone(), relay.id))
}

/// The address of this node through the relay at an address.
fn circuit_of(relay: &Multiaddr) -> Option<Multiaddr> {
    format!("{relay}/p2p-circuit").parse().ok()
}

/// The address of this node through a connected peer.
fn circuit_through(peer: &PeerInfo) -> Option<Multiaddr> {
    format!("/p2p/{}/p2p-circuit", identity::peer_id(peer.id)?).parse().ok()
}

/// Requests relays from full nodes, and connects to some of them: browsers may be connected only to
/// those.
async fn request_relays(network: &Network, own: NodeId) {
    let peers = network.peers();
    let mut room = RELAYS_MAX.saturating_sub(peers.iter().filter(|p| is_relay(p)).count());
    for peer in peers.iter().filter(|p| is_direct_full_node(p)).take(ASKED_PEERS_MAX) {
        if room == 0 {
            return;
        }
        let mut dialled: Vec<NodeId> = Vec::new();
        for addr in request_addresses(network, peer, AddressQuery::Relays).await {
            let Some(relay) = identity::node_of(&addr).filter(|relay| *relay != own) else {
                continue;
            };
            let is_new = network.peer(relay).is_none();
            if !is_new || (dialled.len() >= RELAYS_RECEIVED_MAX && !dialled.contains(&relay)) {
                continue;
            }
            if !dialled.contains(&relay) {
                dialled.push(relay);
            }
            if let Ok(Ok(_)) = tokio::time::timeout(DIAL_TIMEOUT, network.dial(addr)).await {
                room = room.saturating_sub(1);
            }
        }
    }
}

/// Requests addresses from a peer. Returns those that name a peer and may be dialled.
pub async fn request_addresses(
    network: &Network,
    peer: &PeerInfo,
    of: AddressQuery,
) -> Vec<Multiaddr> {
    let body = codec::encode(&Request::Addresses { of });
    let answer = network.request(peer.id, Protocol::Light, body, QUERY_TIMEOUT).await;
    let Ok(Ok(Response::Addresses(addresses))) =
        answer.map(|body| codec::decode(&body, RESPONSE_LEN_MAX))
    else {
        return Vec::new();
    };
    let parsed = addresses.iter().filter_map(|text| text.parse::<Multiaddr>().ok());
    parsed.filter(|addr| identity::node_of(addr).is_some() && may_dial(addr, &peer.addr)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    use tequio_core::crypto::NodeKey;
    use tequio_p2p::{Path, TransportKind};

    fn peer(agent: &str) -> PeerInfo {
        let addr: Multiaddr = "/ip4/203.0.113.7/tcp/1".parse().unwrap();
        PeerInfo {
            id: NodeKey::from_bytes(&tequio_host::random::<32>().unwrap()).id(),
            path: Path::Direct(TransportKind::Tcp),
            addr: addr.clone(),
            agent: Some(agent.to_owned()),
            identify_error: None,
            rtt: None,
            addrs: vec![addr],
        }
    }

    fn make_all(reservations: &mut Reservations, peers: &[PeerInfo], coordinates: bool) -> usize {
        let wanted = reservations.missing(peers, coordinates);
        let count = wanted.len();
        wanted
            .into_iter()
            .for_each(|(id, kind, circuit)| reservations.record(id, kind, circuit, true));
        count
    }

    #[test]
    fn full_nodes_are_used_as_relays_only_while_a_job_is_coordinated() {
        let mut peers: Vec<PeerInfo> = (0..5).map(|_| peer("tequio-node/1")).collect();
        peers.push(peer("tequio-relay/1"));
        let mut reservations = Reservations::default();
        assert_eq!(make_all(&mut reservations, &peers, false), 1, "the relay");
        assert_eq!(make_all(&mut reservations, &peers, true), FULL_NODES_MAX);
        assert!(reservations.take_released(&peers, true).is_empty());
        assert_eq!(reservations.take_released(&peers, false).len(), FULL_NODES_MAX);
        assert_eq!(reservations.active.len(), 1, "the relay stays");
    }

    /// Regression: two reservations at one relay ended each other a few times a second until the
    /// relay refused both. Then no browser reached the node.
    #[test]
    fn a_configured_relay_is_asked_once_at_its_configured_address() {
        let relay = peer("tequio-relay/1");
        let addr = identity::with_peer("/dns4/relay.example/tcp/4811".parse().unwrap(), relay.id);
        let mut reservations = Reservations {
            configured: [(relay.id, addr.clone())].into(),
            ..Reservations::default()
        };
        let wanted = reservations.missing(std::slice::from_ref(&relay), true);
        assert_eq!(wanted, [(relay.id, CarrierKind::Relay, circuit_of(&addr).unwrap())]);
        make_all(&mut reservations, std::slice::from_ref(&relay), true);
        assert_eq!(make_all(&mut reservations, std::slice::from_ref(&relay), true), 0);
    }

    #[test]
    fn relays_that_stay_disconnected_make_room_for_others() {
        let (gone, here) = (peer("tequio-node/1"), peer("tequio-node/1"));
        let mut reservations = Reservations::default();
        make_all(&mut reservations, &[gone.clone(), here.clone()], true);
        assert!(
            reservations.take_released(std::slice::from_ref(&here), true).is_empty(),
            "the peer may reconnect"
        );
        let since = Instant::now().checked_sub(FULL_NODE_AWAY_MAX);
        reservations.active.get_mut(&gone.id).unwrap().away = since;
        assert_eq!(reservations.take_released(std::slice::from_ref(&here), true).len(), 1);
        assert!(reservations.active.contains_key(&here.id));
    }
}
