//! Takes the network's events to the parts of the node that they concern.

use super::{context::Context, coordinator, light, mempool, sync};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tequio_core::types::NodeId;
use tequio_p2p::{Event, Events, Multiaddr, PeerInfo, Protocol, identity};

/// How relays introduce themselves.
const RELAY_AGENT_PREFIX: &str = "tequio-relay/";
/// Relays through which a node lets itself be reached without being told to.
const RELAYS_MAX: usize = 4;
const LOOK_FOR_RELAYS: Duration = Duration::from_secs(1);

/// Answers events until the network ends.
pub async fn run(context: Arc<Context>, mut events: Events) {
    while let Some(event) = events.next().await {
        match event {
            Event::Inbound { peer, protocol, body, reply } => match protocol {
                // What is told on channels wants no answer, and does not come this way.
                Protocol::Consensus | Protocol::Mempool => drop(reply),
                Protocol::Work => coordinator::receive(&context, peer, &body, reply),
                Protocol::Light => drop(tokio::spawn(light::serve(context.clone(), body, reply))),
                Protocol::Sync => drop(tokio::spawn(sync::serve(context.clone(), body, reply))),
                Protocol::Want => drop(tokio::spawn(mempool::serve(context.clone(), peer, body, reply))),
            },
            // Addresses are for `tequio status`: a log outlives a connection.
            Event::Connected { peer, path, .. } => tracing::info!(peer = %peer.short(), ?path, "connected"),
            Event::PathChanged { peer, path, reason, .. } => {
                context.metrics.path_changed(&reason);
                tracing::info!(peer = %peer.short(), ?path, ?reason, "path changed");
            }
            Event::Unreachable { peer, error } => {
                let peer = peer.map(|peer| peer.short().to_string());
                tracing::info!(peer, %error, "a peer is not reached; it will be tried again");
            }
            Event::Disconnected { peer, reason } => {
                tracing::info!(peer = %peer.short(), ?reason, "disconnected");
                context.coordinators.gone(peer);
            }
            Event::Listening { addr } => tracing::info!(%addr, "listening"),
            Event::ListenEnded { addr, cause } => tracing::warn!(%addr, cause, "no longer listening"),
            Event::RateLimited { peer, protocol } => {
                context.metrics.misbehaviour.inc();
                tracing::warn!(peer = %peer.short(), protocol = protocol.name(), "above its rate: dropped");
            }
        }
        context.metrics.peers.set(context.network.peer_count() as i64);
    }
}

/// Lets browsers reach this node through the relays that are connected with it. A relay carries bytes and is
/// trusted for nothing.
pub async fn use_relays(context: Arc<Context>) {
    let mut used: BTreeSet<NodeId> = BTreeSet::new();
    let mut interval = tokio::time::interval(LOOK_FOR_RELAYS);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        for peer in context.network.peers() {
            let is_relay = peer.agent.as_ref().is_some_and(|a| a.starts_with(RELAY_AGENT_PREFIX));
            if !is_relay || used.contains(&peer.id) || used.len() >= RELAYS_MAX {
                continue;
            }
            let Some(circuit) = circuit(&peer) else { continue };
            match context.network.listen(circuit.clone()).await {
                Ok(_) => {
                    used.insert(peer.id);
                }
                Err(error) => tracing::debug!(%circuit, %error, "the relay gives no reservation"),
            }
        }
    }
}

/// The address of this node through a relay, by the plainest of the relay's addresses.
fn circuit(relay: &PeerInfo) -> Option<Multiaddr> {
    let plain = |addr: &&Multiaddr| {
        let text = addr.to_string();
        !text.contains("/ws") && !text.contains("webrtc") && !text.contains("p2p-circuit")
    };
    let addr = relay.addrs.iter().find(plain).or_else(|| relay.addrs.iter().find(|a| a.to_string().contains("/ws")))?;
    format!("{}/p2p-circuit", identity::with_peer(addr.clone(), relay.id)).parse().ok()
}
