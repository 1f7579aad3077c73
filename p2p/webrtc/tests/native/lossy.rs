//! A network that loses, delays and reorders, simulated between two sockets of the test.

use crate::peer::{LONG, connected, server, socket_of, stream, transfer};
use libp2p_core::{Multiaddr, multiaddr::Protocol};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tequio_webrtc::{Config, Stream};
use tokio::{
    net::UdpSocket,
    sync::mpsc,
    time::{Instant, timeout},
};

/// Conditions of the link, in each direction.
#[derive(Clone, Copy)]
struct LinkConditions {
    loss_percent: u64,
    /// Percentage of the remaining datagrams that take twice as long and so are overtaken.
    late_percent: u64,
    delay: Duration,
}

struct Dice(u64);

impl Dice {
    fn percent(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % 100
    }
}

/// A datagram in transit, with its arrival time.
type InTransit = (Instant, Vec<u8>);

/// Forwards between the dialer that sends to the returned address and `server`.
async fn proxy(server: SocketAddr, path: LinkConditions, seed: u64) -> SocketAddr {
    println!("seed {seed}");
    let (front, back) = (socket().await, socket().await);
    back.connect(server).await.unwrap();
    let address = front.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        let (len, dialer) = front.recv_from(&mut buffer).await.unwrap();
        front.connect(dialer).await.unwrap();
        back.send(&buffer[..len]).await.unwrap();
        tokio::spawn(forward(front.clone(), back.clone(), path, seed));
        forward(back, front, path, seed ^ 0xfeed).await;
    });
    address
}

/// A socket large enough to lose nothing itself.
async fn socket() -> Arc<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20).unwrap();
    Arc::new(socket)
}

/// Forwards in one direction: in order, except for late datagrams.
async fn forward(from: Arc<UdpSocket>, to: Arc<UdpSocket>, path: LinkConditions, seed: u64) {
    let mut dice = Dice(seed);
    let [on_time, late] = [path.delay, 2 * path.delay].map(|delay| {
        let (tx, mut rx) = mpsc::unbounded_channel::<InTransit>();
        let to = to.clone();
        tokio::spawn(async move {
            while let Some((at, data)) = rx.recv().await {
                tokio::time::sleep_until(at).await;
                let _ = to.send(&data).await;
            }
        });
        move |data| drop(tx.send((Instant::now() + delay, data)))
    });
    let mut buffer = [0; 2048];
    loop {
        // An error reports an earlier datagram that had no receiver.
        let Ok(len) = from.recv(&mut buffer).await else { continue };
        if dice.percent() < path.loss_percent {
            continue;
        }
        let data = buffer[..len].to_vec();
        if dice.percent() < path.late_percent { late(data) } else { on_time(data) }
    }
}

fn through(addr: &Multiaddr, proxy: SocketAddr) -> Multiaddr {
    let replaced = |part| match part {
        Protocol::Udp(_) => Protocol::Udp(proxy.port()),
        other => other,
    };
    addr.iter().map(replaced).collect()
}

async fn arrives_intact(path: LinkConditions, len: u64, seed: u64) {
    let mut server = server(Config::default()).await;
    let proxy = proxy(socket_of(&server.addr), path, seed).await;
    server.addr = through(&server.addr, proxy);
    let (mut client, mut accepted) = timeout(LONG, connected(&mut server)).await.expect("in time");
    let (mut near, mut far) = stream(&mut client, &mut accepted).await;
    let (mut other_near, mut other_far) = stream(&mut client, &mut accepted).await;
    let start = Instant::now();
    let timed = async |from: &mut Stream, to: &mut Stream| {
        timeout(10 * LONG, transfer(from, to, len)).await.expect("in time");
        len as f64 / (1 << 20) as f64 / start.elapsed().as_secs_f64()
    };
    let (up, down) =
        futures::join!(timed(&mut near, &mut far), timed(&mut other_far, &mut other_near));
    println!("{len} bytes each way at once: up {up:.2} MiB/s, down {down:.2} MiB/s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_mebibytes_survive_loss_delay_and_reordering() {
    let path =
        LinkConditions { loss_percent: 5, late_percent: 5, delay: Duration::from_millis(50) };
    arrives_intact(path, 4 << 20, 0x5eed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_path_without_loss_carries_both_ways() {
    let path =
        LinkConditions { loss_percent: 0, late_percent: 0, delay: Duration::from_millis(50) };
    arrives_intact(path, 8 << 20, 1).await;
}
