//! The web server, asked over plain sockets.

use super::{checkpoint, config, dir, in_time, node};
use rustls::pki_types::ServerName;
use std::{collections::BTreeMap, net::SocketAddr, path::Path, sync::Arc};
use tequio_p2p::TransportKind;
use tequio_relay::{Config, Relay, TlsFiles};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

async fn ask(mut io: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    io.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = vec![];
    in_time(io.read_to_end(&mut bytes)).await.unwrap();
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_lowercase(), v.to_owned())).collect();
    Answer { status, headers, body: bytes[end + 4..].to_vec() }
}

async fn get(addr: SocketAddr, path: &str) -> Answer {
    ask(TcpStream::connect(addr).await.unwrap(), path).await
}

fn page(dir: &Path) -> std::path::PathBuf {
    let page = dir.join("page");
    std::fs::create_dir_all(page.join("assets")).unwrap();
    std::fs::write(page.join("index.html"), "<!doctype html><title>Tequio</title>").unwrap();
    std::fs::write(page.join("assets/core.wasm"), b"\0asm").unwrap();
    std::fs::write(page.join("assets/main.js"), "export {};").unwrap();
    std::fs::write(dir.join("secret"), "secret").unwrap();
    page
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_finds_everything_it_starts_from() {
    let dir = dir();
    let (path, bytes, chain) = checkpoint(dir.path());
    let page = Some(page(dir.path()));
    let relay = Relay::start(Config { checkpoint: Some(path.clone()), page, ..config(dir.path()) }).await.unwrap();
    let addr = relay.http().addr();

    let well_known = get(addr, "/.well-known/tequio.json").await;
    assert_eq!((well_known.status, well_known.header("access-control-allow-origin")), (200, "*"));
    assert_eq!(well_known.header("content-type"), "application/json");
    let document = well_known.json();
    assert_eq!(document["version"], 1);
    assert_eq!(document["chain"], chain.to_string());
    assert_eq!(document["checkpoint"], "/checkpoint.bin");
    let relays: Vec<&str> = document["relays"].as_array().unwrap().iter().map(|r| r.as_str().unwrap()).collect();
    assert_eq!(relays.len(), 2);
    assert!(relays[0].contains("/webrtc-direct/certhash/") && relays[1].contains("/ws/p2p/"), "{relays:?}");

    let file = get(addr, "/checkpoint.bin").await;
    assert_eq!((file.status, file.header("access-control-allow-origin")), (200, "*"));
    assert_eq!(file.body, bytes);
    std::fs::write(&path, "newer").unwrap();
    assert_eq!(get(addr, "/checkpoint.bin").await.body, b"newer", "read anew");

    for (path, kind) in
        [("/", "text/html"), ("/assets/core.wasm", "application/wasm"), ("/assets/main.js", "text/javascript")]
    {
        let answer = get(addr, path).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, kind), "{path}");
        assert!(answer.header("content-security-policy").contains("'wasm-unsafe-eval'"));
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("access-control-allow-origin"), "", "other origins get no page");
    }
    for path in ["/missing", "/../secret", "/%2e%2e/secret", "/assets/..%2f..%2fsecret", "//secret"] {
        let answer = get(addr, path).await;
        assert!((400..500).contains(&answer.status), "{path}: {}", answer.status);
    }
    let health = get(addr, "/healthz").await;
    assert_eq!((health.status, health.json()["nodesHealthy"].as_u64()), (503, Some(0)), "no node to ask");
    let metrics = String::from_utf8(get(addr, "/metrics").await.body).unwrap();
    assert!(metrics.contains("tequio_relay_http_requests_total{status=\"200\"}"), "{metrics}");
    assert!(metrics.contains("tequio_relay_peers{transport=\"webrtc\"} 0"), "{metrics}");
    assert!(metrics.ends_with("# EOF\n"));
    in_time(relay.stop()).await;
    assert!(TcpStream::connect(addr).await.is_err(), "stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hasty_client_is_told_to_wait() {
    let dir = dir();
    let relay = Relay::start(Config { http_requests_per_s: 1, ..config(dir.path()) }).await.unwrap();
    let addr = relay.http().addr();
    let mut refused = 0;
    for _ in 0..8 {
        let answer = get(addr, "/").await;
        match answer.status {
            404 => {}
            429 => {
                refused += 1;
                assert!(answer.header("retry-after").parse::<u32>().unwrap() >= 1);
            }
            other => panic!("{other}"),
        }
    }
    assert!((1..=3).contains(&refused), "{refused} of 8, five of which are free");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_certificate_both_web_and_websocket_are_secure() {
    let dir = dir();
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let tls = TlsFiles { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
    std::fs::write(&tls.cert, certified.cert.pem()).unwrap();
    std::fs::write(&tls.key, certified.signing_key.serialize_pem()).unwrap();
    let mut config = config(dir.path());
    config.tls = Some(tls);
    config.listen = vec!["/ip4/127.0.0.1/tcp/0/tls/ws".parse().unwrap()];
    let relay = Relay::start(config).await.unwrap();
    assert!(relay.http().url().starts_with("https://"));
    let listening = relay.addresses().for_browsers();
    assert!(listening.iter().any(|a| TransportKind::of(a) == Some(TransportKind::WebSocket)), "{listening:?}");

    let mut roots = rustls::RootCertStore::empty();
    roots.add(certified.cert.der().clone()).unwrap();
    let client = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let tcp = TcpStream::connect(relay.http().addr()).await.unwrap();
    let tls = connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap();
    assert_eq!(ask(tls, "/.well-known/tequio.json").await.status, 200);
    // A node does not trust the self-signed certificate, so it must not get in by WebSocket either.
    let stranger = node(41);
    assert!(in_time(stranger.network.dial(listening[0].clone())).await.is_err());
    in_time(relay.stop()).await;
}
