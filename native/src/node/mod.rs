//! A running full node: the machines of core, each with its driver, around one [`NodeContext`].
//!
//! Start order: lock, keys, store, network, consensus, then everything that follows the head. A
//! crash at any point loses no promise that the node has made. An orderly stop only closes
//! connections cleanly.

pub mod audit;
mod blocking;
pub mod consensus;
pub mod context;
pub mod coordinator;
mod coordinator_discovery;
mod cpu_pressure;
pub mod devnet_peers;
mod error_hints;
pub mod events;
#[cfg(test)]
mod fixture;
pub mod handovers;
pub mod jobs;
pub mod light;
pub mod machine;
pub mod mempool;
pub mod metrics;
pub mod objects;
pub mod prune;
mod relay_reservations;
mod router;
pub mod signature_batcher;
pub mod snapshot_cache;
pub mod state_sync;
pub mod sync;
pub mod transaction_submitter;
pub mod worker;
pub mod write_outbox;

use crate::{
    config::Config,
    keys::{self, Keys},
    store::{self, Store, WriteFailure},
};
use anyhow::Context as _;
use context::{ContextParts, NodeContext, Tip};
use devnet_peers::ConfiguredPeer;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
};
use tequio_core::ledger::genesis::{Checkpoint, FILE_LEN_MAX, GenesisFile};
use tequio_host::{DirectoryLock, files};
use tequio_p2p::{Multiaddr, NotificationProtocol, WebRtcCertificate, identity};
use tokio::{sync::oneshot, task::JoinSet};

/// Name of the genesis file in a node's directory, or in the directory above it.
pub const GENESIS_FILE: &str = "genesis.bin";
/// Name of the checkpoint file in a node's directory, or in the directory above it.
pub const CHECKPOINT_FILE: &str = "checkpoint.bin";
const WEBRTC_FILE: &str = "webrtc.pem";

/// A running node.
#[derive(Debug)]
pub struct Node {
    /// State shared by the node's parts.
    pub context: Arc<NodeContext>,
    /// Listening addresses, with the node's peer id.
    pub listen: Vec<Multiaddr>,
    replica: machine::Inbox<tequio_core::consensus::Input>,
    worker: machine::Inbox<tequio_core::scheduler::worker::Input>,
    replica_thread: JoinHandle<()>,
    failed: oneshot::Receiver<anyhow::Result<()>>,
    tasks: JoinSet<()>,
    _lock: DirectoryLock,
}

/// Agent string of this program.
pub fn agent() -> String {
    format!("{}{}", context::AGENT_PREFIX, env!("CARGO_PKG_VERSION"))
}

impl Node {
    /// Starts the node of a directory.
    pub async fn start(dir: &Path, config: &Config, keys: Keys) -> anyhow::Result<Self> {
        let lock = DirectoryLock::take(dir)?;
        let genesis = read_public(dir, GENESIS_FILE)?;
        let start = GenesisFile::decode(&genesis).and_then(|g| g.build_state());
        let start = start.with_context(|| {
            format!(
                "{} is damaged, or not a genesis; copy it again from another node",
                public(dir, GENESIS_FILE).display()
            )
        })?;
        let checkpoint = read_public(dir, CHECKPOINT_FILE)?;
        if let Err(error) = Checkpoint::open(&checkpoint, None, machine::now_ms()) {
            // The store has the head of the chain; only a node that was offline for long needs the
            // file.
            tracing::warn!(%error, "{CHECKPOINT_FILE}; once the node is at the head, `tequio checkpoint export` makes a newer one");
        }
        let path = dir.join(store::FILE_NAME);
        let store = Store::open(&path, &start.chain).map_err(|error| error.with_path(&path))?;
        let head = store.load_head(&start).map_err(|error| error.with_path(&path))?;
        let peers = config
            .peers
            .iter()
            .map(|peer| ConfiguredPeer::parse(dir, peer))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let (network, mut events) = tequio_p2p::spawn(network_config(dir, config, &peers, &keys)?)?;
        let tip = Tip::new(head.header, head.state);
        let params = start.params;
        let (snapshot_when_behind, keystore) =
            (config.snapshot_when_behind, dir.join(keys::FILE_NAME));
        let (replica, replica_receiver) = machine::inbox();
        let parts = ContextParts {
            keys,
            params,
            checkpoint,
            store,
            network,
            tip,
            snapshot_when_behind,
            keystore,
            replica: replica.clone(),
        };
        let context = Arc::new(NodeContext::new(parts));

        let (worker, worker_receiver) = machine::inbox();
        let (fail, failed) = oneshot::channel();
        let ended = move |result| drop(fail.send(result));
        let replica_thread = consensus::start(&context, config, &replica, replica_receiver, ended)?;
        worker::start(
            &context,
            &worker,
            worker_receiver,
            config.workers.try_into().unwrap_or(u8::MAX),
        )?;

        let mut tasks = JoinSet::new();
        for peer in peers {
            if let ConfiguredPeer::Directory(peer) = peer {
                tasks.spawn(devnet_peers::stay_connected(context.network.clone(), peer));
            }
        }
        if let Some(notifications) = events.take_notifications(NotificationProtocol::Consensus) {
            tasks.spawn(consensus::listen(context.clone(), replica.clone(), notifications));
        }
        if let Some(notifications) = events.take_notifications(NotificationProtocol::Mempool) {
            tasks.spawn(mempool::listen(context.clone(), notifications));
        }
        tasks.spawn(router::run(context.clone(), events));
        tasks.spawn(relay_reservations::run(context.clone(), relays(&config.relays)?));
        tasks.spawn(coordinator_discovery::run(context.clone()));
        tasks.spawn(mempool::disseminate(context.clone()));
        tasks.spawn(objects::replicate(context.clone()));
        tasks.spawn(jobs::poll_coordinators(context.clone()));
        tasks.spawn(coordinator::run(context.clone()));
        tasks.spawn(audit::run(context.clone()));
        tasks.spawn(write_outbox::run(context.clone()));
        tasks.spawn(prune::run(context.clone(), config.keep_blocks));
        tasks.spawn(sync::follow(context.clone(), replica.clone()));
        tasks.spawn(handovers::backfill(context.clone()));
        let listen = listen(&context, config).await?;
        Ok(Self { context, listen, replica, worker, replica_thread, failed, tasks, _lock: lock })
    }

    /// Returns when the node cannot go on. A failed write is reported as the cause of all errors
    /// that follow from it.
    pub async fn failed(&mut self) -> anyhow::Error {
        let mut failures = self.context.store.failures();
        let ended = tokio::select! {
            biased;
            Ok(failure) = failures.wait_for(Option::is_some) => return cause(&failure),
            ended = &mut self.failed => ended,
        };
        match ended {
            _ if failures.borrow().is_some() => cause(&failures.borrow()),
            Ok(Err(error)) => error,
            Ok(Ok(())) | Err(_) => {
                anyhow::anyhow!(
                    "consensus has stopped; the log says why, and a new start resumes it"
                )
            }
        }
    }

    /// Stops in order: no new work, completion of the last write, then the network.
    pub async fn stop(mut self) {
        self.worker.stop();
        for job in self.context.coordinators.jobs() {
            self.context.coordinators.stop(&job);
        }
        self.replica.stop();
        self.tasks.abort_all();
        let thread = self.replica_thread;
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        self.context.network.clone().close().await;
    }
}

fn cause(failure: &Option<WriteFailure>) -> anyhow::Error {
    failure.clone().map_or_else(|| anyhow::anyhow!("the store fails"), anyhow::Error::new)
}

/// Reads a file of the directory, or of the directory above it, where `tequio init --devnet` puts
/// it.
pub(crate) fn read_public(dir: &Path, name: &str) -> anyhow::Result<Vec<u8>> {
    let path = public(dir, name);
    files::read_capped(&path, FILE_LEN_MAX).with_context(|| {
        format!(
            "cannot read {}: copy {name} from another node of the network, or from where `tequio init` has put it",
            path.display()
        )
    })
}

/// The path of such a file.
fn public(dir: &Path, name: &str) -> PathBuf {
    let own = dir.join(name);
    let shared = dir.join("..").join(name);
    if !own.exists() && shared.exists() { shared } else { own }
}

fn network_config(
    dir: &Path,
    config: &Config,
    peers: &[ConfiguredPeer],
    keys: &Keys,
) -> anyhow::Result<tequio_p2p::Config> {
    let mut network = tequio_p2p::Config::new(*keys.node.to_bytes());
    network.agent = agent();
    network.persistent_peers = relays(&config.relays)?;
    network.persistent_peers.extend(peers.iter().filter_map(|peer| match peer {
        ConfiguredPeer::Address(addr) => Some(addr.clone()),
        ConfiguredPeer::Directory(_) => None,
    }));
    network.external_addrs = addresses(&config.external)?;
    network.relay = relay_reservations::relay_limits(config.circuits);
    if config.listen.iter().any(|a| a.contains("webrtc-direct")) {
        network.webrtc = Some(webrtc_certificate(&dir.join(WEBRTC_FILE))?);
    }
    Ok(network)
}

fn addresses<'a>(texts: impl IntoIterator<Item = &'a String>) -> anyhow::Result<Vec<Multiaddr>> {
    texts
        .into_iter()
        .map(|a| {
            a.parse().with_context(|| {
                format!("{a:?} is not a multiaddress, such as /ip4/0.0.0.0/tcp/4810")
            })
        })
        .collect()
}

/// Parses the configured relays. Each address must name its relay, because a circuit is bound to
/// it.
fn relays(texts: &[String]) -> anyhow::Result<Vec<Multiaddr>> {
    let relays = addresses(texts)?;
    match relays.iter().find(|relay| identity::node_of(relay).is_none()) {
        None => Ok(relays),
        Some(relay) => anyhow::bail!(
            "the relay {relay} lacks its identity: the address must end in /p2p/<peer id>"
        ),
    }
}

/// Loads or creates the certificate. It is stored because its hash is part of the node's address.
fn webrtc_certificate(path: &Path) -> anyhow::Result<WebRtcCertificate> {
    const LEN_MAX: usize = 64 * 1024;
    if path.exists() {
        let place = || {
            format!(
                "cannot use the WebRTC certificate {}: restore it, or remove it and the node makes another, which gives \
                 its WebRTC address another hash",
                path.display()
            )
        };
        let bytes = files::read_capped(path, LEN_MAX).with_context(place)?;
        return WebRtcCertificate::from_bytes(&bytes).with_context(place);
    }
    let certificate = WebRtcCertificate::generate()?;
    files::write_atomic(path, &certificate.to_bytes(), files::PRIVATE)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(certificate)
}

/// Opens the listening sockets.
async fn listen(context: &Arc<NodeContext>, config: &Config) -> anyhow::Result<Vec<Multiaddr>> {
    let mut listening = Vec::new();
    for addr in addresses(&config.listen)? {
        let actual = context.network.listen(addr.clone()).await.with_context(|| {
            format!(
                "cannot listen on {addr}: see that no other program has the port and that this machine has the address, \
                 or choose another with --listen or `listen` in config.toml. The node's directory is unharmed"
            )
        })?;
        listening.push(identity::with_peer(actual, context.id));
    }
    Ok(listening)
}
