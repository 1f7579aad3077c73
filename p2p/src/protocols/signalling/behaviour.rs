//! Finds or dials the circuit to a peer and opens the signalling substream for the transport.
//! Passes inbound substreams on to the transport.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    task::{Context, Poll, Waker},
};

use futures::{StreamExt, channel::mpsc};
use libp2p::{
    Multiaddr, PeerId,
    core::{ConnectedPoint, Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler,
        THandlerInEvent, ToSwarm,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use web_time::Instant;

use super::{
    handler::{Handler, OpenInfo, Opened},
    slots::{Direction, Slots},
    transport::{Incoming, OpenStream, SignallingError},
};
use crate::{
    error::root_cause,
    path::{is_circuit, over_webrtc},
};

/// An open circuit.
struct Circuit {
    id: ConnectionId,
    local: Multiaddr,
    remote: Multiaddr,
}

pub struct Behaviour {
    slots: Slots,
    open_requests: mpsc::UnboundedReceiver<OpenStream>,
    incoming: mpsc::UnboundedSender<Incoming>,
    circuits: HashMap<PeerId, Vec<Circuit>>,
    /// Requests that wait for a circuit that is being dialled.
    dialling: HashMap<PeerId, (ConnectionId, OpenInfo)>,
    queue: VecDeque<ToSwarm<Infallible, OpenInfo>>,
    waker: Option<Waker>,
}

impl Behaviour {
    pub fn new(
        slots: Slots,
        open_requests: mpsc::UnboundedReceiver<OpenStream>,
        incoming: mpsc::UnboundedSender<Incoming>,
    ) -> Self {
        let (circuits, dialling, queue) = Default::default();
        Self { slots, open_requests, incoming, circuits, dialling, queue, waker: None }
    }

    fn push(&mut self, action: ToSwarm<Infallible, OpenInfo>) {
        self.queue.push_back(action);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn open(&mut self, peer_id: PeerId, connection: ConnectionId, opening: OpenInfo) {
        self.push(ToSwarm::NotifyHandler {
            peer_id,
            handler: NotifyHandler::One(connection),
            event: opening,
        });
    }

    fn open_stream(&mut self, request: OpenStream) {
        let OpenStream { peer, circuit, reply } = request;
        if let Some(id) = self.circuits.get(&peer).and_then(|c| c.last()).map(|c| c.id) {
            return self.open(peer, id, OpenInfo(reply));
        }
        let opts = DialOpts::peer_id(peer)
            .addresses(vec![circuit])
            .condition(PeerCondition::Always)
            .build();
        // One at most: an earlier request for the peer has been given up.
        self.dialling.insert(peer, (opts.connection_id(), OpenInfo(reply)));
        self.push(ToSwarm::Dial { opts });
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        local: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(Handler::new(is_circuit(local)))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        addr: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(Handler::new(is_circuit(addr)))
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        match event {
            FromSwarm::ConnectionEstablished(e) => {
                let (local, remote) = match e.endpoint {
                    ConnectedPoint::Dialer { address, .. } => (address, address),
                    ConnectedPoint::Listener { local_addr, send_back_addr } => {
                        (local_addr, send_back_addr)
                    }
                };
                if !is_circuit(local) {
                    return;
                }
                let circuit =
                    Circuit { id: e.connection_id, local: local.clone(), remote: remote.clone() };
                self.circuits.entry(e.peer_id).or_default().push(circuit);
                if let Some((_, opening)) = self.dialling.remove(&e.peer_id) {
                    self.open(e.peer_id, e.connection_id, opening);
                }
            }
            FromSwarm::ConnectionClosed(e) => {
                if let Some(circuits) = self.circuits.get_mut(&e.peer_id) {
                    circuits.retain(|circuit| circuit.id != e.connection_id);
                    if circuits.is_empty() {
                        self.circuits.remove(&e.peer_id);
                    }
                }
            }
            FromSwarm::DialFailure(e) => {
                let waiting = self
                    .dialling
                    .iter()
                    .find(|(_, (id, _))| *id == e.connection_id)
                    .map(|(peer, _)| *peer);
                if let Some((_, opening)) = waiting.and_then(|peer| self.dialling.remove(&peer)) {
                    let _ = opening.0.send(Err(SignallingError::Circuit(root_cause(e.error))));
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        opened: Opened,
    ) {
        let circuits = self.circuits.get(&peer);
        let Some(circuit) = circuits.and_then(|c| c.iter().find(|c| c.id == connection)) else {
            return;
        };
        match self.slots.take(peer, Direction::Incoming, Instant::now()) {
            Ok(slot) => {
                let incoming = Incoming {
                    peer,
                    stream: opened.0,
                    slot,
                    local: over_webrtc(&circuit.local),
                    remote: over_webrtc(&circuit.remote),
                };
                let _ = self.incoming.unbounded_send(incoming);
            }
            Err(refused) => tracing::debug!(%peer, %refused, "signalling refused"),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        while let Poll::Ready(Some(request)) = self.open_requests.poll_next_unpin(cx) {
            self.open_stream(request);
        }
        match self.queue.pop_front() {
            Some(action) => Poll::Ready(action),
            None => {
                self.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
