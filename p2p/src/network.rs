//! The handle that the rest of the program holds: cheap to clone, and all it does is to put
//! commands into the queue of the one task that owns the swarm ([`crate::driver`]).

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
    circuits::{CircuitMeter, Circuits},
    driver::{PeerInfo, Shared, Snapshot},
    error::{DialError, ListenError, RequestError},
    path::Path,
    protocol::{Channel, Protocol},
    rpc::{Outbound, budget::Budget},
    tell::Hub,
    timer::Delay,
    traffic::{Meter, Traffic},
};

/// Commands that may wait for the task; senders wait beyond it.
pub(crate) const COMMANDS_MAX: usize = 256;
/// Requests of ours that may be under way, in number and in bytes of their bodies.
const REQUESTS_MAX: usize = 4096;
const REQUEST_BYTES_MAX: usize = 128 * 1024 * 1024;
/// For an address to listen on; a reservation includes the dial of the relay.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(30);

/// What the handles ask of the task.
pub(crate) enum Command {
    Listen(Multiaddr, oneshot::Sender<Result<Multiaddr, ListenError>>),
    Unlisten(Multiaddr),
    Dial(Multiaddr, oneshot::Sender<Result<(NodeId, Path), DialError>>),
    Request(NodeId, Outbound),
    Keep(Multiaddr),
    Unkeep(NodeId),
    Disconnect(NodeId, oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
}

/// The running network. When the last clone is dropped, it ends.
#[derive(Clone)]
pub struct Network {
    local: NodeId,
    commands: mpsc::Sender<Command>,
    peers: Snapshot,
    meter: Meter,
    circuits: CircuitMeter,
    requests: Arc<Budget>,
    hub: Arc<Hub>,
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
            circuits: shared.circuits,
            hub: shared.hub,
            ice_servers: shared.ice_servers,
            #[cfg(target_arch = "wasm32")]
            signaller: shared.signaller,
        }
    }

    /// Who we are.
    pub fn local_id(&self) -> NodeId {
        self.local
    }

    /// Listens on an address and returns the first one that stands for it: with the real port,
    /// without our peer id.
    ///
    /// `<relay>/p2p/<R>/p2p-circuit` makes a reservation at a relay; once made, it is renewed for
    /// ever, also after the relay was gone. Further addresses come as events.
    ///
    /// # Errors
    /// If no transport takes the address, or the socket or the relay refuses.
    pub async fn listen(&self, addr: Multiaddr) -> Result<Multiaddr, ListenError> {
        let (reply, result) = oneshot::channel();
        self.command(Command::Listen(addr, reply)).await.map_err(|_| ListenError::Closed)?;
        match select(result, Delay::new(LISTEN_TIMEOUT)).await {
            Either::Left((result, _)) => result.unwrap_or(Err(ListenError::Closed)),
            Either::Right(_) => Err(ListenError::Timeout),
        }
    }

    /// Ends what [`Network::listen`] began for this address, and no longer renews its reservation.
    pub async fn unlisten(&self, addr: Multiaddr) {
        // A closed network listens nowhere.
        let _ = self.command(Command::Unlisten(addr)).await;
    }

    /// Connects to the peer at an address. An existing connection is kept, unless it is relayed and
    /// the address is not; simultaneous dials of one address are one dial.
    ///
    /// # Errors
    /// If the address cannot be dialled, or nobody, or the wrong peer, answers.
    pub async fn dial(&self, addr: Multiaddr) -> Result<(NodeId, Path), DialError> {
        let (reply, result) = oneshot::channel();
        self.command(Command::Dial(addr, reply)).await.map_err(|_| DialError::Closed)?;
        result.await.unwrap_or(Err(DialError::Closed))
    }

    /// Asks a connected peer and waits for its answer. On a [`Channel`] nothing can be asked.
    ///
    /// # Errors
    /// See [`RequestError`]: it tells what the peer said from what happened on the way and from our
    /// own limits.
    pub async fn request(
        &self,
        peer: NodeId,
        protocol: Protocol,
        body: Vec<u8>,
        timeout: Duration,
    ) -> Result<Vec<u8>, RequestError> {
        if protocol.channel().is_some() {
            return Err(RequestError::Unsupported);
        }
        let (len, max) = (body.len(), protocol.request_max());
        if len > max {
            return Err(RequestError::RequestTooLarge { len, max });
        }
        let permit = self.requests.take(len).ok_or(RequestError::QueueFull)?;
        let exchange = std::pin::pin!(async {
            let (response, result) = oneshot::channel();
            let outbound = Outbound { protocol, body, response, permit };
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

    /// Says something to those of these peers that are connected, and expects no answer. It may be
    /// lost; what one peer gets, it gets in order. If a peer is too slow, it misses the oldest
    /// of what waits for it.
    pub fn tell(
        &self,
        channel: Channel,
        peers: impl IntoIterator<Item = NodeId>,
        body: &Arc<[u8]>,
    ) {
        self.hub.tell(channel, peers, body);
    }

    /// Listens from now on to what these peers say about consensus, and to no others; at first to
    /// nobody. What they say on other channels, which are open to all, has memory of its own.
    pub fn hear(&self, peers: impl IntoIterator<Item = NodeId>) {
        self.hub.hear(peers);
    }

    /// The connected peers, ordered by id.
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// How many they are.
    pub fn peer_count(&self) -> usize {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Those that introduce themselves by an agent of which this holds, ordered by id.
    pub fn peers_by_agent(&self, wanted: impl Fn(&str) -> bool) -> Vec<NodeId> {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let is_wanted = |peer: &&PeerInfo| peer.agent.as_deref().is_some_and(&wanted);
        peers.values().filter(is_wanted).map(|peer| peer.id).collect()
    }

    /// One connected peer.
    pub fn peer(&self, id: NodeId) -> Option<PeerInfo> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Bytes moved since the start.
    pub fn traffic(&self) -> Traffic {
        self.meter.read()
    }

    /// Replaces the STUN and TURN servers: their credentials expire. Connections that stand keep
    /// theirs.
    ///
    /// # Errors
    /// As [`tequio_webrtc::check_ice_servers`]; the servers stay as they were.
    pub fn set_ice_servers(&self, servers: Vec<IceServer>) -> Result<(), BadIceServers> {
        self.ice_servers.set(servers)
    }

    /// Which way the packets of our connection to another tab go; `None` without such a connection.
    #[cfg(target_arch = "wasm32")]
    pub async fn route(&self, peer: NodeId) -> Option<tequio_webrtc::Route> {
        self.signaller.route(&crate::identity::peer_id(peer)?).await
    }

    /// What we do for others as a relay.
    pub fn circuits(&self) -> Circuits {
        self.circuits.read()
    }

    /// Stays connected to the peer at this address from now on, as [`crate::Config::keep`] does.
    pub async fn keep(&self, addr: Multiaddr) {
        // A closed network keeps nobody.
        let _ = self.command(Command::Keep(addr)).await;
    }

    /// No longer redials a peer; connections to it stay.
    pub async fn unkeep(&self, peer: NodeId) {
        let _ = self.command(Command::Unkeep(peer)).await;
    }

    /// Closes all connections to a peer. A kept peer is redialled.
    pub async fn disconnect(&self, peer: NodeId) {
        let (done, closed) = oneshot::channel();
        if self.command(Command::Disconnect(peer, done)).await.is_ok() {
            let _ = closed.await;
        }
    }

    /// Closes all connections and ends the network; returns when it has ended.
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
