//! Kills and restarts a relay while a tab of a real Chromium holds a circuit through it. The
//! circuit and the reservations of the tab and of a native node are restored automatically.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};
use tequio_p2p::{Config, Event, Multiaddr, Network, Protocol, identity};
use tequio_tests::{
    browser::chromium,
    network::{binary, root},
    process::Process,
};
use tokio::runtime::Runtime;

const WAIT: Duration = Duration::from_secs(120);
/// From the relay's restart to the restored circuit. The backoff grows while the relay is away.
const BACK_MAX: Duration = Duration::from_secs(45);

/// Failed attempts before the second restart, of the tab and of the native node together: the
/// backoff has grown by then.
const ATTEMPTS: usize = 6;

/// Starts the relay with the same identity each time, and at the given address, if there is one.
fn relay(folder: &Path, listen: &str) -> (Process, String) {
    let mut command = Command::new(binary("tequio-relay"));
    command.env("TEQUIO_PASSPHRASE", "a test's passphrase").arg("--data").arg(folder.join("relay"));
    command.args(["--json", "--http", "127.0.0.1:0", "--listen", listen]);
    let mut process = Process::spawn("relay", &mut command, &folder.join("relay.log")).unwrap();
    let ready = process.event("ready", WAIT).unwrap();
    (process, ready["listen"][0].as_str().unwrap().to_owned())
}

fn socket_address(relay: &Multiaddr) -> SocketAddr {
    let parts: Vec<String> = relay.iter().take(2).map(|part| part.to_string()).collect();
    let [host, port] = [&parts[0], &parts[1]].map(|part| part.rsplit('/').next().unwrap());
    format!("{host}:{port}").parse().unwrap()
}

/// Accepts connections at the relay's address and closes them at once.
fn refuse(address: SocketAddr, attempts: usize) {
    if attempts > 0 {
        let listener = TcpListener::bind(address).unwrap();
        listener.incoming().take(attempts).for_each(drop);
    }
}

/// A native node that echoes everything.
fn node(seed: u8) -> Network {
    let mut config = Config::new([seed; 32]);
    config.serve = vec![Protocol::Work];
    let (network, mut events) = tequio_p2p::spawn(config).unwrap();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if let Event::InboundRequest { body, reply, .. } = event {
                reply.send(body);
            }
        }
    });
    network
}

#[test]
fn a_circuit_of_a_tab_is_restored_after_its_relay_was_killed() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), Runtime::new().unwrap());
    let _context = runtime.enter();
    let (mut first, addr) = relay(folder.path(), "/ip4/127.0.0.1/tcp/0/ws");
    let relay_addr: Multiaddr = addr.parse().unwrap();
    let socket: String = relay_addr.iter().take(3).map(|part| part.to_string()).collect();
    let (native, other_node) = (node(71), node(72));
    runtime.block_on(native.listen(format!("{addr}/p2p-circuit").parse().unwrap())).unwrap();
    let native_addr = identity::circuit(&relay_addr, native.local_id()).unwrap();

    let module =
        binary("tequio-relay").parent().and_then(Path::parent).unwrap().join("webrtc-page");
    let mut command = Command::new("node");
    command.current_dir(root().join("tests/browser")).arg("relay-restart.mjs");
    command.arg("--chromium").arg(chromium().unwrap()).arg("--module").arg(module);
    command.args(["--relay", &addr, "--peer", &native_addr.to_string()]);
    let mut tab = Process::spawn("tab", &mut command, &folder.path().join("tab.log")).unwrap();
    let reserved = tab.event("reserved", WAIT).unwrap();
    let tab_addr: Multiaddr = reserved["addr"].as_str().unwrap().parse().unwrap();
    assert_eq!(tab.event("relayed", WAIT).unwrap()["path"], "relayed websocket");

    // Restarted first at once, then after attempts that failed.
    for attempts in [0, ATTEMPTS] {
        first.kill().unwrap();
        println!("lost: {}", tab.event("lost", WAIT).unwrap()["reason"]);
        refuse(socket_address(&relay_addr), attempts);
        first = relay(folder.path(), &socket).0;
        let began = Instant::now();
        let back = tab.event("back", WAIT).unwrap();
        println!(
            "after {attempts} failed attempts the circuit was restored {:?} after the relay: \
             {back}",
            began.elapsed()
        );
        assert_eq!(back["path"], "relayed websocket");
        assert!(began.elapsed() < BACK_MAX, "{:?}", began.elapsed());

        // The other direction: the tab is reached through its own reservation.
        let answer = runtime.block_on(async {
            let (peer, _) = loop {
                match other_node.dial(tab_addr.clone()).await {
                    Ok(connected) => break connected,
                    Err(error) => assert!(began.elapsed() < BACK_MAX, "{error}"),
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            };
            other_node.request(peer, Protocol::Work, b"still there".to_vec(), WAIT).await
        });
        assert_eq!(answer.unwrap(), b"still there");
        println!("the tab's reservation was there {:?} after the relay", began.elapsed());
    }
}
