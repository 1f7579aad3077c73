//! Peers that break the protocol. The raw ones write bytes on bare substreams.

use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{StreamProtocol, Swarm, SwarmBuilder, identify, noise, swarm::SwarmEvent, tcp, yamux};
use tequio_core::types::NodeId;
use tequio_p2p::{DialError, DisconnectReason, Event, Protocol, Rate, RequestError};

use crate::{Node, config, until_peer, within};

/// A peer that opens and accepts bare substreams.
fn raw() -> Swarm<libp2p_stream::Behaviour> {
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| libp2p_stream::Behaviour::new())
        .unwrap()
        .with_swarm_config(|c| c.with_idle_connection_timeout(Duration::from_secs(60)))
        .build()
}

fn name(protocol: Protocol) -> StreamProtocol {
    StreamProtocol::new(protocol.name())
}

#[tokio::test]
async fn an_oversized_request_is_refused_unread_and_the_connection_survives() {
    let server = Node::new(config());
    let addr = server.listen("/ip4/127.0.0.1/tcp/0").await;
    let peer = tequio_p2p::identity::peer_id(server.id()).unwrap();
    let mut swarm = raw();
    let mut control = swarm.behaviour().new_control();
    swarm.dial(addr).unwrap();
    within(async {
        while !matches!(swarm.select_next_some().await, SwarmEvent::ConnectionEstablished { .. }) {}
    })
    .await;
    tokio::spawn(async move { while swarm.next().await.is_some() {} });

    let mut over = within(control.open_stream(peer, name(Protocol::Sync))).await.unwrap();
    over.write_all(&u32::MAX.to_le_bytes()).await.unwrap();
    over.flush().await.unwrap();
    let mut answer = Vec::new();
    within(over.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer, [4], "status: request too large");

    // Truncated inside the length, and inside the body: no answer, and no damage.
    for bytes in [&[3u8, 0][..], &[3, 0, 0, 0, b'y']] {
        let mut short = within(control.open_stream(peer, name(Protocol::Sync))).await.unwrap();
        short.write_all(bytes).await.unwrap();
        short.close().await.unwrap();
        let mut answer = Vec::new();
        let _ = within(short.read_to_end(&mut answer)).await;
        assert_eq!(answer, [] as [u8; 0]);
    }

    let mut good = within(control.open_stream(peer, name(Protocol::Sync))).await.unwrap();
    good.write_all(b"\x03\0\0\0yes").await.unwrap();
    good.close().await.unwrap();
    let mut answer = Vec::new();
    within(good.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer, b"\0\x03\0\0\0yes");
    assert_eq!(server.net.peers().len(), 1);
}

#[tokio::test]
async fn a_response_above_the_cap_is_refused_unread() {
    let mut swarm = raw();
    let mut incoming =
        swarm.behaviour().new_control().accept(name(Protocol::GetTransactions)).unwrap();
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
    let addr = within(async {
        loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                return address;
            }
        }
    })
    .await;
    tokio::spawn(async move { while swarm.next().await.is_some() {} });
    let over = (Protocol::GetTransactions.response_max() as u32 + 1).to_le_bytes();
    let answers = [
        b"\0\xff\xff\xff\xff".to_vec(),
        [&[0], over.as_slice()].concat(),
        b"\x2a".to_vec(),
        Vec::new(),
    ];
    tokio::spawn(async move {
        for answer in answers {
            let (_, mut stream) = incoming.next().await.unwrap();
            let mut request = Vec::new();
            stream.read_to_end(&mut request).await.unwrap();
            stream.write_all(&answer).await.unwrap();
            stream.close().await.unwrap();
        }
    });

    let client = Node::new(config());
    let (peer, _) = within(client.net.dial(addr)).await.unwrap();
    let too_large =
        RequestError::ResponseTooLarge { max: Protocol::GetTransactions.response_max() };
    for expected in
        [too_large.clone(), too_large, RequestError::Malformed, RequestError::ConnectionLost]
    {
        assert_eq!(
            client.request(peer, Protocol::GetTransactions, b"names".to_vec()).await,
            Err(expected)
        );
    }
    assert_eq!(client.net.peers().len(), 1, "the connection survives");
}

async fn flood(client: &Node, peer: NodeId, count: usize) -> Vec<Result<Vec<u8>, RequestError>> {
    let requests = (0..count).map(|_| client.request(peer, Protocol::Light, vec![0]));
    within(futures::future::join_all(requests)).await
}

#[tokio::test]
async fn a_flooding_peer_is_delayed_then_refused_then_disconnected() {
    let mut strict = config();
    strict.rates.delay_max = Duration::from_millis(200);
    strict.rates.strikes_max = 10;
    strict.rates.penalty = Duration::from_secs(3600);
    let rate =
        Rate { requests_per_s: 20.0, requests_burst: 5.0, bytes_per_s: 1e9, bytes_burst: 1e9 };
    strict.rates.set(Protocol::Light, rate);
    let mut server = Node::new(strict);
    let addr = server.listen("/ip4/127.0.0.1/tcp/0").await;
    let mut client = Node::new(config());
    let bystander = Node::new(config());
    let (peer, _) = within(client.net.dial(addr.clone())).await.unwrap();
    within(bystander.net.dial(addr.clone())).await.unwrap();

    // Slightly above the rate: every request is answered, with a delay.
    let start = std::time::Instant::now();
    for n in 0..8 {
        assert_eq!(client.request(peer, Protocol::Light, vec![n]).await, Ok(vec![n]));
    }
    assert!(start.elapsed() >= Duration::from_millis(50), "held back: {:?}", start.elapsed());

    // Far above the rate: requests that would wait too long are refused.
    let results = flood(&client, peer, 12).await;
    assert!(results.contains(&Err(RequestError::Throttled)), "{results:?}");
    assert!(!results.contains(&Err(RequestError::ConnectionLost)), "{results:?}");

    // Further requests: the connection is closed.
    let results = flood(&client, peer, 60).await;
    assert!(results.contains(&Err(RequestError::ConnectionLost)), "{results:?}");

    let limited = server.until(|e| {
        if let Event::RateLimited { peer, protocol } = e { Some((peer, protocol)) } else { None }
    });
    assert_eq!(limited.await, (client.id(), Protocol::Light));
    let reason = server
        .until(|e| match e {
            Event::Disconnected { peer, reason } if peer == client.id() => Some(reason),
            _ => None,
        })
        .await;
    assert_eq!(reason, DisconnectReason::RateLimited);
    client.until(|e| matches!(e, Event::Disconnected { .. }).then_some(())).await;

    // The peer stays banned; others are not affected.
    let again = within(client.net.dial(addr)).await;
    match again {
        // The refusal may arrive right after the handshake.
        Ok(_) => client.until(|e| matches!(e, Event::Disconnected { .. }).then_some(())).await,
        Err(error) => assert!(matches!(error, DialError::Failed(_)), "{error:?}"),
    }
    assert_eq!(server.net.peer(client.id()), None);
    assert_eq!(bystander.request(peer, Protocol::Light, vec![7]).await, Ok(vec![7]));
}

#[tokio::test]
async fn bytes_are_rate_limited_like_requests() {
    let mut strict = config();
    strict.rates.delay_max = Duration::from_secs(1);
    let rate =
        Rate { requests_per_s: 1e6, requests_burst: 1e6, bytes_per_s: 1e6, bytes_burst: 1e6 };
    strict.rates.set(Protocol::Work, rate);
    let server = Node::new(strict);
    let addr = server.listen("/ip4/127.0.0.1/tcp/0").await;
    let client = Node::new(config());
    let (peer, _) = within(client.net.dial(addr)).await.unwrap();
    // Four megabytes up and down at one per second: the first request passes, the next would have
    // to wait too long.
    assert!(client.request(peer, Protocol::Work, vec![0; 4 << 20]).await.is_ok());
    assert_eq!(client.request(peer, Protocol::Work, vec![]).await, Err(RequestError::Throttled));
}

#[tokio::test]
async fn an_overloaded_application_answers_busy() {
    // The application takes the requests and never answers; each holds its share of the queue.
    let (net, mut events) = tequio_p2p::spawn(config()).unwrap();
    let addr = within(net.listen("/ip4/127.0.0.1/tcp/0".parse().unwrap())).await.unwrap();
    let client = Node::new(config());
    let (peer, _) = within(client.net.dial(addr)).await.unwrap();
    let body = vec![0; Protocol::Work.request_max()];
    // The Work queue holds 64 MiB: sixteen of the largest requests.
    let asks: Vec<_> = (0..17)
        .map(|_| {
            let (net, body) = (client.net.clone(), body.clone());
            tokio::spawn(
                async move { net.request(peer, Protocol::Work, body, crate::REQUEST).await },
            )
        })
        .collect();
    let mut held = Vec::new();
    within(async {
        while held.len() < 16 {
            if let Some(Event::InboundRequest { reply, .. }) = events.next().await {
                held.push(reply);
            }
        }
    })
    .await;
    let (first, _, others) = within(futures::future::select_all(asks)).await;
    assert_eq!(first.unwrap(), Err(RequestError::Busy));
    held.into_iter().for_each(|reply| reply.send(vec![1]));
    for other in within(futures::future::join_all(others)).await {
        assert_eq!(other.unwrap(), Ok(vec![1]));
    }
}

/// A peer whose identify message is too long stays connected, and the cause is known.
#[tokio::test]
async fn a_peer_that_cannot_be_identified_is_recorded_with_the_cause() {
    let server = Node::new(config());
    let addr = server.listen("/ip4/127.0.0.1/tcp/0").await;
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|keys| {
            let config = identify::Config::new("tequio/1".into(), keys.public());
            identify::Behaviour::new(config.with_agent_version("x".repeat(5000)))
        })
        .unwrap()
        .with_swarm_config(|c| c.with_idle_connection_timeout(Duration::from_secs(60)))
        .build();
    let id = tequio_p2p::identity::node_id(swarm.local_peer_id()).unwrap();
    swarm.dial(addr).unwrap();
    tokio::spawn(async move { while swarm.next().await.is_some() {} });
    let peer = until_peer(&server, id, |peer| peer.identify_error.is_some()).await;
    assert_eq!(peer.agent, None);
    let cause = peer.identify_error.unwrap();
    assert!(cause.starts_with("message with") && cause.contains("4096"), "{cause}");
}
