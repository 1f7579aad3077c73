//! `tequio run`: runs a node until a signal stops it.

use super::{
    options::{Dir, Json, PassphraseFile},
    output::print,
};
use crate::{
    api,
    config::{
        self, Config, HostName, HttpAddr, Pipelining, RENAMED_OPTIONS, RenamedOption,
        VoteRoutingConfig,
    },
    descriptors,
    keys::{self, Keys},
    log,
    node::{Node, chain::prune::RETAINED_BLOCKS_MIN, peers::devnet::RUN_FILE},
};
use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};
use tequio_host::PassphraseSource;
use tequio_host::files;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Run a node
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tequio run --dir net/node1
  tequio run --dir node --listen /ip4/0.0.0.0/tcp/4810 --workers 4 --http 127.0.0.1:4811

The log goes to standard error; --log chooses what is in it (info, or for example tequio=debug),
unless RUST_LOG is set.
SIGHUP reads `log` of config.toml again. SIGINT and SIGTERM stop the node in order.")]
pub struct Run {
    #[command(flatten)]
    dir: Dir,
    /// Address to listen on; may be repeated
    #[arg(long, env = "TEQUIO_LISTEN", value_name = "MULTIADDR", value_delimiter = ',')]
    listen: Vec<String>,
    /// Address announced to other nodes, if it differs from those listened on; may be repeated
    #[arg(
        long = "external-address",
        alias = "external",
        env = "TEQUIO_EXTERNAL_ADDRESSES",
        value_name = "MULTIADDR",
        value_delimiter = ','
    )]
    external_addresses: Vec<String>,
    /// Node to stay connected with, or the directory of a node on this machine; may be repeated
    #[arg(
        long = "peer",
        env = "TEQUIO_PEERS",
        value_name = "MULTIADDR|DIR",
        value_delimiter = ','
    )]
    peers: Vec<String>,
    /// Relay through which other nodes reach this node; may be repeated
    #[arg(long = "relay", env = "TEQUIO_RELAYS", value_name = "MULTIADDR", value_delimiter = ',')]
    relays: Vec<String>,
    /// Concurrent circuits between other peers that this node carries, so that workers reach
    /// coordinators; 0 for none
    #[arg(long, alias = "circuits", env = "TEQUIO_CIRCUITS", value_name = "N")]
    relay_circuits: Option<usize>,
    /// Address of the HTTP API, for example 127.0.0.1:4811 or localhost:4811; port 0 lets the
    /// system choose
    #[arg(long, env = "TEQUIO_HTTP", value_name = "HOST:PORT")]
    http: Option<HttpAddr>,
    /// Host name besides localhost that requests to the HTTP API may use, such as the service name
    /// that Prometheus scrapes; may be repeated
    #[arg(
        long = "http-host",
        env = "TEQUIO_HTTP_HOSTS",
        value_name = "NAME",
        value_delimiter = ','
    )]
    http_hosts: Vec<HostName>,
    /// Log filter, for example info or tequio=debug
    #[arg(long, env = "TEQUIO_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// Threads that compute for jobs
    #[arg(long, env = "TEQUIO_WORKERS", value_name = "N")]
    workers: Option<usize>,
    /// Recipients of this node's votes while it has a seat
    #[arg(long, alias = "votes-to", env = "TEQUIO_VOTE_ROUTING", value_name = "RECIPIENTS")]
    vote_routing: Option<VoteRoutingConfig>,
    /// Whether this node opens the next height while one is being decided
    #[arg(long, alias = "pipeline", env = "TEQUIO_PIPELINING", value_name = "WHEN")]
    pipelining: Option<Pipelining>,
    /// Newest blocks to keep, at least 256; of older blocks only the headers stay. 0 keeps all
    #[arg(long, alias = "keep-blocks", env = "TEQUIO_RETAINED_BLOCKS", value_name = "N")]
    retained_blocks: Option<u64>,
    /// Fetch a whole state instead of single blocks when more than N blocks are missing
    #[arg(
        long,
        alias = "snapshot-when-behind",
        env = "TEQUIO_STATE_SYNC_THRESHOLD",
        value_name = "N"
    )]
    state_sync_threshold: Option<u64>,
    #[command(flatten)]
    passphrase: PassphraseFile,
    #[command(flatten)]
    json: Json,
}

impl Run {
    /// Runs until a signal or a failure of the node.
    pub fn execute(self) -> anyhow::Result<()> {
        let dir = self.dir.dir.as_path();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        // This comes first: SIGHUP must not end a starting node. Ctrl-C does end a node that
        // prompts for its passphrase.
        let hangup = {
            let _entered = runtime.enter();
            signal(SignalKind::hangup())?
        };
        let (config, renamed) = self.config(dir)?;
        let warnings = renamed_warnings(&dir.join(config::FILE_NAME), &renamed)?;
        let filter = || {
            format!(
                "the log filter of --log, TEQUIO_LOG, or `log` in {}",
                dir.join(config::FILE_NAME).display()
            )
        };
        let is_set = log::set(&config.log).with_context(filter)?;
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let fixed = match (is_set, &self.log) {
            (false, _) => Some(log::VARIABLE),
            (true, Some(_)) => Some("--log or TEQUIO_LOG"),
            (true, None) => None,
        };
        descriptors::raise();
        let keys = open_keys(dir, config.passphrase_file.as_deref())?;
        let ended = runtime.block_on(serve(dir, &config, keys, hangup, fixed, self.json));
        // Running work units have no value any more.
        runtime.shutdown_background();
        ended
    }

    fn config(&self, dir: &Path) -> anyhow::Result<(Config, Vec<RenamedOption>)> {
        let (mut config, renamed) = Config::load(dir)?;
        let replace = |option: &mut Vec<String>, flag: &[String]| {
            if !flag.is_empty() {
                *option = flag.to_vec();
            }
        };
        replace(&mut config.listen, &self.listen);
        replace(&mut config.external_addresses, &self.external_addresses);
        replace(&mut config.peers, &self.peers);
        replace(&mut config.relays, &self.relays);
        config.relay_circuits = self.relay_circuits.unwrap_or(config.relay_circuits);
        config.http = self.http.clone().unwrap_or(config.http);
        config.log = self.log.clone().unwrap_or(config.log);
        if !self.http_hosts.is_empty() {
            config.http_hosts.clone_from(&self.http_hosts);
        }
        config.workers = self.workers.unwrap_or(config.workers);
        config.vote_routing = self.vote_routing.unwrap_or(config.vote_routing);
        config.pipelining = self.pipelining.unwrap_or(config.pipelining);
        config.retained_blocks = self.retained_blocks.unwrap_or(config.retained_blocks);
        config.state_sync_threshold =
            self.state_sync_threshold.unwrap_or(config.state_sync_threshold);
        anyhow::ensure!(
            config.retained_blocks == 0 || config.retained_blocks >= RETAINED_BLOCKS_MIN,
            "retained-blocks is {}, but must be 0 for all or at least {RETAINED_BLOCKS_MIN}",
            config.retained_blocks
        );
        if let Some(file) = &self.passphrase.passphrase_file {
            config.passphrase_file = Some(std::path::absolute(file)?);
        }
        Ok((config, renamed))
    }
}

/// The warnings about options with old names, in the file (`renamed`), the environment and the
/// arguments. The program has already copied the old variables to the new ones.
fn renamed_warnings(file: &Path, renamed: &[RenamedOption]) -> anyhow::Result<Vec<String>> {
    let mut warnings = Vec::new();
    for RenamedOption { key: (old, new), .. } in renamed {
        warnings.push(format!(
            "the option `{old}` is now called `{new}`; rename it in {}",
            file.display()
        ));
    }
    for (old, new) in RENAMED_OPTIONS.into_iter().filter_map(|option| option.variable) {
        let Some(value) = std::env::var_os(old) else { continue };
        anyhow::ensure!(
            std::env::var_os(new).is_none_or(|set| set == value),
            "the variables {old} and {new}, its new name, are both set: unset {old}"
        );
        warnings.push(format!("the variable {old} is now called {new}; rename it"));
    }
    for RenamedOption { flag: (old, new), .. } in RENAMED_OPTIONS {
        let is_old = |argument: std::ffi::OsString| {
            let argument = argument.to_string_lossy();
            argument == old || argument.starts_with(&format!("{old}="))
        };
        if std::env::args_os().any(is_old) {
            warnings.push(format!("the flag {old} is now called {new}; rename it"));
        }
    }
    Ok(warnings)
}

/// Opens the keystore of a directory. A relative passphrase file is relative to the directory.
pub fn open_keys(dir: &Path, passphrase_file: Option<&Path>) -> anyhow::Result<Keys> {
    let file: Option<PathBuf> = passphrase_file.map(|file| dir.join(file));
    let what = format!("the keys in {}", dir.display());
    let passphrase = PassphraseSource { file: file.as_deref(), new: false, what: &what }.read()?;
    Keys::open(&dir.join(keys::FILE_NAME), &passphrase)
}

/// The signals that a node handles.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new(hangup: Signal) -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup,
        })
    }

    /// Waits for a signal that stops the node. SIGHUP reads the log filter again; `fixed` names the
    /// setting that overrides the configuration, if there is one.
    async fn stopped(&mut self, dir: &Path, fixed: Option<&str>) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                _ = self.hangup.recv() => reload(dir, fixed),
            }
        }
    }
}

/// Reads the log filter from the configuration. A configuration that cannot be read changes
/// nothing.
fn reload(dir: &Path, fixed: Option<&str>) {
    if let Some(name) = fixed {
        return tracing::info!("SIGHUP: the log filter stays, because {name} sets it");
    }
    let read = Config::load(dir).and_then(|(config, _)| Ok((log::set(&config.log)?, config.log)));
    match read {
        Ok((_, filter)) => tracing::info!(filter, "SIGHUP: the log filter was read again"),
        Err(error) => {
            tracing::error!(
                error = format!("{error:#}"),
                "SIGHUP: the log filter stays, because the new one cannot be read"
            )
        }
    }
}

async fn serve(
    dir: &Path,
    config: &Config,
    keys: Keys,
    hangup: Signal,
    fixed: Option<&str>,
    json: Json,
) -> anyhow::Result<()> {
    // The handlers come before everything that needs an orderly stop.
    let mut signals = Signals::new(hangup)?;
    let mut node = Node::start(dir, config, keys).await?;
    let server = api::Server::start(dir, &config.http, config.http_hosts.clone(), &node).await?;
    let listen: Vec<String> = node.listen.iter().map(ToString::to_string).collect();
    let id = node.chain.node;
    let ready = json!({
        "event": "ready", "ready": true, "node": id.to_string(),
        "peer_id": tequio_p2p::identity::peer_id(id).map(|p| p.to_string()), "listen": listen,
        "http": format!("http://{}", server.addr), "height": node.chain.tip().height(),
        "pid": std::process::id(),
    });
    let run_file = dir.join(RUN_FILE);
    files::write_atomic(&run_file, ready.to_string().as_bytes(), files::PUBLIC)?;
    print(json, &ready, || {
        format!(
            "node {id} is ready at height {}\nlistening on {}\nHTTP on {}",
            ready["height"],
            listen.join(" "),
            server.addr
        )
    });
    let failure = tokio::select! {
        () = signals.stopped(dir, fixed) => None,
        failure = node.failed() => Some(failure),
    };
    tracing::info!("stopping");
    let _ = std::fs::remove_file(&run_file);
    server.stop().await;
    node.stop().await;
    match failure {
        Some(failure) => Err(failure.context(format!("the node of {} has failed", dir.display()))),
        None => Ok(()),
    }
}
