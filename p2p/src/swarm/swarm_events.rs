//! Handles the events of the swarm.

use libp2p::{
    Multiaddr, PeerId, StreamProtocol,
    core::ConnectedPoint,
    identify, ping,
    swarm::{ConnectionId, StreamUpgradeError, SwarmEvent},
};
use tequio_core::types::NodeId;
use web_time::Instant;

use super::{
    behaviour::BehaviourEvent, dials::dial_error, disconnect::disconnect_reason, driver::Driver,
};
use crate::{
    connections::{
        address_filter,
        peers::{Change, PingOutcome},
    },
    error::root_cause,
    event::{DisconnectReason, Event},
    identity::{node_id, peer_id},
    path::{Path, TransportKind, before_circuit, is_circuit, over_webrtc, target_of},
    protocols::{self, signalling},
};

impl Driver {
    pub(super) fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.established(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed {
                peer_id, connection_id, cause, num_established, ..
            } => {
                if num_established == 0 {
                    self.relay_metrics.peer_disconnected(&peer_id);
                }
                let change = self.peers.closed(&peer_id, connection_id, disconnect_reason(cause));
                self.emit_change(peer_id, change);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                if let Some(dial) = self.pending_dials.take(connection_id) {
                    let error = dial_error(error, &dial.addr);
                    self.finish_dial(dial, Err(error));
                }
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                tracing::debug!(
                    from = %send_back_addr,
                    error = root_cause(&error),
                    "inbound connection failed"
                );
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

    fn on_behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Protocols(protocols::Event::InboundRequest {
                peer,
                protocol,
                body,
                reply,
            }) => {
                self.emit(Event::InboundRequest { peer, protocol, body, reply });
            }
            BehaviourEvent::Protocols(protocols::Event::Flooding { peer, protocol }) => {
                let (peer_text, protocol_name) = (peer.short(), protocol.name());
                tracing::warn!(
                    peer = %peer_text, protocol = protocol_name,
                    "disconnected: rate limit exceeded"
                );
                if let Some(id) = peer_id(peer) {
                    // The behaviour closes the connections itself; this only records the reason.
                    self.peers.mark_all_closing(&id, &DisconnectReason::RateLimited);
                }
                self.emit(Event::RateLimited { peer, protocol });
            }
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.consider_upgrade(peer_id, &info.protocols);
                if let Some((_, path)) = self.peers.best(&peer_id) {
                    let dialable =
                        |addr: &Multiaddr| TransportKind::of(addr).is_some() && self.can_dial(addr);
                    let named = |addr: Multiaddr| addr.with_p2p(peer_id).ok();
                    let via = self.peers.best_addr(&peer_id).unwrap_or_else(Multiaddr::empty);
                    let usable =
                        |addr: &&Multiaddr| dialable(addr) && address_filter::may_dial(addr, &via);
                    let advertised =
                        info.listen_addrs.iter().filter(usable).cloned().filter_map(named);
                    let advertised: Vec<_> = advertised.collect();
                    self.persistent_peers.set_advertised(
                        &peer_id,
                        path.is_direct(),
                        advertised.into_iter(),
                        Instant::now(),
                    );
                }
                self.peers.identified(&peer_id, &info.agent_version, info.listen_addrs);
            }
            BehaviourEvent::Identify(identify::Event::Error { peer_id, error, .. }) => {
                let cause = match &error {
                    StreamUpgradeError::Apply(error) => root_cause(error),
                    error => error.to_string(),
                };
                self.identify_failed(&peer_id, &cause);
            }
            #[cfg(not(target_arch = "wasm32"))]
            BehaviourEvent::RelayServer(event) => self.relay_metrics.record(&event),
            BehaviourEvent::Ping(ping::Event { peer, connection, result }) => {
                self.pinged(peer, connection, result)
            }
            _ => {}
        }
    }

    fn identify_failed(&mut self, peer: &PeerId, cause: &str) {
        if self.peers.identify_failed(peer, cause) {
            let name = node_id(peer).map_or_else(|| peer.to_string(), |node| node.short());
            tracing::warn!(peer = %name, cause, "cannot identify the peer: its agent is unknown");
        }
    }

    /// Checks whether a tab that this node reaches over a dialled circuit supports a direct
    /// connection.
    fn consider_upgrade(&mut self, peer: PeerId, protocols: &[StreamProtocol]) {
        let circuit = self.peers.circuit_to(&peer);
        if let Some(circuit) = circuit.filter(|_| protocols.contains(&signalling::PROTOCOL)) {
            let addr = over_webrtc(&circuit);
            if self.can_dial(&addr) {
                self.webrtc_upgrades.schedule(peer, addr, Instant::now());
            }
        }
    }

    fn established(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let dial = self.pending_dials.take(id);
        let (Some(node), Some(path)) = (node_id(&peer), self.path_of(endpoint)) else {
            // Unreachable: the behaviour admits Ed25519 peers only, and every transport has a kind.
            self.swarm.close_connection(id);
            return;
        };
        let is_spare = self.peers.has_dialled(&peer, path);
        let change = self.peers.opened(peer, node, id, path, endpoint);
        // Alternative addresses of a persistent peer are dialled side by side; the slower
        // connection is not needed.
        let is_spare =
            is_spare && dial.as_ref().is_some_and(|d| d.is_persistent && !d.has_waiters());
        if is_spare {
            self.peers.mark_closing(&peer, id, DisconnectReason::Local);
            self.swarm.close_connection(id);
        } else if endpoint.is_dialer() {
            // A connection that the peer dialled does not count: if both sides closed their own one
            // in favour of the other's, none would be left.
            self.pending_dials.cancel_redundant(&peer, path);
        }
        self.persistent_peers.connected(peer, None, Instant::now());
        if path.is_direct() {
            self.persistent_peers.relay_connected(&peer, Instant::now());
            self.listeners.relay_connected(&peer, Instant::now());
        }
        if endpoint.is_dialer() && !path.is_direct() {
            self.persistent_peers.track_upgrade(peer, Instant::now());
        }
        self.emit_change(peer, change);
        if let Some(dial) = dial {
            let best = self.peers.best(&peer).filter(|_| is_spare).map_or(path, |(_, best)| best);
            self.finish_dial(dial, Ok((node, best)));
        }
    }

    /// The path of a connection. The address of an accepted circuit contains only the relay's
    /// address, not its identity.
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
        if let Some(found) = self.peers.find_by_addr(addr) {
            return Some(found);
        }
        let relay = target_of(addr)?;
        let transport =
            TransportKind::of(addr).or_else(|| Some(self.peers.best(&relay)?.1.transport()))?;
        Some((node_id(&relay)?, Path::Direct(transport)))
    }

    fn emit_change(&mut self, peer_id: PeerId, change: Change) {
        let Some(peer) = node_id(&peer_id) else { return };
        match change {
            Change::None => {}
            Change::Connected(path, addr) => {
                self.webrtc_upgrades.path_changed(&peer_id, path.is_direct(), Instant::now());
                self.persistent_peers.path_changed(&peer_id, path.is_direct(), Instant::now());
                self.emit(Event::Connected { peer, path, addr });
            }
            Change::PathChanged(path, addr, reason) => {
                self.webrtc_upgrades.path_changed(&peer_id, path.is_direct(), Instant::now());
                self.persistent_peers.path_changed(&peer_id, path.is_direct(), Instant::now());
                self.emit(Event::PathChanged { peer, path, addr, reason });
            }
            Change::Disconnected(reason) => {
                self.webrtc_upgrades.forget(&peer_id);
                self.persistent_peers.disconnected(&peer_id, Instant::now());
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
            // A peer without ping may still be alive, so this is no evidence.
            Err(ping::Failure::Unsupported) => return,
            Err(_) => None,
        };
        match self.peers.pinged(&peer, connection, rtt) {
            PingOutcome::Alive(change) => self.emit_change(peer, change),
            PingOutcome::Dead => {
                let change =
                    self.peers.mark_closing(&peer, connection, DisconnectReason::Unresponsive);
                self.emit_change(peer, change);
                self.swarm.close_connection(connection);
            }
        }
    }
}
