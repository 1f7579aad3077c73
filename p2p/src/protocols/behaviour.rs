//! Exchanges and notifications, as one libp2p behaviour.
//!
//! libp2p's own request-response crate neither names the requester to a codec nor allows a codec
//! pause, and it spreads requests over all connections to a peer. Here the caller names the
//! connection, and each peer has its buckets ([`super::peer_limits`]).

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    task::{Context, Poll, Waker},
};

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

use super::{
    handler::Handler,
    messages::{FromHandler, OutboundRequest, ToHandler},
    notifications::{NotificationRouter, SendQueues, writer::Writer},
    peer_limits::PeerLimits,
    shared_state::SharedState,
};
use crate::{
    budget::Budget,
    event::Reply,
    identity::node_id,
    protocol::{NotificationProtocol, Protocol, Rates},
};

/// Above this many peers in the table, absent peers are removed as soon as their buckets are full.
const PEERS_SOFT_MAX: usize = 1024;
/// Above this many, any absent peer is removed.
const PEERS_MAX: usize = 8192;
/// Queued responses of all connections.
const RESPONSES_MAX: usize = 4096;
const RESPONSE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Events of the behaviour.
#[derive(Debug)]
pub enum Event {
    /// A request was read.
    InboundRequest { peer: NodeId, protocol: Protocol, body: Vec<u8>, reply: Reply },
    /// A peer exceeded its limits and is disconnected.
    Flooding { peer: NodeId, protocol: Protocol },
}

struct Peer {
    limits: Arc<PeerLimits>,
    send_queues: Arc<SendQueues>,
    connections: usize,
    banned_until: Option<Instant>,
}

impl Peer {
    fn is_banned(&self, now: Instant) -> bool {
        self.banned_until.is_some_and(|until| now < until)
    }
}

pub struct Behaviour {
    shared: Arc<SharedState>,
    rates: Arc<Rates>,
    peers: HashMap<PeerId, Peer>,
    queue: VecDeque<ToSwarm<Event, ToHandler>>,
    waker: Option<Waker>,
}

/// The peer's key is not an Ed25519 key.
#[derive(Debug, thiserror::Error)]
#[error("only peers with Ed25519 keys are accepted")]
struct UnsupportedKey;

/// The peer was disconnected for flooding and is still banned.
#[derive(Debug, thiserror::Error)]
#[error("the peer was disconnected because it exceeded its rate limit by far")]
struct Banned;

impl Behaviour {
    pub fn new(
        protocols: Vec<Protocol>,
        rates: Rates,
        notifications: Arc<NotificationRouter>,
    ) -> Self {
        let served = SharedState {
            protocols,
            inbound_budgets: Protocol::ALL
                .map(|p| Budget::new(p.inbound_items_max(), p.inbound_bytes_max())),
            response_budget: Budget::new(RESPONSES_MAX, RESPONSE_BYTES_MAX),
            notifications,
        };
        Self {
            shared: Arc::new(served),
            rates: Arc::new(rates),
            peers: HashMap::new(),
            queue: VecDeque::new(),
            waker: None,
        }
    }

    /// Sends a request on the given connection. If it has just closed, the request is dropped.
    pub fn send(&mut self, peer: PeerId, connection: ConnectionId, request: OutboundRequest) {
        self.notify_handler(peer, connection, ToHandler::Request(request));
    }

    /// Sets whether a connection is a standby, which closes once no stream has used it for a while.
    pub fn set_standby(&mut self, peer: PeerId, connection: ConnectionId, is_standby: bool) {
        self.notify_handler(peer, connection, ToHandler::Standby(is_standby));
    }

    fn notify_handler(&mut self, peer_id: PeerId, connection: ConnectionId, event: ToHandler) {
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
        let node = node_id(&peer).ok_or_else(|| ConnectionDenied::new(UnsupportedKey))?;
        let now = Instant::now();
        self.evict_absent(now);
        let known = self.peers.entry(peer).or_insert_with(|| Peer {
            limits: PeerLimits::new(self.rates.clone(), now),
            send_queues: Arc::default(),
            connections: 0,
            banned_until: None,
        });
        if known.is_banned(now) {
            return Err(ConnectionDenied::new(Banned));
        }
        let writers = NotificationProtocol::ALL
            .map(|channel| Writer::new(connection, known.send_queues.of(channel).clone()));
        Ok(Handler::new(node, self.shared.clone(), known.limits.clone(), writers))
    }

    fn evict_absent(&mut self, now: Instant) {
        if self.peers.len() >= PEERS_SOFT_MAX {
            self.peers.retain(|_, p| {
                p.connections > 0 || p.is_banned(now) || !p.limits.is_replenished(now)
            });
        }
        if self.peers.len() >= PEERS_MAX {
            self.peers.retain(|_, p| p.connections > 0 || p.is_banned(now));
        }
    }

    fn ban(&mut self, peer_id: PeerId, peer: NodeId, protocol: Protocol) {
        let now = Instant::now();
        let penalty = self.rates.penalty;
        let Some(known) = self.peers.get_mut(&peer_id) else { return };
        if known.is_banned(now) {
            return;
        }
        known.banned_until = Some(now + penalty);
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
                        self.shared.notifications.connected(node, &peer.send_queues);
                    }
                }
            }
            FromSwarm::ConnectionClosed(e) => {
                if let Some(peer) = self.peers.get_mut(&e.peer_id) {
                    peer.connections = peer.connections.saturating_sub(1);
                    if let Some(node) = node_id(&e.peer_id).filter(|_| peer.connections == 0) {
                        self.shared.notifications.disconnected(&node);
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
            FromHandler::InboundRequest { protocol, body, reply } => {
                self.push(ToSwarm::GenerateEvent(Event::InboundRequest {
                    peer,
                    protocol,
                    body,
                    reply,
                }));
            }
            FromHandler::Flooding(protocol) => self.ban(peer_id, peer, protocol),
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
