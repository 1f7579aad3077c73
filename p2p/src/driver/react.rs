//! What the swarm reports, and what follows from it.

use libp2p::{
    Multiaddr, PeerId, StreamProtocol,
    core::ConnectedPoint,
    identify, ping,
    swarm::{ConnectionError, ConnectionId, SwarmEvent},
};
use tequio_core::types::NodeId;
use web_time::Instant;

use super::{
    Driver,
    behaviour::BehaviourEvent,
    claims,
    dials::{dial_error, root_cause},
    peers::{AfterPing, Change},
};
use crate::{
    event::{DisconnectReason, Event},
    identity::node_id,
    path::{Path, TransportKind, before_circuit, is_circuit, over_webrtc},
    rpc, signalling,
};

impl Driver {
    pub(super) fn react(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.react_to_behaviour(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.established(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed {
                peer_id, connection_id, cause, num_established, ..
            } => {
                if num_established == 0 {
                    self.circuits.gone(&peer_id);
                }
                let change = self.peers.closed(&peer_id, connection_id, reason(cause));
                self.tell(peer_id, change);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                if let Some(dial) = self.dials.take(connection_id) {
                    let error = dial_error(error, &dial.addr);
                    self.settle(dial, Err(error));
                }
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                tracing::debug!(from = %send_back_addr, error = root_cause(&error), "inbound connection failed");
            }
            SwarmEvent::NewListenAddr { listener_id, address } => {
                self.listening(listener_id, address)
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.expired(address, "the address is gone")
            }
            SwarmEvent::ListenerClosed { listener_id, addresses, reason } => {
                self.listener_closed(listener_id, addresses, reason);
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(error = root_cause(&error), "listener");
            }
            _ => {}
        }
    }

    fn react_to_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Rpc(rpc::Event::Inbound { peer, protocol, body, reply }) => {
                self.emit(Event::Inbound { peer, protocol, body, reply });
            }
            BehaviourEvent::Rpc(rpc::Event::Flooding { peer, protocol }) => {
                tracing::warn!(peer = %peer.short(), protocol = protocol.name(), "cut off for flooding");
                if let Some(id) = crate::identity::peer_id(peer) {
                    // The behaviour closes the connections itself; here the reason is noted.
                    self.peers.closing_all(&id, &DisconnectReason::RateLimited);
                }
                self.emit(Event::RateLimited { peer, protocol });
            }
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.consider_upgrade(peer_id, &info.protocols);
                if let Some((_, path)) = self.peers.best(&peer_id) {
                    let dialable =
                        |addr: &Multiaddr| TransportKind::of(addr).is_some() && self.can_dial(addr);
                    let named = |addr: Multiaddr| addr.with_p2p(peer_id).ok();
                    let via = self.peers.addr_of(&peer_id).unwrap_or_else(Multiaddr::empty);
                    let usable = |addr: &&Multiaddr| dialable(addr) && claims::may_try(addr, &via);
                    let claims = info.listen_addrs.iter().filter(usable).cloned().filter_map(named);
                    let claims: Vec<_> = claims.collect();
                    self.keep.claims(
                        &peer_id,
                        path.is_direct(),
                        claims.into_iter(),
                        Instant::now(),
                    );
                }
                self.peers.identified(&peer_id, &info.agent_version, info.listen_addrs);
            }
            #[cfg(not(target_arch = "wasm32"))]
            BehaviourEvent::RelayServer(event) => self.circuits.note(&event),
            BehaviourEvent::Ping(ping::Event { peer, connection, result }) => {
                self.pinged(peer, connection, result)
            }
            _ => {}
        }
    }

    /// Whether a tab that we reach by a circuit of ours can be reached without it.
    fn consider_upgrade(&mut self, peer: PeerId, protocols: &[StreamProtocol]) {
        let circuit = self.peers.circuit_to(&peer);
        if let Some(circuit) = circuit.filter(|_| protocols.contains(&signalling::PROTOCOL)) {
            let addr = over_webrtc(&circuit);
            if self.can_dial(&addr) {
                self.upgrades.possible(peer, addr, Instant::now());
            }
        }
    }

    fn established(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let dial = self.dials.take(id);
        let (Some(node), Some(path)) = (node_id(&peer), self.path_of(endpoint)) else {
            // The behaviour admits Ed25519 peers only, and every transport has a kind: nothing
            // comes here.
            self.swarm.close_connection(id);
            return;
        };
        let is_spare = self.peers.has_dialled(&peer, path);
        let change = self.peers.opened(peer, node, id, path, endpoint);
        // Alternatives of a kept peer are dialled side by side; the slower one is not needed.
        let is_spare =
            is_spare && dial.as_ref().is_some_and(|d| d.kept && !d.is_wanted_by_callers());
        if is_spare {
            self.peers.closing(&peer, id, DisconnectReason::Local);
            self.swarm.close_connection(id);
        } else if endpoint.is_dialer() {
            // Not for one that the peer has dialled: if both gave up theirs for the other's sake,
            // none would be left.
            self.dials.give_up(&peer, path);
        }
        self.keep.connected(peer, None, Instant::now());
        if path.is_direct() {
            self.keep.relay_is_back(&peer, Instant::now());
            self.listens.relay_is_back(&peer, Instant::now());
        }
        if endpoint.is_dialer() && !path.is_direct() {
            self.keep.attend(peer, Instant::now());
        }
        self.tell(peer, change);
        if let Some(dial) = dial {
            let best = self.peers.best(&peer).filter(|_| is_spare).map_or(path, |(_, best)| best);
            self.settle(dial, Ok((node, best)));
        }
    }

    /// The path of a connection. An accepted circuit does not name its relay's identity, only its
    /// address.
    fn path_of(&self, endpoint: &ConnectedPoint) -> Option<Path> {
        let addr = match endpoint {
            ConnectedPoint::Dialer { address, .. } => address,
            ConnectedPoint::Listener { local_addr, .. } => local_addr,
        };
        Path::of(addr).or_else(|| {
            let (via, path) =
                is_circuit(addr).then(|| self.relay_at(&before_circuit(addr))).flatten()?;
            Some(Path::Relayed { via, transport: path.transport() })
        })
    }

    fn relay_at(&self, addr: &Multiaddr) -> Option<(NodeId, Path)> {
        if let Some(found) = self.peers.at_remote(addr) {
            return Some(found);
        }
        let relay = crate::path::target_of(addr)?;
        let transport =
            TransportKind::of(addr).or_else(|| Some(self.peers.best(&relay)?.1.transport()))?;
        Some((node_id(&relay)?, Path::Direct(transport)))
    }

    fn tell(&mut self, peer_id: PeerId, change: Change) {
        let Some(peer) = node_id(&peer_id) else { return };
        match change {
            Change::None => {}
            Change::Connected(path, addr) => {
                self.upgrades.reached(&peer_id, path.is_direct(), Instant::now());
                self.keep.reached(&peer_id, path.is_direct(), Instant::now());
                self.emit(Event::Connected { peer, path, addr });
            }
            Change::PathChanged(path, addr, reason) => {
                self.upgrades.reached(&peer_id, path.is_direct(), Instant::now());
                self.keep.reached(&peer_id, path.is_direct(), Instant::now());
                self.emit(Event::PathChanged { peer, path, addr, reason });
            }
            Change::Disconnected(reason) => {
                self.upgrades.forget(&peer_id);
                self.keep.disconnected(&peer_id, Instant::now());
                self.emit(Event::Disconnected { peer, reason });
            }
        }
    }

    fn pinged(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        result: Result<std::time::Duration, ping::Failure>,
    ) {
        let rtt = match result {
            Ok(rtt) => Some(rtt),
            // A peer without ping may still be alive; nothing can be said.
            Err(ping::Failure::Unsupported) => return,
            Err(_) => None,
        };
        match self.peers.pinged(&peer, connection, rtt) {
            AfterPing::Stays(change) => self.tell(peer, change),
            AfterPing::Close => {
                let change = self.peers.closing(&peer, connection, DisconnectReason::Unresponsive);
                self.tell(peer, change);
                self.swarm.close_connection(connection);
            }
        }
    }
}

fn reason(cause: Option<ConnectionError>) -> DisconnectReason {
    match cause {
        None | Some(ConnectionError::KeepAliveTimeout) => DisconnectReason::Local,
        Some(ConnectionError::IO(error)) if is_silence(&error) => DisconnectReason::Unresponsive,
        Some(ConnectionError::IO(error)) if is_remote_end(&error) => DisconnectReason::Remote,
        Some(ConnectionError::IO(error)) => DisconnectReason::Failed(root_cause(&error)),
    }
}

/// Whether nothing came from the peer for too long. QUIC and WebRTC have errors of their own for
/// it.
fn is_silence(error: &(dyn std::error::Error + 'static)) -> bool {
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    kind == Some(std::io::ErrorKind::TimedOut)
        || match error.source() {
            Some(source) => is_silence(source),
            None => ["timed out", "silent"].iter().any(|word| error.to_string().contains(word)),
        }
}

/// Whether the peer closed the connection or its process ended. The muxers wrap what the socket
/// said, or report an orderly end by an error of their own whose text is all there is.
fn is_remote_end(error: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof,
    };
    const ENDED: [std::io::ErrorKind; 5] =
        [BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof];
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    kind.is_some_and(|kind| ENDED.contains(&kind))
        || match error.source() {
            Some(source) => is_remote_end(source),
            None => {
                ["closed", "EOF", "end of file"].iter().any(|word| error.to_string().contains(word))
            }
        }
}
