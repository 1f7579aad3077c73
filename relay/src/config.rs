//! The operator's configuration. The command line ([`crate::cli`]) creates it; tests create it
//! directly.

use crate::TurnConfig;
use std::{net::SocketAddr, path::PathBuf};
use tequio_host::Passphrase;
use tequio_p2p::{Limits, Multiaddr, RelayLimits};

/// Configuration of a relay.
#[derive(Clone)]
pub struct Config {
    /// Directory of identity and certificate; created if missing.
    pub data: PathBuf,
    /// Passphrase of the keystore in `data`.
    pub passphrase: Passphrase,
    /// Addresses to listen on; see [`Config::default_listen`].
    pub listen: Vec<Multiaddr>,
    /// Addresses to announce instead of those listened on.
    pub external: Vec<Multiaddr>,
    /// Full nodes to forward requests to. The relay dials an address with `/p2p/…` and stays
    /// connected; it uses a bare `/p2p/…` whenever that node connects by itself.
    pub nodes: Vec<Multiaddr>,
    /// Address of the web server. Port 0 lets the system choose.
    pub http: SocketAddr,
    /// Directory of the page's files.
    pub page: Option<PathBuf>,
    /// The checkpoint at which browsers start.
    pub checkpoint: Option<PathBuf>,
    /// The operator, shown on the page.
    pub operator: Option<Operator>,
    /// Certificate for the web server and for secure WebSocket.
    pub tls: Option<TlsFiles>,
    /// STUN and TURN server for browsers.
    pub turn: Option<TurnConfig>,
    /// Limits of circuits.
    pub circuits: RelayLimits,
    /// Limits of connections and memory.
    pub limits: Limits,
    /// HTTP requests per second that one client (an IPv4 address or an IPv6 /64) may make on
    /// average. The burst is five times as many.
    pub http_requests_per_s: u32,
}

/// The person or organisation that runs the relay, as shown on the page. Neither field is verified.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Operator {
    /// The operator's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The address of a web page about the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// The operator's certificate, in PEM files.
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

    /// The default addresses: browsers on port 4820 (UDP: WebRTC-direct, TCP: WebSocket), full
    /// nodes on 4821.
    pub fn default_listen(tls: bool) -> [&'static str; 4] {
        [
            "/ip4/0.0.0.0/udp/4820/webrtc-direct",
            if tls { "/ip4/0.0.0.0/tcp/4820/tls/ws" } else { "/ip4/0.0.0.0/tcp/4820/ws" },
            "/ip4/0.0.0.0/tcp/4821",
            "/ip4/0.0.0.0/udp/4821/quic-v1",
        ]
    }
}
