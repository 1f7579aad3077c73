//! Tests of the web server over plain sockets.

use super::{address_of, checkpoint, config, dir, in_time, node};
use rustls::pki_types::{CertificateDer, ServerName};
use std::{collections::BTreeMap, net::SocketAddr, path::Path, sync::Arc};
use tequio_p2p::TransportKind;
use tequio_relay::{Config, Operator, Relay, TlsFiles};
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

async fn get_over(io: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> Answer {
    ask_with(io, path, "").await
}

/// Sends a request with further header lines, each terminated.
async fn ask_with(io: impl AsyncRead + AsyncWrite + Unpin, path: &str, headers: &str) -> Answer {
    send(
        io,
        &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n"),
    )
    .await
}

async fn send(mut io: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> Answer {
    io.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = vec![];
    in_time(io.read_to_end(&mut bytes)).await.unwrap();
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines
        .filter_map(|l| l.split_once(": "))
        .map(|(n, v)| (n.to_lowercase(), v.to_owned()))
        .collect();
    Answer { status, headers, body: bytes[end + 4..].to_vec() }
}

async fn get(addr: SocketAddr, path: &str) -> Answer {
    get_with(addr, path, "").await
}

async fn get_with(addr: SocketAddr, path: &str, headers: &str) -> Answer {
    ask_with(TcpStream::connect(addr).await.unwrap(), path, headers).await
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
async fn a_browser_finds_all_files_that_it_needs_to_start() {
    let dir = dir();
    let (path, bytes, chain) = checkpoint(dir.path());
    let page = Some(page(dir.path()));
    let operator = Some(Operator { name: Some("Library".into()), url: None });
    let config = Config { checkpoint: Some(path.clone()), page, operator, ..config(dir.path()) };
    let relay = Relay::start(config).await.unwrap();
    let addr = relay.http().addr();

    let well_known = get(addr, "/.well-known/tequio.json").await;
    assert_eq!((well_known.status, well_known.header("access-control-allow-origin")), (200, "*"));
    assert_eq!(well_known.header("content-type"), "application/json");
    let document = well_known.json();
    assert_eq!(document["version"], 1);
    assert_eq!(document["chain"], chain.to_string());
    assert_eq!(document["checkpoint"], "/checkpoint.bin");
    assert_eq!(document["operator"], serde_json::json!({"name": "Library"}));
    let relays: Vec<&str> =
        document["relays"].as_array().unwrap().iter().map(|r| r.as_str().unwrap()).collect();
    assert_eq!(relays.len(), 2);
    assert!(
        relays[0].contains("/webrtc-direct/certhash/") && relays[1].contains("/ws/p2p/"),
        "{relays:?}"
    );

    let file = get(addr, "/checkpoint.bin").await;
    assert_eq!((file.status, file.header("access-control-allow-origin")), (200, "*"));
    assert_eq!(file.body, bytes);
    let link =
        format!("http://{addr}/#checkpoint={}", tequio_core::ledger::Checkpoint::hash(&bytes));
    assert_eq!(relay.page_link(), Some(link.as_str()));
    std::fs::write(&path, "newer").unwrap();
    assert_eq!(get(addr, "/checkpoint.bin").await.body, b"newer", "read anew");

    for (path, kind) in [
        ("/", "text/html"),
        ("/assets/core.wasm", "application/wasm"),
        ("/assets/main.js", "text/javascript"),
    ] {
        let answer = get(addr, path).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, kind), "{path}");
        assert!(answer.header("content-security-policy").contains("'wasm-unsafe-eval'"));
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("access-control-allow-origin"), "", "other origins get no page");
    }
    for path in ["/missing", "/../secret", "/%2e%2e/secret", "/assets/..%2f..%2fsecret", "//secret"]
    {
        let answer = get(addr, path).await;
        assert!((400..500).contains(&answer.status), "{path}: {}", answer.status);
    }
    let health = get(addr, "/healthz").await;
    assert_eq!(
        (health.status, health.json()["nodesHealthy"].as_u64()),
        (503, Some(0)),
        "no full node is connected"
    );
    let metrics = String::from_utf8(get(addr, "/metrics").await.body).unwrap();
    assert!(metrics.contains("tequio_relay_http_requests_total{status=\"200\"}"), "{metrics}");
    assert!(metrics.contains("tequio_relay_peers{transport=\"webrtc\"} 0"), "{metrics}");
    assert!(metrics.ends_with("# EOF\n"));
    in_time(relay.stop()).await;
    assert!(TcpStream::connect(addr).await.is_err(), "stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_sent_compressed_and_revalidated_only_if_they_may_change() {
    let dir = dir();
    let (checkpoint, ..) = checkpoint(dir.path());
    let page = page(dir.path());
    let hashed = "/assets/core-0123456789abcdef.wasm";
    for (name, text) in [("", "plain"), (".br", "in brotli"), (".gz", "in gzip")] {
        std::fs::write(page.join(format!("{}{name}", &hashed[1..])), text).unwrap();
        std::fs::write(page.join(format!("index.html{name}")), text).unwrap();
    }
    let config = Config {
        checkpoint: Some(checkpoint.clone()),
        page: Some(page.clone()),
        ..config(dir.path())
    };
    let relay = Relay::start(config).await.unwrap();
    let addr = relay.http().addr();

    for (accepted, encoding, text) in [
        ("", "", "plain"),
        ("Accept-Encoding: gzip\r\n", "gzip", "in gzip"),
        ("Accept-Encoding: gzip, deflate, br, zstd\r\n", "br", "in brotli"),
        ("Accept-Encoding: br;q=0, gzip\r\n", "gzip", "in gzip"),
    ] {
        for path in ["/", "/index.html", hashed] {
            let answer = get_with(addr, path, accepted).await;
            assert_eq!(
                (answer.status, answer.header("content-encoding")),
                (200, encoding),
                "{path} {accepted}"
            );
            assert_eq!(String::from_utf8(answer.body.clone()).unwrap(), text, "{path} {accepted}");
            assert!(answer.header("vary").contains("accept-encoding"));
            let kind = if path == hashed { "application/wasm" } else { "text/html" };
            assert_eq!(answer.header("content-type"), kind, "{path} {accepted}");
            let kept =
                if path == hashed { "public, max-age=31536000, immutable" } else { "no-cache" };
            assert_eq!(answer.header("cache-control"), kept, "{path} {accepted}");
        }
    }
    assert_eq!(
        get(addr, "/assets/main.js").await.header("cache-control"),
        "no-cache",
        "no hash in its name"
    );
    let missing = get(addr, "/assets/gone-0123456789abcdef.js").await;
    assert_eq!((missing.status, missing.header("cache-control")), (404, "no-cache"), "it may come");

    for (path, change) in [
        ("/", Some(page.join("index.html"))),
        ("/assets/main.js", Some(page.join("assets/main.js"))),
        ("/checkpoint.bin", Some(checkpoint)),
        ("/.well-known/tequio.json", None),
    ] {
        let first = get(addr, path).await;
        let tag = first.header("etag").to_owned();
        assert!(tag.len() > 2, "{path} has no ETag");
        let condition = format!(
            "If-None-Match: \"other\", {tag}\r\nIf-Modified-Since: Thu, 01 Jan 1970 00:00:00 \
             GMT\r\n"
        );
        let again = get_with(addr, path, &condition).await;
        assert_eq!(
            (again.status, again.header("etag"), again.body.len()),
            (304, &*tag, 0),
            "{path}"
        );
        assert_eq!(again.header("cache-control"), "no-cache", "{path}");
        let Some(file) = change else { continue };
        std::fs::write(file, "changed").unwrap();
        let changed = get_with(addr, path, &condition).await;
        assert_eq!((changed.status, &*changed.body), (200, &b"changed"[..]), "{path}");
        assert_ne!(changed.header("etag"), tag);
    }
    in_time(relay.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_and_scrapers_need_no_particular_host() {
    let dir = dir();
    let relay = Relay::start(config(dir.path())).await.unwrap();
    let addr = relay.http().addr();
    for (path, status) in [("/healthz", 503), ("/metrics", 200)] {
        for head in ["HTTP/1.0\r\n", "HTTP/1.1\r\nHost: tequio-relay:4822\r\nConnection: close\r\n"]
        {
            let answer =
                send(TcpStream::connect(addr).await.unwrap(), &format!("GET {path} {head}\r\n"))
                    .await;
            assert_eq!(answer.status, status, "{path} {head}");
        }
    }
    in_time(relay.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connected_browsers_are_counted() {
    let dir = dir();
    let relay = Relay::start(config(dir.path())).await.unwrap();
    let mut browsers = relay.browsers();
    let counted = async |browsers: &mut tokio::sync::watch::Receiver<usize>, count| {
        in_time(browsers.wait_for(|now| *now == count)).await.unwrap();
    };
    let full_node = node(51);
    in_time(full_node.network.dial(address_of(&relay, TransportKind::Tcp))).await.unwrap();
    let tabs = [(52, TransportKind::WebRtc), (53, TransportKind::WebSocket)]
        .map(|(seed, kind)| (node(seed), kind));
    for (tab, kind) in &tabs {
        in_time(tab.network.dial(address_of(&relay, *kind))).await.unwrap();
    }
    counted(&mut browsers, 2).await;
    for ((tab, _), left) in tabs.into_iter().zip([1, 0]) {
        in_time(tab.network.close()).await;
        counted(&mut browsers, left).await;
    }
    in_time(relay.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_above_its_rate_gets_429_with_retry_after() {
    let dir = dir();
    let relay =
        Relay::start(Config { http_requests_per_s: 1, ..config(dir.path()) }).await.unwrap();
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
async fn a_renewed_certificate_is_used_by_web_and_websocket_from_the_next_connection_on() {
    let dir = dir();
    let files = TlsFiles { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
    let first = issue(&files);
    let mut config = config(dir.path());
    config.tls = Some(files.clone());
    config.listen = vec!["/ip4/127.0.0.1/tcp/0/tls/ws".parse().unwrap()];
    let relay = Relay::start(config).await.unwrap();
    let websocket = relay.addresses().listening()[0].to_string();
    let port = websocket.split('/').nth(4).unwrap().parse().unwrap();
    let websocket = SocketAddr::from(([127, 0, 0, 1], port));
    let shown = async || {
        let web = certificate_of(relay.http().addr()).await;
        assert_eq!(certificate_of(websocket).await, web, "both show the same");
        web
    };
    assert_eq!(shown().await, first);

    relay.reload_certificate().await;
    assert_eq!(shown().await, first, "nothing has changed");
    let whole = std::fs::read(&files.cert).unwrap();
    std::fs::write(&files.cert, "half of a certif").unwrap();
    relay.reload_certificate().await;
    assert_eq!(shown().await, first, "what cannot be used is not taken over");
    std::fs::write(&files.cert, whole).unwrap();
    let second = issue(&files);
    relay.reload_certificate().await;
    assert_eq!(shown().await, second);
    assert_ne!(first, second);
    in_time(relay.stop()).await;
}

/// Writes a new self-signed certificate and its key. Returns the certificate in DER.
fn issue(files: &TlsFiles) -> Vec<u8> {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pem = |tag: &str, der: &[u8]| pem::encode(&pem::Pem::new(tag, der));
    std::fs::write(&files.cert, pem("CERTIFICATE", certified.cert.der())).unwrap();
    std::fs::write(&files.key, pem("PRIVATE KEY", &certified.signing_key.serialize_der())).unwrap();
    certified.cert.der().to_vec()
}

/// The certificate that a server presents, from any issuer. The handshake may end there.
async fn certificate_of(addr: SocketAddr) -> Vec<u8> {
    let seen = Arc::new(Seen::default());
    let client =
        rustls::ClientConfig::builder().dangerous().with_custom_certificate_verifier(seen.clone());
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client.with_no_client_auth()));
    let tcp = TcpStream::connect(addr).await.unwrap();
    let _ = in_time(connector.connect(ServerName::try_from("localhost").unwrap(), tcp)).await;
    seen.0.lock().unwrap().clone()
}

/// A verifier that stores the certificate and rejects it.
#[derive(Debug, Default)]
struct Seen(std::sync::Mutex<Vec<u8>>);

impl rustls::client::danger::ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        *self.0.lock().unwrap() = end_entity.to_vec();
        Err(rustls::Error::General("seen".into()))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("seen".into()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("seen".into()))
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_certificate_both_web_and_websocket_are_secure() {
    let dir = dir();
    let tls = TlsFiles { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
    let certificate = issue(&tls);
    let mut config = config(dir.path());
    config.tls = Some(tls);
    config.listen = vec!["/ip4/127.0.0.1/tcp/0/tls/ws".parse().unwrap()];
    let relay = Relay::start(config).await.unwrap();
    assert!(relay.http().url().starts_with("https://"));
    let listening = relay.addresses().for_browsers();
    assert!(
        listening.iter().any(|a| TransportKind::of(a) == Some(TransportKind::WebSocket)),
        "{listening:?}"
    );

    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.into()).unwrap();
    let client =
        rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let tcp = TcpStream::connect(relay.http().addr()).await.unwrap();
    let tls = connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap();
    assert_eq!(get_over(tls, "/.well-known/tequio.json").await.status, 200);
    // A node does not trust the self-signed certificate, so it must not connect by WebSocket
    // either.
    let other_node = node(41);
    assert!(in_time(other_node.network.dial(listening[0].clone())).await.is_err());
    in_time(relay.stop()).await;
}
