//! The addresses that a node announces: in identify, and as a relay in its reservations.
//!
//! Both messages have 4096 bytes, and libp2p sends every listening and external address, each
//! circuit both with and without the local peer id. A node with several interfaces and relays would
//! exceed the limit, and its peers would then refuse the whole message. This module announces a
//! bounded choice of the addresses, in one form each.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    multiaddr::Protocol,
    swarm::{
        ConnectionDenied, ConnectionId, ExternalAddrExpired, FromSwarm, NetworkBehaviour,
        THandlerInEvent, THandlerOutEvent, ToSwarm, behaviour::ExternalAddrConfirmed,
    },
};

use super::address_filter::{Scope, scope};
use crate::path::{TransportKind, names_relay, relay_of, target_of, without_target};

/// Most addresses that a node announces; a peer stores no more.
pub const ADDRESSES_MAX: usize = 16;
/// Most bytes of all announced addresses together: half of an identify message.
const BYTES_MAX: usize = 2048;
/// Most bytes of one announced address.
const ADDRESS_BYTES_MAX: usize = 256;

/// Wraps a behaviour that sends addresses of the node to peers. The behaviour receives the chosen
/// addresses as external addresses.
pub struct AnnouncedAddresses<B> {
    pub inner: B,
    local: PeerId,
    /// Addresses from the configuration, which are announced first.
    configured: Vec<Multiaddr>,
    kind: Announcer,
    listening: BTreeSet<Multiaddr>,
    external: BTreeSet<Multiaddr>,
    announced: Vec<Multiaddr>,
}

/// The message in which the addresses are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announcer {
    /// Listening and external addresses, and circuits.
    Identify,
    /// External addresses without circuits: no circuit leads through another.
    #[cfg_attr(target_arch = "wasm32", allow(dead_code))]
    Reservation,
}

impl<B: NetworkBehaviour> AnnouncedAddresses<B> {
    pub fn new(inner: B, local: PeerId, configured: &[Multiaddr], kind: Announcer) -> Self {
        Self {
            inner,
            local,
            configured: configured.to_vec(),
            kind,
            listening: BTreeSet::new(),
            external: BTreeSet::new(),
            announced: Vec::new(),
        }
    }

    fn update(&mut self) {
        let listening = self.listening.iter().filter(|_| self.kind == Announcer::Identify);
        let all = self.external.iter().chain(listening);
        let all = all.filter(|addr| self.kind == Announcer::Identify || !names_relay(addr));
        let chosen = choose(self.local, &self.configured, all);
        let before = std::mem::replace(&mut self.announced, chosen);
        for addr in before.iter().filter(|addr| !self.announced.contains(addr)) {
            self.inner.on_swarm_event(FromSwarm::ExternalAddrExpired(ExternalAddrExpired { addr }));
        }
        for addr in self.announced.iter().filter(|addr| !before.contains(addr)) {
            let confirmed = FromSwarm::ExternalAddrConfirmed(ExternalAddrConfirmed { addr });
            self.inner.on_swarm_event(confirmed);
        }
    }
}

/// Chooses the addresses to announce, the most useful first: configured ones, then direct addresses
/// and circuits in turn. Wider scopes come first. Within a scope each interface, or relay,
/// contributes one address before any contributes a second.
fn choose<'a>(
    local: PeerId,
    configured: &[Multiaddr],
    known: impl Iterator<Item = &'a Multiaddr>,
) -> Vec<Multiaddr> {
    let plain = |addr: &Multiaddr| match target_of(addr) == Some(local) {
        true => without_target(addr.clone()),
        false => addr.clone(),
    };
    let configured: Vec<Multiaddr> = configured.iter().map(plain).collect();
    let is_usable = |addr: &Multiaddr| {
        let circuits = addr.iter().filter(|part| *part == Protocol::P2pCircuit).count();
        scope(addr) != Scope::Unroutable && circuits <= 1 && !configured.contains(addr)
    };
    let known: BTreeSet<Multiaddr> = known.map(plain).filter(is_usable).collect();
    let (circuits, direct): (Vec<_>, Vec<_>) = known.into_iter().partition(names_relay);
    let (mut circuits, mut direct) = (ranked(circuits), ranked(direct));
    let mut ordered = configured;
    loop {
        match (direct.next(), circuits.next()) {
            (None, None) => break,
            pair => ordered.extend(pair.0.into_iter().chain(pair.1)),
        }
    }
    let (mut chosen, mut bytes) = (Vec::new(), 0);
    for addr in ordered {
        if chosen.len() < ADDRESSES_MAX
            && addr.len() <= ADDRESS_BYTES_MAX
            && bytes + addr.len() <= BYTES_MAX
            && !chosen.contains(&addr)
        {
            bytes += addr.len();
            chosen.push(addr);
        }
    }
    chosen
}

fn ranked(mut addrs: Vec<Multiaddr>) -> impl Iterator<Item = Multiaddr> {
    addrs.sort_by_key(|addr| (TransportKind::of(addr), addr.len()));
    let mut ranks = BTreeMap::new();
    let mut keyed: Vec<_> = addrs
        .into_iter()
        .map(|addr| {
            let group = match relay_of(&addr).filter(|_| names_relay(&addr)) {
                Some(relay) => relay.to_bytes(),
                None => {
                    addr.iter().next().map(|first| first.to_string()).unwrap_or_default().into()
                }
            };
            let rank = ranks.entry((scope(&addr), group)).or_insert(0usize);
            *rank += 1;
            (Reverse(scope(&addr)), *rank, addr)
        })
        .collect();
    keyed.sort_by_key(|(scope, rank, _)| (*scope, *rank));
    keyed.into_iter().map(|(_, _, addr)| addr)
}

impl<B: NetworkBehaviour> NetworkBehaviour for AnnouncedAddresses<B> {
    type ConnectionHandler = B::ConnectionHandler;
    type ToSwarm = B::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<Self::ConnectionHandler, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.inner.handle_pending_outbound_connection(connection, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        addr: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<Self::ConnectionHandler, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(connection, peer, addr, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        let is_changed = match &event {
            FromSwarm::NewListenAddr(new) => self.listening.insert(new.addr.clone()),
            FromSwarm::ExpiredListenAddr(expired) => self.listening.remove(expired.addr),
            FromSwarm::ExternalAddrConfirmed(new) => self.external.insert(new.addr.clone()),
            FromSwarm::ExternalAddrExpired(expired) => self.external.remove(expired.addr),
            _ => false,
        };
        // Before the behaviour receives the event: identify then pushes the new choice to peers.
        if is_changed {
            self.update();
        }
        let is_replaced = matches!(
            event,
            FromSwarm::ExternalAddrConfirmed(_) | FromSwarm::ExternalAddrExpired(_)
        );
        if !is_replaced {
            self.inner.on_swarm_event(event);
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.inner.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<B::ToSwarm, THandlerInEvent<Self>>> {
        self.inner.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_choice_is_bounded_and_has_each_address_once() {
        let local = PeerId::random();
        let mut known = Vec::new();
        for relay in [PeerId::random(), PeerId::random(), PeerId::random()] {
            for port in 1..20 {
                let circuit =
                    addr(&format!("/dns4/relay.example/tcp/{port}/tls/ws/p2p/{relay}/p2p-circuit"));
                known.push(circuit.clone().with(Protocol::P2p(local)));
                known.push(circuit.clone());
                known.push(circuit.with(Protocol::P2p(local)).with(Protocol::P2pCircuit));
            }
        }
        for ip in ["127.0.0.1", "192.168.1.7", "203.0.113.7", "0.0.0.0"] {
            for port in 1..20 {
                known.push(addr(&format!("/ip4/{ip}/tcp/{port}")));
            }
        }
        let configured = [addr("/dns4/node.example/tcp/4810")];
        let chosen = choose(local, &configured, known.iter());
        assert_eq!(chosen.len(), ADDRESSES_MAX);
        assert!(chosen.iter().map(Multiaddr::len).sum::<usize>() <= BYTES_MAX);
        assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), chosen.len());
        assert_eq!((&chosen[0], &chosen[1]), (&configured[0], &addr("/ip4/203.0.113.7/tcp/1")));
        let relays = chosen.iter().filter(|a| names_relay(a)).filter_map(relay_of);
        assert_eq!(relays.clone().take(3).collect::<BTreeSet<_>>().len(), 3, "each relay");
        assert_eq!(relays.count(), 7);
        assert!(chosen.iter().all(|a| target_of(a) != Some(local)));

        // Addresses so long that bytes are the limit.
        let long: Vec<_> =
            (1..20).map(|port| addr(&format!("/dns4/{}/tcp/{port}", "x".repeat(200)))).collect();
        let chosen = choose(local, &[], long.iter());
        assert!(!chosen.is_empty() && chosen.len() < ADDRESSES_MAX, "{}", chosen.len());
        assert!(chosen.iter().map(Multiaddr::len).sum::<usize>() <= BYTES_MAX);
    }
}
