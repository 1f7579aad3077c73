//! Exchanges and channels, as one libp2p behaviour.
//!
//! libp2p's own request-response crate tells a codec neither who asks nor lets it pause, and it
//! spreads requests over all connections to a peer. Here the caller names the connection, and each
//! peer has its buckets ([`limits`]).

pub mod budget;
pub mod codec;
mod handler;
pub mod limits;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    task::{Context, Poll, Waker},
};

pub use handler::{FromHandler, Handler, Outbound, ToHandler};
use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour,
        NotifyHandler, THandlerInEvent, ToSwarm,
    },
};
use tequio_core::types::NodeId;
use web_time::Instant;

use self::{budget::Budget, limits::PeerLimits};
use crate::{
    event::Reply,
    identity::node_id,
    protocol::{Channel, Protocol, Rates},
    tell::{Hub, Outlets, writer::Writer},
};

/// Above this many remembered peers, the absent ones are forgotten as soon as their buckets are
/// full.
const REMEMBERED: usize = 1024;
/// Above this many, any absent one is.
const REMEMBERED_MAX: usize = 8192;
/// Responses of all connections that wait to be written.
const RESPONSES_MAX: usize = 4096;
const RESPONSE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What all connections share.
#[derive(Debug)]
pub struct Served {
    pub protocols: Vec<Protocol>,
    pub inbound: [Arc<Budget>; Protocol::COUNT],
    pub responses: Arc<Budget>,
    pub hub: Arc<Hub>,
}

/// What the behaviour reports.
#[derive(Debug)]
pub enum Event {
    /// A request was read.
    Inbound { peer: NodeId, protocol: Protocol, body: Vec<u8>, reply: Reply },
    /// A peer was cut off for flooding.
    Flooding { peer: NodeId, protocol: Protocol },
}

struct Peer {
    limits: Arc<PeerLimits>,
    outlets: Arc<Outlets>,
    connections: usize,
    barred_until: Option<Instant>,
}

impl Peer {
    fn is_barred(&self, now: Instant) -> bool {
        self.barred_until.is_some_and(|until| now < until)
    }
}

pub struct Behaviour {
    served: Arc<Served>,
    rates: Arc<Rates>,
    peers: HashMap<PeerId, Peer>,
    queue: VecDeque<ToSwarm<Event, ToHandler>>,
    waker: Option<Waker>,
}

/// The peer's key is not an Ed25519 key.
#[derive(Debug, thiserror::Error)]
#[error("only Ed25519 peers are admitted")]
struct ForeignKey;

/// The peer was cut off a moment ago.
#[derive(Debug, thiserror::Error)]
#[error("the peer has been cut off for flooding")]
struct Barred;

impl Behaviour {
    pub fn new(protocols: Vec<Protocol>, rates: Rates, hub: Arc<Hub>) -> Self {
        let served = Served {
            protocols,
            inbound: Protocol::ALL
                .map(|p| Budget::new(p.inbound_items_max(), p.inbound_bytes_max())),
            responses: Budget::new(RESPONSES_MAX, RESPONSE_BYTES_MAX),
            hub,
        };
        Self {
            served: Arc::new(served),
            rates: Arc::new(rates),
            peers: HashMap::new(),
            queue: VecDeque::new(),
            waker: None,
        }
    }

    /// Sends a request on the given connection. If that has just closed, the request is dropped.
    pub fn send(&mut self, peer: PeerId, connection: ConnectionId, request: Outbound) {
        self.notify(peer, connection, ToHandler::Request(request));
    }

    /// Whether a connection is only a standby: it closes once no stream has used it for a while.
    pub fn set_standby(&mut self, peer: PeerId, connection: ConnectionId, is_standby: bool) {
        self.notify(peer, connection, ToHandler::Standby(is_standby));
    }

    fn notify(&mut self, peer_id: PeerId, connection: ConnectionId, event: ToHandler) {
        self.push(ToSwarm::NotifyHandler {
            peer_id,
            handler: NotifyHandler::One(connection),
            event,
        });
    }

    fn push(&mut self, action: ToSwarm<Event, ToHandler>) {
        self.queue.push_back(action);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn admit(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
    ) -> Result<Handler, ConnectionDenied> {
        let node = node_id(&peer).ok_or_else(|| ConnectionDenied::new(ForeignKey))?;
        let now = Instant::now();
        self.forget(now);
        let known = self.peers.entry(peer).or_insert_with(|| Peer {
            limits: PeerLimits::new(self.rates.clone(), now),
            outlets: Arc::default(),
            connections: 0,
            barred_until: None,
        });
        if known.is_barred(now) {
            return Err(ConnectionDenied::new(Barred));
        }
        let writers =
            Channel::ALL.map(|channel| Writer::new(connection, known.outlets.of(channel).clone()));
        Ok(Handler::new(node, self.served.clone(), known.limits.clone(), writers))
    }

    fn forget(&mut self, now: Instant) {
        if self.peers.len() >= REMEMBERED {
            self.peers
                .retain(|_, p| p.connections > 0 || p.is_barred(now) || !p.limits.is_rested(now));
        }
        if self.peers.len() >= REMEMBERED_MAX {
            self.peers.retain(|_, p| p.connections > 0 || p.is_barred(now));
        }
    }

    fn cut_off(&mut self, peer_id: PeerId, peer: NodeId, protocol: Protocol) {
        let now = Instant::now();
        let penalty = self.rates.penalty;
        let Some(known) = self.peers.get_mut(&peer_id) else { return };
        if known.is_barred(now) {
            return;
        }
        known.barred_until = Some(now + penalty);
        self.push(ToSwarm::GenerateEvent(Event::Flooding { peer, protocol }));
        self.push(ToSwarm::CloseConnection { peer_id, connection: CloseConnection::All });
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        self.admit(peer, connection)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        self.admit(peer, connection)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        match event {
            FromSwarm::ConnectionEstablished(e) => {
                if let Some(peer) = self.peers.get_mut(&e.peer_id) {
                    peer.connections += 1;
                    if let Some(node) = node_id(&e.peer_id) {
                        self.served.hub.connected(node, &peer.outlets);
                    }
                }
            }
            FromSwarm::ConnectionClosed(e) => {
                if let Some(peer) = self.peers.get_mut(&e.peer_id) {
                    peer.connections = peer.connections.saturating_sub(1);
                    if let Some(node) = node_id(&e.peer_id).filter(|_| peer.connections == 0) {
                        self.served.hub.disconnected(&node);
                    }
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer_id: PeerId,
        _: ConnectionId,
        event: FromHandler,
    ) {
        let Some(peer) = node_id(&peer_id) else { return };
        match event {
            FromHandler::Inbound { protocol, body, reply } => {
                self.push(ToSwarm::GenerateEvent(Event::Inbound { peer, protocol, body, reply }));
            }
            FromHandler::Flooding(protocol) => self.cut_off(peer_id, peer, protocol),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Event, THandlerInEvent<Self>>> {
        match self.queue.pop_front() {
            Some(action) => Poll::Ready(action),
            None => {
                self.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
