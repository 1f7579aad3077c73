//! The browser half of our WebRTC transport in a real Chromium, with its present and its coming
//! rules.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};
use tequio_tests::{
    browser::chromium,
    network::{binary, root},
    process::Process,
    udp_partition_proxy::Proxy,
};

const WAIT: Duration = Duration::from_secs(120);
/// Bytes of a writer whose reader has stopped: its window, and its send queue.
const STALLED_BYTES_MAX: u64 = 4 << 20;
/// Memory that a transfer of 256 MiB may take, including what two programs and a browser's garbage
/// collector have not yet freed.
const PEAK_GROWTH_MAX: u64 = 96 << 20;
/// The documented timeout, and two seconds for a busy machine.
const NOTICED_MAX: Duration = Duration::from_secs(12);
/// A coming rule of Chrome: an offer must not be changed before it is set.
const NO_MUNGING: &str = "--flag=--force-fieldtrials=WebRTC-NoSdpMangleUfrag/Enabled/";

/// The folder into which `cargo xtask test` puts the module, beside the programs' profile folder.
fn module() -> PathBuf {
    let peer = binary("tequio-webrtc-peer");
    let target = peer.parent().and_then(Path::parent).unwrap();
    target.join("webrtc-page")
}

struct Peer {
    process: Process,
    addr: String,
    websocket: String,
}

fn peer(folder: &Path, listen: Option<&str>) -> Peer {
    let mut command = Command::new(binary("tequio-webrtc-peer"));
    command.arg("--certificate").arg(folder.join("certificate"));
    if let Some(listen) = listen {
        command.args(["--listen", listen]);
    }
    let mut process = Process::spawn("peer", &mut command, &folder.join("peer.log")).unwrap();
    let [addr, websocket] = ["listening", "websocket"]
        .map(|e| process.event(e, WAIT).unwrap()["addr"].as_str().unwrap().to_owned());
    Peer { process, addr, websocket }
}

fn tab(folder: &Path, peer: &Peer, arguments: &[&str]) -> Process {
    let (websocket, id) = (peer.websocket.as_str(), peer.process.id().to_string());
    let arguments = [&["--websocket", websocket, "--peer", &id], arguments].concat();
    script("webrtc.mjs", folder, &peer.addr, &arguments)
}

fn script(name: &str, folder: &Path, addr: &str, arguments: &[&str]) -> Process {
    let mut command = Command::new("node");
    command.current_dir(root().join("tests/browser")).arg(name);
    command
        .arg("--chromium")
        .arg(chromium().unwrap())
        .arg("--module")
        .arg(module())
        .args(["--addr", addr]);
    Process::spawn("tab", command.args(arguments), &folder.join("tab.log")).unwrap()
}

fn everything_works(arguments: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let mut first = peer(folder.path(), None);
    let mut tab = tab(folder.path(), &first, arguments);
    for proved in ["connected", "small", "large", "sixteen", "thousand", "slow"] {
        tab.event(proved, WAIT).unwrap();
    }
    let stalled = first.process.event("stalled", WAIT).unwrap();
    let sent = stalled["sent"].as_u64().unwrap();
    assert!(
        sent > 0 && sent <= STALLED_BYTES_MAX,
        "{sent} bytes ahead of a tab that does not read"
    );
    println!("{}", tab.event("measured", WAIT).unwrap());

    tab.event("waiting", WAIT).unwrap();
    first.process.kill().unwrap();
    let killed = Instant::now();
    let lost = tab.event("lost", WAIT).unwrap();
    println!("the tab detected it after {:?}: {lost}", killed.elapsed());
    assert!(killed.elapsed() < NOTICED_MAX, "{:?}", killed.elapsed());

    let mut second = peer(folder.path(), Some(&first.addr));
    assert_eq!(second.addr, first.addr, "same port, same certificate");
    tab.event("again", WAIT).unwrap();
    tab.event("crashed", WAIT).unwrap();
    let crashed = Instant::now();
    second.process.event("closed", WAIT).unwrap();
    println!("the peer detected a crashed tab after {:?}", crashed.elapsed());
    assert!(crashed.elapsed() < NOTICED_MAX, "{:?}", crashed.elapsed());
}

fn a_quarter_of_a_gibibyte_each_way(flags: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let peer = peer(folder.path(), None);
    let before = peer.process.memory("VmRSS").unwrap();
    let mut tab =
        script("webrtc-load.mjs", folder.path(), &peer.addr, &[&["--mib", "256"], flags].concat());
    let bulk = tab.event("bulk", 3 * WAIT).unwrap();
    let growth = peer.process.memory("VmHWM").unwrap() - before;
    println!("{bulk}; the peer's memory grew by at most {} KiB", growth >> 10);
    assert!(growth < PEAK_GROWTH_MAX, "the peer: {growth} bytes");
    for part in ["resident", "heap", "wasm"] {
        assert!(
            bulk["growth"][part].as_u64().unwrap() < PEAK_GROWTH_MAX,
            "the tab's {part}: {bulk}"
        );
    }
    assert!(tab.finish(WAIT).unwrap().success());
}

#[test]
fn a_quarter_of_a_gibibyte_each_way_in_bounded_memory() {
    a_quarter_of_a_gibibyte_each_way(&[]);
}

/// Offers matter only until a connection is established, so this test runs with `--long` only.
#[cfg(feature = "long")]
#[test]
fn a_quarter_of_a_gibibyte_each_way_with_unmodified_offers() {
    a_quarter_of_a_gibibyte_each_way(&[NO_MUNGING]);
}

#[test]
fn two_hundred_connections_open_and_close_without_leaks() {
    let folder = tempfile::tempdir().unwrap();
    let mut peer = peer(folder.path(), None);
    let mut churn = |count: usize| {
        let arguments = ["--connects", &count.to_string()];
        let mut tab = script("webrtc-load.mjs", folder.path(), &peer.addr, &arguments);
        tab.event("churned", 3 * WAIT).unwrap();
        for _ in 0..count {
            peer.process.event("closed", WAIT).unwrap();
        }
        assert!(tab.finish(WAIT).unwrap().success());
        peer.process.memory("VmRSS").unwrap()
    };
    // Measuring starts after a warm-up: memory that the allocator and the crypto library keep after
    // their first use is no leak.
    let start = churn(40);
    let end = churn(200);
    println!("{} KiB resident at the start, {} after 200 connections more", start >> 10, end >> 10);
    assert!(end <= start + start / 10, "{start} bytes at the start, {end} at the end");
}

/// Moves bytes through a network that is interrupted for a number of seconds. Returns how often the
/// tab connected.
fn connects_of_a_tab_whose_network_is_cut_for(seconds: u64, flags: &[&str]) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let peer = peer(folder.path(), None);
    let (_, rest) = peer.addr.split_once("/udp/").unwrap();
    let (port, rest) = rest.split_once('/').unwrap();
    let server = ([127, 0, 0, 1], port.parse().unwrap()).into();
    let proxy = Proxy::start(server, Duration::from_secs(seconds), 1).unwrap();
    let addr = format!("/ip4/127.0.0.1/udp/{}/{rest}", proxy.addr().port());
    let mut tab = script("webrtc-load.mjs", folder.path(), &addr, &[&["--cut"], flags].concat());
    let survived = tab.event("survived", 2 * WAIT).unwrap();
    assert_eq!(proxy.partitions(), 1, "the network was cut");
    println!("cut for {seconds} s: {survived}");
    assert!(tab.finish(WAIT).unwrap().success());
    survived["connects"].as_u64().unwrap()
}

/// An interruption shorter than the idle timeout of nine seconds keeps the connection. Nothing is
/// corrupt.
#[test]
fn a_network_that_is_cut_for_less_than_the_idle_timeout() {
    assert_eq!(connects_of_a_tab_whose_network_is_cut_for(4, &[]), 1);
}

/// A longer interruption leads to a new connection. Whichever side times out first, the listener
/// does not keep the other side from timing out.
#[test]
fn a_network_that_is_cut_for_longer_than_the_idle_timeout() {
    assert!(connects_of_a_tab_whose_network_is_cut_for(10, &[]) > 1);
}

#[test]
fn a_cut_network_with_unmodified_offers() {
    assert!(connects_of_a_tab_whose_network_is_cut_for(10, &[NO_MUNGING]) > 1);
}

#[test]
fn a_tab_of_today() {
    everything_works(&[]);
}

#[test]
fn a_tab_that_forbids_changed_offers() {
    everything_works(&[NO_MUNGING]);
    // The flag is in force: handshake v1 needs a changed offer.
    let folder = tempfile::tempdir().unwrap();
    let peer = peer(folder.path(), None);
    let mut tab = tab(folder.path(), &peer, &["--v1", NO_MUNGING]);
    assert!(tab.event("connected", WAIT).is_err());
}

#[test]
fn a_tab_that_is_asked_for_handshake_v1() {
    everything_works(&["--v1"]);
}
