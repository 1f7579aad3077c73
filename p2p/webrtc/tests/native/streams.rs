//! The streams of a connection: many at once, one after another, and their limits.

use crate::peer::{
    LONG, bytes, connected, dial, echo, inbound, outbound, round_trip, server, stream, transfer,
};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, future::join_all};
use libp2p_core::muxing::StreamMuxerExt;
use std::time::Duration;
use tequio_webrtc::{Closed, Config, Error};
use tokio::time::{Instant, timeout};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_mebibytes_and_a_thousand_streams_are_echoed() {
    let mut server = server(Config::default()).await;
    let (dialed, (_, accepted)) = futures::join!(dial(server.addr.clone()), server.accept());
    let accepted = tokio::spawn(echo(accepted));
    let (peer, mut connection) = dialed.unwrap();
    assert_eq!(peer, server.peer);
    let start = Instant::now();
    round_trip(&mut connection, bytes(4 << 20, 1)).await;
    println!("4 MiB there and back in {:?}", start.elapsed());
    let start = Instant::now();
    // More streams than a browser has channel ids, one after another.
    for n in 0..1000 {
        round_trip(&mut connection, bytes(n % 2000, n as u64)).await;
    }
    println!("1000 streams opened, used and closed in {:?}", start.elapsed());
    connection.close().await.unwrap();
    let reason = timeout(LONG, accepted).await.expect("in time").unwrap();
    assert!(matches!(reason, Error::Closed(Closed::ByRemote | Closed::TimedOut)), "{reason:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_concurrent_streams_deliver_their_data() {
    const EACH: u64 = 1 << 20;
    let mut server = server(Config::default()).await;
    let (mut client, mut accepted) = connected(&mut server).await;
    let mut pairs = Vec::new();
    for n in 0..16 {
        // Each side opens half of them.
        let pair = match n % 2 {
            0 => stream(&mut client, &mut accepted).await,
            _ => stream(&mut accepted, &mut client).await,
        };
        pairs.push(pair);
    }
    let start = Instant::now();
    let both_ways = pairs.iter_mut().map(|(a, b)| async move {
        transfer(a, b, EACH).await;
        transfer(b, a, EACH).await;
    });
    timeout(4 * LONG, join_all(both_ways)).await.expect("in time");
    println!("16 streams with 1 MiB each way in {:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_beyond_the_limit_are_closed() {
    let mut server = server(Config { max_inbound_streams: 4, ..Config::default() }).await;
    let (dialed, (_, mut accepted)) = futures::join!(dial(server.addr.clone()), server.accept());
    let (_, mut connection) = dialed.unwrap();
    let held = tokio::spawn(async move {
        let mut streams = vec![];
        while let Ok(stream) = inbound(&mut accepted).await {
            streams.push(stream);
            if streams.len() == 4 {
                // No further stream is accepted while these are held.
                assert!(timeout(Duration::from_secs(2), inbound(&mut accepted)).await.is_err());
                return streams;
            }
        }
        panic!("lost");
    });
    let mut streams = vec![];
    for number in 0..6 {
        let mut stream = timeout(LONG, outbound(&mut connection)).await.expect("in time").unwrap();
        let written = stream.write_all(b"x").await;
        // A refusal may arrive before the byte is sent.
        assert!(written.is_ok() || number >= 4, "{written:?}");
        streams.push((stream, written.is_err()));
    }
    let mut refused = 0;
    for (stream, at_once) in &mut streams[4..] {
        refused += usize::from(
            *at_once || timeout(LONG, stream.read(&mut [0])).await.expect("in time").is_err(),
        );
    }
    assert_eq!(refused, 2);
    assert_eq!(held.await.unwrap().len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_bytes_are_bounded_over_all_connections() {
    let config = Config { max_unread: 300_000, ..Config::default() };
    let mut server = server(config).await;
    let (dialed, (_, mut accepted)) = futures::join!(dial(server.addr.clone()), server.accept());
    let (_, mut connection) = dialed.unwrap();
    let mut stream = timeout(LONG, outbound(&mut connection)).await.expect("in time").unwrap();
    // The window of a stream would admit 1 MiB, and the application does not read.
    let result = timeout(LONG, stream.write_all(&vec![7; 8 << 20])).await.expect("refused in time");
    assert!(result.is_err());
    assert!(inbound(&mut accepted).now_or_never().is_some());
}
