//! `tequio run`: a node until it is told to stop.

use super::{Dir, Json, PassphraseFile, say};
use crate::{
    api,
    config::{Config, Pipelining, Votes},
    files,
    keys::{self, Keys, PassphraseSource},
    node::{Node, neighbours::RUN_FILE, prune::KEEP_BLOCKS_MIN},
};
use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};
use tokio::signal::unix::{SignalKind, signal};

/// Run a node
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tequio run --dir net/node1
  tequio run --dir node --listen /ip4/0.0.0.0/tcp/4810 --workers 4 --http 127.0.0.1:4811

The log goes to standard error; RUST_LOG chooses what is in it (info, or for example tequio=debug).")]
pub struct Run {
    #[command(flatten)]
    dir: Dir,
    /// Address to listen on; may be repeated
    #[arg(long, env = "TEQUIO_LISTEN", value_name = "MULTIADDR", value_delimiter = ',')]
    listen: Vec<String>,
    /// Address announced to others, where it differs; may be repeated
    #[arg(long, env = "TEQUIO_EXTERNAL", value_name = "MULTIADDR", value_delimiter = ',')]
    external: Vec<String>,
    /// Node to stay connected with, or the directory of one on this machine; may be repeated
    #[arg(long = "peer", env = "TEQUIO_PEERS", value_name = "MULTIADDR|DIR", value_delimiter = ',')]
    peers: Vec<String>,
    /// Relay to be reachable through; may be repeated
    #[arg(long = "relay", env = "TEQUIO_RELAYS", value_name = "MULTIADDR", value_delimiter = ',')]
    relays: Vec<String>,
    /// Circuits between other peers that this node carries at once, so that workers reach coordinators; 0 for none
    #[arg(long, env = "TEQUIO_CIRCUITS", value_name = "N")]
    circuits: Option<usize>,
    /// Where the HTTP API listens; port 0 lets the system choose
    #[arg(long, env = "TEQUIO_HTTP", value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Threads that compute for jobs
    #[arg(long, env = "TEQUIO_WORKERS", value_name = "N")]
    workers: Option<usize>,
    /// Where this node's votes go while it has a seat
    #[arg(long, env = "TEQUIO_VOTES_TO", value_name = "WHOM")]
    votes_to: Option<Votes>,
    /// Whether this node opens the next height while one is being decided; with on it does not rest where processors are contended either
    #[arg(long, env = "TEQUIO_PIPELINE", value_name = "WHEN")]
    pipeline: Option<Pipelining>,
    /// Newest blocks to keep, at least 256; older ones go, but for their headers. 0 keeps all
    #[arg(long, env = "TEQUIO_KEEP_BLOCKS", value_name = "N")]
    keep_blocks: Option<u64>,
    /// Fetch a whole state when more than N blocks are missing, instead of each of them
    #[arg(long, env = "TEQUIO_SNAPSHOT_WHEN_BEHIND", value_name = "N")]
    snapshot_when_behind: Option<u64>,
    #[command(flatten)]
    passphrase: PassphraseFile,
    #[command(flatten)]
    json: Json,
}

impl Run {
    /// Runs until a signal or a failure of our own.
    pub fn execute(self) -> anyhow::Result<()> {
        let dir = self.dir.dir.as_path();
        let config = self.config(dir)?;
        let keys = open_keys(dir, config.passphrase_file.as_deref())?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let ended = runtime.block_on(serve(dir, &config, keys, self.json));
        // Lanes under way are worth nothing now.
        runtime.shutdown_background();
        ended
    }

    fn config(&self, dir: &Path) -> anyhow::Result<Config> {
        let mut config = Config::load(dir)?;
        let replace = |option: &mut Vec<String>, flag: &[String]| {
            if !flag.is_empty() {
                *option = flag.to_vec();
            }
        };
        replace(&mut config.listen, &self.listen);
        replace(&mut config.external, &self.external);
        replace(&mut config.peers, &self.peers);
        replace(&mut config.relays, &self.relays);
        config.circuits = self.circuits.unwrap_or(config.circuits);
        config.http = self.http.unwrap_or(config.http);
        config.workers = self.workers.unwrap_or(config.workers);
        config.votes_to = self.votes_to.unwrap_or(config.votes_to);
        config.pipeline = self.pipeline.unwrap_or(config.pipeline);
        config.keep_blocks = self.keep_blocks.unwrap_or(config.keep_blocks);
        config.snapshot_when_behind = self.snapshot_when_behind.unwrap_or(config.snapshot_when_behind);
        anyhow::ensure!(
            config.keep_blocks == 0 || config.keep_blocks >= KEEP_BLOCKS_MIN,
            "keep-blocks is {}, but must be 0 for all or at least {KEEP_BLOCKS_MIN}",
            config.keep_blocks
        );
        if let Some(file) = &self.passphrase.passphrase_file {
            config.passphrase_file = Some(std::path::absolute(file)?);
        }
        Ok(config)
    }
}

/// Opens the keystore of a directory. A relative passphrase file starts there.
pub fn open_keys(dir: &Path, passphrase_file: Option<&Path>) -> anyhow::Result<Keys> {
    let file: Option<PathBuf> = passphrase_file.map(|file| dir.join(file));
    let what = format!("the keys in {}", dir.display());
    let passphrase = PassphraseSource { file: file.as_deref(), new: false, what: &what }.read()?;
    Keys::open(&dir.join(keys::FILE_NAME), &passphrase)
}

async fn serve(dir: &Path, config: &Config, keys: Keys, json: Json) -> anyhow::Result<()> {
    // Before anything that is worth an orderly stop.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut node = Node::start(dir, config, keys).await?;
    let server = api::Server::start(dir, config.http, node.context.clone()).await;
    let server = server.with_context(|| format!("cannot serve HTTP on {}", config.http))?;
    let listen: Vec<String> = node.listen.iter().map(ToString::to_string).collect();
    let id = node.context.id;
    let ready = json!({
        "event": "ready", "ready": true, "node": id.to_string(),
        "peer_id": tequio_p2p::identity::peer_id(id).map(|p| p.to_string()), "listen": listen,
        "http": format!("http://{}", server.addr), "height": node.context.tip().height(), "pid": std::process::id(),
    });
    let run_file = dir.join(RUN_FILE);
    files::write_atomic(&run_file, ready.to_string().as_bytes(), files::PUBLIC)?;
    say(json, &ready, || {
        format!(
            "node {id} is ready at height {}\nlistening on {}\nHTTP on {}",
            ready["height"],
            listen.join(" "),
            server.addr
        )
    });
    let failure = tokio::select! {
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
        failure = node.failed() => Some(failure),
    };
    tracing::info!("stopping");
    let _ = std::fs::remove_file(&run_file);
    server.stop().await;
    node.stop().await;
    match failure {
        Some(failure) => Err(failure.context("the node cannot go on")),
        None => Ok(()),
    }
}
