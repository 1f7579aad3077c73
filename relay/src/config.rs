//! What an operator decides. The command line ([`crate::cli`]) makes it; tests make it directly.

use crate::TurnConfig;
use std::{net::SocketAddr, path::PathBuf};
use tequio_host::Passphrase;
use tequio_p2p::{Limits, Multiaddr, RelayLimits};

/// Everything a relay needs to start.
#[derive(Clone)]
pub struct Config {
    /// Where identity and certificate rest; made if missing.
    pub data: PathBuf,
    /// Opens the keystore in there.
    pub passphrase: Passphrase,
    /// Addresses to listen on; see [`Config::default_listen`].
    pub listen: Vec<Multiaddr>,
    /// Addresses to announce instead of those listened on.
    pub external: Vec<Multiaddr>,
    /// Full nodes to pass requests to: an address with `/p2p/…` is dialled and kept, a bare
    /// `/p2p/…` is used whenever that node connects by itself.
    pub nodes: Vec<Multiaddr>,
    /// Where the web server listens. Port 0 lets the system choose.
    pub http: SocketAddr,
    /// Directory of the page's files.
    pub page: Option<PathBuf>,
    /// The checkpoint that browsers start from.
    pub checkpoint: Option<PathBuf>,
    /// The operator, for the page.
    pub operator: Option<Operator>,
    /// Certificate for the web server and for secure WebSocket.
    pub tls: Option<TlsFiles>,
    /// STUN and TURN for browsers.
    pub turn: Option<TurnConfig>,
    /// What circuits may use.
    pub circuits: RelayLimits,
    /// Connections and memory.
    pub limits: Limits,
    /// HTTP requests per second that one client (an IPv4 address or an IPv6 /64) may make in the
    /// long run; five times as many at once.
    pub http_requests_per_s: u32,
}

/// The person or organisation that runs the relay, as its page shows them. Nothing proves either.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Operator {
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The address of a web page about the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain, the end entity's first.
    pub cert: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

impl Config {
    /// A relay on the standard ports, without page, nodes and checkpoint.
    pub fn new(data: PathBuf, passphrase: Passphrase) -> Self {
        Self {
            data,
            passphrase,
            listen: Vec::new(),
            external: Vec::new(),
            nodes: Vec::new(),
            http: SocketAddr::from(([127, 0, 0, 1], 4822)),
            page: None,
            checkpoint: None,
            operator: None,
            tls: None,
            turn: None,
            circuits: RelayLimits::default(),
            limits: Limits::default(),
            http_requests_per_s: 20,
        }
    }

    /// Browsers on port 4820 (UDP: WebRTC-direct, TCP: WebSocket), full nodes on 4821.
    pub fn default_listen(tls: bool) -> [&'static str; 4] {
        [
            "/ip4/0.0.0.0/udp/4820/webrtc-direct",
            if tls { "/ip4/0.0.0.0/tcp/4820/tls/ws" } else { "/ip4/0.0.0.0/tcp/4820/ws" },
            "/ip4/0.0.0.0/tcp/4821",
            "/ip4/0.0.0.0/udp/4821/quic-v1",
        ]
    }
}
