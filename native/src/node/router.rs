//! Routes the network's events to the parts of the node.

use super::{context::NodeContext, coordinator, light, mempool, sync};
use std::sync::Arc;
use tequio_p2p::{Event, Events, Protocol};

/// Handles events until the network ends.
pub async fn run(context: Arc<NodeContext>, mut events: Events) {
    while let Some(event) = events.next().await {
        match event {
            Event::InboundRequest { peer, protocol, body, reply } => match protocol {
                // Notification protocols expect no response and do not arrive as requests.
                Protocol::Consensus | Protocol::Mempool => drop(reply),
                Protocol::Work => coordinator::receive(&context, peer, body, reply),
                Protocol::Light => drop(tokio::spawn(light::serve(context.clone(), body, reply))),
                Protocol::Sync => drop(tokio::spawn(sync::serve(context.clone(), body, reply))),
                Protocol::GetTransactions => {
                    drop(tokio::spawn(mempool::serve(context.clone(), peer, body, reply)))
                }
            },
            // No addresses in the log, because it outlives the connection; `tequio status` shows
            // them.
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
                context.coordinators.worker_disconnected(peer);
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
