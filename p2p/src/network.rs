//! The handle that the rest of the program holds. It is cheap to clone and sends commands to the
//! task that owns the swarm ([`crate::swarm`]).

use std::{
    fmt,
    sync::{Arc, PoisonError},
    time::Duration,
};

use futures::{
    SinkExt,
    channel::{mpsc, oneshot},
    future::{Either, select},
};
use libp2p::Multiaddr;
use tequio_core::types::NodeId;
use tequio_webrtc::{BadIceServers, IceServer, IceServers};

use crate::{
    budget::Budget,
    connections::{
        peers::{PeerInfo, PeerSnapshot},
        relay_metrics::{RelayMetrics, RelayStats},
    },
    error::{DialError, ListenError, RequestError},
    path::Path,
    protocol::{NotificationProtocol, Protocol},
    protocols::{OutboundRequest, notifications::NotificationRouter},
    swarm::{Command, Shared},
    timer::Delay,
    transport::traffic::{Traffic, TrafficMeter},
};

/// Commands queued for the task; further senders wait.
pub(crate) const COMMANDS_MAX: usize = 256;
/// Outbound requests in progress, in number and in bytes of their bodies.
const REQUESTS_MAX: usize = 4096;
const REQUEST_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Time limit for a listening address; a reservation includes the dial of the relay.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(30);

/// A handle to the running network. Dropping the last clone ends the network.
#[derive(Clone)]
pub struct Network {
    local: NodeId,
    commands: mpsc::Sender<Command>,
    peers: PeerSnapshot,
    meter: TrafficMeter,
    relay_metrics: RelayMetrics,
    requests: Arc<Budget>,
    notifications: Arc<NotificationRouter>,
    ice_servers: IceServers,
    #[cfg(target_arch = "wasm32")]
    signaller: tequio_webrtc::Signaller,
}

impl Network {
    pub(crate) fn new(local: NodeId, commands: mpsc::Sender<Command>, shared: Shared) -> Self {
        let requests = Budget::new(REQUESTS_MAX, REQUEST_BYTES_MAX);
        Self {
            local,
            commands,
            requests,
            peers: shared.peers,
            meter: shared.meter,
            relay_metrics: shared.relay_metrics,
            notifications: shared.notifications,
            ice_servers: shared.ice_servers,
            #[cfg(target_arch = "wasm32")]
            signaller: shared.signaller,
        }
    }

    /// The node id of this node.
    pub fn local_id(&self) -> NodeId {
        self.local
    }

    /// Listens on an address and returns the first concrete address: with the real port, without
    /// the local peer id.
    ///
    /// `<relay>/p2p/<R>/p2p-circuit` makes a reservation at a relay. Once established, it is
    /// renewed for ever, also after an absence of the relay. Further addresses are reported as
    /// events.
    ///
    /// # Errors
    /// If no transport supports the address, or the socket or the relay refuses.
    pub async fn listen(&self, addr: Multiaddr) -> Result<Multiaddr, ListenError> {
        let (reply, result) = oneshot::channel();
        self.command(Command::Listen(addr, reply)).await.map_err(|_| ListenError::Closed)?;
        match select(result, Delay::new(LISTEN_TIMEOUT)).await {
            Either::Left((result, _)) => result.unwrap_or(Err(ListenError::Closed)),
            Either::Right(_) => Err(ListenError::Timeout),
        }
    }

    /// Ends the listeners that [`Network::listen`] started for this address, and the renewal of its
    /// reservation.
    pub async fn unlisten(&self, addr: Multiaddr) {
        // A closed network has no listeners.
        let _ = self.command(Command::Unlisten(addr)).await;
    }

    /// Connects to the peer at an address. An existing connection is used, unless it is relayed and
    /// the address is direct. Simultaneous dials of one address share one dial.
    ///
    /// # Errors
    /// If the address cannot be dialled, no peer answers, or the wrong peer does.
    pub async fn dial(&self, addr: Multiaddr) -> Result<(NodeId, Path), DialError> {
        let (reply, result) = oneshot::channel();
        self.command(Command::Dial(addr, reply)).await.map_err(|_| DialError::Closed)?;
        result.await.unwrap_or(Err(DialError::Closed))
    }

    /// Sends a request to a connected peer and waits for the response. A [`NotificationProtocol`]
    /// has no requests.
    ///
    /// # Errors
    /// See [`RequestError`]: it separates the peer's refusals, transport failures and local limits.
    pub async fn request(
        &self,
        peer: NodeId,
        protocol: Protocol,
        body: Vec<u8>,
        timeout: Duration,
    ) -> Result<Vec<u8>, RequestError> {
        if protocol.notification_protocol().is_some() {
            return Err(RequestError::Unsupported);
        }
        let (len, max) = (body.len(), protocol.request_max());
        if len > max {
            return Err(RequestError::RequestTooLarge { len, max });
        }
        let permit = self.requests.try_acquire(len).ok_or(RequestError::QueueFull)?;
        let exchange = std::pin::pin!(async {
            let (response, result) = oneshot::channel();
            let outbound = OutboundRequest { protocol, body, response, permit };
            self.command(Command::Request(peer, outbound))
                .await
                .map_err(|_| RequestError::Closed)?;
            result.await.unwrap_or(Err(RequestError::ConnectionLost))
        });
        match select(exchange, Delay::new(timeout)).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => Err(RequestError::Timeout),
        }
    }

    /// Sends a notification to those of the peers that are connected. It may be lost; each peer
    /// receives its notifications in order. If a peer is too slow, the oldest notifications in its
    /// queue are dropped.
    pub fn notify(
        &self,
        channel: NotificationProtocol,
        peers: impl IntoIterator<Item = NodeId>,
        body: &Arc<[u8]>,
    ) {
        self.notifications.notify(channel, peers, body);
    }

    /// Replaces the set of peers whose consensus notifications are read; initially it is empty.
    /// Notifications of other protocols are read from all peers, within a separate memory budget.
    pub fn set_consensus_peers(&self, peers: impl IntoIterator<Item = NodeId>) {
        self.notifications.set_consensus_peers(peers);
    }

    /// The connected peers, ordered by id.
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The number of connected peers.
    pub fn peer_count(&self) -> usize {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The connected peers that match the predicate, ordered by id.
    pub fn peers_where(&self, wanted: impl Fn(&PeerInfo) -> bool) -> Vec<NodeId> {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.values().filter(|peer| wanted(peer)).map(|peer| peer.id).collect()
    }

    /// The properties of a connected peer.
    pub fn peer(&self, id: NodeId) -> Option<PeerInfo> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Bytes moved since the start.
    pub fn traffic(&self) -> Traffic {
        self.meter.read()
    }

    /// Replaces the STUN and TURN servers, for example because their credentials expire. Open
    /// connections keep the old ones.
    ///
    /// # Errors
    /// Like [`tequio_webrtc::check_ice_servers`]; the servers then stay unchanged.
    pub fn set_ice_servers(&self, servers: Vec<IceServer>) -> Result<(), BadIceServers> {
        self.ice_servers.set(servers)
    }

    /// The ICE route of the connection to another tab; `None` without such a connection.
    #[cfg(target_arch = "wasm32")]
    pub async fn route(&self, peer: NodeId) -> Option<tequio_webrtc::Route> {
        self.signaller.route(&crate::identity::peer_id(peer)?).await
    }

    /// The counters of this node's relay service.
    pub fn relay_stats(&self) -> RelayStats {
        self.relay_metrics.read()
    }

    /// Stays connected to the peer at this address from now on, as with
    /// [`crate::Config::persistent_peers`].
    pub async fn add_persistent_peer(&self, addr: Multiaddr) {
        // A closed network has no persistent peers.
        let _ = self.command(Command::AddPersistentPeer(addr)).await;
    }

    /// Stops redialling a peer; connections to it stay.
    pub async fn remove_persistent_peer(&self, peer: NodeId) {
        let _ = self.command(Command::RemovePersistentPeer(peer)).await;
    }

    /// Closes all connections to a peer. A persistent peer is redialled.
    pub async fn disconnect(&self, peer: NodeId) {
        let (done, closed) = oneshot::channel();
        if self.command(Command::Disconnect(peer, done)).await.is_ok() {
            let _ = closed.await;
        }
    }

    /// Closes all connections, ends the network and returns when it has ended.
    pub async fn close(self) {
        let (done, closed) = oneshot::channel();
        if self.command(Command::Close(done)).await.is_ok() {
            let _ = closed.await;
        }
    }

    async fn command(&self, command: Command) -> Result<(), mpsc::SendError> {
        self.commands.clone().send(command).await
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("local", &self.local).finish_non_exhaustive()
    }
}
