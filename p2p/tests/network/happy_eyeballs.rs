//! Several addresses of one peer: which of them are dialled, which connection remains, and which
//! events are emitted.

use std::time::{Duration, Instant};

use tequio_p2p::{DialError, Event, Multiaddr, Path, Protocol, TransportKind, identity::with_peer};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, UdpSocket},
};

use crate::{Node, config, within};

/// RFC 8305's delay between two attempts.
const CONNECTION_ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Time until an unanswered dial fails by itself.
const SILENT_DIAL: Duration = Duration::from_secs(20);

fn connected(event: Event) -> Option<Path> {
    if let Event::Connected { path, .. } = event { Some(path) } else { None }
}

fn unreachable(event: Event) -> Option<DialError> {
    if let Event::Unreachable { error, .. } = event { Some(error) } else { None }
}

async fn with_persistent_peers(addrs: Vec<Multiaddr>) -> Node {
    let mut config = config();
    config.persistent_peers = addrs;
    Node::new(config)
}

/// A socket that accepts connections and bytes, and never answers.
async fn unresponsive_listener(of: &Node) -> (TcpListener, Multiaddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr =
        format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().unwrap().port()).parse().unwrap();
    (listener, with_peer(addr, of.id()))
}

#[tokio::test]
async fn a_silent_address_costs_the_stagger_and_its_dial_is_given_up() {
    let server = Node::new(config());
    let websocket = server.listen("/ip4/127.0.0.1/tcp/0/ws").await;
    let (hole, silent) = unresponsive_listener(&server).await;
    let began = Instant::now();
    let mut client = with_persistent_peers(vec![websocket, silent]).await;
    let (mut dialled, _) = within(hole.accept()).await.unwrap();
    assert_eq!(client.until(connected).await, Path::Direct(TransportKind::WebSocket));
    println!("connected after {:?}", began.elapsed());
    assert!(
        began.elapsed() >= CONNECTION_ATTEMPT_DELAY && began.elapsed() < SILENT_DIAL,
        "{:?}",
        began.elapsed()
    );
    // The socket ends, by an orderly end or a reset.
    let mut sent = Vec::new();
    let _ = within(dialled.read_to_end(&mut sent)).await;
    println!("given up after {:?}", began.elapsed());
    assert!(began.elapsed() < SILENT_DIAL, "{:?}", began.elapsed());
    // A cancelled dial is no failure.
    assert_eq!(client.request(server.id(), Protocol::Sync, vec![1]).await, Ok(vec![1]));
    assert!(client.events.try_recv().is_err(), "no other event is emitted");
}

#[tokio::test]
async fn a_silent_udp_address_costs_no_more() {
    let server = Node::new(config());
    let tcp = server.listen("/ip4/127.0.0.1/tcp/0").await;
    let hole = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("/ip4/127.0.0.1/udp/{}/quic-v1", hole.local_addr().unwrap().port())
        .parse()
        .unwrap();
    let mut client = with_persistent_peers(vec![tcp, with_peer(silent, server.id())]).await;
    within(hole.recv_from(&mut [0; 2048])).await.unwrap();
    assert_eq!(client.until(connected).await, Path::Direct(TransportKind::Tcp));
}

#[tokio::test]
async fn no_other_address_is_dialled_if_the_first_works() {
    let server = Node::new(config());
    let quic = server.listen("/ip4/127.0.0.1/udp/0/quic-v1").await;
    // If the machine is so busy that a handshake takes longer than the attempt delay, the second
    // dial is correct: try again.
    loop {
        let (hole, second) = unresponsive_listener(&server).await;
        let began = Instant::now();
        let mut client = with_persistent_peers(vec![second, quic.clone()]).await;
        assert_eq!(client.until(connected).await, Path::Direct(TransportKind::Quic));
        if began.elapsed() < CONNECTION_ATTEMPT_DELAY {
            assert_eq!(client.request(server.id(), Protocol::Sync, vec![1]).await, Ok(vec![1]));
            within(client.net.close()).await;
            assert!(futures::FutureExt::now_or_never(hole.accept()).is_none());
            return;
        }
    }
}

#[tokio::test]
async fn one_connection_remains_if_all_addresses_work() {
    let mut server = Node::new(config());
    let mut addrs = vec![server.listen("/ip4/127.0.0.1/udp/0/quic-v1").await];
    for listen in ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/tcp/0/ws"] {
        addrs.push(server.listen(listen).await);
    }
    let mut client = with_persistent_peers(addrs).await;
    let path = client.until(connected).await;
    assert_eq!(client.request(server.id(), Protocol::Sync, vec![1]).await, Ok(vec![1]));
    server.until(connected).await;
    assert_eq!(client.net.peer(server.id()).unwrap().path, path);
    // If there were another connection, its end would be a path change.
    within(client.net.disconnect(server.id())).await;
    server
        .until(|event| match event {
            Event::Disconnected { .. } => Some(()),
            Event::PathChanged { path, reason, .. } => {
                panic!("another connection: {path:?}, {reason:?}")
            }
            _ => None,
        })
        .await;
}

#[tokio::test]
async fn when_all_addresses_fail_each_is_named_and_all_are_tried_again() {
    let (server, other) = (Node::new(config()), Node::new(config()));
    let taken = other.listen("/ip4/127.0.0.1/tcp/0/ws").await;
    let wrong = with_peer(taken.iter().take(3).collect(), server.id());
    let dead: Multiaddr = with_peer("/ip4/127.0.0.1/tcp/9".parse().unwrap(), server.id());
    let mut client = with_persistent_peers(vec![dead.clone(), wrong.clone()]).await;
    for _ in 0..2 {
        let error = client.until(unreachable).await;
        let DialError::NoneAnswers(failures) = &error else { panic!("{error}") };
        assert_eq!(failures.len(), 2, "{error}");
        let of =
            |addr: &Multiaddr| failures.iter().find(|(a, _)| a == addr).map(|(_, error)| error);
        assert!(matches!(of(&dead), Some(DialError::Failed(_))), "{error}");
        assert!(matches!(of(&wrong), Some(DialError::WrongPeer(_))), "{error}");
        assert!(error.to_string().contains(&format!("{dead}: ")), "{error}");
    }
    client.net.add_persistent_peer(server.listen("/ip4/127.0.0.1/udp/0/quic-v1").await).await;
    client.until(connected).await;
}

/// A connection that the local limits deny must not count as a dial in progress for ever.
#[tokio::test]
async fn a_denied_dial_is_tried_again() {
    let server = Node::new(config());
    let mut none = config();
    none.limits.outbound = 0;
    none.persistent_peers = vec![
        server.listen("/ip4/127.0.0.1/tcp/0").await,
        server.listen("/ip4/127.0.0.1/tcp/0/ws").await,
    ];
    let mut client = Node::new(none);
    for _ in 0..3 {
        let DialError::NoneAnswers(failures) = client.until(unreachable).await else { panic!() };
        assert!(
            failures.iter().all(|(_, error)| matches!(error, DialError::Denied(_))),
            "{failures:?}"
        );
    }
}
