//! The server as a state machine without sockets and clock: datagrams in, datagrams out (RFC 8489,
//! RFC 8656).
//!
//! It owns all allocations and the accounting of their limits. It refuses, with the codes of the
//! RFC, requests without a credential of this server, forbidden targets, and everything above a
//! limit. It keeps no state for clients that have not authenticated.
//!
//! It implements UDP to UDP in the address family of its socket. It refuses EVEN-PORT,
//! RESERVATION-TOKEN, DONT-FRAGMENT and TCP allocations, which browsers do not request.

use super::{
    allocation::{Allocation, Bound, Id},
    credentials::{Issuer, REALM},
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
    attribute::{
        ChannelNumber, Data, Lifetime, RequestedAddressFamily, RequestedTransport, XorPeerAddress,
    },
    channel::ChannelData,
    message::{ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, REFRESH, SEND},
    stun::{
        attribute::{AttributeType, ErrorCode, MessageIntegrity, Nonce, Realm, Username},
        message::{BINDING, IntegrityKey, Message, MessageClass, MessageHeader, StunWriteError},
        prelude::{Attribute, AttributeStaticType},
    },
};

/// Channels that a client may use (RFC 8656, section 12).
const CHANNELS: std::ops::RangeInclusive<u16> = 0x4000..=0x4fff;
/// The supported attributes among those that require comprehension.
const KNOWN: [AttributeType; 9] = [
    Username::TYPE,
    MessageIntegrity::TYPE,
    Realm::TYPE,
    Nonce::TYPE,
    XorPeerAddress::TYPE,
    Lifetime::TYPE,
    ChannelNumber::TYPE,
    RequestedTransport::TYPE,
    RequestedAddressFamily::TYPE,
];

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
struct Pending {
    client: SocketAddr,
    username: String,
    key: IntegrityKey,
    request: Vec<u8>,
    lifetime: Duration,
}

#[derive(Debug)]
struct Client {
    allocations: usize,
    bucket: Bucket,
}

/// The TURN server; see the module's documentation.
#[derive(Debug)]
pub struct Machine {
    issuer: Issuer,
    limits: TurnLimits,
    targets: TargetPolicy,
    family: AddressFamily,
    next: u64,
    allocations: BTreeMap<Id, Allocation>,
    by_client: BTreeMap<SocketAddr, Id>,
    by_relayed: BTreeMap<SocketAddr, Id>,
    /// Client addresses with an allocation.
    clients: BTreeMap<IpAddr, Client>,
    pending: BTreeMap<Id, Pending>,
    bucket: Bucket,
    outputs: VecDeque<Output>,
    counts: Counts,
}

/// An authenticated user, and the key that signs the answers.
struct User {
    name: String,
    key: IntegrityKey,
}

type Response = Result<Vec<u8>, StunWriteError>;

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

    /// The answer to a request, unless it has to wait for a socket.
    fn request(&mut self, client: SocketAddr, request: &Message<'_>, now: Now) -> Option<Response> {
        let attributes = request.iter_attributes().map(|(_, attribute)| attribute.get_type());
        let unknown =
            attributes.filter(|kind| kind.comprehension_required() && !KNOWN.contains(kind));
        let unknown: Vec<AttributeType> = unknown.take(16).collect();
        if !unknown.is_empty() {
            return Some(responses::unknown_attributes(request, &unknown));
        }
        let method = request.method();
        if method == BINDING {
            self.counts.bindings += 1;
            return Some(responses::binding(request, client));
        }
        if ![ALLOCATE, REFRESH, CREATE_PERMISSION, CHANNEL_BIND].contains(&method) {
            return Some(responses::error_response(request, ErrorCode::BAD_REQUEST, None));
        }
        let user = match self.authenticate(client, request, now) {
            Ok(user) => user,
            Err(answer) => return Some(answer),
        };
        let id = self.by_client.get(&client).copied();
        if method == ALLOCATE {
            return self.allocate(client, request, user, id, now);
        }
        // RFC 8656: 437 for a client without an allocation, 441 for another user's allocation.
        let Some(id) = id else {
            return Some(responses::error_response(
                request,
                ErrorCode::ALLOCATION_MISMATCH,
                Some(&user.key),
            ));
        };
        if self.allocations.get(&id).is_none_or(|a| a.username != user.name) {
            return Some(responses::error_response(
                request,
                ErrorCode::WRONG_CREDENTIALS,
                Some(&user.key),
            ));
        }
        Some(match method {
            REFRESH => self.refresh(id, request, &user, now.at),
            CREATE_PERMISSION => self.permit(id, request, &user, now.at),
            _ => self.bind(id, request, &user, now.at),
        })
    }

    /// The long-term credential mechanism (RFC 8489, section 9.2.4).
    fn authenticate(
        &mut self,
        client: SocketAddr,
        request: &Message<'_>,
        now: Now,
    ) -> Result<User, Response> {
        let nonce = self.issuer.nonce(client, now.unix_s);
        let challenge = |code| Err(responses::challenge(request, code, REALM, &nonce));
        if !request.has_attribute(MessageIntegrity::TYPE) {
            return challenge(ErrorCode::UNAUTHORIZED);
        }
        let (name, realm, shown) = (
            request.attribute::<Username>(),
            request.attribute::<Realm>(),
            request.attribute::<Nonce>(),
        );
        let (Ok(name), Ok(realm), Ok(shown)) = (name, realm, shown) else {
            return Err(responses::error_response(request, ErrorCode::BAD_REQUEST, None));
        };
        if !self.issuer.is_nonce_valid(shown.nonce(), client, now.unix_s) {
            return challenge(ErrorCode::STALE_NONCE);
        }
        let key = self.issuer.key(name.username(), now.unix_s).filter(|_| realm.realm() == REALM);
        match key {
            Some(key) if request.validate_integrity_with_key(&key).is_ok() => {
                Ok(User { name: name.username().to_owned(), key })
            }
            _ => {
                self.counts.refused_credential += 1;
                challenge(ErrorCode::UNAUTHORIZED)
            }
        }
    }

    fn allocate(
        &mut self,
        client: SocketAddr,
        request: &Message<'_>,
        user: User,
        id: Option<Id>,
        now: Now,
    ) -> Option<Response> {
        let refused = |code| Some(responses::error_response(request, code, Some(&user.key)));
        if let Some(allocation) = id.and_then(|id| self.allocations.get(&id)) {
            // The answer was lost, so it is sent again.
            let repeated = allocation.transaction == request.transaction_id()
                && allocation.username == user.name;
            return match repeated {
                true => {
                    let left = seconds(allocation.expires.saturating_duration_since(now.at));
                    Some(responses::allocated(request, client, allocation.relayed, left, &user.key))
                }
                false => refused(ErrorCode::ALLOCATION_MISMATCH),
            };
        }
        match request.attribute::<RequestedTransport>() {
            Ok(transport) if transport.protocol() == RequestedTransport::UDP => {}
            Ok(_) => return refused(ErrorCode::UNSUPPORTED_TRANSPORT_PROTOCOL),
            Err(_) => return refused(ErrorCode::BAD_REQUEST),
        }
        match request.attribute::<RequestedAddressFamily>() {
            Ok(family) if family.family() != self.family => {
                return refused(ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED);
            }
            // A client that connects by IPv6 without requesting a family can use IPv6, though the
            // RFC would mean IPv4.
            Err(_) if request.has_attribute(RequestedAddressFamily::TYPE) => {
                return refused(ErrorCode::BAD_REQUEST);
            }
            _ => {}
        }
        let by_credential = self.allocations.values().filter(|a| a.username == user.name).count();
        let ip = address_key(client.ip());
        let by_ip = self.clients.get(&ip).map_or(0, |client| client.allocations);
        if by_ip >= self.limits.allocations_per_ip
            || by_credential >= self.limits.allocations_per_credential
        {
            self.counts.refused_limit += 1;
            return refused(ErrorCode::ALLOCATION_QUOTA_REACHED);
        }
        if self.allocations.len() + self.pending.len() >= self.limits.allocations {
            self.counts.refused_limit += 1;
            return refused(ErrorCode::INSUFFICIENT_CAPACITY);
        }
        let per_s = self.limits.bytes_per_s_per_ip;
        let account = self.clients.entry(ip);
        account
            .or_insert_with(|| Client { allocations: 0, bucket: Bucket::full(per_s, now.at) })
            .allocations += 1;
        let id = Id(self.next);
        self.next += 1;
        let (lifetime, request) = (self.lifetime(request), request.as_bytes().to_vec());
        self.pending
            .insert(id, Pending { client, username: user.name, key: user.key, request, lifetime });
        self.outputs.push_back(Output::Open { id });
        None
    }

    fn refresh(&mut self, id: Id, request: &Message<'_>, user: &User, now: Instant) -> Response {
        if request.attribute::<Lifetime>().is_ok_and(|lifetime| lifetime.seconds() == 0) {
            self.close(id);
            return responses::refreshed(request, 0, &user.key);
        }
        let lifetime = self.lifetime(request);
        if let Some(allocation) = self.allocations.get_mut(&id) {
            allocation.expires = now + lifetime;
        }
        responses::refreshed(request, seconds(lifetime), &user.key)
    }

    fn permit(&mut self, id: Id, request: &Message<'_>, user: &User, now: Instant) -> Response {
        let refused = |code| responses::error_response(request, code, Some(&user.key));
        let peers =
            request.iter_attributes().filter(|(_, raw)| raw.get_type() == XorPeerAddress::TYPE);
        let mut ips = Vec::new();
        for (_, raw) in peers {
            let Ok(peer) = XorPeerAddress::try_from(&raw) else {
                return refused(ErrorCode::BAD_REQUEST);
            };
            ips.push(peer.addr(request.transaction_id()).ip());
        }
        if ips.is_empty() {
            return refused(ErrorCode::BAD_REQUEST);
        }
        if let Some(code) = ips.iter().find_map(|ip| self.refusal(*ip)) {
            self.counts.refused_target += 1;
            return refused(code);
        }
        match self.allocations.get_mut(&id).is_some_and(|a| a.permit(&ips, now)) {
            true => responses::success_response(request, &user.key),
            false => refused(ErrorCode::INSUFFICIENT_CAPACITY),
        }
    }

    fn bind(&mut self, id: Id, request: &Message<'_>, user: &User, now: Instant) -> Response {
        let refused = |code| responses::error_response(request, code, Some(&user.key));
        let (channel, peer) =
            (request.attribute::<ChannelNumber>(), request.attribute::<XorPeerAddress>());
        let (Ok(channel), Ok(peer)) = (channel, peer) else {
            return refused(ErrorCode::BAD_REQUEST);
        };
        let (channel, peer) = (channel.channel(), peer.addr(request.transaction_id()));
        if !CHANNELS.contains(&channel) || peer.port() == 0 {
            return refused(ErrorCode::BAD_REQUEST);
        }
        let code = self.refusal(peer.ip());
        if let Some(code) = code.or((!self.may_send_to(peer)).then_some(ErrorCode::FORBIDDEN)) {
            self.counts.refused_target += 1;
            return refused(code);
        }
        match self.allocations.get_mut(&id).map(|a| a.bind(channel, peer, now)) {
            Some(Bound::Done) => responses::success_response(request, &user.key),
            Some(Bound::Conflict) => refused(ErrorCode::BAD_REQUEST),
            _ => refused(ErrorCode::INSUFFICIENT_CAPACITY),
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

    /// The error code if no permission may name an address.
    fn refusal(&self, ip: IpAddr) -> Option<u16> {
        if ip.is_ipv6() != (self.family == AddressFamily::IPV6) {
            return Some(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH);
        }
        (!self.targets.permits_ip(ip)).then_some(ErrorCode::FORBIDDEN)
    }

    fn may_send_to(&self, peer: SocketAddr) -> bool {
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

    fn close(&mut self, id: Id) {
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

    /// The requested lifetime, within the limit.
    fn lifetime(&self, request: &Message<'_>) -> Duration {
        let asked = request
            .attribute::<Lifetime>()
            .map(|lifetime| Duration::from_secs(lifetime.seconds().into()));
        asked
            .ok()
            .filter(|asked| !asked.is_zero())
            .unwrap_or(self.limits.lifetime)
            .min(self.limits.lifetime)
    }

    fn respond(&mut self, to: SocketAddr, answer: Response) {
        match answer {
            Ok(bytes) => self.outputs.push_back(Output::ToClient { to, bytes }),
            Err(error) => tracing::debug!(%error, "cannot write an answer"),
        }
    }
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}
