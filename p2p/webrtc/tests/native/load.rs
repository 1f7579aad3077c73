//! Bulk data, and readers that do not read.

use crate::peer::{LONG, connected, receive, send, server, stream, transfer};
use futures::AsyncWriteExt;
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};
use tequio_webrtc::{Config, Stream};
use tokio::time::{Instant, timeout};

async fn each_way(mib: u64) {
    let mut server = server(Config::default()).await;
    let (mut client, mut accepted) = connected(&mut server).await;
    let (mut near, mut far) = stream(&mut client, &mut accepted).await;
    rate("up", mib, &mut near, &mut far).await;
    rate("down", mib, &mut far, &mut near).await;
}

async fn rate(way: &str, mib: u64, from: &mut Stream, to: &mut Stream) {
    let start = Instant::now();
    timeout(8 * LONG, transfer(from, to, mib << 20)).await.expect("in time");
    println!("{mib} MiB {way}: {:.1} MiB/s", mib as f64 / start.elapsed().as_secs_f64());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_mebibytes_each_way() {
    each_way(16).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quarter_of_a_gibibyte_each_way() {
    each_way(256).await;
}

/// How far a writer may be ahead of a reader that does not read: the window, and the send queue.
const AHEAD_MAX: u64 = 4 << 20;

/// Writes until the stalled reader stops the writer, then lets the reader read.
async fn stalls_then_delivers(from: &mut Stream, to: &mut Stream) {
    const LEN: u64 = 16 << 20;
    const STEP: u64 = 64 * 1024;
    let written = AtomicU64::new(0);
    let write = async {
        while written.load(Relaxed) < LEN {
            send(from, written.load(Relaxed), STEP).await;
            written.fetch_add(STEP, Relaxed);
        }
        from.close().await.unwrap();
    };
    let read = async {
        // The writer has stopped when a second brings no progress.
        let mut before = u64::MAX;
        while std::mem::replace(&mut before, written.load(Relaxed)) != written.load(Relaxed) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        println!("stopped after {before} bytes");
        assert!(before > 0 && before <= AHEAD_MAX, "{before} bytes ahead of the reader");
        receive(to, LEN).await;
    };
    timeout(4 * LONG, futures::future::join(write, read)).await.expect("in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stops_stops_the_writer_and_loses_nothing() {
    let mut server = server(Config::default()).await;
    let (mut client, mut accepted) = connected(&mut server).await;
    let (mut near, mut far) = stream(&mut client, &mut accepted).await;
    // Another stream continues meanwhile.
    let (mut other_near, mut other_far) = stream(&mut client, &mut accepted).await;
    stalls_then_delivers(&mut near, &mut far).await;
    stalls_then_delivers(&mut far, &mut near).await;
    transfer(&mut other_near, &mut other_far, 1 << 20).await;
}
