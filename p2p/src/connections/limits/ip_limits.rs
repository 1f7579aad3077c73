//! Bounds accepted connections per IPv4 address or IPv6 /64, handshakes included, so that one host
//! cannot use up all connections. Circuits have no IP address of their own; the relay bounds them.

use std::{
    collections::HashMap,
    net::IpAddr,
    task::{Context, Poll},
};

use crate::address_key::address_key;
use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    multiaddr::Protocol,
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandlerInEvent,
        THandlerOutEvent, ToSwarm, dummy,
    },
};

/// Too many connections from one IP prefix.
#[derive(Debug, thiserror::Error)]
#[error("too many connections from one address")]
struct TooManyConnections;

pub struct Behaviour {
    max: u32,
    counts: HashMap<IpAddr, u32>,
    connections: HashMap<ConnectionId, IpAddr>,
}

impl Behaviour {
    pub fn new(max: u32) -> Self {
        Self { max, counts: HashMap::new(), connections: HashMap::new() }
    }

    fn release(&mut self, id: ConnectionId) {
        let Some(prefix) = self.connections.remove(&id) else { return };
        if let Some(count) = self.counts.get_mut(&prefix) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&prefix);
            }
        }
    }
}

fn ip_prefix(addr: &Multiaddr) -> Option<IpAddr> {
    match addr.iter().next()? {
        Protocol::Ip4(ip) => Some(address_key(ip.into())),
        Protocol::Ip6(ip) => Some(address_key(ip.into())),
        _ => None,
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = std::convert::Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let Some(prefix) = ip_prefix(remote) else { return Ok(()) };
        let count = self.counts.entry(prefix).or_default();
        if *count >= self.max {
            return Err(ConnectionDenied::new(TooManyConnections));
        }
        *count += 1;
        self.connections.insert(id, prefix);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<dummy::ConnectionHandler, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<dummy::ConnectionHandler, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        match event {
            FromSwarm::ConnectionClosed(e) => self.release(e.connection_id),
            FromSwarm::ListenFailure(e) => self.release(e.connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_rise_and_fall_with_connections() {
        let mut behaviour = Behaviour::new(2);
        let local: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        let mut knock = |id: usize, from: &str| {
            let id = ConnectionId::new_unchecked(id);
            behaviour.handle_pending_inbound_connection(id, &local, &from.parse().unwrap()).is_ok()
        };
        assert!(knock(1, "/ip4/10.0.0.1/tcp/1"));
        assert!(knock(2, "/ip4/10.0.0.1/tcp/2"));
        assert!(!knock(3, "/ip4/10.0.0.1/udp/3/quic-v1"));
        assert!(knock(4, "/ip4/10.0.0.2/tcp/1"), "another host");
        assert!(knock(5, "/ip6/2001:db8::1/tcp/1"));
        assert!(knock(6, "/ip6/2001:db8::2/tcp/1"));
        assert!(!knock(7, "/ip6/2001:db8::3/tcp/1"), "one customer has a whole /64");
        assert!(knock(8, "/ip6/2001:db8:0:1::1/tcp/1"));
        assert!(
            (10..20)
                .all(|id| knock(id, "/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN")),
            "circuits"
        );
        for id in 1..20 {
            behaviour.release(ConnectionId::new_unchecked(id));
        }
        assert!(behaviour.counts.is_empty() && behaviour.connections.is_empty());
    }
}
