//! Takes the network's events to the parts of the node that they concern.

use super::{context::Context, coordinator, light, mempool, sync};
use std::sync::Arc;
use tequio_p2p::{Event, Events, Protocol};

/// Answers events until the network ends.
pub async fn run(context: Arc<Context>, mut events: Events) {
    while let Some(event) = events.next().await {
        match event {
            Event::Inbound { peer, protocol, body, reply } => match protocol {
                // What is told on channels wants no answer, and does not come this way.
                Protocol::Consensus | Protocol::Mempool => drop(reply),
                Protocol::Work => coordinator::receive(&context, peer, body, reply),
                Protocol::Light => drop(tokio::spawn(light::serve(context.clone(), body, reply))),
                Protocol::Sync => drop(tokio::spawn(sync::serve(context.clone(), body, reply))),
                Protocol::Want => {
                    drop(tokio::spawn(mempool::serve(context.clone(), peer, body, reply)))
                }
            },
            // Addresses are for `tequio status`: a log outlives a connection.
            Event::Connected { peer, path, .. } => {
                tracing::info!(peer = %peer.short(), ?path, "connected")
            }
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
            Event::ListenEnded { addr, cause } => {
                tracing::warn!(%addr, cause, "no longer listening")
            }
            Event::RateLimited { peer, protocol } => {
                context.metrics.misbehaviour.inc();
                tracing::warn!(peer = %peer.short(), protocol = protocol.name(), "above its rate: dropped");
            }
        }
        context.metrics.peers.set(context.network.peer_count() as i64);
    }
}
