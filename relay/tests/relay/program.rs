//! The program: its ready line, its signals, its error messages.

use super::{LONG, checkpoint, config, dir};
use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    time::Instant,
};
use tequio_relay::{Relay, StartError, TlsFiles};

fn program(dir: &std::path::Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tequio-relay"));
    command.env("TEQUIO_PASSPHRASE", "a passphrase").env("TEQUIO_RELAY_HTTP", "127.0.0.1:0");
    command.arg("--data").arg(dir.join("relay")).args(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn signal(child: &Child, name: &str) {
    let status =
        Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status().unwrap();
    assert!(status.success());
}

fn exit_code(mut child: Child) -> Option<i32> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(start.elapsed() < LONG, "still running");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn ready_line(child: &mut Child) -> serde_json::Value {
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line:?}: {e}"))
}

#[test]
fn prints_its_addresses_keeps_its_identity_and_stops_on_a_signal() {
    let dir = dir();
    let listen =
        ["--listen", "/ip4/127.0.0.1/udp/0/webrtc-direct", "--listen", "/ip4/127.0.0.1/tcp/0/ws"];
    let mut hashes = vec![];
    for _ in 0..2 {
        let mut child = program(dir.path(), &[&listen[..], &["--json"]].concat()).spawn().unwrap();
        let ready = ready_line(&mut child);
        assert_eq!(ready["event"], "ready");
        assert!(ready["http"].as_str().unwrap().starts_with("http://127.0.0.1:"));
        let addresses = ready["listen"].as_array().unwrap();
        assert_eq!(addresses.len(), 2);
        let webrtc =
            addresses.iter().find_map(|a| a.as_str().unwrap().split_once("/certhash/")).unwrap().1;
        assert!(webrtc.ends_with(&format!("/p2p/{}", ready["peer"].as_str().unwrap())));
        hashes.push(webrtc.to_owned());

        let mut second = program(dir.path(), &listen).spawn().unwrap();
        let mut complaint = String::new();
        second.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
        assert!(complaint.contains("in use by another tequio process"), "{complaint}");
        assert_eq!(exit_code(second), Some(1));

        signal(&child, "TERM");
        assert_eq!(exit_code(child), Some(0));
    }
    assert_eq!(hashes[0], hashes[1], "certificate and identity are kept");
}

#[test]
fn a_taken_port_is_named_once_with_the_cause_and_a_remedy() {
    let dir = dir();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("/ip4/127.0.0.1/tcp/{}/ws", taken.local_addr().unwrap().port());
    let output = program(dir.path(), &["--listen", &listen]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert_eq!(error.matches("cannot listen on").count(), 1, "{error}");
    for part in [&listen, "in use", "another with --listen"] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn sighup_reloads_the_log_filter_and_never_ends_the_relay() {
    let dir = dir();
    let filter = dir.path().join("log");
    std::fs::write(&filter, "off\n").unwrap();
    let arguments = [
        "--listen",
        "/ip4/127.0.0.1/tcp/0/ws",
        "--json",
        "--log-filter-file",
        filter.to_str().unwrap(),
    ];
    let mut child = program(dir.path(), &arguments).spawn().unwrap();
    ready_line(&mut child);
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    std::fs::write(&filter, "info").unwrap();
    signal(&child, "HUP");
    let line = log.next().unwrap();
    assert!(line.contains("the log filter is in use"), "nothing was logged before: {line}");
    std::fs::write(&filter, "tequio=loud").unwrap();
    signal(&child, "HUP");
    let complaint = log.find(|line| line.contains("WARN")).unwrap();
    assert!(
        complaint.contains("the log filter stays as it is")
            && complaint.contains("not a log filter"),
        "{complaint}"
    );
    std::fs::remove_file(&filter).unwrap();
    signal(&child, "HUP");
    let complaint = log.find(|line| line.contains("WARN")).unwrap();
    assert!(complaint.contains("cannot read"), "{complaint}");
    signal(&child, "TERM");
    assert_eq!(exit_code(child), Some(0));
}

#[test]
fn help_names_options_and_variables() {
    let help = program(dir().path(), &["--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for word in [
        "--listen",
        "TEQUIO_RELAY_NODE",
        "--page",
        "--checkpoint",
        "--tls-cert",
        "TEQUIO_PASSPHRASE",
    ] {
        assert!(help.contains(word), "{word}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_configurations_are_refused_with_the_reason() {
    let dir = dir();
    let refused = async |change: &dyn Fn(&mut tequio_relay::Config)| {
        let mut config = config(dir.path());
        change(&mut config);
        Relay::start(config).await.expect_err("must not start")
    };
    let missing = dir.path().join("missing");
    let e = refused(&|c| c.page = Some(missing.clone())).await;
    assert!(matches!(e, StartError::Page(_)), "{e}");
    let e = refused(&|c| c.checkpoint = Some(missing.clone())).await;
    assert!(matches!(e, StartError::File { action: "read", .. }), "{e}");
    let (file, bytes, _) = checkpoint(dir.path());
    std::fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    let e = refused(&|c| c.checkpoint = Some(file.clone())).await;
    assert!(matches!(e, StartError::Checkpoint { .. }), "{e}");
    let e = refused(&|c| c.tls = Some(TlsFiles { cert: file.clone(), key: missing.clone() })).await;
    assert!(matches!(e, StartError::Tls { .. }), "{e}");
    let e = refused(&|c| c.nodes = vec!["/ip4/127.0.0.1/tcp/1".parse().unwrap()]).await;
    assert!(matches!(e, StartError::Node(_)), "{e}");
    let e = refused(&|c| c.listen = vec!["/ip4/203.0.113.1/tcp/1".parse().unwrap()]).await;
    assert!(matches!(e, StartError::Listen { .. }), "{e}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let e = refused(&|c| c.http = taken.local_addr().unwrap()).await;
    assert!(matches!(e, StartError::Http { .. }), "{e}");
    let e = refused(&|c| c.passphrase = "another".to_owned().into()).await;
    assert!(matches!(e, StartError::Keystore { .. }), "{e}");
}
