//! A network that loses, delays and reorders, between two sockets of this test's own.

use crate::peer::{LONG, connected, server, socket_of, stream, transfer};
use libp2p_core::{Multiaddr, multiaddr::Protocol};
use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};
use tequio_webrtc::Config;
use tokio::{
    net::UdpSocket,
    time::{Instant, timeout},
};

/// What happens to datagrams, each way.
#[derive(Clone, Copy)]
struct Path {
    loss_percent: u64,
    /// These overtake nobody and wait as long again.
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

/// Forwards between whoever sends to the returned address and `server`; a socket for each sender.
async fn proxy(server: SocketAddr, path: Path, seed: u64) -> SocketAddr {
    let front = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let address = front.local_addr().unwrap();
    println!("seed {seed}");
    tokio::spawn(async move {
        let mut backs: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
        let mut dice = Dice(seed);
        let mut buffer = [0; 2048];
        loop {
            let (len, source) = front.recv_from(&mut buffer).await.unwrap();
            if !backs.contains_key(&source) {
                let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                back.connect(server).await.unwrap();
                tokio::spawn(answers(back.clone(), front.clone(), source, path, seed ^ u64::from(source.port())));
                backs.insert(source, back);
            }
            let back = backs[&source].clone();
            let data = buffer[..len].to_vec();
            pass(&mut dice, path, async move { drop(back.send(&data).await) });
        }
    });
    address
}

async fn answers(back: Arc<UdpSocket>, front: Arc<UdpSocket>, source: SocketAddr, path: Path, seed: u64) {
    let mut dice = Dice(seed | 1);
    let mut buffer = [0; 2048];
    while let Ok(len) = back.recv(&mut buffer).await {
        let (front, data) = (front.clone(), buffer[..len].to_vec());
        pass(&mut dice, path, async move { drop(front.send_to(&data, source).await) });
    }
}

fn pass(dice: &mut Dice, path: Path, send: impl Future<Output = ()> + Send + 'static) {
    if dice.percent() < path.loss_percent {
        return;
    }
    let is_late = dice.percent() < path.late_percent;
    let delay = if is_late { 2 * path.delay } else { path.delay };
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        send.await;
    });
}

fn through(addr: &Multiaddr, proxy: SocketAddr) -> Multiaddr {
    let replaced = |part| match part {
        Protocol::Udp(_) => Protocol::Udp(proxy.port()),
        other => other,
    };
    addr.iter().map(replaced).collect()
}

async fn arrives_intact(path: Path, len: u64, seed: u64) {
    let mut server = server(Config::default()).await;
    let proxy = proxy(socket_of(&server.addr), path, seed).await;
    server.addr = through(&server.addr, proxy);
    let (mut client, mut accepted) = timeout(LONG, connected(&mut server)).await.expect("in time");
    let (mut near, mut far) = stream(&mut client, &mut accepted).await;
    let start = Instant::now();
    timeout(10 * LONG, transfer(&mut near, &mut far, len)).await.expect("in time");
    let up = start.elapsed();
    timeout(10 * LONG, transfer(&mut far, &mut near, len)).await.expect("in time");
    println!("{len} bytes up in {up:?}, down in {:?}", start.elapsed() - up);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_mebibytes_survive_loss_delay_and_reordering() {
    let path = Path { loss_percent: 5, late_percent: 5, delay: Duration::from_millis(50) };
    arrives_intact(path, 4 << 20, 0x5eed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_path_alone_costs_no_more_than_its_delay() {
    let path = Path { loss_percent: 0, late_percent: 0, delay: Duration::from_millis(50) };
    arrives_intact(path, 16 << 20, 1).await;
}
