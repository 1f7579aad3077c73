//! Listener and dialer over real sockets on loopback: data arrives whole, bounds hold, hostile
//! datagrams change nothing.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, future::poll_fn};
use libp2p_core::{
    Endpoint, Multiaddr, Transport as _,
    muxing::{StreamMuxer, StreamMuxerExt},
    transport::{DialOpts, ListenerId, PortUse, TransportEvent},
};
use libp2p_identity::{Keypair, PeerId};
use std::{net::SocketAddr, pin::Pin, time::Duration};
use tequio_webrtc::{Certificate, Closed, Config, Connection, Error, Stream, Transport};
use tokio::{
    net::UdpSocket,
    sync::mpsc,
    time::{Instant, timeout},
};

/// For what must happen: generous, because the machine may be busy.
const LONG: Duration = Duration::from_secs(30);

type Upgraded = Result<(PeerId, Connection), Error>;

struct Server {
    addr: Multiaddr,
    peer: PeerId,
    upgraded: mpsc::UnboundedReceiver<Upgraded>,
}

fn transport(config: Config) -> (Transport, PeerId) {
    let keys = Keypair::generate_ed25519();
    let peer = keys.public().to_peer_id();
    (Transport::new(keys, Certificate::generate().unwrap(), config), peer)
}

async fn next(
    transport: &mut Transport,
) -> TransportEvent<<Transport as libp2p_core::Transport>::ListenerUpgrade, Error> {
    poll_fn(|cx| Pin::new(&mut *transport).poll(cx)).await
}

/// Listens and runs all upgrades.
async fn server(config: Config) -> Server {
    let (mut transport, peer) = transport(config);
    transport.listen_on(ListenerId::next(), "/ip4/127.0.0.1/udp/0/webrtc-direct".parse().unwrap()).unwrap();
    let TransportEvent::NewAddress { listen_addr: addr, .. } = next(&mut transport).await else { panic!("no address") };
    let (tx, upgraded) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            if let TransportEvent::Incoming { upgrade, .. } = next(&mut transport).await {
                let tx = tx.clone();
                tokio::spawn(async move { tx.send(upgrade.await) });
            }
        }
    });
    Server { addr, peer, upgraded }
}

impl Server {
    async fn accept(&mut self) -> (PeerId, Connection) {
        timeout(LONG, self.upgraded.recv()).await.expect("in time").unwrap().unwrap()
    }
}

async fn dial(addr: Multiaddr) -> Upgraded {
    let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
    transport(Config::default()).0.dial(addr, opts).unwrap().await
}

async fn inbound(connection: &mut Connection) -> Result<Stream, Error> {
    poll_fn(|cx| Pin::new(&mut *connection).poll_inbound(cx)).await
}

async fn outbound(connection: &mut Connection) -> Result<Stream, Error> {
    poll_fn(|cx| Pin::new(&mut *connection).poll_outbound(cx)).await
}

/// Echoes every inbound stream until the connection ends; returns why.
async fn echo(mut connection: Connection) -> Error {
    loop {
        match inbound(&mut connection).await {
            Ok(stream) => drop(tokio::spawn(async move {
                let (read, mut write) = stream.split();
                let _ = futures::io::copy(read, &mut write).await;
                let _ = write.close().await;
            })),
            Err(error) => return error,
        }
    }
}

fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut x = seed | 1;
    let mut byte = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x as u8
    };
    (0..len).map(|_| byte()).collect()
}

/// Sends all, reads all back.
async fn round_trip(connection: &mut Connection, data: Vec<u8>) {
    let stream = timeout(LONG, outbound(connection)).await.expect("in time").unwrap();
    let (mut read, mut write) = stream.split();
    let send = async {
        write.write_all(&data).await.unwrap();
        write.close().await.unwrap();
    };
    let mut got = Vec::new();
    let receive = async { read.read_to_end(&mut got).await.unwrap() };
    timeout(4 * LONG, futures::future::join(send, receive)).await.expect("in time");
    assert!(got == data, "{} of {} bytes, or others", got.len(), data.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_mebibytes_and_many_streams_come_back() {
    let mut server = server(Config::default()).await;
    let (dialed, (_, accepted)) = futures::join!(dial(server.addr.clone()), server.accept());
    let accepted = tokio::spawn(echo(accepted));
    let (peer, mut connection) = dialed.unwrap();
    assert_eq!(peer, server.peer);
    let start = Instant::now();
    round_trip(&mut connection, bytes(4 << 20, 1)).await;
    println!("4 MiB there and back in {:?}", start.elapsed());
    // More than the 512 channels of one side, one after another and some at a time.
    for round in 0..40 {
        for n in 0..16 {
            round_trip(&mut connection, bytes(100 * n, round)).await;
        }
    }
    connection.close().await.unwrap();
    let reason = timeout(LONG, accepted).await.expect("in time").unwrap();
    assert!(matches!(reason, Error::Closed(Closed::ByRemote | Closed::Silent)), "{reason:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_certificate_or_peer_is_refused() {
    use libp2p_core::multiaddr::Protocol;
    let server = server(Config::default()).await;
    let stranger = Keypair::generate_ed25519().public().to_peer_id();
    let error = dial(server.addr.clone().with(Protocol::P2p(stranger))).await.unwrap_err();
    assert!(matches!(error, Error::WrongPeer(peer) if peer == server.peer), "{error:?}");

    let (mut elsewhere, _) = transport(Config::default());
    elsewhere.listen_on(ListenerId::next(), "/ip4/127.0.0.1/udp/0/webrtc-direct".parse().unwrap()).unwrap();
    let TransportEvent::NewAddress { listen_addr, .. } = next(&mut elsewhere).await else { panic!("no address") };
    let hash = listen_addr.iter().find(|p| matches!(p, Protocol::Certhash(_))).unwrap();
    let addr: Multiaddr = server.addr.iter().filter(|p| !matches!(p, Protocol::Certhash(_))).collect();
    assert!(dial(addr.with(hash)).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_vanishes_is_noticed_within_ten_seconds() {
    let mut server = server(Config::default()).await;
    // A process of its own, as far as its sockets and timers go.
    let doomed = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let client = doomed.spawn(dial(server.addr.clone()));
    let (_, connection) = server.accept().await;
    let client = client.await.unwrap().unwrap();
    doomed.shutdown_background();
    let start = Instant::now();
    let reason = timeout(LONG, echo(connection)).await.expect("in time");
    println!("noticed after {:?}", start.elapsed());
    assert!(matches!(reason, Error::Closed(Closed::Silent)), "{reason:?}");
    assert!(start.elapsed() < Duration::from_millis(10_500), "{:?}", start.elapsed());
    drop(client);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_beyond_the_limit_are_closed() {
    let mut server = server(Config { max_inbound_streams: 4, ..Config::default() }).await;
    let (dialed, (_, mut accepted)) = futures::join!(dial(server.addr.clone()), server.accept());
    let (_, mut connection) = dialed.unwrap();
    let held = tokio::spawn(async move {
        let mut streams = vec![];
        while let Ok(stream) = inbound(&mut accepted).await {
            streams.push(stream);
            if streams.len() == 4 {
                // Nobody else gets in while these are held.
                assert!(timeout(Duration::from_secs(2), inbound(&mut accepted)).await.is_err());
                return streams;
            }
        }
        panic!("lost");
    });
    let mut streams = vec![];
    for _ in 0..6 {
        let mut stream = timeout(LONG, outbound(&mut connection)).await.expect("in time").unwrap();
        stream.write_all(b"x").await.unwrap();
        streams.push(stream);
    }
    let mut refused = 0;
    for stream in &mut streams[4..] {
        refused += usize::from(timeout(LONG, stream.read(&mut [0])).await.expect("in time").is_err());
    }
    assert_eq!(refused, 2);
    assert_eq!(held.await.unwrap().len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_bytes_are_bounded_over_all_connections() {
    let config = Config { max_unread: 300_000, ..Config::default() };
    let mut server = server(config).await;
    let (dialed, (_, mut accepted)) = futures::join!(dial(server.addr.clone()), server.accept());
    let (_, mut connection) = dialed.unwrap();
    let mut stream = timeout(LONG, outbound(&mut connection)).await.expect("in time").unwrap();
    // The window of a stream would let 1 MiB in, and nobody reads.
    let result = timeout(LONG, stream.write_all(&vec![7; 8 << 20])).await.expect("refused in time");
    assert!(result.is_err());
    assert!(inbound(&mut accepted).now_or_never().is_some());
}

// ---- hostile datagrams

/// A STUN binding request with this USERNAME, without MESSAGE-INTEGRITY.
fn binding_request(username: &[u8]) -> Vec<u8> {
    let mut attributes = vec![0, 6];
    attributes.extend((username.len() as u16).to_be_bytes());
    attributes.extend(username);
    attributes.resize(attributes.len().next_multiple_of(4), 0);
    let mut out = vec![0, 1];
    out.extend((attributes.len() as u16).to_be_bytes());
    out.extend([0x21, 0x12, 0xa4, 0x42]);
    out.extend([5; 12]);
    out.extend(attributes);
    out
}

fn socket_of(addr: &Multiaddr) -> SocketAddr {
    use libp2p_core::multiaddr::Protocol;
    let mut parts = addr.iter();
    match (parts.next(), parts.next()) {
        (Some(Protocol::Ip4(ip)), Some(Protocol::Udp(port))) => (ip, port).into(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unusable_datagrams_start_nothing() {
    let mut server = server(Config::default()).await;
    let target = socket_of(&server.addr);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let password = "abcdefghijklmnopqrstuv";
    let names: [Vec<u8>; 6] = [
        b"".into(),
        format!("libp2p+webrtc+v3/{password}:uFrg").into(),
        format!("libp2p+webrtc+v2/{password}").into(),
        b"libp2p+webrtc+v2/short:uFrg".into(),
        format!("libp2p+webrtc+v2/{password}\r\na=x:uFrg").into(),
        vec![0xff; 1000],
    ];
    for n in 0..3000usize {
        let mut datagram = binding_request(&names[n % names.len()]);
        if n % 5 == 0 {
            datagram.truncate(n % datagram.len());
        }
        socket.send_to(&datagram, target).await.unwrap();
        socket.send_to(&bytes(n % 1500, n as u64), target).await.unwrap();
    }
    // An honest dialer still gets through, and was the only one let in.
    let (dialed, _) = futures::join!(dial(server.addr.clone()), server.accept());
    dialed.unwrap();
    assert!(server.upgraded.try_recv().is_err());
    let mut buffer = [0; 2048];
    assert!(socket.try_recv(&mut buffer).is_err(), "not one answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_handshakes_is_admitted_slowly_and_ends_at_once() {
    let config = Config { handshake_burst_per_source: 10, handshakes_per_source_per_s: 1, ..Config::default() };
    let mut server = server(config).await;
    let target = socket_of(&server.addr);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let start = Instant::now();
    for n in 0..2000 {
        let name = format!("libp2p+webrtc+v2/abcdefghijklmnop{n:06}:uFrg");
        socket.send_to(&binding_request(name.as_bytes()), target).await.unwrap();
    }
    // Without the right MESSAGE-INTEGRITY each ends long before the time-out of a handshake.
    for _ in 0..10 {
        let result = timeout(Duration::from_secs(5), server.upgraded.recv()).await.expect("in time").unwrap();
        assert!(result.is_err());
    }
    let more = std::iter::from_fn(|| server.upgraded.try_recv().ok()).count();
    assert!(more as u64 <= start.elapsed().as_secs() + 1, "{more} more");
    assert!(socket.try_recv(&mut [0; 2048]).is_err(), "not one answer");
}

#[tokio::test]
async fn a_wildcard_listener_reports_its_interfaces() {
    let (mut transport, _) = transport(Config::default());
    transport.listen_on(ListenerId::next(), "/ip4/0.0.0.0/udp/0/webrtc-direct".parse().unwrap()).unwrap();
    loop {
        let event = timeout(LONG, next(&mut transport)).await.expect("in time");
        let TransportEvent::NewAddress { listen_addr, .. } = event else { panic!("{event:?}") };
        assert!(!listen_addr.to_string().contains("0.0.0.0"));
        assert!(listen_addr.to_string().contains("/certhash/"));
        if socket_of(&listen_addr).ip().is_loopback() {
            break;
        }
    }
}
