//! Two tabs of a real Chromium, browser to browser, over a real relay.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use std::{path::Path, process::Command, time::Duration};
use tequio_tests::{
    browser::chromium,
    network::{binary, root},
    process::Process,
};

const WAIT: Duration = Duration::from_secs(120);
/// Chromium reports a connection as disconnected after some 5 s without traffic; our timeout is 3 s
/// more. The rest is for a busy machine.
const NOTICED_MAX_MS: u64 = 15_000;
/// A coming rule of Chrome: an offer must not be changed before it is set.
const NO_MUNGING: &str = "--flag=--force-fieldtrials=WebRTC-NoSdpMangleUfrag/Enabled/";

/// Prints the figures of the tabs and the route of their packets.
fn two_tabs(arguments: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let program = binary("tequio-relay");
    let mut command = Command::new(&program);
    command
        .env("TEQUIO_PASSPHRASE", "a test's passphrase")
        .arg("--data")
        .arg(folder.path().join("relay"));
    command.args(["--json", "--http", "127.0.0.1:0", "--listen", "/ip4/127.0.0.1/tcp/0/ws"]);
    command.args(["--turn", "127.0.0.1:0", "--turn-allow-private"]);
    let mut relay =
        Process::spawn("relay", &mut command, &folder.path().join("relay.log")).unwrap();
    let ready = relay.event("ready", WAIT).unwrap();

    let module = program.parent().and_then(Path::parent).unwrap().join("webrtc-page");
    let mut command = Command::new("node");
    command.current_dir(root().join("tests/browser")).arg("two-tabs.mjs");
    command.arg("--chromium").arg(chromium().unwrap()).arg("--module").arg(module);
    command.args([
        "--relay",
        ready["listen"][0].as_str().unwrap(),
        "--http",
        ready["http"].as_str().unwrap(),
    ]);
    let mut tabs =
        Process::spawn("tabs", command.args(arguments), &folder.path().join("tabs.log")).unwrap();
    assert_eq!(tabs.event("relayed", WAIT).unwrap()["path"], "relayed websocket");
    for proved in ["direct", "moved"] {
        tabs.event(proved, WAIT).unwrap();
    }
    let measured = tabs.event("measured", WAIT).unwrap();
    let gone = tabs.event("gone", WAIT).unwrap();
    println!("{measured}; {gone}");
    assert!(gone["ms"].as_u64().unwrap() < NOTICED_MAX_MS, "{gone}");
    tabs.event("clean", WAIT).unwrap();
    assert!(tabs.finish(WAIT).unwrap().success());
    measured
}

#[test]
fn two_tabs_replace_their_circuit_by_a_direct_connection() {
    for arguments in [&[][..], &[NO_MUNGING]] {
        let measured = two_tabs(arguments);
        for route in ["route", "routeBack"] {
            assert!(!measured[route].as_str().unwrap().contains("relay"), "{measured}");
        }
    }
}

#[test]
fn two_tabs_without_a_direct_path_use_the_turn_server() {
    let measured = two_tabs(&["--turn-only", NO_MUNGING]);
    assert_eq!(
        (&measured["route"], &measured["routeBack"]),
        (&"relay relay".into(), &"relay relay".into())
    );
}
