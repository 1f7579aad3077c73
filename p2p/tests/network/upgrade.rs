//! Upgrades from a circuit to a direct connection and back, with requests in progress.

use std::time::{Duration, Instant};

use tequio_core::types::NodeId;
use tequio_p2p::{
    Config, DisconnectReason, Event, Multiaddr, Path, PathReason, Protocol, RelayLimits,
    TransportKind,
    identity::{circuit, with_peer},
};
use tokio::sync::{mpsc, oneshot};

use crate::{Node, config, idle_timeout::PartitionProxy, secret, within};

const DIRECT: Path = Path::Direct(TransportKind::WebSocket);

async fn relay() -> (Node, Multiaddr) {
    let mut config = config();
    config.relay = Some(RelayLimits::default());
    let relay = Node::new(config);
    let addr = relay.listen("/ip4/127.0.0.1/tcp/0").await;
    (relay, addr)
}

/// Returns the first path to a peer, or the next one and the reason; the end of the connection is
/// an error.
async fn path_to(node: &mut Node, id: NodeId) -> (Path, Multiaddr, Option<PathReason>) {
    node.until(|event| match event {
        Event::Connected { peer, path, addr } if peer == id => Some((path, addr, None)),
        Event::PathChanged { peer, path, addr, reason } if peer == id => {
            Some((path, addr, Some(reason)))
        }
        Event::Disconnected { peer, reason } if peer == id => panic!("disconnected: {reason:?}"),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn requests_under_way_on_the_circuit_are_answered_and_then_it_closes() {
    let standby = Duration::from_millis(100);
    let (relay, relay_addr) = relay().await;
    let key = secret();
    let (net, mut events) = tequio_p2p::spawn(Config::new(key)).unwrap();
    let target = net.local_id();
    within(net.listen(format!("{relay_addr}/p2p-circuit").parse().unwrap())).await.unwrap();
    // Requests that begin with 1 are held until they are released.
    let (held, mut holds) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            let Event::InboundRequest { body, reply, .. } = event else { continue };
            match body.as_slice() {
                [1, ..] => drop(held.send((body, reply))),
                _ => reply.send(body),
            }
        }
    });
    let mut config = config();
    config.standby_timeout = standby;
    config.persistent_peers = vec![circuit(&relay_addr, target).unwrap()];
    let mut client = Node::new(config);
    let relayed = Path::Relayed { via: relay.id(), transport: TransportKind::Tcp };
    assert_eq!(path_to(&mut client, target).await.0, relayed);

    let (answered, answers) = oneshot::channel();
    let asking = client.net.clone();
    tokio::spawn(async move {
        let all =
            (0..20).map(|n| asking.request(target, Protocol::Work, vec![1, n], crate::REQUEST));
        let _ = answered.send(futures::future::join_all(all).await);
    });
    let mut waiting = Vec::new();
    while waiting.len() < 20 {
        waiting.push(within(holds.recv()).await.unwrap());
    }
    let direct = with_peer(
        within(net.listen("/ip4/127.0.0.1/tcp/0/ws".parse().unwrap())).await.unwrap(),
        target,
    );
    assert_eq!(
        path_to(&mut client, target).await,
        (DIRECT, direct.clone(), Some(PathReason::Proven))
    );
    assert_eq!(client.net.peer(target).unwrap().addr, direct);

    // New requests use the direct path, for many times the standby timeout of an unused circuit.
    let began = Instant::now();
    let before = client.net.traffic().of(TransportKind::WebSocket).sent;
    while began.elapsed() < standby * 10 {
        assert_eq!(client.request(target, Protocol::Work, vec![2; 1000]).await, Ok(vec![2; 1000]));
    }
    assert!(client.net.traffic().of(TransportKind::WebSocket).sent > before + 1000);
    assert_eq!(relay.net.relay_stats().circuits_open, 1, "the circuit is in use");
    for (body, reply) in waiting {
        reply.send(body);
    }
    let answers = within(answers).await.unwrap();
    assert!(answers.into_iter().enumerate().all(|(n, answer)| answer == Ok(vec![1, n as u8])));
    // The circuit is unused from here on.
    within(async {
        while relay.net.relay_stats().circuits_open > 0 {
            tokio::task::yield_now().await
        }
    })
    .await;
    assert_eq!(client.request(target, Protocol::Sync, vec![3]).await, Ok(vec![3]));
    assert!(client.events.try_recv().is_err(), "its end changes no path");
}

/// This is how a tab reaches the coordinator of a job.
#[tokio::test]
async fn a_peer_dialled_through_a_relay_is_reached_directly_once_it_advertises_an_address() {
    let (_relay, relay_addr) = relay().await;
    let target = Node::new(config());
    within(target.net.listen(format!("{relay_addr}/p2p-circuit").parse().unwrap())).await.unwrap();
    let mut client = Node::new(config());
    within(client.net.dial(circuit(&relay_addr, target.id()).unwrap())).await.unwrap();
    assert!(!path_to(&mut client, target.id()).await.0.is_direct());
    target.listen("/ip4/127.0.0.1/tcp/0/ws").await;
    let (path, _, reason) = path_to(&mut client, target.id()).await;
    assert_eq!((path, reason), (DIRECT, Some(PathReason::Proven)));
    assert_eq!(client.request(target.id(), Protocol::Sync, vec![1]).await, Ok(vec![1]));
}

#[tokio::test]
async fn when_the_direct_path_is_cut_the_circuit_takes_over_until_it_is_restored() {
    let (relay, relay_addr) = relay().await;
    let mut target = Node::new(config());
    within(target.net.listen(format!("{relay_addr}/p2p-circuit").parse().unwrap())).await.unwrap();
    let mut client = Node::new(config());
    client.net.add_persistent_peer(circuit(&relay_addr, target.id()).unwrap()).await;
    let relayed = Path::Relayed { via: relay.id(), transport: TransportKind::Tcp };
    assert_eq!(path_to(&mut client, target.id()).await.0, relayed);
    assert_eq!(path_to(&mut target, client.id()).await.0, relayed);

    let wire = PartitionProxy::to(&target.listen("/ip4/127.0.0.1/tcp/0/ws").await).await;
    // By this address only: the addresses that the target advertises bypass the proxy, so it
    // advertises no new one.
    client.net.add_persistent_peer(wire.addr.clone()).await;
    let (path, addr, reason) = path_to(&mut client, target.id()).await;
    assert_eq!((path, reason), (DIRECT, Some(PathReason::Proven)));
    assert_eq!(path_to(&mut target, client.id()).await.0, DIRECT);
    if addr == wire.addr {
        wire.cut.send(true).unwrap();
    } else {
        panic!("the upgrade used {addr}");
    }
    let (path, _, reason) = path_to(&mut client, target.id()).await;
    let silent = PathReason::Lost(DisconnectReason::Unresponsive);
    assert!(
        path == relayed && (reason == Some(silent) || reason == Some(PathReason::Unanswered)),
        "{path:?}"
    );
    assert_eq!(client.request(target.id(), Protocol::Sync, vec![1]).await, Ok(vec![1]));
    // Its other address is not cut.
    let (path, _, reason) = path_to(&mut client, target.id()).await;
    assert_eq!((path, reason), (DIRECT, Some(PathReason::Proven)));
    assert_eq!(client.request(target.id(), Protocol::Sync, vec![2]).await, Ok(vec![2]));
}
