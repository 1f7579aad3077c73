//! Lets this node be reached through others: through relays at all times, so that browsers reach it, and through full
//! nodes while it coordinates a job, so that workers reach it that are connected with those only.
//!
//! Whoever carries a circuit is trusted for nothing: the connection inside is encrypted and authenticated from end to
//! end. Also here: how much this node carries for others. What a peer tells of relays is dialled sparingly.

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

/// How relays introduce themselves.
const RELAY_AGENT_PREFIX: &str = "tequio-relay/";
/// Relays through which a node lets itself be reached without being told to.
const RELAYS_MAX: usize = 8;
/// Full nodes through which a coordinator lets itself be reached.
const FULL_NODES_MAX: usize = 3;
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Before a peer that gave no reservation is asked again.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);
/// Between two questions for relays.
const ASK_RELAYS_INTERVAL: Duration = Duration::from_secs(10);
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// Full nodes that are asked for relays at a time, and relays of each answer that are dialled.
const TELLERS_MAX: usize = 4;
const RELAYS_TOLD_MAX: usize = 2;
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

/// Whether a peer says that it is a relay.
pub fn is_relay(peer: &PeerInfo) -> bool {
    peer.agent.as_ref().is_some_and(|agent| agent.starts_with(RELAY_AGENT_PREFIX))
}

/// Whether a peer is a full node and connected without a circuit.
pub fn is_direct_full_node(peer: &PeerInfo) -> bool {
    matches!(peer.path, Path::Direct(_)) && peer.agent.as_ref().is_some_and(|agent| agent.starts_with(AGENT_PREFIX))
}

/// Reserves circuits until the node stops.
pub async fn run(context: Arc<Context>) {
    let mut reservations = Reservations::default();
    let mut relays_asked: Option<Instant> = None;
    let mut interval = tokio::time::interval(LOOK_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let coordinates =
            context.jobs().iter().any(|(_, job)| job.coordinator == context.id && job.status == JobStatus::Running);
        for (peer, kind, circuit) in reservations.wanted(&context.network.peers(), coordinates) {
            let made = context.network.listen(circuit.clone()).await;
            if let Err(error) = &made {
                tracing::debug!(%circuit, %error, "no reservation");
            }
            reservations.note(peer, kind, made.is_ok());
        }
        if coordinates && relays_asked.is_none_or(|at| at.elapsed() >= ASK_RELAYS_INTERVAL) {
            relays_asked = Some(Instant::now());
            ask_for_relays(&context).await;
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Relay,
    FullNode,
}

/// Reservations that were made, which the network renews, and peers that refused one.
#[derive(Debug, Default)]
struct Reservations {
    made: BTreeMap<NodeId, Kind>,
    refused: BTreeMap<NodeId, Instant>,
}

impl Reservations {
    fn wanted(&mut self, peers: &[PeerInfo], coordinates: bool) -> Vec<(NodeId, Kind, Multiaddr)> {
        self.refused.retain(|_, at| at.elapsed() < REFUSED_PAUSE);
        let mut wanted: Vec<(NodeId, Kind, Multiaddr)> = Vec::new();
        for peer in peers.iter().filter(|p| !self.made.contains_key(&p.id) && !self.refused.contains_key(&p.id)) {
            let (kind, max, circuit) = if is_relay(peer) {
                (Kind::Relay, RELAYS_MAX, circuit_through_relay(peer))
            } else if coordinates && is_direct_full_node(peer) {
                (Kind::FullNode, FULL_NODES_MAX, circuit_through(peer))
            } else {
                continue;
            };
            let count =
                self.made.values().chain(wanted.iter().map(|(_, kind, _)| kind)).filter(|k| **k == kind).count();
            if let Some(circuit) = circuit.filter(|_| count < max) {
                wanted.push((peer.id, kind, circuit));
            }
        }
        wanted
    }

    fn note(&mut self, peer: NodeId, kind: Kind, made: bool) {
        if made {
            self.made.insert(peer, kind);
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
    let addr = relay.addrs.iter().find(plain).or_else(|| relay.addrs.iter().find(|a| a.to_string().contains("/ws")))?;
    format!("{}/p2p-circuit", identity::with_peer(addr.clone(), relay.id)).parse().ok()
}

/// The address of this node through a connected peer.
fn circuit_through(peer: &PeerInfo) -> Option<Multiaddr> {
    format!("/p2p/{}/p2p-circuit", identity::peer_id(peer.id)?).parse().ok()
}

/// Asks full nodes for their relays, and connects to some of those: browsers may be connected with them only.
async fn ask_for_relays(context: &Context) {
    let peers = context.network.peers();
    let mut room = RELAYS_MAX.saturating_sub(peers.iter().filter(|p| is_relay(p)).count());
    for teller in peers.iter().filter(|p| is_direct_full_node(p)).take(TELLERS_MAX) {
        if room == 0 {
            return;
        }
        let mut dialled: Vec<NodeId> = Vec::new();
        for addr in addresses_of(context, teller, AddressesOf::Relays).await {
            let Some(relay) = identity::node_of(&addr).filter(|relay| *relay != context.id) else { continue };
            let is_new = context.network.peer(relay).is_none();
            if !is_new || (dialled.len() >= RELAYS_TOLD_MAX && !dialled.contains(&relay)) {
                continue;
            }
            if !dialled.contains(&relay) {
                dialled.push(relay);
            }
            if let Ok(Ok(_)) = tokio::time::timeout(DIAL_TIMEOUT, context.network.dial(addr)).await {
                room = room.saturating_sub(1);
            }
        }
    }
}

/// The addresses that a peer tells, as far as they name a peer and may be dialled at its word.
pub async fn addresses_of(context: &Context, teller: &PeerInfo, of: AddressesOf) -> Vec<Multiaddr> {
    let body = codec::encode(&Request::Addresses { of });
    let answer = context.network.request(teller.id, Protocol::Light, body, ASK_TIMEOUT).await;
    let Ok(Ok(Response::Addresses(told))) = answer.map(|body| codec::decode(&body, RESPONSE_LEN_MAX)) else {
        return Vec::new();
    };
    let parsed = told.iter().filter_map(|text| text.parse::<Multiaddr>().ok());
    parsed.filter(|addr| identity::node_of(addr).is_some() && may_try(addr, &teller.addr)).collect()
}
