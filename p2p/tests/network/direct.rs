//! Connections between two nodes over each transport.

use tequio_p2p::{
    DialError, DisconnectReason, Event, Path, Protocol, RequestError, TlsIdentity, TransportKind,
};
use tequio_p2p::{ListenError, WebRtcCertificate};

use crate::{Node, config, pattern, within};

async fn exchange_over(listen: &str, kind: TransportKind) {
    let mut server_config = config();
    server_config.webrtc = Some(WebRtcCertificate::generate().unwrap());
    let mut client_config = config();
    client_config.webrtc = Some(WebRtcCertificate::generate().unwrap());
    let mut server = Node::new(server_config);
    let client = Node::new(client_config);
    let addr = server.listen(listen).await;

    let (peer, path) = within(client.net.dial(addr.clone())).await.unwrap();
    assert_eq!((peer, path), (server.id(), Path::Direct(kind)));
    let seen = server
        .until(
            |e| if let Event::Connected { peer, path, .. } = e { Some((peer, path)) } else { None },
        )
        .await;
    assert_eq!(seen, (client.id(), Path::Direct(kind)));

    for len in [0, 1, 70_000, 4 << 20] {
        let body = pattern(len);
        let answer = client.request(peer, Protocol::Work, body.clone()).await.unwrap();
        assert!(answer == body, "{len} bytes over {kind} came back changed");
    }
    // The other direction, over the same connection.
    assert_eq!(
        server.request(client.id(), Protocol::Sync, b"back".to_vec()).await.unwrap(),
        b"back"
    );

    let traffic = client.net.traffic().of(kind);
    assert!(traffic.sent > 4 << 20 && traffic.received > 4 << 20, "{traffic:?}");
    assert_eq!(client.net.traffic().total(), traffic, "no other transport was used");

    // A second dial returns the existing connection.
    assert_eq!(within(client.net.dial(addr)).await.unwrap(), (peer, path));
    within(client.net.disconnect(peer)).await;
    server.until(|e| matches!(e, Event::Disconnected { .. }).then_some(())).await;
    assert!(server.net.peers().is_empty());
}

#[tokio::test]
async fn over_tcp() {
    exchange_over("/ip4/127.0.0.1/tcp/0", TransportKind::Tcp).await;
}

#[tokio::test]
async fn over_quic() {
    exchange_over("/ip4/127.0.0.1/udp/0/quic-v1", TransportKind::Quic).await;
}

#[tokio::test]
async fn over_websocket() {
    exchange_over("/ip4/127.0.0.1/tcp/0/ws", TransportKind::WebSocket).await;
}

#[tokio::test]
async fn over_webrtc_direct() {
    exchange_over("/ip4/127.0.0.1/udp/0/webrtc-direct", TransportKind::WebRtc).await;
}

#[tokio::test]
async fn secure_websocket_listens_with_a_certificate_and_a_broken_one_is_an_error() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let mut good = config();
    let key_der = made.signing_key.serialize_der();
    good.tls = Some(
        TlsIdentity { key_der: key_der.into(), chain_der: vec![made.cert.der().to_vec()] }.into(),
    );
    let server = Node::new(good);
    let addr = server.listen("/ip4/127.0.0.1/tcp/0/tls/ws").await;
    // A self-signed certificate is not trusted: the dial fails inside TLS, not before it.
    let error = within(Node::new(config()).net.dial(addr)).await.unwrap_err();
    assert!(matches!(&error, DialError::Failed(cause) if cause.contains("ertificate")), "{error}");

    let mut bad = config();
    bad.tls =
        Some(TlsIdentity { key_der: b"no key".to_vec().into(), chain_der: Vec::new() }.into());
    assert!(tequio_p2p::spawn(bad).is_err());
}

#[tokio::test]
async fn peers_introduce_themselves_and_answer_pings() {
    let server = Node::new(config());
    let addr = server.listen("/ip4/127.0.0.1/tcp/0").await;
    let client = Node::new(config());
    let (peer, _) = within(client.net.dial(addr)).await.unwrap();
    // Both values arrive without an event of their own.
    let info = within(async {
        loop {
            match client.net.peer(peer) {
                Some(info) if info.agent.is_some() && info.rtt.is_some() => return info,
                _ => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    assert_eq!(info.agent.as_deref(), Some(concat!("tequio/", env!("CARGO_PKG_VERSION"))));
    assert!(!info.addrs.is_empty());
    assert_eq!(client.net.peers(), [client.net.peer(peer).unwrap()]);
}

#[tokio::test]
async fn each_failure_of_a_request_has_its_own_error() {
    let mut server_config = config();
    server_config.serve = vec![Protocol::Light, Protocol::Work, Protocol::GetTransactions];
    let server = Node::answering(server_config, |protocol, _| match protocol {
        Protocol::Light => None,
        protocol => Some(vec![0; protocol.response_max() + 1]),
    });
    let addr = server.listen("/ip4/127.0.0.1/tcp/0").await;
    let client = Node::new(config());
    let missing = client.request(server.id(), Protocol::Light, vec![]).await;
    assert_eq!(missing, Err(RequestError::NotConnected));
    let (peer, _) = within(client.net.dial(addr)).await.unwrap();

    assert_eq!(client.request(peer, Protocol::Light, vec![]).await, Err(RequestError::Refused));
    assert_eq!(client.request(peer, Protocol::Sync, vec![]).await, Err(RequestError::Unsupported));
    let over = client.request(peer, Protocol::Work, vec![]).await;
    assert_eq!(over, Err(RequestError::ResponseTooLarge { max: Protocol::Work.response_max() }));
    let max = Protocol::GetTransactions.request_max();
    let over = client.request(peer, Protocol::GetTransactions, vec![0; max + 1]).await;
    assert_eq!(over, Err(RequestError::RequestTooLarge { len: max + 1, max }));
    // The connection is unaffected.
    assert_eq!(client.request(peer, Protocol::Light, vec![]).await, Err(RequestError::Refused));

    let (net, _events) = (client.net.clone(), client.events);
    within(client.net.close()).await;
    assert_eq!(
        within(net.request(peer, Protocol::Light, vec![], crate::REQUEST)).await,
        Err(RequestError::Closed)
    );
}

#[tokio::test]
async fn a_silent_application_times_out_and_others_are_served_meanwhile() {
    let (net, mut held) = tequio_p2p::spawn(config()).unwrap();
    let addr = within(net.listen("/ip4/127.0.0.1/tcp/0".parse().unwrap())).await.unwrap();
    let client = Node::new(config());
    let (peer, _) = within(client.net.dial(addr)).await.unwrap();
    let short = std::time::Duration::from_millis(50);
    assert_eq!(
        client.net.request(peer, Protocol::Light, vec![1], short).await,
        Err(RequestError::Timeout)
    );
    // The application still holds the request that timed out; a second one overtakes it.
    let answers = tokio::spawn(async move {
        let mut first = None;
        while let Some(event) = held.next().await {
            if let Event::InboundRequest { body, reply, .. } = event {
                match body.as_slice() {
                    [1] => first = Some(reply),
                    _ => reply.send(vec![9]),
                }
            }
        }
        drop(first);
    });
    assert_eq!(client.request(peer, Protocol::Light, vec![2]).await, Ok(vec![9]));
    within(net.close()).await;
    within(answers).await.unwrap();
}

#[tokio::test]
async fn dials_fail_for_the_right_reason() {
    let server = Node::new(config());
    let other = Node::new(config());
    let addr = server.listen("/ip4/127.0.0.1/tcp/0").await;
    let bare: tequio_p2p::Multiaddr = addr.iter().take(2).collect();

    assert!(matches!(within(server.net.dial(addr.clone())).await, Err(DialError::OwnAddress)));
    let wrong = tequio_p2p::identity::with_peer(bare.clone(), other.id());
    let client = Node::new(config());
    assert!(matches!(within(client.net.dial(wrong)).await, Err(DialError::WrongPeer(_))));
    let unsupported = "/ip4/127.0.0.1/udp/1".parse().unwrap();
    let error = within(client.net.dial(unsupported)).await.unwrap_err();
    assert!(matches!(error, DialError::Unsupported(_)), "{error:?}");
    let unused = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
    assert!(matches!(within(client.net.dial(unused)).await, Err(DialError::Failed(_))));
    let error =
        within(client.net.listen("/ip4/127.0.0.1/udp/0".parse().unwrap())).await.unwrap_err();
    assert!(matches!(error, ListenError::Unsupported(_)), "{error:?}");
    let taken = within(client.net.listen(bare)).await.unwrap_err();
    assert!(matches!(taken, ListenError::Failed { .. }), "{taken:?}");
}

#[tokio::test]
async fn many_dials_of_one_address_are_one_connection() {
    let mut server = Node::new(config());
    let addr = server.listen("/ip4/127.0.0.1/tcp/0").await;
    let client = Node::new(config());
    let dials = (0..20).map(|_| client.net.dial(addr.clone()));
    for result in within(futures::future::join_all(dials)).await {
        assert_eq!(result.unwrap().0, server.id());
    }
    within(client.net.clone().close()).await;
    let reason = server
        .until(|e| if let Event::Disconnected { reason, .. } = e { Some(reason) } else { None })
        .await;
    assert_eq!(reason, DisconnectReason::Remote);
}

#[tokio::test]
async fn two_hundred_requests_at_once_are_all_answered() {
    let server = Node::new(config());
    let addr = server.listen("/ip4/127.0.0.1/tcp/0").await;
    let client = Node::new(config());
    let (peer, _) = within(client.net.dial(addr)).await.unwrap();
    let requests = (0..200u8).map(|n| client.request(peer, Protocol::Work, vec![n; 5000]));
    for (n, answer) in within(futures::future::join_all(requests)).await.into_iter().enumerate() {
        assert_eq!(answer, Ok(vec![n as u8; 5000]), "request {n}");
    }
}
