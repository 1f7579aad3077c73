//! The browser half of our WebRTC in a real Chromium, as it is and as it will be.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};
use tequio_tests::{
    network::{binary, root},
    process::Process,
};

const WAIT: Duration = Duration::from_secs(120);
/// Bytes of a writer whose reader has stopped: its window, and what waits to be sent.
const STALLED_BYTES_MAX: u64 = 4 << 20;
/// What is promised, and two seconds for a busy machine.
const NOTICED_MAX: Duration = Duration::from_secs(12);
/// What Chrome is about to make the rule: an offer must not be changed before it is set.
const NO_MUNGING: &str = "--flag=--force-fieldtrials=WebRTC-NoSdpMangleUfrag/Enabled/";

fn chromium() -> PathBuf {
    let named = std::env::var_os("TEQUIO_CHROMIUM").map(PathBuf::from);
    let usual = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].map(PathBuf::from);
    named.into_iter().chain(usual).find(|p| p.is_file()).expect("no Chromium: `cargo xtask test` installs it")
}

/// Where `cargo xtask test` puts the module: beside the programs' profile folder.
fn module() -> PathBuf {
    let peer = binary("tequio-webrtc-peer");
    let target = peer.parent().and_then(Path::parent).unwrap();
    target.join("webrtc-page")
}

struct Peer {
    process: Process,
    addr: String,
}

fn peer(folder: &Path, listen: Option<&str>) -> Peer {
    let mut command = Command::new(binary("tequio-webrtc-peer"));
    command.arg("--certificate").arg(folder.join("certificate"));
    if let Some(listen) = listen {
        command.args(["--listen", listen]);
    }
    let mut process = Process::spawn("peer", &mut command, &folder.join("peer.log")).unwrap();
    let addr = process.event("listening", WAIT).unwrap()["addr"].as_str().unwrap().to_owned();
    Peer { process, addr }
}

fn tab(folder: &Path, peer: &Peer, arguments: &[&str]) -> Process {
    let mut command = Command::new("node");
    command.current_dir(root().join("tests/browser")).arg("webrtc.mjs");
    command.arg("--chromium").arg(chromium()).arg("--module").arg(module()).args(["--addr", &peer.addr]);
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
    assert!(sent > 0 && sent <= STALLED_BYTES_MAX, "{sent} bytes ahead of a tab that does not read");
    println!("{}", tab.event("measured", WAIT).unwrap());

    tab.event("waiting", WAIT).unwrap();
    first.process.kill().unwrap();
    let killed = Instant::now();
    let lost = tab.event("lost", WAIT).unwrap();
    println!("the tab noticed after {:?}: {lost}", killed.elapsed());
    assert!(killed.elapsed() < NOTICED_MAX, "{:?}", killed.elapsed());

    let mut second = peer(folder.path(), Some(&first.addr));
    assert_eq!(second.addr, first.addr, "same port, same certificate");
    tab.event("again", WAIT).unwrap();
    tab.event("crashed", WAIT).unwrap();
    let crashed = Instant::now();
    second.process.event("closed", WAIT).unwrap();
    println!("the peer noticed a crashed tab after {:?}", crashed.elapsed());
    assert!(crashed.elapsed() < NOTICED_MAX, "{:?}", crashed.elapsed());
}

#[test]
fn a_tab_of_today() {
    everything_works(&[]);
}

#[test]
fn a_tab_that_forbids_changed_offers() {
    everything_works(&[NO_MUNGING]);
    // The flag does what it says: handshake v1 needs a changed offer.
    let folder = tempfile::tempdir().unwrap();
    let peer = peer(folder.path(), None);
    let mut tab = tab(folder.path(), &peer, &["--v1", NO_MUNGING]);
    assert!(tab.event("connected", WAIT).is_err());
}

#[test]
fn a_tab_that_is_asked_for_handshake_v1() {
    everything_works(&["--v1"]);
}
