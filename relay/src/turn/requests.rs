//! The answers to STUN and TURN requests: authentication, allocations, permissions and channels.

use super::{
    allocation::{Bound, Id},
    credentials::REALM,
    limits::Bucket,
    machine::{Client, Machine, Now, Output, Pending, Response, seconds},
    responses,
};
use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};
use tequio_p2p::address_key;
use turn_types::{
    AddressFamily,
    attribute::{
        ChannelNumber, Lifetime, RequestedAddressFamily, RequestedTransport, XorPeerAddress,
    },
    message::{ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, REFRESH},
    stun::{
        attribute::{AttributeType, ErrorCode, MessageIntegrity, Nonce, Realm, Username},
        message::{BINDING, IntegrityKey, Message},
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

/// An authenticated user, and the key that signs the answers.
struct User {
    name: String,
    key: IntegrityKey,
}

impl Machine {
    /// The answer to a request, unless it has to wait for a socket.
    pub(super) fn request(
        &mut self,
        client: SocketAddr,
        request: &Message<'_>,
        now: Now,
    ) -> Option<Response> {
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

    /// The error code if no permission may name an address.
    fn refusal(&self, ip: IpAddr) -> Option<u16> {
        if ip.is_ipv6() != (self.family == AddressFamily::IPV6) {
            return Some(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH);
        }
        (!self.targets.permits_ip(ip)).then_some(ErrorCode::FORBIDDEN)
    }

    /// The requested lifetime, within the limit.
    fn lifetime(&self, request: &Message<'_>) -> Duration {
        let requested = request
            .attribute::<Lifetime>()
            .map(|lifetime| Duration::from_secs(lifetime.seconds().into()));
        requested
            .ok()
            .filter(|requested| !requested.is_zero())
            .unwrap_or(self.limits.lifetime)
            .min(self.limits.lifetime)
    }
}
