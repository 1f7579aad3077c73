//! A node behind a relay: reservation, circuits, and the end of the relay or of the circuit.

use tequio_p2p::{
    Config, Event, ListenError, Multiaddr, Path, Protocol, RelayLimits, TransportKind,
};

use crate::{Node, config, pattern, secret, until_peer, within};

fn relay_config(key: [u8; 32]) -> Config {
    let mut config = Config::new(key);
    config.relay = Some(RelayLimits::default());
    config.serve = Vec::new();
    config
}

fn circuit(relay: &Multiaddr) -> Multiaddr {
    format!("{relay}/p2p-circuit").parse().unwrap()
}

fn via(relay: &Multiaddr, target: &Node) -> Multiaddr {
    tequio_p2p::identity::with_peer(circuit(relay), target.id())
}

async fn circuit_over(listen: &str, transport: TransportKind) {
    let relay = Node::new(relay_config(secret()));
    let relay_addr = relay.listen(listen).await;
    let mut target = Node::new(config());
    let reserved = within(target.net.listen(circuit(&relay_addr))).await.unwrap();
    assert!(reserved.to_string().contains("p2p-circuit"), "{reserved}");

    let client = Node::new(config());
    let relayed = Path::Relayed { via: relay.id(), transport };
    let dialled = within(client.net.dial(via(&relay_addr, &target))).await.unwrap();
    assert_eq!(dialled, (target.id(), relayed));
    let seen = target
        .until(|e| match e {
            Event::Connected { peer, path, .. } if peer == client.id() => Some(path),
            _ => None,
        })
        .await;
    assert_eq!(seen, relayed, "both ends know the path");

    // Ten of the largest responses through one circuit.
    for round in 0..10u8 {
        let mut body = pattern(4 << 20);
        body[0] = round;
        let answer = client.request(target.id(), Protocol::Work, body.clone()).await.unwrap();
        assert!(answer == body, "round {round}");
    }
    let traffic = client.net.traffic();
    assert!(traffic.of(transport).received > 40 << 20);
    assert_eq!(traffic.total(), traffic.of(transport));
}

#[tokio::test]
async fn through_a_relay_over_tcp() {
    circuit_over("/ip4/127.0.0.1/tcp/0", TransportKind::Tcp).await;
}

#[tokio::test]
async fn through_a_relay_over_websocket() {
    circuit_over("/ip4/127.0.0.1/tcp/0/ws", TransportKind::WebSocket).await;
}

#[tokio::test]
async fn a_reservation_is_made_again_after_the_relay_restarts() {
    let key = secret();
    let mut relay = Node::new(relay_config(key));
    let relay_addr = relay.listen("/ip4/127.0.0.1/tcp/0").await;
    let bare: String = relay_addr.iter().take(2).map(|part| part.to_string()).collect();
    let mut target = Node::new(config());
    within(target.net.listen(circuit(&relay_addr))).await.unwrap();
    let is_listening = |e| matches!(e, Event::Listening { .. }).then_some(());
    target.until(is_listening).await;

    for _ in 0..2 {
        within(relay.net.close()).await;
        target.until(|e| matches!(e, Event::ListenEnded { .. }).then_some(())).await;
        relay = Node::new(relay_config(key));
        relay.listen(&bare).await;
        target.until(is_listening).await;
        let client = Node::new(config());
        within(client.net.dial(via(&relay_addr, &target))).await.unwrap();
        assert_eq!(client.request(target.id(), Protocol::Sync, vec![1]).await, Ok(vec![1]));
    }
}

/// Two reservations at one relay would end each other again and again.
#[tokio::test]
async fn a_second_reservation_at_the_same_relay_is_refused_and_the_first_one_stays() {
    let relay = Node::new(relay_config(secret()));
    let (tcp, ws) =
        (relay.listen("/ip4/127.0.0.1/tcp/0").await, relay.listen("/ip4/127.0.0.1/tcp/0/ws").await);
    let target = Node::new(config());
    within(target.net.listen(circuit(&tcp))).await.unwrap();
    for second in [circuit(&ws), circuit(&tcp)] {
        let refused = within(target.net.listen(second.clone())).await;
        assert!(
            matches!(&refused, Err(ListenError::Reserved(addr)) if *addr == second),
            "{refused:?}"
        );
    }
    let client = Node::new(config());
    within(client.net.dial(via(&tcp, &target))).await.unwrap();
    // Once the first is released, the other can be made.
    target.net.unlisten(circuit(&tcp)).await;
    within(target.net.listen(circuit(&ws))).await.unwrap();
}

#[tokio::test]
async fn the_direct_path_takes_over_from_the_circuit() {
    let relay = Node::new(relay_config(secret()));
    let relay_addr = relay.listen("/ip4/127.0.0.1/tcp/0").await;
    let target = Node::new(config());
    let direct_addr = target.listen("/ip4/127.0.0.1/tcp/0/ws").await;
    within(target.net.listen(circuit(&relay_addr))).await.unwrap();
    let mut client = Node::new(config());
    within(client.net.dial(via(&relay_addr, &target))).await.unwrap();

    let direct = Path::Direct(TransportKind::WebSocket);
    assert_eq!(within(client.net.dial(direct_addr)).await.unwrap(), (target.id(), direct));
    let changed = client
        .until(|e| if let Event::PathChanged { path, .. } = e { Some(path) } else { None })
        .await;
    assert_eq!(changed, direct);
    assert_eq!(client.net.peer(target.id()).unwrap().path, direct);
    // A circuit is not dialled in place of a better connection.
    assert_eq!(
        within(client.net.dial(via(&relay_addr, &target))).await.unwrap(),
        (target.id(), direct)
    );
    // The relay is no longer needed.
    within(relay.net.close()).await;
    assert_eq!(client.request(target.id(), Protocol::Sync, vec![1]).await, Ok(vec![1]));
}

#[tokio::test]
async fn a_persistent_peer_behind_a_relay_is_reached_directly_once_possible() {
    let relay = Node::new(relay_config(secret()));
    let relay_addr = relay.listen("/ip4/127.0.0.1/tcp/0").await;
    let target = Node::new(config());
    within(target.net.listen(circuit(&relay_addr))).await.unwrap();
    let mut client = Node::new(config());
    client.net.add_persistent_peer(via(&relay_addr, &target)).await;
    let path_of = |e| match e {
        Event::Connected { peer, path, .. } | Event::PathChanged { peer, path, .. }
            if peer == target.id() =>
        {
            Some(path)
        }
        _ => None,
    };
    let relayed = Path::Relayed { via: relay.id(), transport: TransportKind::Tcp };
    assert_eq!(client.until(path_of).await, relayed);
    // The target becomes reachable, and advertises it by itself.
    target.listen("/ip4/127.0.0.1/tcp/0/ws").await;
    assert_eq!(client.until(path_of).await, Path::Direct(TransportKind::WebSocket));
    assert_eq!(client.request(target.id(), Protocol::Sync, vec![1]).await, Ok(vec![1]));
}

#[tokio::test]
async fn a_relay_enforces_its_limits() {
    let mut limited = relay_config(secret());
    limited.relay =
        Some(RelayLimits { reservations: 1, circuit_bytes: 1 << 20, ..RelayLimits::default() });
    let relay = Node::new(limited);
    let relay_addr = relay.listen("/ip4/127.0.0.1/tcp/0").await;
    let target = Node::new(config());
    within(target.net.listen(circuit(&relay_addr))).await.unwrap();
    let second = within(Node::new(config()).net.listen(circuit(&relay_addr))).await;
    assert!(matches!(second, Err(ListenError::Failed { .. })), "{second:?}");

    let mut client = Node::new(config());
    within(client.net.dial(via(&relay_addr, &target))).await.unwrap();
    assert!(
        client.request(target.id(), Protocol::Work, vec![0; 2 << 20]).await.is_err(),
        "more than the circuit may carry"
    );
    client
        .until(|e| {
            matches!(e, Event::Disconnected { peer, .. } if peer == target.id()).then_some(())
        })
        .await;
}

#[tokio::test]
async fn an_ordinary_node_relays_nothing() {
    let node = Node::new(config());
    let addr = node.listen("/ip4/127.0.0.1/tcp/0").await;
    let refused = within(Node::new(config()).net.listen(circuit(&addr))).await;
    assert!(matches!(refused, Err(ListenError::Failed { .. })), "{refused:?}");
}

/// Regression: a node with reservations at relays that have many addresses exceeded the limit of
/// the identify message. Its peers knew neither its agent nor its addresses.
#[tokio::test]
async fn a_node_behind_relays_with_many_addresses_is_identified() {
    let target = Node::new(config());
    let direct = target.listen("/ip4/127.0.0.1/tcp/0").await;
    let mut relays = Vec::new();
    for relay in 0..3 {
        let mut config = relay_config(secret());
        config.external_addrs = (1..=20)
            .map(|port| format!("/dns4/relay-{relay}.region.example/tcp/{port}/tls/ws"))
            .map(|addr| addr.parse().unwrap())
            .collect();
        let relay = Node::new(config);
        let addr = relay.listen("/ip4/127.0.0.1/tcp/0").await;
        within(target.net.listen(circuit(&addr))).await.unwrap();
        relays.push(relay);
    }

    let client = Node::new(config());
    within(client.net.dial(direct.clone())).await.unwrap();
    let peer = until_peer(&client, target.id(), |peer| {
        peer.agent.is_some() || peer.identify_error.is_some()
    })
    .await;
    assert_eq!(peer.identify_error, None);
    assert!(peer.agent.is_some_and(|agent| agent.starts_with("tequio/")));
    let named = |addr: &Multiaddr| tequio_p2p::identity::with_peer(addr.clone(), target.id());
    assert!(peer.addrs.iter().any(|addr| named(addr) == direct), "{:?}", peer.addrs);
    for relay in &relays {
        let id = tequio_p2p::identity::peer_id(relay.id()).unwrap().to_string();
        assert!(peer.addrs.iter().any(|a| a.to_string().contains(&id)), "{:?}", peer.addrs);
    }
    let forms: std::collections::BTreeSet<_> = peer.addrs.iter().map(named).collect();
    assert_eq!(forms.len(), peer.addrs.len(), "each address once: {:?}", peer.addrs);
}
