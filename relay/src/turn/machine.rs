//! The server as a state machine without sockets and clock: datagrams in, datagrams out (RFC 8489,
//! RFC 8656).
//!
//! It owns all allocations and the accounting of their limits; its answers to requests are in
//! `requests`. It refuses, with the codes of the RFC, requests without a credential of this server,
//! forbidden targets, and everything above a limit. It keeps no state for clients that have not
//! authenticated.
//!
//! It implements UDP to UDP in the address family of its socket. It refuses EVEN-PORT,
//! RESERVATION-TOKEN, DONT-FRAGMENT and TCP allocations, which browsers do not request.

use super::{
    allocation::{Allocation, Id},
    credentials::Issuer,
    limits::{Bucket, TurnLimits},
    responses,
    targets::TargetPolicy,
};
use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};
use tequio_p2p::address_key;
use turn_types::{
    AddressFamily,
    attribute::{Data, XorPeerAddress},
    channel::ChannelData,
    message::SEND,
    stun::{
        attribute::ErrorCode,
        message::{IntegrityKey, Message, MessageClass, MessageHeader, StunWriteError},
    },
};

/// The time of an input.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Monotonic time, for durations.
    pub at: Instant,
    /// Seconds since 1970, for dates of expiry.
    pub unix_s: u64,
}

/// Actions for the driver, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Sends from the listening socket.
    ToClient { to: SocketAddr, bytes: Vec<u8> },
    /// Sends from an allocation's socket.
    ToPeer { from: Id, to: SocketAddr, bytes: Vec<u8> },
    /// Opens a socket, and calls [`Machine::on_socket_opened`] with the result.
    Open { id: Id },
    /// Closes an allocation's socket.
    Close { id: Id },
}

/// Counters since the start. They identify no client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Binding requests answered.
    pub bindings: u64,
    /// Allocations made.
    pub allocated: u64,
    /// Allocations refused for a wrong or expired credential.
    pub refused_credential: u64,
    /// Allocations refused by a limit.
    pub refused_limit: u64,
    /// Permissions and channels refused because the target is forbidden.
    pub refused_target: u64,
    /// Payload bytes sent to peers.
    pub bytes_to_peers: u64,
    /// Payload bytes sent to clients.
    pub bytes_to_clients: u64,
    /// Packets dropped by a rate limit.
    pub dropped: u64,
}

/// An Allocate request whose socket is not open yet.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) client: SocketAddr,
    pub(super) username: String,
    pub(super) key: IntegrityKey,
    pub(super) request: Vec<u8>,
    pub(super) lifetime: Duration,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) allocations: usize,
    pub(super) bucket: Bucket,
}

/// The TURN server; see the module's documentation.
#[derive(Debug)]
pub struct Machine {
    pub(super) issuer: Issuer,
    pub(super) limits: TurnLimits,
    pub(super) targets: TargetPolicy,
    pub(super) family: AddressFamily,
    pub(super) next: u64,
    pub(super) allocations: BTreeMap<Id, Allocation>,
    pub(super) by_client: BTreeMap<SocketAddr, Id>,
    pub(super) by_relayed: BTreeMap<SocketAddr, Id>,
    /// Client addresses with an allocation.
    pub(super) clients: BTreeMap<IpAddr, Client>,
    pub(super) pending: BTreeMap<Id, Pending>,
    pub(super) bucket: Bucket,
    pub(super) outputs: VecDeque<Output>,
    pub(super) counts: Counts,
}

pub(super) type Response = Result<Vec<u8>, StunWriteError>;

impl Machine {
    /// A server on a socket of one address family.
    pub fn new(
        issuer: Issuer,
        limits: TurnLimits,
        targets: TargetPolicy,
        ipv6: bool,
        now: Instant,
    ) -> Self {
        let bucket = Bucket::full(limits.bytes_per_s, now);
        let (allocations, by_client, by_relayed, clients, pending, outputs, counts) =
            Default::default();
        let family = if ipv6 { AddressFamily::IPV6 } else { AddressFamily::IPV4 };
        Self {
            issuer,
            limits,
            targets,
            family,
            next: 0,
            allocations,
            by_client,
            by_relayed,
            clients,
            pending,
            bucket,
            outputs,
            counts,
        }
    }

    /// The next action.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Replaces the addresses of this machine. Packets to a new one stop at once, whatever
    /// permissions exist.
    pub fn set_interfaces(&mut self, interfaces: Vec<IpAddr>) {
        // A failed look-up keeps the known addresses.
        if !interfaces.is_empty() {
            self.targets.interfaces = interfaces;
        }
    }

    /// Number of open allocations.
    pub fn allocation_count(&self) -> usize {
        self.allocations.len()
    }

    /// Whether this client has an allocation.
    pub fn has_allocation(&self, client: SocketAddr) -> bool {
        self.by_client.contains_key(&client)
    }

    /// Handles a datagram on the listening socket.
    pub fn on_client_datagram(&mut self, client: SocketAddr, datagram: &[u8], now: Now) {
        match datagram.first().map(|byte| byte >> 6) {
            Some(0) => self.stun(client, datagram, now),
            Some(1) => {
                let Ok(data) = ChannelData::parse(datagram) else { return };
                let Some(id) = self.by_client.get(&client).copied() else { return };
                let peer = self.allocations.get(&id).and_then(|a| a.peer_of(data.id(), now.at));
                if let Some(peer) = peer {
                    self.forward(id, peer, data.data(), now.at);
                }
            }
            _ => {}
        }
    }

    /// Handles a datagram on an allocation's socket. Peers without a permission are ignored.
    pub fn on_peer_datagram(&mut self, id: Id, peer: SocketAddr, payload: &[u8], now: Instant) {
        let Some(allocation) = self.allocations.get(&id) else { return };
        if !allocation.is_permitted(peer.ip(), now) {
            return;
        }
        let to = allocation.client;
        let bytes = match allocation.channel_of(peer, now) {
            Some(channel) => Ok(responses::channel_data(channel, payload)),
            None => responses::data(peer, payload),
        };
        let Ok(bytes) = bytes else { return };
        if self.charge(id, payload.len(), now) {
            self.counts.bytes_to_clients += payload.len() as u64;
            self.outputs.push_back(Output::ToClient { to, bytes });
            self.close_if_exhausted(id);
        }
    }

    /// Handles the result of [`Output::Open`]: the address that peers will see.
    pub fn on_socket_opened(&mut self, id: Id, relayed: Option<SocketAddr>, now: Instant) {
        let Some(Pending { client, username, key, request, lifetime }) = self.pending.remove(&id)
        else {
            return;
        };
        let Ok(request) = Message::from_bytes(&request) else { return };
        let Some(relayed) = relayed else {
            self.release(client);
            let refused =
                responses::error_response(&request, ErrorCode::INSUFFICIENT_CAPACITY, Some(&key));
            return self.respond(client, refused);
        };
        self.counts.allocated += 1;
        let allocation =
            Allocation::new(client, username, request.transaction_id(), relayed, now + lifetime);
        self.allocations.insert(id, allocation);
        self.by_client.insert(client, id);
        self.by_relayed.insert(relayed, id);
        self.respond(
            client,
            responses::allocated(&request, client, relayed, seconds(lifetime), &key),
        );
    }

    /// Closes expired allocations. Once a second is often enough.
    pub fn tick(&mut self, now: Instant) {
        let expired = self.allocations.iter().filter(|(_, a)| a.expires <= now).map(|(id, _)| *id);
        for id in expired.collect::<Vec<_>>() {
            self.close(id);
        }
    }

    fn stun(&mut self, client: SocketAddr, datagram: &[u8], now: Now) {
        // No bytes may follow the message, because its integrity does not cover them.
        let whole = |header: MessageHeader| {
            MessageHeader::LENGTH + usize::from(header.data_length()) == datagram.len()
        };
        if !MessageHeader::from_bytes(datagram).is_ok_and(whole)
            || !datagram.len().is_multiple_of(4)
        {
            return;
        }
        let Ok(message) = Message::from_bytes(datagram) else { return };
        match message.class() {
            MessageClass::Request => {
                if let Some(answer) = self.request(client, &message, now) {
                    self.respond(client, answer);
                }
            }
            MessageClass::Indication if message.has_method(SEND) => {
                self.send(client, &message, now.at)
            }
            _ => {}
        }
    }

    /// Handles a Send indication. It is not authenticated, so it needs a permission that was.
    fn send(&mut self, client: SocketAddr, message: &Message<'_>, now: Instant) {
        let Some(id) = self.by_client.get(&client).copied() else { return };
        let (Ok(peer), Ok(data)) =
            (message.attribute::<XorPeerAddress>(), message.attribute::<Data<'_>>())
        else {
            return;
        };
        let peer = peer.addr(message.transaction_id());
        if self.allocations.get(&id).is_some_and(|a| a.is_permitted(peer.ip(), now)) {
            self.forward(id, peer, data.data(), now);
        }
    }

    fn forward(&mut self, id: Id, peer: SocketAddr, payload: &[u8], now: Instant) {
        let Some(from) = self.allocations.get(&id).map(|a| a.relayed) else { return };
        if !self.may_send_to(peer) || !self.charge(id, payload.len(), now) {
            return;
        }
        self.counts.bytes_to_peers += payload.len() as u64;
        match self.by_relayed.get(&peer).copied() {
            // Both ends are allocations of this server, so no router has to loop the packet back.
            Some(other) => self.on_peer_datagram(other, from, payload, now),
            None => self.outputs.push_back(Output::ToPeer {
                from: id,
                to: peer,
                bytes: payload.to_vec(),
            }),
        }
        self.close_if_exhausted(id);
    }

    pub(super) fn may_send_to(&self, peer: SocketAddr) -> bool {
        self.by_relayed.contains_key(&peer) || self.targets.permits(peer)
    }

    /// Whether the rate limits allow this many bytes; if so, they are charged.
    fn charge(&mut self, id: Id, bytes: usize, now: Instant) -> bool {
        let (bytes, Some(allocation)) = (bytes as u64, self.allocations.get_mut(&id)) else {
            return false;
        };
        let Some(client) = self.clients.get_mut(&address_key(allocation.client.ip())) else {
            return false;
        };
        if !client.bucket.has(bytes, now) || !self.bucket.has(bytes, now) {
            self.counts.dropped += 1;
            return false;
        }
        client.bucket.take(bytes);
        self.bucket.take(bytes);
        allocation.bytes = allocation.bytes.saturating_add(bytes);
        true
    }

    fn close_if_exhausted(&mut self, id: Id) {
        if self.allocations.get(&id).is_some_and(|a| a.bytes >= self.limits.allocation_bytes) {
            self.close(id);
        }
    }

    pub(super) fn close(&mut self, id: Id) {
        let Some(allocation) = self.allocations.remove(&id) else { return };
        self.by_client.remove(&allocation.client);
        self.by_relayed.remove(&allocation.relayed);
        self.release(allocation.client);
        self.outputs.push_back(Output::Close { id });
    }

    /// Decrements the number of a client's allocations.
    fn release(&mut self, client: SocketAddr) {
        let ip = address_key(client.ip());
        if let Some(client) = self.clients.get_mut(&ip) {
            client.allocations -= 1;
            if client.allocations == 0 {
                self.clients.remove(&ip);
            }
        }
    }

    fn respond(&mut self, to: SocketAddr, answer: Response) {
        match answer {
            Ok(bytes) => self.outputs.push_back(Output::ToClient { to, bytes }),
            Err(error) => tracing::debug!(%error, "cannot write an answer"),
        }
    }
}

pub(super) fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}
