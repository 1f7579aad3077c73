//! `tequio bench consensus`: a committee of real nodes in this process, over real sockets on
//! loopback and with real syncs to the disk, under a load of signed transactions.
//!
//! The floor is the cost of the signatures of a decision on these cores, measured in the same run.
//! Each of n nodes signs twice, and twice decodes and verifies the aggregate of a quorum. CPU time
//! is that of the whole process.
//!
//! The load is signed before the clock starts, because clients do not run on the nodes. It arrives
//! every 5 ms, and a node verifies each arrival as a batch, as it does with many concurrent
//! clients. Every node verifies the signature of every transaction. These fields, measured in the
//! same run, describe that cost:
//!
//! - `verify_us`: time of one signature in a batch.
//! - `verify_known_us`: the same for known senders; those of the load are known after a second.
//! - `verify_cores`: cores that verification alone takes at the given rate, out of `cores`.
//!
//! Bytes are those of the loopback interface: run nothing else on it.
//!
//! `--virtual` starts the simulator as a process, which prints the same fields. The simulator is a
//! separate program because its core verifies signatures with the signers' secret keys. No program
//! for operators may contain such code.

use super::load::{Load, VALIDITY_BLOCKS, client_key, cores, presign, send, update, watch};
use crate::{
    cli::{options::Json, output::print},
    config::{Config, Pipelining, VoteRoutingConfig},
    keys::Keys,
    node::{CHECKPOINT_FILE, GENESIS_FILE, Node, machine::now_ms, peers::agent::full_nodes},
};
use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde_json::{Value, json};
use std::{
    fs,
    hint::black_box,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tequio_core::{
    codec::BoundedVec,
    consensus::{Pipeline, VoteRouting},
    crypto::{KeyCache, NodeKey, bls},
    ledger::{
        Checkpoint, Genesis, Params, VerifiedSignatureCache,
        genesis::{GenesisFile, GenesisState},
        transaction_batch::TransactionBatch,
    },
};
use tequio_host::files;
use tokio::task::JoinSet;

const START_WAIT: Duration = Duration::from_secs(120);
/// Accounts that send transactions; each may have 64 pending ones.
const CLIENTS: usize = 512;
const BOND: u64 = 1000;
/// Linux counts CPU time in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;
/// Seconds of the load that are signed beforehand; the rest is signed when it is sent.
const PRESIGNED_S: u64 = 65;
/// Length of a part of the measurement. A comparison of the parts shows whether a network becomes
/// slower.
const WINDOW_S: u64 = 10;
/// The simulator's program and manifest.
const SIMULATOR: &str = "tequio-simulate";
const SIMULATOR_MANIFEST: &str = "tests/simulation/Cargo.toml";
/// Number of runs in virtual time.
const VIRTUAL_SEEDS: &str = "5";

/// Consensus of real nodes over loopback
#[derive(Debug, Args)]
pub struct Consensus {
    /// Validators
    #[arg(long, value_name = "N", default_value_t = 4,
        value_parser = clap::value_parser!(u16).range(1..=64))]
    nodes: u16,
    /// Time to measure
    #[arg(long, value_name = "S", default_value_t = 20,
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Transactions a second; 0 measures empty blocks
    #[arg(long, value_name = "R", default_value_t = 500)]
    rate: u64,
    /// Longest time between blocks, milliseconds: the interval of empty blocks
    #[arg(long, value_name = "MS", default_value_t = 200,
        value_parser = clap::value_parser!(u64).range(20..=60_000))]
    interval_ms: u64,
    /// Recipients of votes
    #[arg(long, value_enum, default_value = "all")]
    profile: VoteRoutingConfig,
    /// Whether nodes open the next height while one is being decided
    #[arg(long, alias = "pipeline", value_name = "WHEN", value_enum, default_value = "auto")]
    pipelining: Pipelining,
    /// Run in virtual time, between regions; the time of signatures is charged to one core for
    /// each node
    #[arg(long = "virtual", conflicts_with_all = ["seconds", "rate", "interval_ms", "dir"])]
    is_virtual: bool,
    /// Locations of the nodes in virtual time
    #[arg(long, value_parser = ["site", "us2", "aws10"], default_value = "aws10",
        requires = "is_virtual")]
    regions: String,
    /// Directory of the nodes' stores: its disk is measured (default: a temporary directory)
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    json: Json,
}

impl Consensus {
    /// Runs the measurement.
    pub fn execute(self) -> anyhow::Result<()> {
        if self.is_virtual {
            return self.simulate();
        }
        let default = || std::env::temp_dir().join(format!("tequio-bench-{}", std::process::id()));
        let dir = self.dir.clone().unwrap_or_else(default);
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        ensure!(fs::read_dir(&dir)?.next().is_none(), "{} is not empty", dir.display());
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let measured = runtime.block_on(self.measure(&dir));
        runtime.shutdown_background();
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
        let object = measured?;
        print(self.json, &object, || format!("{object:#}"));
        Ok(())
    }

    /// Runs the simulator: the one that the surrounding workspace builds, or the one beside this
    /// program.
    fn simulate(&self) -> anyhow::Result<()> {
        let program = std::env::current_exe()?;
        let beside = program.with_file_name(SIMULATOR);
        let workspace = program.ancestors().find(|dir| dir.join(SIMULATOR_MANIFEST).exists());
        let mut command = match (workspace, beside.exists()) {
            (Some(workspace), _) => {
                let mut cargo = std::process::Command::new("cargo");
                cargo.current_dir(workspace).args(["xtask", "simulate"]);
                cargo
            }
            (None, true) => std::process::Command::new(beside),
            (None, false) => bail!(
                "virtual time needs the simulator: run `cargo xtask simulate --regions {} --nodes \
                 {} --json` in a checkout",
                self.regions,
                self.nodes
            ),
        };
        let vote_routing = VoteRouting::from(self.profile).name();
        command.args([
            "--regions",
            &self.regions,
            "--nodes",
            &self.nodes.to_string(),
            "--profile",
            vote_routing,
        ]);
        let pipelining = Pipeline::from(self.pipelining).name();
        command.args(["--pipelining", pipelining, "--seeds", VIRTUAL_SEEDS, "--json"]);
        let status = command.status().context("cannot start the simulator")?;
        ensure!(status.success(), "the simulator ended with {status}");
        Ok(())
    }

    async fn measure(&self, dir: &Path) -> anyhow::Result<Value> {
        let members =
            (0..self.nodes).map(|_| Keys::generate()).collect::<anyhow::Result<Vec<_>>>()?;
        let clients: Vec<NodeKey> = (0..CLIENTS as u64).map(client_key).collect();
        let start = self.create_network(dir, &members, &clients)?;
        let floor = SignatureFloor::measure(&start, &members);
        let (verify_us, verify_known_us) =
            (verify_us(&start, &clients, false)?, verify_us(&start, &clients, true)?);
        let signed =
            presign(start.header.chain, &clients, self.rate * (self.seconds + 5).min(PRESIGNED_S))?;
        let nodes = launch(dir, members, self.profile, self.pipelining).await?;
        let load = Arc::new(Load::default());
        let mut watchers = JoinSet::new();
        for (number, node) in nodes.iter().enumerate() {
            watchers.spawn(watch(
                node.chain.clone(),
                node.store.clone(),
                load.clone(),
                number == 0,
            ));
        }
        let sender = {
            let (load, rate) = (load.clone(), self.rate);
            let targets: Vec<_> =
                nodes.iter().map(|node| (node.chain.clone(), node.admission.clone())).collect();
            std::thread::spawn(move || send(&targets, &clients, signed, rate, &load))
        };
        // The first second warms caches and connections.
        tokio::time::sleep(Duration::from_secs(1)).await;
        load.clear();
        let counted = || {
            let metrics = || nodes.iter().map(|node| &node.metrics);
            let (fallbacks, pipelined) = (
                metrics().map(|m| m.collector_fallbacks.get()),
                metrics().map(|m| m.pipelined_votes.get()),
            );
            (fallbacks.sum::<u64>(), pipelined.sum::<u64>())
        };
        let before = counted();
        let (began, cpu_began_s, bytes) = (Instant::now(), cpu_seconds()?, loopback_bytes()?);
        let first = nodes.first().context("no nodes")?.chain.clone();
        let height = first.tip().height();
        let mut parts = Vec::new();
        for second in 1..=self.seconds {
            tokio::time::sleep(
                (began + Duration::from_secs(second)).saturating_duration_since(Instant::now()),
            )
            .await;
            if second.is_multiple_of(WINDOW_S) {
                parts.push((load.applied.load(Ordering::Relaxed), cpu_seconds()?));
            }
        }
        let decisions = first.tip().height().saturating_sub(height).max(1) as f64;
        let (elapsed_s, cpu_s) = (began.elapsed().as_secs_f64(), cpu_seconds()? - cpu_began_s);
        let bytes = loopback_bytes()?.saturating_sub(bytes) as f64;
        let (fallbacks, pipelined) = (counted().0 - before.0, counted().1 - before.1);
        let applied = load.applied.load(Ordering::Relaxed);
        load.stop.store(true, Ordering::Relaxed);
        let _ = tokio::task::spawn_blocking(move || sender.join()).await;
        watchers.shutdown().await;
        for node in nodes {
            node.stop().await;
        }
        let final_ms = load.take(&load.final_ms);
        let submit_ms = load.take(&load.submit_ms);
        let n = f64::from(self.nodes);
        let since = [(0, cpu_began_s)].into_iter().chain(parts.iter().copied()).zip(&parts);
        let (part_tps, part_cores): (Vec<_>, Vec<_>) = since
            .map(|((applied, cpu_s), (applied_then, cpu_then_s))| {
                ((applied_then - applied) / WINDOW_S, round((cpu_then_s - cpu_s) / WINDOW_S as f64))
            })
            .unzip();
        Ok(json!({
            "nodes": self.nodes, "profile": VoteRouting::from(self.profile).name(),
            "rate": self.rate,
            "seconds": elapsed_s.round(), "collector_fallbacks": fallbacks,
            "pipelining": Pipeline::from(self.pipelining).name(), "pipelined": pipelined,
            "decisions": decisions, "decisions_per_s": round(decisions / elapsed_s),
            "p50_ms": percentile(&final_ms, 50), "p95_ms": percentile(&final_ms, 95),
            "p99_ms": percentile(&final_ms, 99),
            "submit_p50_ms": percentile(&submit_ms, 50),
            "submit_p95_ms": percentile(&submit_ms, 95),
            "submit_p99_ms": percentile(&submit_ms, 99),
            "tps": round(applied as f64 / elapsed_s),
            "refused": load.refused.load(Ordering::Relaxed),
            "tps_each_10_s": part_tps, "cores_busy_each_10_s": part_cores,
            "cpu_s_per_decision": round(cpu_s / decisions), "cores_busy": round(cpu_s / elapsed_s),
            "bytes_per_decision": (bytes / decisions / n).round(), "floor_ms": round(floor.ms),
            "cores": cores(), "verify_us": round(verify_us),
            "verify_known_us": round(verify_known_us),
            "verify_cores": round(n * self.rate as f64 * verify_us / 1e6),
        }))
    }

    /// Genesis with the members' seats and the clients' accounts.
    fn create_network(
        &self,
        dir: &Path,
        members: &[Keys],
        clients: &[NodeKey],
    ) -> anyhow::Result<GenesisState> {
        let params = Params {
            block_interval_ms_max: self.interval_ms,
            block_interval_ms_min: 20,
            view_timeout_ms: 5_000,
            clock_skew_ms_max: 30_000,
            audit_blocks_min: 2,
            audit_blocks_max: 5_000,
            admission_bits: 14,
            mint_max: 10_000_000,
            trust_period_ms: 24 * 60 * 60 * 1000,
            leader_term_blocks: 64,
            epoch_blocks: 64,
            bond_min: 1,
            reputation_min: 0,
            unbonding_ms: u64::MAX,
        };
        let accounts = members.iter().map(|keys| (keys.id(), 0, BOND));
        let accounts = accounts.chain(clients.iter().map(|key| (key.id(), 0, 0)));
        let genesis = Genesis {
            name: "bench".try_into().context("the name is too long")?,
            time_ms: now_ms(),
            params,
            accounts: BoundedVec::truncated(accounts),
            seats: BoundedVec::truncated(members.iter().map(|keys| keys.genesis_seat(BOND))),
        };
        let chain = genesis.chain();
        let possessions =
            members.iter().map(|keys| keys.voting.prove_possession(&chain, &keys.id())).collect();
        let file = GenesisFile::new(genesis, possessions)?;
        let start = file.build_state()?;
        let committee = start.committee.record().clone();
        let checkpoint =
            Checkpoint::new(start.header.clone(), None, committee, start.params.trust_period_ms)
                .encode();
        files::write_atomic(&dir.join(GENESIS_FILE), &file.encode(), files::PUBLIC)?;
        files::write_atomic(&dir.join(CHECKPOINT_FILE), &checkpoint, files::PUBLIC)?;
        Ok(start)
    }
}

/// Starts all nodes, each connected to its predecessors, and waits until all nodes are connected
/// and make blocks.
async fn launch(
    dir: &Path,
    members: Vec<Keys>,
    vote_routing: VoteRoutingConfig,
    pipelining: Pipelining,
) -> anyhow::Result<Vec<Node>> {
    let (mut nodes, mut addresses) = (Vec::new(), Vec::new());
    let count = members.len();
    for (number, keys) in members.into_iter().enumerate() {
        let dir = dir.join(format!("node{number}"));
        fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let (listen, peers) = (vec!["/ip4/127.0.0.1/tcp/0".into()], addresses.clone());
        let config = Config { listen, peers, vote_routing, pipelining, ..Config::default() };
        let node = Node::start(&dir, &config, keys).await?;
        addresses.extend(node.listen.first().map(ToString::to_string));
        nodes.push(node);
    }
    let until = Instant::now() + START_WAIT;
    let is_ready =
        |node: &Node| full_nodes(&node.network).len() + 1 >= count && node.chain.tip().height() > 1;
    while !nodes.iter().all(is_ready) {
        let heights: Vec<_> = nodes.iter().map(|node| node.chain.tip().height()).collect();
        ensure!(
            Instant::now() < until,
            "the nodes did not connect and make blocks in time: heights {heights:?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(nodes)
}

/// Cost of the signatures of one decision on these cores.
struct SignatureFloor {
    ms: f64,
}

impl SignatureFloor {
    fn measure(start: &GenesisState, members: &[Keys]) -> Self {
        const TIMES: u32 = 20;
        let quorum = start.committee.quorum().div_ceil(BOND) as usize;
        let message =
            b"a vote of about the length of a vote, for a bench that signs it again and again";
        let signers = members.iter().take(quorum);
        let parts: Vec<_> = signers.map(|keys| keys.voting.sign(message)).collect();
        let points: Vec<_> = (0..quorum).filter_map(|seat| start.committee.key(seat)).collect();
        let timed = |run: &dyn Fn()| {
            let began = Instant::now();
            (0..TIMES).for_each(|_| run());
            began.elapsed().as_secs_f64() * 1000.0 / f64::from(TIMES)
        };
        let sign_ms = timed(&|| {
            black_box(members.first().map(|keys| keys.voting.sign(message)));
        });
        let add_ms = timed(&|| {
            black_box(bls::aggregate(&parts).is_ok());
        });
        let sum = bls::aggregate(&parts).unwrap_or(bls::Signature([0; 48]));
        let check_ms = timed(&|| {
            black_box(bls::verify_aggregate(points.iter().copied(), message, &sum).is_ok());
        });
        let cores = cores().min(members.len()).max(1);
        Self { ms: members.len() as f64 * 2.0 * (sign_ms + add_ms + check_ms) / cores as f64 }
    }
}

/// Time of one transaction signature, microseconds, in a batch as large as a block under load.
/// With `is_known` the senders' keys are cached.
fn verify_us(start: &GenesisState, clients: &[NodeKey], is_known: bool) -> anyhow::Result<f64> {
    const TIMES: u32 = 5;
    let chain = start.header.chain;
    let signed: Vec<_> =
        clients.iter().take(256).filter_map(|key| update(chain, key, 0, VALIDITY_BLOCKS)).collect();
    let mut known = KeyCache::default();
    if is_known {
        TransactionBatch::new(
            signed.clone(),
            &chain,
            &VerifiedSignatureCache::default(),
            &mut known,
        )?;
    }
    let mut took = Duration::ZERO;
    for _ in 0..TIMES {
        let batch = signed.clone();
        let mut known = known.clone();
        let began = Instant::now();
        let claims =
            TransactionBatch::new(batch, &chain, &VerifiedSignatureCache::default(), &mut known);
        black_box(
            claims
                .and_then(TransactionBatch::verify)
                .context("the load's own signatures are not valid")?,
        );
        took += began.elapsed();
    }
    Ok(took.as_secs_f64() * 1e6 / f64::from(TIMES) / signed.len().max(1) as f64)
}

/// CPU time of all threads of this process.
fn cpu_seconds() -> anyhow::Result<f64> {
    let stat =
        fs::read_to_string("/proc/self/stat").context("CPU time can be measured on Linux only")?;
    // The name in parentheses may hold spaces; user and system time are fields 14 and 15.
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks: u64 = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Ok(ticks as f64 / TICKS_PER_SECOND)
}

/// Bytes that the loopback interface has carried, each counted once.
fn loopback_bytes() -> anyhow::Result<u64> {
    let table = fs::read_to_string("/proc/self/net/dev")
        .context("traffic can be measured on Linux only")?;
    let line = table
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("lo:"))
        .context("there is no loopback")?;
    let first =
        line.split_whitespace().next().context("/proc/self/net/dev has an unknown format")?;
    Ok(first.parse()?)
}

fn percentile(sorted: &[f64], percent: usize) -> f64 {
    round(sorted.get(sorted.len() * percent / 100).copied().unwrap_or_default())
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
