//! The STUN and TURN server over real sockets, with a client that encodes each message itself.

use super::{LONG, config, dir, in_time};
use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tequio_relay::{Config, Relay, TurnConfig, TurnLimits};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};
use turn_types::{
    TurnCredentials,
    attribute::{
        ChannelNumber, Data, Lifetime, RequestedTransport, XorPeerAddress, XorRelayedAddress,
    },
    channel::ChannelData,
    message::{ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, DATA, REFRESH, SEND},
    stun::{
        attribute::{ErrorCode, MessageIntegrity, Nonce, Realm, Username, XorMappedAddress},
        message::{
            BINDING, IntegrityAlgorithm, IntegrityKey, Message, MessageIntegrityCredentials,
            MessageWrite, MessageWriteExt, MessageWriteVec, Method,
        },
        prelude::{AttributeStaticType, AttributeWrite},
    },
};

async fn relay(dir: &TempDir, change: impl FnOnce(&mut TurnConfig)) -> Relay {
    let mut turn = TurnConfig::new((Ipv4Addr::LOCALHOST, 0).into());
    change(&mut turn);
    Relay::start(Config { turn: Some(turn), ..config(dir.path()) }).await.unwrap()
}

async fn get(relay: &Relay, path: &str) -> String {
    let mut io = TcpStream::connect(relay.http().addr()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    io.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    in_time(io.read_to_string(&mut text)).await.unwrap();
    text
}

/// The ICE server of the well-known file: its URLs, user name and credential.
async fn ice_server(relay: &Relay) -> (Vec<String>, String, String) {
    let answer = get(relay, "/.well-known/tequio.json").await;
    assert!(answer.to_lowercase().contains("cache-control: no-store"), "{answer}");
    let document: serde_json::Value =
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let server = &document["iceServers"][0];
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    (
        server["urls"].as_array().unwrap().iter().map(text).collect(),
        text(&server["username"]),
        text(&server["credential"]),
    )
}

async fn metric(relay: &Relay, name: &str) -> u64 {
    let text = get(relay, "/metrics").await;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("tequio_relay_{name} ")).map(str::to_owned));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

/// Waits until a metric reaches a value, because the network reports with a delay.
pub async fn metric_becomes(relay: &Relay, name: &str, wanted: u64) {
    let start = Instant::now();
    loop {
        let value = metric(relay, name).await;
        if value == wanted {
            return;
        }
        assert!(start.elapsed() < LONG, "{name} stays at {value} instead of {wanted}");
        // Stays below the web server's rate limit.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A response of the server.
#[derive(Debug)]
struct Answer(Vec<u8>);

impl Answer {
    fn message(&self) -> Message<'_> {
        Message::from_bytes(&self.0).unwrap()
    }

    /// The error code; 0 for a success.
    fn code(&self) -> u16 {
        self.message().attribute::<ErrorCode>().map_or(0, |error| error.code())
    }

    fn relayed(&self) -> SocketAddr {
        let message = self.message();
        message.attribute::<XorRelayedAddress>().unwrap().addr(message.transaction_id())
    }
}

struct Client {
    socket: UdpSocket,
    username: String,
    password: String,
    realm: String,
    nonce: String,
}

impl Client {
    async fn with(server: SocketAddr, username: &str, password: &str) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        socket.connect(server).await.unwrap();
        let (realm, nonce) = Default::default();
        Self { socket, username: username.into(), password: password.into(), realm, nonce }
    }

    async fn new(relay: &Relay) -> Self {
        let (_, username, credential) = ice_server(relay).await;
        Self::with(relay.turn().unwrap(), &username, &credential).await
    }

    fn key(&self) -> IntegrityKey {
        let credentials = TurnCredentials::new(&self.username, &self.password)
            .into_long_term_credentials(&self.realm);
        MessageIntegrityCredentials::from(credentials).make_key(IntegrityAlgorithm::Sha1)
    }

    async fn receive(&self) -> Vec<u8> {
        let mut buffer = vec![0; 4096];
        let len = in_time(self.socket.recv(&mut buffer)).await.unwrap();
        buffer.truncate(len);
        buffer
    }

    /// Sends one request. The response to a signed request must be signed too, unless it requires
    /// another credential.
    async fn ask_once(&self, method: Method, attributes: &[&dyn AttributeWrite]) -> Answer {
        let mut request = Message::builder_request(method, MessageWriteVec::new());
        attributes.iter().for_each(|attribute| request.add_attribute(*attribute).unwrap());
        let signed = !self.nonce.is_empty();
        if signed {
            request.add_attribute(&Username::new(&self.username).unwrap()).unwrap();
            request.add_attribute(&Realm::new(&self.realm).unwrap()).unwrap();
            request.add_attribute(&Nonce::new(&self.nonce).unwrap()).unwrap();
            request.add_message_integrity_with_key(&self.key(), IntegrityAlgorithm::Sha1).unwrap();
        }
        let request = request.finish();
        self.socket.send(&request).await.unwrap();
        let answer = Answer(self.receive().await);
        assert_eq!(
            answer.message().transaction_id(),
            Message::from_bytes(&request).unwrap().transaction_id()
        );
        if signed && ![400, 401, 420, 438].contains(&answer.code()) {
            answer.message().validate_integrity_with_key(&self.key()).unwrap();
        }
        answer
    }

    /// Sends a request, and repeats it with the realm and nonce of a challenge.
    async fn exchange(&mut self, method: Method, attributes: &[&dyn AttributeWrite]) -> Answer {
        let answer = self.ask_once(method, attributes).await;
        let Ok(nonce) = answer.message().attribute::<Nonce>().map(|n| n.nonce().to_owned()) else {
            return answer;
        };
        (self.nonce, self.realm) =
            (nonce, answer.message().attribute::<Realm>().unwrap().realm().to_owned());
        self.ask_once(method, attributes).await
    }

    async fn allocate(&mut self) -> Answer {
        self.exchange(ALLOCATE, &[&RequestedTransport::new(RequestedTransport::UDP)]).await
    }

    /// Requests a permission, and returns the response's code. An IPv4 address is masked with the
    /// cookie only, so any transaction id will do.
    async fn permit(&mut self, peer: SocketAddr) -> u16 {
        self.exchange(CREATE_PERMISSION, &[&XorPeerAddress::new(peer, 0.into())]).await.code()
    }

    async fn bind(&mut self, channel: u16, peer: SocketAddr) -> u16 {
        let (channel, peer) = (ChannelNumber::new(channel), XorPeerAddress::new(peer, 0.into()));
        self.exchange(CHANNEL_BIND, &[&channel, &peer]).await.code()
    }

    async fn send(&self, peer: SocketAddr, data: &[u8]) {
        let mut message = Message::builder_indication(SEND, MessageWriteVec::new());
        message.add_attribute(&XorPeerAddress::new(peer, 0.into())).unwrap();
        message.add_attribute(&Data::new(data)).unwrap();
        self.socket.send(&message.finish()).await.unwrap();
    }

    /// Waits for the next Data indication.
    async fn data(&self) -> (SocketAddr, Vec<u8>) {
        let bytes = self.receive().await;
        let message = Message::from_bytes(&bytes).unwrap();
        assert!(message.has_method(DATA));
        let peer = message.attribute::<XorPeerAddress>().unwrap().addr(message.transaction_id());
        (peer, message.attribute::<Data<'_>>().unwrap().data().to_vec())
    }
}

async fn peer() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

async fn receive(peer: &UdpSocket) -> (SocketAddr, Vec<u8>) {
    let mut buffer = [0; 4096];
    let (len, from) = in_time(peer.recv_from(&mut buffer)).await.unwrap();
    (from, buffer[..len].to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stun_returns_the_address_of_the_client() {
    let dir = dir();
    let relay = relay(&dir, |_| {}).await;
    let client = Client::with(relay.turn().unwrap(), "", "").await;
    let answer = client.ask_once(BINDING, &[]).await;
    let message = answer.message();
    let mapped = message.attribute::<XorMappedAddress>().unwrap().addr(message.transaction_id());
    assert_eq!(mapped, client.socket.local_addr().unwrap());
    assert_eq!(metric(&relay, "stun_bindings_total").await, 1);
    in_time(relay.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_goes_both_ways_with_a_credential_from_the_well_known_file() {
    let dir = dir();
    let relay = relay(&dir, |turn| turn.allow_private = true).await;
    let server = relay.turn().unwrap();
    let (urls, username, _) = ice_server(&relay).await;
    assert_eq!(urls, [format!("stun:{server}"), format!("turn:{server}?transport=udp")]);
    let mut client = Client::new(&relay).await;
    assert_ne!(client.username, username, "a new credential each time");

    let answer = client.allocate().await;
    assert_eq!(answer.code(), 0);
    assert_eq!(answer.message().attribute::<Lifetime>().unwrap().seconds(), 600);
    let relayed = answer.relayed();
    assert_eq!(client.allocate().await.code(), 437, "one allocation a socket");
    assert_eq!(metric(&relay, "turn_allocations_open").await, 1);

    let (peer_socket, at) = peer().await;
    assert_eq!(client.permit(at).await, 0);
    client.send(at, b"ping").await;
    assert_eq!(receive(&peer_socket).await, (relayed, b"ping".to_vec()));
    peer_socket.send_to(b"pong", relayed).await.unwrap();
    assert_eq!(client.data().await, (at, b"pong".to_vec()));

    assert_eq!(client.bind(0x4001, at).await, 0);
    let mut framed = vec![0; 4 + 5];
    ChannelData::new(0x4001, b"hello").write_into_unchecked(&mut framed);
    client.socket.send(&framed).await.unwrap();
    assert_eq!(receive(&peer_socket).await, (relayed, b"hello".to_vec()));
    peer_socket.send_to(&[7; 1200], relayed).await.unwrap();
    let bytes = client.receive().await;
    let data = ChannelData::parse(&bytes).unwrap();
    assert_eq!((data.id(), data.data()), (0x4001, &[7; 1200][..]));

    // The relay's own ports stay forbidden in this case too.
    assert_eq!(client.bind(0x4002, server).await, 403);
    assert_eq!(metric(&relay, "turn_relayed_bytes_total{direction=\"to_peer\"}").await, 9);
    assert_eq!(metric(&relay, "turn_relayed_bytes_total{direction=\"to_client\"}").await, 1204);
    assert_eq!(client.exchange(REFRESH, &[&Lifetime::new(0)]).await.code(), 0);
    assert_eq!(metric(&relay, "turn_allocations_open").await, 0);
    assert_eq!(client.permit(at).await, 437, "it is gone");
    in_time(relay.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clients_reach_each_other_but_no_service_on_the_relays_machine() {
    let dir = dir();
    let relay = relay(&dir, |_| {}).await;
    let (mut a, mut b) = (Client::new(&relay).await, Client::new(&relay).await);
    let (at_a, at_b) = (a.allocate().await.relayed(), b.allocate().await.relayed());
    assert_eq!((a.permit(at_b).await, b.permit(at_a).await), (0, 0));
    a.send(at_b, b"hello").await;
    assert_eq!(b.data().await, (at_a, b"hello".to_vec()));
    assert_eq!(b.bind(0x4000, at_a).await, 0);

    let (peer_socket, at) = peer().await;
    assert_eq!(a.bind(0x4000, at).await, 403, "another port of this machine");
    a.send(at, b"never").await;
    for target in ["10.0.0.1:9", "169.254.169.254:80", "224.0.0.1:9", "127.0.0.2:9"] {
        assert_eq!(a.permit(target.parse().unwrap()).await, 403, "{target}");
        assert_eq!(a.bind(0x4000, target.parse().unwrap()).await, 403, "{target}");
    }
    assert_eq!(a.permit("[::ffff:127.0.0.1]:9".parse().unwrap()).await, 443, "another family");
    assert!(metric(&relay, "turn_refused_total{reason=\"target\"}").await >= 9);
    // Packets arrive in order, so those sent before the refusals would have arrived by now.
    assert!(peer_socket.try_recv(&mut [0; 16]).is_err());
    in_time(relay.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_credentials_and_too_many_allocations_are_refused() {
    let dir = dir();
    let limits = TurnLimits { allocations_per_ip: 2, ..TurnLimits::default() };
    let relay = relay(&dir, |turn| turn.limits = limits).await;
    let server = relay.turn().unwrap();
    let (_, username, credential) = ice_server(&relay).await;
    let (expiry, tag) = username.split_once(':').unwrap();
    let later = format!("{}:{tag}", expiry.parse::<u64>().unwrap() + 1);
    for (username, password) in [
        (username.as_str(), "wrong"),
        (&later, &credential),
        (&format!("1:{tag}"), &credential),
        ("nobody", &credential),
    ] {
        let mut client = Client::with(server, username, password).await;
        let answer = client.allocate().await;
        assert_eq!(answer.code(), 401, "{username}");
        assert!(!answer.message().has_attribute(MessageIntegrity::TYPE));
    }
    assert_eq!(metric(&relay, "turn_refused_total{reason=\"credential\"}").await, 4);
    let mut clients = vec![];
    for expected in [0, 0, 486] {
        let mut client = Client::with(server, &username, &credential).await;
        assert_eq!(client.allocate().await.code(), expected);
        clients.push(client);
    }
    assert_eq!(metric(&relay, "turn_refused_total{reason=\"limit\"}").await, 1);
    assert_eq!(clients[0].exchange(REFRESH, &[&Lifetime::new(0)]).await.code(), 0);
    assert_eq!(clients[2].allocate().await.code(), 0, "there is room again");
    in_time(relay.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_that_has_expired_opens_and_refreshes_nothing() {
    let dir = dir();
    let relay = relay(&dir, |turn| turn.credential_lifetime = Duration::from_secs(5)).await;
    let server = relay.turn().unwrap();
    let document: serde_json::Value = serde_json::from_str(
        get(&relay, "/.well-known/tequio.json").await.split_once("\r\n\r\n").unwrap().1,
    )
    .unwrap();
    assert_eq!(document["iceLifetimeS"], 5);
    // A busy machine may need more than one attempt.
    let mut client = loop {
        let mut client = Client::new(&relay).await;
        if client.allocate().await.code() == 0 {
            break client;
        }
    };
    let refused = |relay| metric(relay, "turn_refused_total{reason=\"credential\"}");
    let before = refused(&relay).await;
    in_time(async {
        while client.exchange(REFRESH, &[&Lifetime::new(600)]).await.code() != 401 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    assert_eq!(
        refused(&relay).await,
        before + 2,
        "the repetition with the next nonce is refused, too"
    );
    let mut again = Client::with(server, &client.username, &client.password).await;
    assert_eq!(again.allocate().await.code(), 401);
    assert_eq!(
        metric(&relay, "turn_allocations_open").await,
        1,
        "an allocation continues until its refresh is due"
    );
    assert_eq!(Client::new(&relay).await.allocate().await.code(), 0, "the next credential is good");
    in_time(relay.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_on_all_interfaces_must_know_its_address() {
    let dir = dir();
    let turn = TurnConfig::new((Ipv4Addr::UNSPECIFIED, 0).into());
    let error =
        Relay::start(Config { turn: Some(turn.clone()), ..config(dir.path()) }).await.unwrap_err();
    assert!(error.to_string().contains("--turn-external"), "{error}");
    let turn = TurnConfig { external: Some([203, 0, 113, 7].into()), ..turn };
    let relay = Relay::start(Config { turn: Some(turn), ..config(dir.path()) }).await.unwrap();
    let port = relay.turn().unwrap().port();
    assert_eq!(ice_server(&relay).await.0[0], format!("stun:203.0.113.7:{port}"));
    let (_, username, credential) = ice_server(&relay).await;
    let mut client = Client::with((Ipv4Addr::LOCALHOST, port).into(), &username, &credential).await;
    assert_eq!(client.allocate().await.relayed().ip(), Ipv4Addr::new(203, 0, 113, 7));
    in_time(relay.stop()).await;
}
