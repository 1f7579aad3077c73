//! Admission of connections, and detection of their end.

use crate::peer::{
    LONG, bytes, connected, dial, dial_with, echo, inbound, next, outbound, receive, round_trip,
    send, server, socket_of, transport,
};
use futures::AsyncWriteExt;
use libp2p_core::{
    Multiaddr, Transport as _,
    multiaddr::Protocol,
    muxing::StreamMuxerExt,
    transport::{ListenerId, TransportEvent},
};
use libp2p_identity::Keypair;
use std::time::Duration;
use tequio_webrtc::{Closed, Config, DialVersion, Error};
use tokio::time::{Instant, timeout};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_handshakes_are_answered_on_one_port() {
    let mut server = server(Config::default()).await;
    for dial_version in [DialVersion::V1, DialVersion::V2, DialVersion::V1] {
        let config = Config { dial_version, ..Config::default() };
        let start = Instant::now();
        let (dialed, (_, accepted)) =
            futures::join!(dial_with(config, server.addr.clone()), server.accept());
        println!("{dial_version:?} connected in {:?}", start.elapsed());
        let (peer, mut connection) = dialed.unwrap();
        assert_eq!(peer, server.peer);
        let echo = tokio::spawn(echo(accepted));
        round_trip(&mut connection, bytes(100_000, 3)).await;
        drop(connection);
        timeout(LONG, echo).await.expect("in time").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_certificate_or_peer_is_refused() {
    let server = server(Config::default()).await;
    let other = Keypair::generate_ed25519().public().to_peer_id();
    let error = dial(server.addr.clone().with(Protocol::P2p(other))).await.unwrap_err();
    assert!(matches!(error, Error::WrongPeer(peer) if peer == server.peer), "{error:?}");

    let (mut elsewhere, _) = transport(Config::default());
    elsewhere
        .listen_on(ListenerId::next(), "/ip4/127.0.0.1/udp/0/webrtc-direct".parse().unwrap())
        .unwrap();
    let TransportEvent::NewAddress { listen_addr, .. } = next(&mut elsewhere).await else {
        panic!("no address")
    };
    let hash = listen_addr.iter().find(|p| matches!(p, Protocol::Certhash(_))).unwrap();
    let addr: Multiaddr =
        server.addr.iter().filter(|p| !matches!(p, Protocol::Certhash(_))).collect();
    assert!(dial(addr.with(hash)).await.is_err());
}

/// More than an unauthenticated remote may send, less than a stream may.
const AT_ONCE: u64 = 512 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_data_of_a_dialer_is_accepted_before_the_listener_reports_the_connection() {
    let (mut transport, _) = transport(Config::default());
    transport
        .listen_on(ListenerId::next(), "/ip4/127.0.0.1/udp/0/webrtc-direct".parse().unwrap())
        .unwrap();
    let TransportEvent::NewAddress { listen_addr, .. } = next(&mut transport).await else {
        panic!("no address")
    };
    let dialing = tokio::spawn(dial(listen_addr));
    let TransportEvent::Incoming { mut upgrade, .. } = next(&mut transport).await else {
        panic!("no dialer")
    };
    // Polled so rarely that the dialer completes its handshake before the listener does.
    let mut upgraded = None;
    while !dialing.is_finished() && upgraded.is_none() {
        if let std::task::Poll::Ready(result) = futures::poll!(&mut upgrade) {
            upgraded = Some(result);
        }
        let looked = Instant::now();
        while !dialing.is_finished() && looked.elapsed() < Duration::from_millis(200) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let (_, mut client) = dialing.await.unwrap().unwrap();
    let mut near = outbound(&mut client).await.unwrap();
    send(&mut near, 0, AT_ONCE).await;
    near.flush().await.unwrap();
    // The answer to this arrives after all earlier data.
    let _later = outbound(&mut client).await.unwrap();
    let (_, mut accepted) = match upgraded {
        Some(result) => result.unwrap(),
        None => timeout(LONG, upgrade).await.expect("in time").unwrap(),
    };
    let mut far = inbound(&mut accepted).await.unwrap();
    timeout(LONG, receive(&mut far, AT_ONCE)).await.expect("in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_is_received_in_the_middle_of_a_burst() {
    const CONNECTIONS: usize = 100;
    let mut server = server(Config::default()).await;
    for _ in 0..CONNECTIONS {
        let (mut client, accepted) = connected(&mut server).await;
        let accepted = tokio::spawn(echo(accepted));
        let mut stream = timeout(LONG, outbound(&mut client)).await.expect("in time").unwrap();
        // Data that the listener still has to acknowledge and echo when the dialer leaves.
        stream.write_all(&bytes(200_000, 3)).await.unwrap();
        client.close().await.unwrap();
        let reason = timeout(LONG, accepted).await.expect("in time").unwrap();
        assert!(matches!(reason, Error::Closed(Closed::ByRemote)), "{reason:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vanished_peer_is_detected_within_ten_seconds() {
    let mut server = server(Config::default()).await;
    // Simulates a process of its own, with its own sockets and timers.
    let doomed =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let client = doomed.spawn(dial(server.addr.clone()));
    let (_, connection) = server.accept().await;
    let client = client.await.unwrap().unwrap();
    doomed.shutdown_background();
    let start = Instant::now();
    let reason = timeout(LONG, echo(connection)).await.expect("in time");
    println!("detected after {:?}", start.elapsed());
    assert!(matches!(reason, Error::Closed(Closed::TimedOut)), "{reason:?}");
    assert!(start.elapsed() < Duration::from_millis(10_500), "{:?}", start.elapsed());
    drop(client);
}

#[tokio::test]
async fn a_wildcard_listener_reports_its_interfaces() {
    let (mut transport, _) = transport(Config::default());
    transport
        .listen_on(ListenerId::next(), "/ip4/0.0.0.0/udp/0/webrtc-direct".parse().unwrap())
        .unwrap();
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
