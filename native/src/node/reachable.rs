//! Makes this node reachable through others: through relays at all times, so that browsers reach
//! it, and through full nodes while it coordinates a job, so that workers reach it that are
//! connected with those only.
//!
//! The carrier of a circuit is not trusted: the connection inside is encrypted and authenticated
//! from end to end. Also here: how much this node carries for others. Relays received from peers
//! are dialled sparingly.

use super::context::{AGENT_PREFIX, Context};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tequio_core::{
    codec,
    ledger::job::JobStatus,
    types::NodeId,
    wire::light::{AddressesOf, RESPONSE_LEN_MAX, Request, Response},
};
use tequio_p2p::{Multiaddr, Path, PeerInfo, Protocol, RelayLimits, identity, may_try};

/// Prefix of the agent string of relays.
const RELAY_AGENT_PREFIX: &str = "tequio-relay/";
/// Relays at which a node makes reservations by itself.
const RELAYS_MAX: usize = 8;
/// Full nodes at which a coordinator makes reservations.
const FULL_NODES_MAX: usize = 3;
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Before a peer that gave no reservation is asked again, and a relay of the configuration.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);
const CONFIGURED_REFUSED_PAUSE: Duration = Duration::from_secs(5);
/// How long a relay, or a full node, may be away before its reservation is given up: somebody else
/// gets its place.
const RELAY_AWAY_MAX: Duration = Duration::from_secs(60 * 60);
const FULL_NODE_AWAY_MAX: Duration = Duration::from_secs(2 * 60);
/// Between two questions for relays.
const ASK_RELAYS_INTERVAL: Duration = Duration::from_secs(10);
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// Full nodes that are asked for relays at a time, and relays of each answer that are dialled.
const ASKED_PEERS_MAX: usize = 4;
const RELAYS_RECEIVED_MAX: usize = 2;
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// What a full node carries for others; nothing for 0 circuits.
pub fn relay_limits(circuits: usize) -> Option<RelayLimits> {
    (circuits > 0).then(|| RelayLimits {
        reservations: 64,
        reservations_per_peer: 1,
        circuits,
        circuits_per_peer: 4,
        circuit_duration: Duration::from_secs(60 * 60),
        circuit_bytes: 256 * 1024 * 1024,
        asks_per_peer_per_minute: 20,
        asks_per_ip_per_minute: 120,
        ..RelayLimits::default()
    })
}

/// Whether a peer claims to be a relay.
pub fn is_relay(peer: &PeerInfo) -> bool {
    peer.agent.as_ref().is_some_and(|agent| agent.starts_with(RELAY_AGENT_PREFIX))
}

/// Whether a peer is a full node and connected without a circuit.
pub fn is_direct_full_node(peer: &PeerInfo) -> bool {
    matches!(peer.path, Path::Direct(_))
        && peer.agent.as_ref().is_some_and(|agent| agent.starts_with(AGENT_PREFIX))
}

/// Reserves circuits until the node stops. The relays of the configuration are kept connected.
pub async fn run(context: Arc<Context>, configured: Vec<Multiaddr>) {
    let configured =
        configured.into_iter().filter_map(|addr| Some((identity::node_of(&addr)?, addr)));
    let mut reservations =
        Reservations { configured: configured.collect(), ..Reservations::default() };
    let mut relays_asked: Option<Instant> = None;
    let mut interval = tokio::time::interval(LOOK_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let coordinates = context
            .jobs()
            .iter()
            .any(|(_, job)| job.coordinator == context.id && job.status == JobStatus::Running);
        let mut peers = context.network.peers();
        for circuit in reservations.released(&peers, coordinates) {
            context.network.unlisten(circuit).await;
        }
        // Members of the committee first: anybody can call itself a full node.
        peers.sort_by_key(|peer| !is_seated(&context, &peer.id));
        for (peer, kind, circuit) in reservations.wanted(&peers, coordinates) {
            let made = context.network.listen(circuit.clone()).await;
            match &made {
                Err(error) if reservations.configured.contains_key(&peer) => {
                    tracing::warn!(%circuit, %error, "the relay gives no reservation");
                }
                Err(error) => tracing::debug!(%circuit, %error, "no reservation"),
                Ok(_) => {}
            }
            reservations.note(peer, kind, circuit, made.is_ok());
        }
        if coordinates && relays_asked.is_none_or(|at| at.elapsed() >= ASK_RELAYS_INTERVAL) {
            relays_asked = Some(Instant::now());
            ask_for_relays(&context).await;
        }
    }
}

fn is_seated(context: &Context, node: &NodeId) -> bool {
    let tip = context.tip();
    let committee = tip.state.committee(tip.header.header.epoch);
    committee.is_some_and(|committee| committee.seats.iter().any(|seat| seat.node == *node))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Relay,
    FullNode,
}

/// A reservation that the network renews until it is released.
#[derive(Debug)]
struct Reservation {
    kind: Kind,
    circuit: Multiaddr,
    /// Since when its carrier is not connected.
    away: Option<Instant>,
}

impl Reservation {
    fn is_lost(&self) -> bool {
        let away_max = match self.kind {
            Kind::Relay => RELAY_AWAY_MAX,
            Kind::FullNode => FULL_NODE_AWAY_MAX,
        };
        self.away.is_some_and(|since| since.elapsed() >= away_max)
    }
}

/// Reservations that were made, and peers that refused one. At each carrier there is one
/// reservation: a second would end the first.
#[derive(Debug, Default)]
struct Reservations {
    /// The relays of the configuration.
    configured: BTreeMap<NodeId, Multiaddr>,
    made: BTreeMap<NodeId, Reservation>,
    refused: BTreeMap<NodeId, Instant>,
}

impl Reservations {
    /// Gives up reservations at full nodes once no job is coordinated, and those whose carriers
    /// stay away. A full node has few places, and so has this node.
    fn released(&mut self, peers: &[PeerInfo], coordinates: bool) -> Vec<Multiaddr> {
        let mut released = Vec::new();
        self.made.retain(|carrier, made| {
            let is_connected = peers.iter().any(|peer| peer.id == *carrier);
            made.away =
                if is_connected { None } else { made.away.or_else(|| Some(Instant::now())) };
            let stays = !made.is_lost() && (coordinates || made.kind == Kind::Relay);
            if !stays {
                released.push(made.circuit.clone());
            }
            stays
        });
        released
    }

    fn wanted(&mut self, peers: &[PeerInfo], coordinates: bool) -> Vec<(NodeId, Kind, Multiaddr)> {
        let configured = &self.configured;
        self.refused.retain(|peer, at| {
            let pause = if configured.contains_key(peer) {
                CONFIGURED_REFUSED_PAUSE
            } else {
                REFUSED_PAUSE
            };
            at.elapsed() < pause
        });
        let mut wanted: Vec<(NodeId, Kind, Multiaddr)> = Vec::new();
        for peer in peers
            .iter()
            .filter(|p| !self.made.contains_key(&p.id) && !self.refused.contains_key(&p.id))
        {
            let (kind, max, circuit) = if let Some(relay) = self.configured.get(&peer.id) {
                (Kind::Relay, usize::MAX, circuit_of(relay))
            } else if is_relay(peer) {
                (Kind::Relay, RELAYS_MAX, circuit_through_relay(peer))
            } else if coordinates && is_direct_full_node(peer) {
                (Kind::FullNode, FULL_NODES_MAX, circuit_through(peer))
            } else {
                continue;
            };
            let made = self.made.values().map(|made| made.kind);
            let count =
                made.chain(wanted.iter().map(|(_, kind, _)| *kind)).filter(|k| *k == kind).count();
            if let Some(circuit) = circuit.filter(|_| count < max) {
                wanted.push((peer.id, kind, circuit));
            }
        }
        wanted
    }

    fn note(&mut self, peer: NodeId, kind: Kind, circuit: Multiaddr, made: bool) {
        if made {
            self.made.insert(peer, Reservation { kind, circuit, away: None });
        } else {
            self.refused.insert(peer, Instant::now());
        }
    }
}

/// The address of this node through a relay, by the plainest of the relay's addresses.
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

/// Asks full nodes for their relays, and connects to some of those: browsers may be connected with
/// them only.
async fn ask_for_relays(context: &Context) {
    let peers = context.network.peers();
    let mut room = RELAYS_MAX.saturating_sub(peers.iter().filter(|p| is_relay(p)).count());
    for peer in peers.iter().filter(|p| is_direct_full_node(p)).take(ASKED_PEERS_MAX) {
        if room == 0 {
            return;
        }
        let mut dialled: Vec<NodeId> = Vec::new();
        for addr in addresses_of(context, peer, AddressesOf::Relays).await {
            let Some(relay) = identity::node_of(&addr).filter(|relay| *relay != context.id) else {
                continue;
            };
            let is_new = context.network.peer(relay).is_none();
            if !is_new || (dialled.len() >= RELAYS_RECEIVED_MAX && !dialled.contains(&relay)) {
                continue;
            }
            if !dialled.contains(&relay) {
                dialled.push(relay);
            }
            if let Ok(Ok(_)) = tokio::time::timeout(DIAL_TIMEOUT, context.network.dial(addr)).await
            {
                room = room.saturating_sub(1);
            }
        }
    }
}

/// Requests addresses from a peer. Returns those that name a peer and may be dialled.
pub async fn addresses_of(context: &Context, peer: &PeerInfo, of: AddressesOf) -> Vec<Multiaddr> {
    let body = codec::encode(&Request::Addresses { of });
    let answer = context.network.request(peer.id, Protocol::Light, body, ASK_TIMEOUT).await;
    let Ok(Ok(Response::Addresses(addresses))) =
        answer.map(|body| codec::decode(&body, RESPONSE_LEN_MAX))
    else {
        return Vec::new();
    };
    let parsed = addresses.iter().filter_map(|text| text.parse::<Multiaddr>().ok());
    parsed.filter(|addr| identity::node_of(addr).is_some() && may_try(addr, &peer.addr)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    use tequio_core::crypto::NodeKey;
    use tequio_p2p::TransportKind;

    fn peer(agent: &str) -> PeerInfo {
        let addr: Multiaddr = "/ip4/203.0.113.7/tcp/1".parse().unwrap();
        PeerInfo {
            id: NodeKey::from_bytes(&tequio_host::random::<32>().unwrap()).id(),
            path: Path::Direct(TransportKind::Tcp),
            addr: addr.clone(),
            agent: Some(agent.to_owned()),
            rtt: None,
            addrs: vec![addr],
        }
    }

    fn make_all(reservations: &mut Reservations, peers: &[PeerInfo], coordinates: bool) -> usize {
        let wanted = reservations.wanted(peers, coordinates);
        let count = wanted.len();
        wanted
            .into_iter()
            .for_each(|(id, kind, circuit)| reservations.note(id, kind, circuit, true));
        count
    }

    #[test]
    fn full_nodes_are_asked_while_a_job_is_coordinated_and_given_up_after_it() {
        let mut peers: Vec<PeerInfo> = (0..5).map(|_| peer("tequio-node/1")).collect();
        peers.push(peer("tequio-relay/1"));
        let mut reservations = Reservations::default();
        assert_eq!(make_all(&mut reservations, &peers, false), 1, "the relay");
        assert_eq!(make_all(&mut reservations, &peers, true), FULL_NODES_MAX);
        assert!(reservations.released(&peers, true).is_empty());
        assert_eq!(reservations.released(&peers, false).len(), FULL_NODES_MAX);
        assert_eq!(reservations.made.len(), 1, "the relay stays");
    }

    /// Two reservations at one relay ended each other a few times a second until the relay refused
    /// both; then no browser reached the node.
    #[test]
    fn a_configured_relay_is_asked_once_at_its_configured_address() {
        let relay = peer("tequio-relay/1");
        let addr = identity::with_peer("/dns4/relay.example/tcp/4811".parse().unwrap(), relay.id);
        let mut reservations = Reservations {
            configured: [(relay.id, addr.clone())].into(),
            ..Reservations::default()
        };
        let wanted = reservations.wanted(std::slice::from_ref(&relay), true);
        assert_eq!(wanted, [(relay.id, Kind::Relay, circuit_of(&addr).unwrap())]);
        make_all(&mut reservations, std::slice::from_ref(&relay), true);
        assert_eq!(make_all(&mut reservations, std::slice::from_ref(&relay), true), 0);
    }

    #[test]
    fn carriers_that_stay_away_make_room_for_others() {
        let (gone, here) = (peer("tequio-node/1"), peer("tequio-node/1"));
        let mut reservations = Reservations::default();
        make_all(&mut reservations, &[gone.clone(), here.clone()], true);
        assert!(
            reservations.released(std::slice::from_ref(&here), true).is_empty(),
            "it may come back"
        );
        let since = Instant::now().checked_sub(FULL_NODE_AWAY_MAX);
        reservations.made.get_mut(&gone.id).unwrap().away = since;
        assert_eq!(reservations.released(std::slice::from_ref(&here), true).len(), 1);
        assert!(reservations.made.contains_key(&here.id));
    }
}
