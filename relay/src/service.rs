//! A running relay: starts the parts in order, handles the network's events, and stops the parts.

use crate::{
    Addresses, Config, StartError, checkpoint_age,
    forward::Forwarder,
    http::{self, CheckpointFile, Server, Site},
    keys::Keys,
    metrics::Metrics,
    tls::Certificate,
    turn::{Issuer, TargetPolicy, TurnConfig, TurnServer},
};
use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};
use tequio_core::types::NodeId;
use tequio_host::DirectoryLock;
use tequio_p2p::{
    Event, Events, Multiaddr, Network, Path as PeerPath, Protocol, TransportKind, identity,
};
use tokio::{sync::watch, task::JoinHandle};

/// Delay after the start of listening, because a wildcard address stands for several addresses that
/// are reported one by one.
const INTERFACES_DELAY: Duration = Duration::from_millis(100);
/// How often the TLS files are checked.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(60);
/// How long the network may take to close its connections.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A running relay. Dropping it ends it abruptly; [`Relay::stop`] closes the connections first.
#[derive(Debug)]
pub struct Relay {
    network: Network,
    addresses: Arc<Addresses>,
    forwarder: Arc<Forwarder>,
    server: Server,
    turn: Option<Arc<TurnServer>>,
    browsers: watch::Receiver<usize>,
    certificate: Option<Arc<Certificate>>,
    page_link: Option<String>,
    _renewal: Option<AbortOnDrop>,
    _events: AbortOnDrop,
    _checkpoint_watch: Option<AbortOnDrop>,
    _lock: DirectoryLock,
}

impl Relay {
    /// Starts all parts; returns once the relay listens on every address.
    ///
    /// # Errors
    /// The first failure. Parts that have started are stopped.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let upstreams = config.nodes.iter().map(node_of).collect::<Result<Vec<_>, _>>()?;
        let page = config.page.clone();
        if let Some(dir) = page.as_ref().filter(|dir| !dir.join("index.html").is_file()) {
            return Err(StartError::Page(dir.clone()));
        }
        let checkpoint = config.checkpoint.clone().map(CheckpointFile::open).transpose()?;
        let certificate = config.tls.clone().map(Certificate::open).transpose()?.map(Arc::new);

        let turn =
            config.turn.clone().map(|turn| announced_ip(&turn).map(|ip| (turn, ip))).transpose()?;

        std::fs::create_dir_all(&config.data)
            .map_err(StartError::file("make directory", &config.data))?;
        let lock = DirectoryLock::take(&config.data)?;
        // Argon2 is slow on purpose.
        let (data, passphrase) = (config.data.clone(), config.passphrase.clone());
        let keys =
            tokio::task::spawn_blocking(move || Keys::load_or_create(&data, &passphrase)).await;
        let keys = keys.map_err(|e| StartError::Generate(e.to_string())).flatten()?;

        let turn =
            turn.map(|(turn, ip)| (Issuer::new(&keys.secret, turn.credential_lifetime), turn, ip));
        let mut network_config = tequio_p2p::Config::new(*keys.secret);
        network_config.agent = concat!("tequio-relay/", env!("CARGO_PKG_VERSION")).into();
        network_config.serve = vec![Protocol::Light];
        network_config.persistent_peers =
            config.nodes.iter().filter(|a| a.iter().count() > 1).cloned().collect();
        network_config.external_addrs = config.external.clone();
        network_config.limits = config.limits.clone();
        network_config.relay = Some(config.circuits.clone());
        network_config.webrtc = Some(keys.certificate);
        network_config.tls = certificate.as_ref().map(|certificate| certificate.websocket());
        let (network, events) = tequio_p2p::spawn(network_config)?;

        let addresses = Arc::new(Addresses::new(network.local_id(), config.external));
        let metrics = Arc::new(Metrics::new());
        let forwarder = Forwarder::new(network.clone(), upstreams, metrics.clone());
        let (browsers_changed, browsers) = watch::channel(0);
        let browsers_changed = Browsers::new(browsers_changed);
        let events =
            run(events, addresses.clone(), forwarder.clone(), metrics.clone(), browsers_changed);
        let events = AbortOnDrop(tokio::spawn(events));

        let mut wildcard = false;
        for addr in config.listen {
            wildcard |= is_wildcard(&addr);
            let listening = network.listen(addr.clone()).await;
            addresses.add(listening.map_err(|error| StartError::Listen { addr, error })?);
        }
        if wildcard {
            tokio::time::sleep(INTERFACES_DELAY).await;
        }
        let turn = match turn {
            Some((issuer, turn, ip)) => {
                let started = TurnServer::start(&turn, ip, issuer, own_targets(&addresses));
                Some(Arc::new(
                    started.map_err(|source| StartError::Turn { addr: turn.listen, source })?,
                ))
            }
            None => None,
        };
        let checkpoint_hash = checkpoint.as_ref().map(|file| file.hash);
        let _checkpoint_watch =
            checkpoint.clone().map(|file| AbortOnDrop(tokio::spawn(checkpoint_age::watch(file))));
        let site = Site {
            addresses: addresses.clone(),
            turn: turn.clone(),
            checkpoint,
            operator: config.operator.clone(),
            forwarder: forwarder.clone(),
            network: network.clone(),
            metrics,
        };
        let router = http::router(Arc::new(site), page.as_deref(), config.http_requests_per_s);
        let server = Server::start(config.http, certificate.clone(), router).await;
        let server = server.map_err(|source| StartError::Http { addr: config.http, source })?;
        let page_link =
            page.and(checkpoint_hash).map(|hash| format!("{}/#checkpoint={hash}", server.url()));
        let renewal =
            certificate.clone().map(|certificate| AbortOnDrop(tokio::spawn(renew(certificate))));
        Ok(Self {
            network,
            addresses,
            forwarder,
            server,
            turn,
            browsers,
            certificate,
            page_link,
            _renewal: renewal,
            _events: events,
            _checkpoint_watch,
            _lock: lock,
        })
    }

    /// The relay's node id.
    pub fn id(&self) -> NodeId {
        self.network.local_id()
    }

    /// The relay's addresses.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The number of full nodes that are connected and not in backoff.
    pub fn healthy_nodes(&self) -> usize {
        self.forwarder.upstreams().count(Instant::now()).1
    }

    /// Loads a renewed TLS certificate, if there is one. The relay also checks once a minute.
    pub async fn reload_certificate(&self) {
        if let Some(certificate) = &self.certificate {
            reload(certificate.clone()).await;
        }
    }

    /// The number of connected browsers: peers connected by WebRTC or WebSocket.
    pub fn browsers(&self) -> watch::Receiver<usize> {
        self.browsers.clone()
    }

    /// The web server.
    pub fn http(&self) -> &Server {
        &self.server
    }

    /// The address of the page with the checkpoint's hash, if this relay serves both. A user who
    /// opens the link trusts its source.
    pub fn page_link(&self) -> Option<&str> {
        self.page_link.as_deref()
    }

    /// The address of the STUN and TURN server, if there is one.
    pub fn turn(&self) -> Option<SocketAddr> {
        self.turn.as_ref().map(|turn| turn.addr())
    }

    /// Stops the relay in order: it refuses new requests, running ones get some seconds, and
    /// connections are closed.
    pub async fn stop(self) {
        self.server.stop().await;
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.network.close()).await;
    }
}

/// Checks for a renewed certificate as long as the relay runs.
async fn renew(certificate: Arc<Certificate>) {
    loop {
        tokio::time::sleep(RENEWAL_INTERVAL).await;
        reload(certificate.clone()).await;
    }
}

async fn reload(certificate: Arc<Certificate>) {
    match tokio::task::spawn_blocking(move || certificate.reload()).await {
        Ok(Ok(true)) => tracing::info!("the renewed TLS certificate is in use"),
        Ok(Ok(false)) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "the renewed TLS certificate cannot be used; the previous one \
                                    stays in use")
        }
        Err(error) => tracing::error!(%error, "the TLS certificate cannot be read"),
    }
}

/// Aborts a task that would otherwise keep the network alive.
#[derive(Debug)]
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The node id at the end of an address.
fn node_of(addr: &Multiaddr) -> Result<NodeId, StartError> {
    let last = addr.iter().last().map(|p| p.to_string()).unwrap_or_default();
    let peer = last.strip_prefix("/p2p/").and_then(|id| id.parse().ok());
    peer.as_ref().and_then(identity::node_id).ok_or_else(|| StartError::Node(addr.clone()))
}

/// The announced IP address of the TURN server.
fn announced_ip(turn: &TurnConfig) -> Result<IpAddr, StartError> {
    turn.announced().ok_or(StartError::TurnExternal(turn.listen))
}

/// The targets that TURN clients must not reach: this relay itself.
fn own_targets(addresses: &Addresses) -> TargetPolicy {
    let mut targets = TargetPolicy::default();
    for addr in addresses.listening().into_iter().chain(addresses.all()) {
        for part in addr.iter().map(|part| part.to_string()) {
            let text = |name: &str| part.strip_prefix(name).map(str::to_owned);
            targets
                .own
                .extend(text("/ip4/").or(text("/ip6/")).and_then(|ip| ip.parse::<IpAddr>().ok()));
            targets.own_ports.extend(text("/udp/").and_then(|port| port.parse::<u16>().ok()));
        }
    }
    targets
}

fn is_wildcard(addr: &Multiaddr) -> bool {
    addr.iter()
        .next()
        .is_some_and(|ip| matches!(ip.to_string().as_str(), "/ip4/0.0.0.0" | "/ip6/::"))
}

/// Counts the peers that are connected by a browser transport.
struct Browsers {
    connected: BTreeSet<NodeId>,
    count: watch::Sender<usize>,
}

impl Browsers {
    fn new(count: watch::Sender<usize>) -> Self {
        Self { connected: BTreeSet::new(), count }
    }

    fn on_connected(&mut self, peer: NodeId, path: PeerPath) {
        if matches!(path, PeerPath::Direct(TransportKind::WebRtc | TransportKind::WebSocket)) {
            self.connected.insert(peer);
            self.notify();
        }
    }

    fn on_disconnected(&mut self, peer: &NodeId) {
        self.connected.remove(peer);
        self.notify();
    }

    fn notify(&self) {
        let count = self.connected.len();
        self.count.send_if_modified(|sent| std::mem::replace(sent, count) != count);
    }
}

async fn run(
    mut events: Events,
    addresses: Arc<Addresses>,
    forwarder: Arc<Forwarder>,
    metrics: Arc<Metrics>,
    mut browsers: Browsers,
) {
    while let Some(event) = events.next().await {
        match event {
            Event::Listening { addr } => {
                tracing::info!(%addr, "listening");
                addresses.add(addr);
            }
            Event::ListenEnded { addr, cause } => {
                tracing::warn!(%addr, cause, "no longer listening");
                addresses.remove(&addr);
            }
            Event::Connected { peer, path, .. } => {
                tracing::debug!(%peer, ?path, "connected");
                forwarder.upstreams().set_connected(peer, true);
                browsers.on_connected(peer, path);
            }
            Event::Unreachable { peer, error } => {
                let peer = peer.map(|peer| peer.to_string());
                tracing::info!(peer, %error, "cannot connect to a node; the relay tries again");
            }
            Event::Disconnected { peer, reason } => {
                tracing::debug!(%peer, ?reason, "disconnected");
                forwarder.upstreams().set_connected(peer, false);
                browsers.on_disconnected(&peer);
            }
            // The network queues a bounded number of requests, so the number of tasks is bounded
            // too.
            Event::InboundRequest { protocol: Protocol::Light, body, reply, .. } => {
                let forwarder = forwarder.clone();
                tokio::spawn(async move { forwarder.serve(body, reply).await });
            }
            Event::RateLimited { peer, protocol } => {
                tracing::info!(
                    %peer, ?protocol,
                    "peer disconnected: it exceeded its rate limit by far"
                );
                metrics.count_rate_limited();
            }
            _ => {}
        }
    }
}
