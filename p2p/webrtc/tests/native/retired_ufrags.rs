//! Connections whose end only one side has detected, and new ones in their place.

use crate::peer::{
    LONG, Server, authentic_request, bytes, connected, dial, echo, next, outbound, round_trip,
    server, socket_of, stream, transfer,
};
use futures::AsyncReadExt;
use libp2p_core::{
    Multiaddr, Transport as _,
    multiaddr::Protocol,
    transport::{ListenerId, TransportEvent},
};
use libp2p_identity::Keypair;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tequio_webrtc::{Certificate, Closed, Config, Connection, Error, Transport};
use tokio::{
    net::UdpSocket,
    runtime::{Builder, Runtime},
    time::{Instant, timeout},
};

/// The idle timeout of a connection, plus the delay of a busy machine.
const IDLE_TIMEOUT_MAX: Duration = Duration::from_secs(12);

/// Gives all dialers one address towards the listener, as some NATs do, and forwards only the
/// latest dialer's datagrams. The other dialers are cut off without notice.
struct Nat {
    addr: Multiaddr,
    towards_server: Arc<UdpSocket>,
}

impl Nat {
    async fn before(server: &Server) -> Self {
        let inside = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let towards_server = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        towards_server.connect(socket_of(&server.addr)).await.unwrap();
        let port = inside.local_addr().unwrap().port();
        let addr = server
            .addr
            .iter()
            .map(|p| if matches!(p, Protocol::Udp(_)) { Protocol::Udp(port) } else { p });
        tokio::spawn(translate(inside, towards_server.clone()));
        Self { addr: addr.collect(), towards_server }
    }
}

async fn translate(inside: Arc<UdpSocket>, outside: Arc<UdpSocket>) {
    let (mut known, mut latest) = (Vec::<SocketAddr>::new(), None);
    let (mut request, mut answer) = ([0; 2048], [0; 2048]);
    loop {
        tokio::select! {
            Ok((len, dialer)) = inside.recv_from(&mut request) => {
                if !known.contains(&dialer) {
                    known.push(dialer);
                    latest = Some(dialer);
                }
                if latest == Some(dialer) {
                    let _ = outside.send(&request[..len]).await;
                }
            }
            Ok(len) = outside.recv(&mut answer) => {
                if let Some(dialer) = latest {
                    let _ = inside.send_to(&answer[..len], dialer).await;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_connection_from_the_address_of_a_dead_one_is_admitted_at_once() {
    let mut server = server(Config::default()).await;
    let nat = Nat::before(&server).await;
    let (dialed, dead) = futures::join!(dial(nat.addr.clone()), server.accept());
    let (_vanished, mut dead) = (dialed.unwrap(), dead.1);
    let mut waiting = outbound(&mut dead).await.unwrap();
    let dead = tokio::spawn(async move { (echo(dead).await, Instant::now()) });
    let began = Instant::now();
    for _ in 0..2 {
        let (dialed, accepted) = futures::join!(dial(nat.addr.clone()), server.accept());
        let (mut client, mut accepted) = (dialed.unwrap().1, accepted.1);
        println!("a new one after {:?}", began.elapsed());
        let (mut near, mut far) = stream(&mut client, &mut accepted).await;
        transfer(&mut near, &mut far, 4 << 20).await;
        transfer(&mut far, &mut near, 4 << 20).await;
    }
    // Traffic of the new connections has not kept the old one alive.
    let (reason, detected) = timeout(LONG, dead).await.expect("in time").unwrap();
    assert!(matches!(reason, Error::Closed(Closed::TimedOut)), "{reason:?}");
    println!("the dead one was detected after {:?}", detected - began);
    assert!(detected - began < IDLE_TIMEOUT_MAX, "{:?}", detected - began);
    assert!(waiting.read(&mut [0]).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unauthenticated_input_keeps_no_connection_alive() {
    let mut server = server(Config::default()).await;
    let nat = Nat::before(&server).await;
    let (dialed, accepted) = futures::join!(dial(nat.addr.clone()), server.accept());
    let mut client = dialed.unwrap().1;
    let mut dead = accepted.1;
    let (_near, _far) = stream(&mut client, &mut dead).await;
    let inside = SocketAddr::from(([127, 0, 0, 1], socket_of(&nat.addr).port()));
    // From here on the NAT forwards nothing of the dialer.
    let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    other.send_to(&[0], inside).await.unwrap();
    let began = Instant::now();
    let dead = tokio::spawn(async move { (echo(dead).await, Instant::now()) });
    let encrypted = [&[23, 254, 253, 0, 1, 0, 0, 0, 0, 255, 0, 0, 64][..], &[9; 64]].concat();
    let hello = [&[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 1][..], &[0; 63]].concat();
    // With an integrity attribute, but an invalid one.
    let request = authentic_request("libp2p+webrtc+v2/abcdefghijklmnopqrstuvw");
    let mut n = 0;
    while !dead.is_finished() && began.elapsed() < LONG {
        for datagram in [&encrypted, &hello, &request] {
            let mut datagram = datagram.clone();
            // The replay window must not be the cause of the refusal. In STUN this byte is part of
            // the id, and the integrity is broken.
            datagram[10] ^= n as u8 | 1;
            nat.towards_server.send(&datagram).await.unwrap();
        }
        n += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (reason, detected) = timeout(LONG, dead).await.expect("in time").unwrap();
    println!("detected after {:?}", detected - began);
    assert!(matches!(reason, Error::Closed(Closed::TimedOut)), "{reason:?}");
    assert!(detected - began < IDLE_TIMEOUT_MAX, "{:?}", detected - began);
}

/// A listener in a runtime of its own, which ends without a close when the runtime does.
fn listener(certificate: Certificate, keys: Keypair, listen: Multiaddr) -> (Runtime, Multiaddr) {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (tx, rx) = std::sync::mpsc::channel();
    runtime.spawn(async move {
        let mut transport = Transport::new(keys, certificate, Config::default());
        // The port is free as soon as the last task of the previous listener has ended.
        while let Err(error) = transport.listen_on(ListenerId::next(), listen.clone()) {
            println!("{error}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        loop {
            match next(&mut transport).await {
                TransportEvent::NewAddress { listen_addr, .. } => tx.send(listen_addr).unwrap(),
                TransportEvent::Incoming { upgrade, .. } => drop(tokio::spawn(async move {
                    match upgrade.await {
                        Ok((_, connection)) => println!("ended: {}", echo(connection).await),
                        Err(error) => println!("handshake: {error}"),
                    }
                })),
                _ => {}
            }
        }
    });
    let addr = rx.recv_timeout(LONG).unwrap();
    (runtime, addr)
}

/// Returns the time until a dialer detects that its listener was replaced by another process.
async fn after_a_restart(use_it: impl AsyncFn(&mut Connection)) -> Duration {
    let (certificate, keys) = (Certificate::generate().unwrap(), Keypair::generate_ed25519());
    let any: Multiaddr = "/ip4/127.0.0.1/udp/0/webrtc-direct".parse().unwrap();
    let (first, addr) = {
        let (certificate, keys) = (certificate.clone(), keys.clone());
        tokio::task::spawn_blocking(move || listener(certificate, keys, any)).await.unwrap()
    };
    let mut client = dial(addr.clone()).await.unwrap().1;
    round_trip(&mut client, bytes(100_000, 3)).await;
    first.shutdown_background();
    let began = Instant::now();
    let listen = addr.iter().take(3).collect();
    let (second, again) =
        tokio::task::spawn_blocking(move || listener(certificate, keys, listen)).await.unwrap();
    assert_eq!(again, addr);
    use_it(&mut client).await;
    let reason = timeout(2 * LONG, echo(client)).await.expect("the dialer hangs");
    assert!(matches!(reason, Error::Closed(Closed::TimedOut)), "{reason:?}");
    let detected = began.elapsed();
    // The dialer can connect again.
    let mut client = dial(addr).await.unwrap().1;
    round_trip(&mut client, bytes(100_000, 3)).await;
    second.shutdown_background();
    detected
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dialer_detects_a_restart_of_its_listener() {
    let idle = after_a_restart(async |_| {}).await;
    println!("idle: detected after {idle:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sending_dialer_detects_a_restart_of_its_listener() {
    let sending = after_a_restart(async |client| {
        let mut opening = Box::pin(outbound(client));
        // The datagrams have no receiver; it only matters that they are sent.
        assert!(futures::poll!(opening.as_mut()).is_pending());
    })
    .await;
    println!("sending: detected after {sending:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ufrag_of_an_ended_connection_starts_no_other() {
    let mut server = server(Config::default()).await;
    let target = socket_of(&server.addr);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let request = authentic_request("libp2p+webrtc+v2/abcdefghijklmnopqrstuvw");
    // A dialer that begins no DTLS may have been busy, once.
    for _ in 0..2 {
        socket.send_to(&request, target).await.unwrap();
        assert!(timeout(LONG, server.upgraded.recv()).await.expect("in time").unwrap().is_err());
    }
    let mut buffer = [0; 2048];
    while socket.try_recv(&mut buffer).is_ok() {}
    for _ in 0..100 {
        socket.send_to(&request, target).await.unwrap();
    }
    // A later dialer was processed later.
    let (_newcomer, _) = connected(&mut server).await;
    assert!(server.upgraded.try_recv().is_err());
    assert!(socket.try_recv(&mut buffer).is_err(), "not one answer");
}
