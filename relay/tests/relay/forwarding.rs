//! Requests and circuits through the relay.

use super::{LONG, Node, address_of, bare, config, dir, in_time, node, turn::metric_becomes};
use std::time::Duration;
use tequio_core::{
    codec,
    wire::light::{Request, Response},
};
use tequio_p2p::{Event, Multiaddr, Path, Protocol, RequestError, TransportKind, identity};
use tequio_relay::Relay;

/// Waits until this many full nodes are healthy.
async fn ready(relay: &Relay, nodes: usize) {
    in_time(async {
        while relay.healthy_nodes() < nodes {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn light_requests_reach_full_nodes_untouched_by_each_way_in() {
    let dir = dir();
    let (first, second) = (node(11), node(12));
    let ids = [first.id, second.id];
    let mut config = config(dir.path());
    // The relay dials the first node and stays connected; the second connects by itself.
    let addr = first.network.listen("/ip4/127.0.0.1/tcp/0".parse().unwrap()).await.unwrap();
    config.nodes = vec![identity::with_peer(addr, ids[0]), bare(ids[1])];
    let relay = Relay::start(config).await.unwrap();
    let answer =
        |n: u8| move |body: Vec<u8>| if body == b"who" { vec![n] } else { body.repeat(1000) };
    let first = first.serve(answer(1));
    let second = second.serve(answer(2));
    in_time(second.dial(address_of(&relay, TransportKind::Quic))).await.unwrap();
    ready(&relay, 2).await;

    for (seed, kind) in [(21, TransportKind::WebRtc), (22, TransportKind::WebSocket)] {
        let client = node(seed);
        let (id, path) = in_time(client.network.dial(address_of(&relay, kind))).await.unwrap();
        assert_eq!((id, path), (relay.id(), Path::Direct(kind)));
        let request =
            |body: &[u8]| client.network.request(relay.id(), Protocol::Light, body.into(), LONG);
        let mut answers = [request(b"who").await.unwrap(), request(b"who").await.unwrap()];
        answers.sort();
        assert_eq!(answers, [[1], [2]], "in turn");
        let body: Vec<u8> = (0..3000u32).flat_map(u32::to_le_bytes).take(3000).collect();
        assert!(request(&body).await.unwrap() == body.repeat(1000), "3 MB come back as they were");
        // The relay itself answers which full nodes are reachable through it.
        let members = request(&codec::encode(&Request::Members)).await.unwrap();
        let Ok(Response::Members(members)) = codec::decode(&members, 1 << 20) else {
            panic!("no members")
        };
        let mut members: Vec<_> = members.into_vec().into_iter().map(|m| m.node).collect();
        members.sort();
        let mut expected = ids;
        expected.sort();
        assert_eq!(members, expected);
    }

    // When one of the two is gone, every request is still answered.
    let client = node(23);
    in_time(client.network.dial(address_of(&relay, TransportKind::Tcp))).await.unwrap();
    in_time(second.close()).await;
    for _ in 0..4 {
        let answer = client.network.request(relay.id(), Protocol::Light, b"who".into(), LONG).await;
        assert_eq!(answer.unwrap(), [1]);
    }
    in_time(first.close()).await;
    let answer = client.network.request(relay.id(), Protocol::Light, b"who".into(), LONG).await;
    assert_eq!(answer.unwrap_err(), RequestError::Refused);
    let work = client.network.request(relay.id(), Protocol::Work, b"x".into(), LONG).await;
    assert_eq!(work.unwrap_err(), RequestError::Unsupported, "a relay computes nothing");
    in_time(relay.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn circuits_carry_other_protocols_between_browsers_and_nodes() {
    let dir = dir();
    let relay = Relay::start(config(dir.path())).await.unwrap();
    let worker = node(31);
    let id = worker.id;
    let via = |kind| format!("{}/p2p-circuit", address_of(&relay, kind));
    in_time(worker.network.listen(via(TransportKind::Tcp).parse().unwrap())).await.unwrap();
    let worker = worker.serve(|body| body.repeat(2));
    for (seed, kind) in [(32, TransportKind::WebSocket), (33, TransportKind::WebRtc)] {
        let Node { network, mut events, .. } = node(seed);
        let target = format!("{}{}", via(kind), bare(id));
        let (peer, path) = in_time(network.dial(target.parse().unwrap())).await.unwrap();
        assert_eq!((peer, path), (id, Path::Relayed { via: relay.id(), transport: kind }));
        let body: Vec<u8> = (0..1_000_000u32).map(|n| (n.wrapping_mul(n) >> 3) as u8).collect();
        let answer = network.request(id, Protocol::Work, body.clone(), LONG).await.unwrap();
        assert!(answer == body.repeat(2));
        assert!(matches!(in_time(events.next()).await, Some(Event::Connected { .. })));
        metric_becomes(&relay, "circuits_open", 1).await;
        network.close().await;
        metric_becomes(&relay, "circuits_open", 0).await;
    }
    metric_becomes(&relay, "circuits_total", 2).await;
    metric_becomes(&relay, "reservations_total", 1).await;
    metric_becomes(&relay, "reservations_open", 1).await;
    worker.close().await;
    metric_becomes(&relay, "reservations_open", 0).await;
    in_time(relay.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_requests_are_counted_by_reason() {
    let dir = dir();
    let mut config = config(dir.path());
    config.circuits.reservations = 1;
    config.circuits.circuits = 1;
    let relay = Relay::start(config).await.unwrap();
    let relayed = format!("{}/p2p-circuit", address_of(&relay, TransportKind::Tcp));
    let to = |id| -> Multiaddr { format!("{relayed}{}", bare(id)).parse().unwrap() };
    let (worker, other, first, second) = (node(41), node(42), node(43), node(44));
    in_time(worker.network.listen(relayed.parse().unwrap())).await.unwrap();

    in_time(other.network.listen(relayed.parse().unwrap())).await.unwrap_err();
    metric_becomes(&relay, "reservations_refused_total", 1).await;
    in_time(first.network.dial(to(other.id))).await.unwrap_err();
    metric_becomes(&relay, "circuits_refused_total{reason=\"no_reservation\"}", 1).await;

    in_time(first.network.dial(to(worker.id))).await.unwrap();
    in_time(second.network.dial(to(worker.id))).await.unwrap_err();
    metric_becomes(&relay, "circuits_refused_total{reason=\"limit\"}", 1).await;
    metric_becomes(&relay, "circuits_refused_total{reason=\"target\"}", 0).await;
    metric_becomes(&relay, "circuits_total", 1).await;
    in_time(relay.stop()).await;
}
