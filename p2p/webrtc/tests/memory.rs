//! The memory that connections leave behind, and the cost of a flood. It measures the whole
//! process, so this file has only one test.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

// This test uses only a part of the module.
#[allow(dead_code)]
#[path = "native/peer.rs"]
mod peer;

use crate::peer::{LONG, authentic_request, connected, server, socket_of, stream, transfer};
use libp2p_core::muxing::StreamMuxerExt;
use std::time::Duration;
use tequio_webrtc::Config;
use tokio::{
    net::UdpSocket,
    time::{Instant, timeout},
};

fn resident_kib() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4
}

/// The user and system time of this process.
fn cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10
}

/// A connection that is used, and closed by both sides.
async fn come_and_go(server: &mut peer::Server) {
    let (mut client, mut accepted) = connected(server).await;
    let (mut near, mut far) = stream(&mut client, &mut accepted).await;
    transfer(&mut near, &mut far, 50_000).await;
    drop((near, far));
    let both = async {
        client.close().await.unwrap();
        let _ = accepted.close().await;
    };
    timeout(LONG, both).await.expect("in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_connections_and_floods_do_not_grow_memory() {
    // Without rate limits, which would only make the test slow.
    let many =
        Config { handshake_burst_per_source: 10_000, handshake_burst: 10_000, ..Config::default() };
    let mut busy = server(many).await;
    for _ in 0..20 {
        come_and_go(&mut busy).await;
    }
    let start = resident_kib();
    for n in 1..=200 {
        come_and_go(&mut busy).await;
        if n % 50 == 0 {
            println!("after {n} connections: {} KiB, at the start {start}", resident_kib());
        }
    }
    assert!(
        resident_kib() * 10 <= start * 11,
        "{} KiB after 200 connections, {start} before",
        resident_kib()
    );

    // As fast as one task can send: half of the datagrams forged, half with a valid integrity and a
    // new ufrag each, from many addresses.
    let server = server(Config::default()).await;
    let target = socket_of(&server.addr);
    let mut sockets = Vec::new();
    for host in 2..34 {
        sockets
            .push(UdpSocket::bind(("127.0.0.".to_owned() + &host.to_string(), 0)).await.unwrap());
    }
    let requests: Vec<Vec<u8>> = (0..2000)
        .map(|n| {
            let mut made = authentic_request(&format!("libp2p+webrtc+v2/abcdefghijklmnop{n:06}"));
            made[15] ^= n as u8 % 2;
            made
        })
        .collect();
    let (before, began, cpu_before) = (resident_kib(), Instant::now(), cpu_ms());
    let mut sent = 0u64;
    let mut most = 0;
    while began.elapsed() < Duration::from_secs(5) {
        for request in &requests {
            let socket = &sockets[sent as usize % sockets.len()];
            socket.send_to(request, target).await.unwrap();
            sent += 1;
        }
        most = most.max(resident_kib());
    }
    let (cpu, seconds) = (cpu_ms() - cpu_before, began.elapsed().as_secs_f64());
    println!(
        "{sent} requests in {seconds:.1} s: {cpu} ms of CPU, {} KiB more at most",
        most.saturating_sub(before)
    );
    // The flood can make the listener hold at most 128 half-open connections.
    assert!(
        most.saturating_sub(before) < 32 * 1024,
        "{before} KiB before, {most} KiB in the flood"
    );
    assert!(cpu as f64 / sent as f64 <= 0.1, "{cpu} ms for {sent} requests, sending included");
}
