//! A peer that falls silent without closing is detected within ten seconds, over every transport
//! and through circuits.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt;
use tequio_p2p::{DisconnectReason, Event, Multiaddr, Protocol, RelayLimits, WebRtcCertificate};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket, tcp},
    sync::watch,
};

use crate::{Node, config, within};

/// The specified time, plus a second for a busy machine.
const DETECTION_MAX: Duration = Duration::from_secs(11);

/// Forwards all datagrams and bytes until it is cut; then it keeps its sockets open and forwards
/// nothing.
pub struct PartitionProxy {
    pub addr: Multiaddr,
    pub cut: watch::Sender<bool>,
}

impl PartitionProxy {
    pub async fn to(addr: &Multiaddr) -> Self {
        let text = addr.to_string();
        let parts: Vec<&str> = text.split('/').collect();
        let target: SocketAddr = format!("{}:{}", parts[2], parts[4]).parse().unwrap();
        let (cut, is_cut) = watch::channel(false);
        let port =
            if parts[3] == "udp" { udp(target, is_cut).await } else { tcp(target, is_cut).await };
        let addr = text.replacen(parts[4], &port.to_string(), 1).parse().unwrap();
        Self { addr, cut }
    }
}

async fn tcp(target: SocketAddr, cut: watch::Receiver<bool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let (near_read, near_write) = near.into_split();
            let (far_read, far_write) = TcpStream::connect(target).await.unwrap().into_split();
            tokio::spawn(copy(near_read, far_write, cut.clone()));
            tokio::spawn(copy(far_read, near_write, cut.clone()));
        }
    });
    port
}

async fn copy(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    mut cut: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        tokio::select! {
            () = async { drop(cut.wait_for(|cut| *cut).await) } => break,
            read = from.read(&mut buffer) => match read {
                Ok(n) if n > 0 && to.write_all(&buffer[..n]).await.is_ok() => {}
                _ => return,
            }
        }
    }
    std::future::pending::<()>().await;
}

async fn udp(target: SocketAddr, cut: watch::Receiver<bool>) -> u16 {
    let front = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    back.connect(target).await.unwrap();
    let port = front.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        let (n, client) = front.recv_from(&mut buffer).await.unwrap();
        front.connect(client).await.unwrap();
        back.send(&buffer[..n]).await.unwrap();
        let pass = async |from: &UdpSocket, to: &UdpSocket| {
            let mut buffer = [0; 2048];
            let is_cut = || *cut.borrow();
            while !is_cut() {
                if let Ok(n) = from.recv(&mut buffer).await
                    && !is_cut()
                {
                    let _ = to.send(&buffer[..n]).await;
                }
            }
            std::future::pending::<()>().await;
        };
        futures::join!(pass(&front, &back), pass(&back, &front));
    });
    port
}

fn disconnected(event: Event) -> Option<DisconnectReason> {
    if let Event::Disconnected { reason, .. } = event { Some(reason) } else { None }
}

async fn detects_silence_over(listen: &str) {
    let node = || {
        let mut config = config();
        config.webrtc = Some(WebRtcCertificate::generate().unwrap());
        Node::new(config)
    };
    let (mut server, mut client) = (node(), node());
    let wire = PartitionProxy::to(&server.listen(listen).await).await;
    within(client.net.dial(wire.addr.clone())).await.unwrap();
    assert_eq!(client.request(server.id(), Protocol::Sync, vec![1]).await, Ok(vec![1]));
    wire.cut.send(true).unwrap();
    let began = Instant::now();
    let reasons = futures::join!(server.until(disconnected), client.until(disconnected));
    println!("{listen}: detected by both after {:?}: {reasons:?}", began.elapsed());
    assert!(began.elapsed() < DETECTION_MAX, "{:?}", began.elapsed());
    assert_eq!(reasons, (DisconnectReason::Unresponsive, DisconnectReason::Unresponsive));
}

#[tokio::test]
async fn over_tcp() {
    detects_silence_over("/ip4/127.0.0.1/tcp/0").await;
}

#[tokio::test]
async fn over_quic() {
    detects_silence_over("/ip4/127.0.0.1/udp/0/quic-v1").await;
}

#[tokio::test]
async fn over_websocket() {
    detects_silence_over("/ip4/127.0.0.1/tcp/0/ws").await;
}

#[tokio::test]
async fn over_webrtc_direct() {
    detects_silence_over("/ip4/127.0.0.1/udp/0/webrtc-direct").await;
}

#[tokio::test]
async fn through_a_relay() {
    let mut relay_config = config();
    relay_config.relay = Some(RelayLimits::default());
    let relay = Node::new(relay_config);
    let relay_addr = relay.listen("/ip4/127.0.0.1/tcp/0").await;
    let target = Node::new(config());
    let wire = PartitionProxy::to(&relay_addr).await;
    within(target.net.listen(format!("{}/p2p-circuit", wire.addr).parse().unwrap())).await.unwrap();
    let mut client = Node::new(config());
    let circuit = format!("{relay_addr}/p2p-circuit").parse().unwrap();
    within(client.net.dial(tequio_p2p::identity::with_peer(circuit, target.id()))).await.unwrap();
    wire.cut.send(true).unwrap();
    let began = Instant::now();
    let lost =
        |e| matches!(e, Event::Disconnected { peer, .. } if peer == target.id()).then_some(());
    client.until(lost).await;
    println!("noticed through the relay after {:?}", began.elapsed());
    assert!(began.elapsed() < DETECTION_MAX, "{:?}", began.elapsed());
}

/// A connection without application traffic stays open. The end of a connection that was cut later
/// marks the time after which a quiet one would have ended.
#[tokio::test]
async fn an_idle_connection_to_a_live_peer_stays_open() {
    let server = Node::new(config());
    let addr = server.listen("/ip4/127.0.0.1/tcp/0").await;
    let mut client = Node::new(config());
    within(client.net.dial(addr.clone())).await.unwrap();
    let first = within(client.events.recv()).await;
    assert!(matches!(first, Some(Event::Connected { .. })), "{first:?}");

    let wire = PartitionProxy::to(&addr).await;
    let mut parted = Node::new(config());
    within(parted.net.dial(wire.addr.clone())).await.unwrap();
    wire.cut.send(true).unwrap();
    parted.until(disconnected).await;
    let more = client.events.recv().now_or_never();
    assert!(more.is_none(), "{more:?}");
    assert_eq!(client.request(server.id(), Protocol::Sync, vec![1]).await, Ok(vec![1]));
}
