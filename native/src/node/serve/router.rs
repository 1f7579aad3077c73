//! Routes the network's events to the parts of the node.

use super::{light::LightServer, sync::SyncServer};
use crate::node::{
    jobs::coordinators::Coordinators,
    mempool::{Mempool, propagation},
    telemetry::metrics::Metrics,
};
use std::sync::Arc;
use tequio_p2p::{Event, Events, Network, Protocol};

/// The parts that answer requests and follow connections.
#[derive(Debug)]
pub struct Router {
    /// The connected peers, which are counted.
    pub network: Network,
    /// Counts peers and changes of paths.
    pub metrics: Arc<Metrics>,
    /// Answers workers.
    pub coordinators: Coordinators,
    /// Answers light nodes.
    pub light: LightServer,
    /// Answers nodes that catch up.
    pub sync: SyncServer,
    /// The transactions that peers request.
    pub mempool: Arc<Mempool>,
}

impl Router {
    /// Handles events until the network ends.
    pub async fn run(self, mut events: Events) {
        while let Some(event) = events.next().await {
            match event {
                Event::InboundRequest { peer, protocol, body, reply } => match protocol {
                    // Notification protocols expect no response and do not arrive as requests.
                    Protocol::Consensus | Protocol::Mempool => drop(reply),
                    Protocol::Work => self.coordinators.receive(peer, body, reply),
                    Protocol::Light => drop(tokio::spawn(self.light.clone().serve(body, reply))),
                    Protocol::Sync => drop(tokio::spawn(self.sync.clone().serve(body, reply))),
                    Protocol::GetTransactions => drop(tokio::spawn(propagation::serve(
                        self.mempool.clone(),
                        peer,
                        body,
                        reply,
                    ))),
                },
                // No addresses in the log, because it outlives the connection; `tequio status`
                // shows them.
                Event::Connected { peer, path, .. } => {
                    tracing::info!(peer = %peer.short(), ?path, "connected")
                }
                Event::PathChanged { peer, path, reason, .. } => {
                    self.metrics.path_changed(&reason);
                    tracing::info!(peer = %peer.short(), ?path, ?reason, "path changed");
                }
                Event::Unreachable { peer, error } => {
                    let peer = peer.map(|peer| peer.short().to_string());
                    tracing::info!(peer, %error, "cannot connect to a peer; the node tries again");
                }
                Event::Disconnected { peer, reason } => {
                    tracing::info!(peer = %peer.short(), ?reason, "disconnected");
                    self.coordinators.worker_disconnected(peer);
                }
                Event::Listening { addr } => tracing::info!(%addr, "listening"),
                Event::ListenEnded { addr, cause } => {
                    tracing::warn!(%addr, cause, "no longer listening")
                }
                Event::RateLimited { peer, protocol } => {
                    self.metrics.misbehaviour.inc();
                    tracing::warn!(peer = %peer.short(), protocol = protocol.name(),
                        "request dropped: the peer exceeds its rate limit");
                }
            }
            self.metrics.peers.set(self.network.peer_count() as i64);
        }
    }
}
