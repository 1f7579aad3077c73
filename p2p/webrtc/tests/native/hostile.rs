//! Datagrams that no honest dialer sends.

use crate::peer::{
    LONG, authentic_request, bytes, connected, dial, server, socket_of, stream, transfer,
};
use futures::FutureExt;
use std::time::Duration;
use tequio_webrtc::Config;
use tokio::{
    net::UdpSocket,
    time::{Instant, timeout},
};

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
    // An honest dialer still connects, and is the only one admitted.
    let (dialed, _) = futures::join!(dial(server.addr.clone()), server.accept());
    dialed.unwrap();
    assert!(server.upgraded.try_recv().is_err());
    let mut buffer = [0; 2048];
    assert!(socket.try_recv(&mut buffer).is_err(), "not one answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_requests_start_nothing_and_do_not_disturb_established_connections() {
    let mut server = server(Config::default()).await;
    let (mut client, mut accepted) = connected(&mut server).await;
    let (mut near, mut far) = stream(&mut client, &mut accepted).await;
    let target = socket_of(&server.addr);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let flood = async {
        for n in 0..20_000 {
            let name = format!("libp2p+webrtc+v2/abcdefghijklmnop{n:06}");
            let mut forged = authentic_request(&name);
            match n % 3 {
                0 => forged = binding_request(format!("{name}:uFrg").as_bytes()),
                1 => {
                    // Inside MESSAGE-INTEGRITY, which FINGERPRINT follows.
                    let at = forged.len() - 10;
                    forged[at] ^= 1;
                }
                // A byte that the integrity covers.
                _ => forged[15] ^= 1,
            }
            socket.send_to(&forged, target).await.unwrap();
        }
    };
    futures::join!(
        flood,
        timeout(4 * LONG, transfer(&mut near, &mut far, 4 << 20)).map(|r| r.expect("in time"))
    );
    // None became a connection, and a new dialer is admitted although the flood came from its own
    // address.
    let (_newcomer, _) = connected(&mut server).await;
    assert!(server.upgraded.try_recv().is_err());
    assert!(socket.try_recv(&mut [0; 2048]).is_err(), "not one answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_handshakes_is_admitted_slowly_and_releases_its_slots() {
    let config = Config {
        handshake_burst_per_source: 10,
        handshakes_per_source_per_s: 1,
        ..Config::default()
    };
    let mut server = server(config).await;
    let target = socket_of(&server.addr);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let start = Instant::now();
    for n in 0..2000 {
        let request = authentic_request(&format!("libp2p+webrtc+v2/abcdefghijklmnop{n:06}"));
        socket.send_to(&request, target).await.unwrap();
    }
    // A source that never continues with DTLS loses its slots long before the handshake timeout.
    for _ in 0..10 {
        let result = timeout(Duration::from_secs(8), server.upgraded.recv())
            .await
            .expect("in time")
            .unwrap();
        assert!(result.is_err());
    }
    println!("given up after {:?}", start.elapsed());
    let more = std::iter::from_fn(|| server.upgraded.try_recv().ok()).count();
    assert!(more as u64 <= start.elapsed().as_secs() + 1, "{more} more");
}
