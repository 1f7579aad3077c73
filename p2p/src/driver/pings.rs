//! Pings, so that a peer that has gone is noticed by its silence: often by the side that was dialled, seldom by the one that has dialled.
//!
//! A ping and its answer are heard on both sides, so one side is enough. A browser slows the timers of a tab that is not looked at, and
//! tabs dial; so it is the other side that pings. The dialler does so as well, for the path's round-trip time, and for peers that never ping. A path that
//! looks open but carries nothing, which only an answer that does not come can show, it notices some seconds later than the other side.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    ping,
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
        ToSwarm,
    },
};

/// A third of the silence after which the transports give a peer up.
const INTERVAL: Duration = Duration::from_secs(3);
/// Within that silence.
const INTERVAL_OF_DIALLER: Duration = Duration::from_secs(7);
/// Generous: an answer may wait behind a large message. That nothing at all comes is noticed by the transports.
const TIMEOUT: Duration = Duration::from_secs(10);

/// See the module's documentation.
pub struct Pings {
    often: ping::Behaviour,
    seldom: ping::Behaviour,
}

impl Pings {
    pub fn new() -> Self {
        let pings = |interval| ping::Behaviour::new(ping::Config::new().with_interval(interval).with_timeout(TIMEOUT));
        Self { often: pings(INTERVAL), seldom: pings(INTERVAL_OF_DIALLER) }
    }
}

impl NetworkBehaviour for Pings {
    type ConnectionHandler = THandler<ping::Behaviour>;
    type ToSwarm = ping::Event;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.often.handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        // Of two that dial each other at once, one takes the listener's part.
        let pings = if role.is_listener() { &mut self.often } else { &mut self.seldom };
        pings.handle_established_outbound_connection(connection, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        self.often.on_swarm_event(event);
        self.seldom.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        // Either would pass it on.
        self.often.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<ping::Event, THandlerInEvent<Self>>> {
        self.often.poll(cx)
    }
}
