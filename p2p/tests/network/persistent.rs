//! Persistent peers are reconnected after a loss.

use tequio_p2p::{Config, Event, Path, Protocol, TransportKind};

use crate::{Node, config, secret, within};

#[tokio::test]
async fn a_peer_that_restarts_on_its_port_is_found_again() {
    let key = secret();
    let mut server = Node::new(Config::new(key));
    let server_id = server.id();
    let addr = server.listen("/ip4/127.0.0.1/tcp/0").await;
    let bare: String = addr.iter().take(2).map(|part| part.to_string()).collect();
    let mut client_config = config();
    client_config.persistent_peers = vec![addr];
    let mut client = Node::new(client_config);

    for round in 0..3 {
        client.until(|e| matches!(e, Event::Connected { .. }).then_some(())).await;
        assert_eq!(client.request(server_id, Protocol::Sync, vec![round]).await, Ok(vec![round]));
        within(server.net.close()).await;
        client.until(|e| matches!(e, Event::Disconnected { .. }).then_some(())).await;
        server = Node::new(Config::new(key));
        server.listen(&bare).await;
    }
}

#[tokio::test]
async fn the_second_address_is_used_when_the_first_is_dead() {
    let server = Node::new(config());
    let websocket = server.listen("/ip4/127.0.0.1/tcp/0/ws").await;
    // The discard port: TCP would be preferred, but no socket listens there.
    let dead =
        tequio_p2p::identity::with_peer("/ip4/127.0.0.1/tcp/9".parse().unwrap(), server.id());
    let mut client = Node::new(config());
    client.net.add_persistent_peer(dead).await;
    client.net.add_persistent_peer(websocket).await;
    let path = client
        .until(|e| if let Event::Connected { path, .. } = e { Some(path) } else { None })
        .await;
    assert_eq!(path, Path::Direct(TransportKind::WebSocket));
}

#[tokio::test]
async fn two_mutually_persistent_peers_stay_connected() {
    for round in 0..10u8 {
        let (mut a, mut b) = (Node::new(config()), Node::new(config()));
        let (at_a, at_b) =
            (a.listen("/ip4/127.0.0.1/tcp/0").await, b.listen("/ip4/127.0.0.1/tcp/0").await);
        // Both dial at the same moment, and neither may close its connection in favour of the
        // other's.
        tokio::join!(a.net.add_persistent_peer(at_b), b.net.add_persistent_peer(at_a));
        a.until(|e| matches!(e, Event::Connected { .. }).then_some(())).await;
        b.until(|e| matches!(e, Event::Connected { .. }).then_some(())).await;
        for n in 0..20 {
            assert_eq!(
                a.request(b.id(), Protocol::Work, vec![n]).await,
                Ok(vec![n]),
                "round {round}"
            );
            assert_eq!(
                b.request(a.id(), Protocol::Work, vec![n]).await,
                Ok(vec![n]),
                "round {round}"
            );
        }
        for node in [&mut a, &mut b] {
            while let Ok(event) = node.events.try_recv() {
                assert!(!matches!(event, Event::Disconnected { .. }), "round {round}: {event:?}");
            }
        }
    }
}

#[tokio::test]
async fn connections_above_the_limit_per_address_are_refused() {
    let mut small = config();
    small.limits.inbound_per_ip = 2;
    let server = Node::new(small);
    let addr = server.listen("/ip4/127.0.0.1/tcp/0").await;
    let clients = [Node::new(config()), Node::new(config())];
    for client in &clients {
        within(client.net.dial(addr.clone())).await.unwrap();
    }
    let third = Node::new(config());
    assert!(within(third.net.dial(addr.clone())).await.is_err());
    let [first, second] = clients;
    within(first.net.close()).await;
    // The slot is free once the server has detected the disconnect.
    within(async { while third.net.dial(addr.clone()).await.is_err() {} }).await;
    assert_eq!(second.request(server.id(), Protocol::Sync, vec![1]).await, Ok(vec![1]));
}
