//! Tests of the machine in virtual time: expiry, limits, and robustness against arbitrary bytes.

use super::{
    CREDENTIAL_LIFETIME, Credential, Issuer, TargetPolicy, TurnLimits,
    credentials::{REALM, integrity_key},
    machine::{Machine, Now, Output},
};
use proptest::prelude::*;
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use turn_types::{
    attribute::{ChannelNumber, RequestedTransport, XorPeerAddress},
    message::{ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, REFRESH, SEND},
    stun::{
        attribute::{ErrorCode, Nonce, Realm, Username},
        message::{
            BINDING, IntegrityAlgorithm, Message, MessageWrite, MessageWriteExt, MessageWriteVec,
            Method, TransactionId,
        },
        prelude::AttributeWrite,
    },
};

const UNIX_S: u64 = 1_700_000_000;
const PEER: &str = "1.1.1.1:9";

struct TestServer {
    machine: Machine,
    start: Instant,
    after: Duration,
    ports: u16,
}

impl TestServer {
    fn new(limits: TurnLimits) -> Self {
        let (issuer, start) = (Issuer::new(&[7; 32], CREDENTIAL_LIFETIME), Instant::now());
        let machine = Machine::new(issuer, limits, TargetPolicy::default(), false, start);
        Self { machine, start, after: Duration::ZERO, ports: 50_000 }
    }

    fn now(&self) -> Now {
        Now { at: self.start + self.after, unix_s: UNIX_S + self.after.as_secs() }
    }

    /// Returns all outputs; opens sockets at once.
    fn drain(&mut self) -> Vec<Output> {
        let mut outputs = vec![];
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Open { id } => {
                    self.ports += 1;
                    let relayed = SocketAddr::from(([9, 9, 9, 9], self.ports));
                    self.machine.on_socket_opened(id, Some(relayed), self.now().at);
                }
                other => outputs.push(other),
            }
        }
        outputs
    }

    fn exchange(&mut self, client: SocketAddr, request: &[u8]) -> Vec<u8> {
        self.machine.on_client_datagram(client, request, self.now());
        let outputs = self.drain();
        let answer = outputs.into_iter().find_map(|output| match output {
            Output::ToClient { to, bytes } if to == client => Some(bytes),
            _ => None,
        });
        answer.unwrap()
    }

    /// The error code for a signed request; 0 for a success.
    fn code(
        &mut self,
        client: SocketAddr,
        credential: &Credential,
        method: Method,
        attributes: &[&dyn AttributeWrite],
    ) -> u16 {
        let nonce = self.machine.issuer().nonce(client, self.now().unix_s);
        let request = signed(credential, &nonce, method, attributes);
        code(&self.exchange(client, &request))
    }

    fn allocate(&mut self, client: SocketAddr, credential: &Credential) -> u16 {
        self.code(
            client,
            credential,
            ALLOCATE,
            &[&RequestedTransport::new(RequestedTransport::UDP)],
        )
    }

    fn issue(&self, random: u64) -> Credential {
        self.machine.issuer().issue(self.now().unix_s, random)
    }
}

fn signed(
    credential: &Credential,
    nonce: &str,
    method: Method,
    attributes: &[&dyn AttributeWrite],
) -> Vec<u8> {
    let mut request = Message::builder_request(method, MessageWriteVec::new());
    attributes.iter().for_each(|attribute| request.add_attribute(*attribute).unwrap());
    request.add_attribute(&Username::new(&credential.username).unwrap()).unwrap();
    request.add_attribute(&Realm::new(REALM).unwrap()).unwrap();
    request.add_attribute(&Nonce::new(nonce).unwrap()).unwrap();
    let key = integrity_key(&credential.username, &credential.password);
    request.add_message_integrity_with_key(&key, IntegrityAlgorithm::Sha1).unwrap();
    request.finish()
}

fn code(answer: &[u8]) -> u16 {
    Message::from_bytes(answer).unwrap().attribute::<ErrorCode>().map_or(0, |error| error.code())
}

fn client(n: u16) -> SocketAddr {
    SocketAddr::from(([8, 8, (n >> 8) as u8, n as u8], 1000))
}

fn peer() -> XorPeerAddress {
    XorPeerAddress::new(PEER.parse().unwrap(), TransactionId::from(0))
}

#[test]
fn an_expired_credential_cannot_refresh_its_allocation() {
    let mut server = TestServer::new(TurnLimits::default());
    let credential = server.issue(1);
    server.after = CREDENTIAL_LIFETIME - Duration::from_secs(1);
    assert_eq!(server.allocate(client(1), &credential), 0);
    assert_eq!(server.code(client(1), &credential, REFRESH, &[]), 0);
    server.after = CREDENTIAL_LIFETIME;
    assert_eq!(server.code(client(1), &credential, REFRESH, &[]), 401);
    assert_eq!(server.allocate(client(2), &credential), 401);
    assert_eq!(server.machine.allocation_count(), 1);
    server.after += TurnLimits::default().lifetime;
    server.machine.tick(server.now().at);
    assert!(matches!(server.drain()[..], [Output::Close { .. }]));
    assert_eq!(
        (server.machine.allocation_count(), server.machine.counts().refused_credential),
        (0, 2)
    );
}

#[test]
fn a_stale_nonce_and_the_credential_of_another_client_get_different_errors() {
    let mut server = TestServer::new(TurnLimits::default());
    let (own, other) = (server.issue(1), server.issue(2));
    let nonce = server.machine.issuer().nonce(client(2), UNIX_S);
    let request =
        signed(&own, &nonce, ALLOCATE, &[&RequestedTransport::new(RequestedTransport::UDP)]);
    assert_eq!(code(&server.exchange(client(1), &request)), 438, "of another client");
    let first = server.exchange(client(2), &request);
    assert_eq!(code(&first), 0);
    assert_eq!(
        code(&server.exchange(client(2), &request)),
        0,
        "the answer was lost: the same again"
    );
    assert_eq!(server.machine.allocation_count(), 1);
    assert_eq!(server.allocate(client(2), &own), 437);
    assert_eq!(server.code(client(2), &other, REFRESH, &[]), 441);
    assert_eq!(server.code(client(1), &own, REFRESH, &[]), 437);
    assert_eq!(server.code(client(2), &own, ALLOCATE, &[]), 437);
    assert_eq!(server.code(client(3), &own, ALLOCATE, &[]), 400);
    assert_eq!(
        server.code(
            client(3),
            &own,
            ALLOCATE,
            &[&RequestedTransport::new(RequestedTransport::TCP)]
        ),
        442
    );
    assert_eq!(
        server.code(client(2), &own, CHANNEL_BIND, &[&ChannelNumber::new(0x5000), &peer()]),
        400
    );
    assert_eq!(server.code(client(2), &own, CREATE_PERMISSION, &[]), 400);
}

#[test]
fn allocations_are_limited_per_address_and_in_total() {
    let limits = TurnLimits {
        allocations: 5,
        allocations_per_ip: 2,
        allocations_per_credential: 3,
        ..Default::default()
    };
    let mut server = TestServer::new(limits);
    let credentials: Vec<Credential> = (0..5).map(|n| server.issue(n)).collect();
    let from = |ip: u16, port| SocketAddr::new(client(ip).ip(), port);
    let codes =
        [(1, 1, 0), (1, 2, 0), (1, 3, 0), (2, 1, 0), (3, 1, 0), (4, 1, 1), (5, 1, 1), (6, 1, 1)]
            .map(|(ip, port, credential)| {
                server.allocate(from(ip, port), &credentials[credential])
            });
    assert_eq!(codes, [0, 0, 486, 0, 486, 0, 0, 508]);
    assert_eq!((server.machine.allocation_count(), server.machine.counts().refused_limit), (5, 3));
}

#[test]
fn bytes_are_limited_by_rate_and_in_total() {
    let limits =
        TurnLimits { allocation_bytes: 3500, bytes_per_s_per_ip: 1000, ..Default::default() };
    let mut server = TestServer::new(limits);
    let credential = server.issue(1);
    assert_eq!(server.allocate(client(1), &credential), 0);
    assert_eq!(
        server.code(client(1), &credential, CHANNEL_BIND, &[&ChannelNumber::new(0x4000), &peer()]),
        0
    );
    let packet = [&[0x40, 0, 0x01, 0xf4][..], &[7; 500]].concat();
    let sent = |server: &mut TestServer| {
        let now = server.now();
        (0..10).for_each(|_| server.machine.on_client_datagram(client(1), &packet, now));
        server.drain()
    };
    let two = sent(&mut server);
    assert!(
        two.iter().all(|o| matches!(o, Output::ToPeer { to, .. } if *to == PEER.parse().unwrap()))
    );
    assert_eq!((two.len(), server.machine.counts().dropped), (2, 8));
    for _ in 0..2 {
        server.after += Duration::from_secs(1);
        assert_eq!(sent(&mut server).len(), 2);
    }
    server.after += Duration::from_secs(1);
    let last = sent(&mut server);
    assert!(matches!(last[..], [Output::ToPeer { .. }, Output::Close { .. }]), "{last:?}");
    assert_eq!(
        (server.machine.allocation_count(), server.machine.counts().bytes_to_peers),
        (0, 3500)
    );
}

#[test]
fn an_address_that_becomes_local_is_no_longer_relayed_to() {
    let mut server = TestServer::new(TurnLimits::default());
    let credential = server.issue(1);
    assert_eq!(server.allocate(client(1), &credential), 0);
    assert_eq!(
        server.code(client(1), &credential, CHANNEL_BIND, &[&ChannelNumber::new(0x4000), &peer()]),
        0
    );
    let (packet, now) = ([0x40, 0, 0, 4, 1, 2, 3, 4], server.now());
    server.machine.on_client_datagram(client(1), &packet, now);
    assert!(matches!(server.drain()[..], [Output::ToPeer { .. }]));
    server.machine.set_interfaces(vec![PEER.parse::<SocketAddr>().unwrap().ip()]);
    server.machine.on_client_datagram(client(1), &packet, now);
    assert!(server.drain().is_empty());
    assert_eq!(
        server.code(client(1), &credential, CHANNEL_BIND, &[&ChannelNumber::new(0x4000), &peer()]),
        403
    );
}

#[test]
fn only_permitted_peers_are_relayed_until_the_permission_expires() {
    let mut server = TestServer::new(TurnLimits::default());
    let credential = server.issue(1);
    let now = server.now();
    server.machine.on_client_datagram(client(1), &[0x40, 0, 0, 0], now);
    assert_eq!(server.allocate(client(1), &credential), 0);
    let id = super::allocation::Id(0);
    let (at, other): (SocketAddr, SocketAddr) =
        (PEER.parse().unwrap(), "1.1.1.2:9".parse().unwrap());
    server.machine.on_peer_datagram(id, at, b"early", now.at);
    assert!(server.drain().is_empty());
    assert_eq!(server.code(client(1), &credential, CREATE_PERMISSION, &[&peer()]), 0);
    server.machine.on_peer_datagram(id, at, b"permitted", now.at);
    server.machine.on_peer_datagram(id, other, b"not permitted", now.at);
    assert_eq!(server.drain().len(), 1);
    let mut send = Message::builder_indication(SEND, MessageWriteVec::new());
    send.add_attribute(&XorPeerAddress::new(other, send.transaction_id())).unwrap();
    send.add_attribute(&turn_types::attribute::Data::new(b"no permission")).unwrap();
    let send = send.finish();
    server.machine.on_client_datagram(client(1), &send, now);
    assert!(server.drain().is_empty());
    server.after = Duration::from_secs(300);
    let now = server.now().at;
    server.machine.on_peer_datagram(id, at, b"late", now);
    assert!(server.drain().is_empty());
}

proptest! {
    /// Random bytes, and a valid message with some changed bytes: no panic, no allocation, at most
    /// one small answer.
    #[test]
    fn arbitrary_bytes_do_not_panic_the_machine(
        random in proptest::collection::vec(any::<u8>(), 0..200),
        which in 0..3usize,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut server = TestServer::new(TurnLimits::default());
        let mut credential = server.issue(1);
        credential.password.push('x');
        let nonce = server.machine.issuer().nonce(client(1), UNIX_S);
        let method = [ALLOCATE, BINDING, CHANNEL_BIND][which];
        let mut message = signed(&credential, &nonce, method, &[&RequestedTransport::new(17),
            &peer()]);
        changes.iter().for_each(|(at, value)| *at.get_mut(&mut message) = *value);
        for datagram in [&random, &message] {
            let now = server.now();
            server.machine.on_client_datagram(client(1), datagram, now);
            let outputs = server.drain();
            prop_assert!(outputs.len() <= 1);
            let small = |o: &Output| matches!(o, Output::ToClient { bytes, .. }
                if bytes.len() <= 200);
            prop_assert!(outputs.iter().all(small));
        }
        prop_assert_eq!(server.machine.allocation_count(), 0);
    }
}
