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

use crate::{
    cli::{Json, print},
    config::{Config, Pipelining, VoteRoutingConfig},
    keys::Keys,
    node::{CHECKPOINT_FILE, GENESIS_FILE, Node, machine::now_ms, signature_batcher},
};
use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde_json::{Value, json};
use std::{
    collections::{HashMap, VecDeque},
    fs,
    hint::black_box,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tequio_core::{
    codec::BoundedVec,
    consensus::{Pipeline, VoteRouting},
    crypto::{KeyCache, NodeKey, bls},
    knowledge::{Cid, CidCodec},
    ledger::{
        Action, Checkpoint, Genesis, Params, SignedTransaction, Transaction, TransactionId,
        VerifiedSignatureCache,
        genesis::{GenesisFile, GenesisState},
        transaction::{RefName, TransactionBatch},
    },
    types::{ChainId, Height},
};
use tequio_host::files;
use tokio::task::JoinSet;

const START_WAIT: Duration = Duration::from_secs(120);
/// Accounts that send transactions; each may have 64 pending ones.
const CLIENTS: usize = 512;
const BOND: u64 = 1000;
/// How often the load sends due transactions: the batch interval of a node with many clients.
const SEND_INTERVAL: Duration = signature_batcher::BATCH_INTERVAL;
/// Linux counts CPU time in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;
const VALIDITY_BLOCKS: Height = 4000;
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
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    nodes: u16,
    /// Time to measure
    #[arg(long, value_name = "S", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Transactions a second; 0 measures empty blocks
    #[arg(long, value_name = "R", default_value_t = 500)]
    rate: u64,
    /// Longest time between blocks, milliseconds: the interval of empty blocks
    #[arg(long, value_name = "MS", default_value_t = 200, value_parser = clap::value_parser!(u64).range(20..=60_000))]
    interval_ms: u64,
    /// Recipients of votes
    #[arg(long, value_enum, default_value = "all")]
    profile: VoteRoutingConfig,
    /// Whether nodes open the next height while one is being decided
    #[arg(long, value_name = "WHEN", value_enum, default_value = "auto")]
    pipeline: Pipelining,
    /// Run in virtual time, between regions; the time of signatures is charged to one core for each
    /// node
    #[arg(long = "virtual", conflicts_with_all = ["seconds", "rate", "interval_ms", "dir"])]
    is_virtual: bool,
    /// Locations of the nodes in virtual time
    #[arg(long, value_parser = ["site", "us2", "aws10"], default_value = "aws10", requires = "is_virtual")]
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
                "virtual time needs the simulator: run `cargo xtask simulate --regions {} --nodes {} --json` in a checkout",
                self.regions,
                self.nodes
            ),
        };
        let votes_to = VoteRouting::from(self.profile).name();
        command.args([
            "--regions",
            &self.regions,
            "--nodes",
            &self.nodes.to_string(),
            "--profile",
            votes_to,
        ]);
        let pipeline = Pipeline::from(self.pipeline).name();
        command.args(["--pipeline", pipeline, "--seeds", VIRTUAL_SEEDS, "--json"]);
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
        let nodes = launch(dir, members, self.profile, self.pipeline).await?;
        let load = Arc::new(Load::default());
        let mut watchers = JoinSet::new();
        for (number, node) in nodes.iter().enumerate() {
            watchers.spawn(watch(node.context.clone(), load.clone(), number == 0));
        }
        let sender = {
            let (load, rate) = (load.clone(), self.rate);
            let contexts: Vec<_> = nodes.iter().map(|node| node.context.clone()).collect();
            std::thread::spawn(move || send(&contexts, &clients, signed, rate, &load))
        };
        // The first second warms caches and connections.
        tokio::time::sleep(Duration::from_secs(1)).await;
        load.clear();
        let counted = || {
            let metrics = || nodes.iter().map(|node| &node.context.metrics);
            let (fallbacks, ahead) = (
                metrics().map(|m| m.collector_fallbacks.get()),
                metrics().map(|m| m.pipelined_votes.get()),
            );
            (fallbacks.sum::<u64>(), ahead.sum::<u64>())
        };
        let before = counted();
        let (began, cpu_began_s, bytes) = (Instant::now(), cpu_seconds()?, loopback_bytes()?);
        let first = nodes.first().context("no nodes")?.context.clone();
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
        let (fallbacks, ahead) = (counted().0 - before.0, counted().1 - before.1);
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
            "nodes": self.nodes, "profile": VoteRouting::from(self.profile).name(), "rate": self.rate,
            "seconds": elapsed_s.round(), "fallbacks": fallbacks, "pipeline": Pipeline::from(self.pipeline).name(), "ahead": ahead,
            "decisions": decisions, "decisions_per_s": round(decisions / elapsed_s),
            "p50_ms": percentile(&final_ms, 50), "p95_ms": percentile(&final_ms, 95), "p99_ms": percentile(&final_ms, 99),
            "submit_p50_ms": percentile(&submit_ms, 50), "submit_p95_ms": percentile(&submit_ms, 95),
            "submit_p99_ms": percentile(&submit_ms, 99),
            "tps": round(applied as f64 / elapsed_s), "refused": load.refused.load(Ordering::Relaxed),
            "tps_each_10_s": part_tps, "cores_busy_each_10_s": part_cores,
            "cpu_s_per_decision": round(cpu_s / decisions), "cores_busy": round(cpu_s / elapsed_s),
            "bytes_per_decision": (bytes / decisions / n).round(), "floor_ms": round(floor.ms),
            "cores": cores(), "verify_us": round(verify_us), "verify_known_us": round(verify_known_us), "verify_cores": round(n * self.rate as f64 * verify_us / 1e6),
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
    votes_to: VoteRoutingConfig,
    pipeline: Pipelining,
) -> anyhow::Result<Vec<Node>> {
    let (mut nodes, mut addresses) = (Vec::new(), Vec::new());
    let count = members.len();
    for (number, keys) in members.into_iter().enumerate() {
        let dir = dir.join(format!("node{number}"));
        fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let (listen, peers) = (vec!["/ip4/127.0.0.1/tcp/0".into()], addresses.clone());
        let config = Config { listen, peers, votes_to, pipeline, ..Config::default() };
        let node = Node::start(&dir, &config, keys).await?;
        addresses.extend(node.listen.first().map(ToString::to_string));
        nodes.push(node);
    }
    let until = Instant::now() + START_WAIT;
    let is_ready = |node: &Node| {
        node.context.full_nodes().len() + 1 >= count && node.context.tip().height() > 1
    };
    while !nodes.iter().all(is_ready) {
        let heights: Vec<_> = nodes.iter().map(|node| node.context.tip().height()).collect();
        ensure!(Instant::now() < until, "the nodes do not come together: heights {heights:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(nodes)
}

/// State that the load and the watchers share.
#[derive(Debug, Default)]
struct Load {
    stop: AtomicBool,
    waiting: Mutex<HashMap<TransactionId, Instant>>,
    submit_ms: Mutex<Vec<f64>>,
    final_ms: Mutex<Vec<f64>>,
    applied: AtomicU64,
    refused: AtomicU64,
}

impl Load {
    fn clear(&self) {
        for samples in [&self.submit_ms, &self.final_ms] {
            drop(self.take(samples));
        }
        self.applied.store(0, Ordering::Relaxed);
        self.refused.store(0, Ordering::Relaxed);
    }

    fn take(&self, samples: &Mutex<Vec<f64>>) -> Vec<f64> {
        let mut samples =
            std::mem::take(&mut *samples.lock().unwrap_or_else(PoisonError::into_inner));
        samples.sort_by(f64::total_cmp);
        samples
    }
}

/// Records the latency of each block on a node. With `counts`, also records the latency of each
/// transaction.
async fn watch(context: Arc<crate::node::context::NodeContext>, load: Arc<Load>, counts: bool) {
    let mut tips = context.watch_tip();
    let mut seen = context.tip().height();
    while tips.changed().await.is_ok() {
        let tip = tips.borrow_and_update().clone();
        let took_ms = now_ms().saturating_sub(tip.header.header.time_ms) as f64;
        load.final_ms.lock().unwrap_or_else(PoisonError::into_inner).push(took_ms);
        if !counts {
            continue;
        }
        for height in seen + 1..=tip.height() {
            for receipt in context.store.receipts(height).unwrap_or_default() {
                let sent = load
                    .waiting
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(&receipt.transaction);
                if let Some(sent) = sent.filter(|_| receipt.result.is_ok()) {
                    load.applied.fetch_add(1, Ordering::Relaxed);
                    let took_ms = sent.elapsed().as_secs_f64() * 1000.0;
                    load.submit_ms.lock().unwrap_or_else(PoisonError::into_inner).push(took_ms);
                }
            }
        }
        seen = tip.height();
    }
}

/// Sends at a rate: each client to one node, each with its own ref. A node gets the transactions of
/// one interval as a batch, as in `signature_batcher.rs`. The cost of HTTP and of request threads
/// is not included.
fn send(
    contexts: &[Arc<crate::node::context::NodeContext>],
    clients: &[NodeKey],
    mut signed: Vec<VecDeque<SignedTransaction>>,
    rate: u64,
    load: &Load,
) {
    let waiting = || load.waiting.lock().unwrap_or_else(PoisonError::into_inner);
    let mut nonces = vec![0u64; clients.len()];
    let (began, mut sent) = (Instant::now(), 0u64);
    let mut index = 0;
    while !load.stop.load(Ordering::Relaxed) {
        let due = ((began.elapsed().as_secs_f64() * rate as f64) as u64).saturating_sub(sent);
        let mut beat = vec![Vec::new(); contexts.len()];
        // At most one transaction of each client.
        for _ in 0..due.min(clients.len() as u64) {
            sent += 1;
            index = (index + 1) % clients.len();
            let (Some(key), Some(nonce), Some(ready)) =
                (clients.get(index), nonces.get(index), signed.get_mut(index))
            else {
                return;
            };
            let at = index % contexts.len().max(1);
            let (Some(context), Some(of_node)) = (contexts.get(at), beat.get_mut(at)) else {
                return;
            };
            let ready = ready.pop_front().filter(|ready| {
                let Transaction { nonce: of, expires, .. } = *ready.transaction;
                of == *nonce && expires > context.tip().height()
            });
            let Some(transaction) = ready.or_else(|| transaction(context, key, *nonce)) else {
                return;
            };
            waiting().insert(transaction.id(), Instant::now());
            of_node.push((index, transaction));
        }
        for (context, brought) in contexts.iter().zip(beat) {
            let verdicts = context
                .accept_batch(brought.iter().map(|(_, transaction)| transaction.clone()).collect());
            for ((client, transaction), verdict) in brought.into_iter().zip(verdicts) {
                let (Some(nonce), Some(ready)) = (nonces.get_mut(client), signed.get_mut(client))
                else {
                    return;
                };
                if verdict.is_ok() {
                    *nonce += 1;
                } else {
                    waiting().remove(&transaction.id());
                    load.refused.fetch_add(1, Ordering::Relaxed);
                    ready.push_front(transaction);
                }
            }
        }
        if due <= clients.len() as u64 {
            std::thread::sleep(SEND_INTERVAL);
        }
    }
}

/// Signs `count` transactions on all cores, those of each client in the order of its nonces.
fn presign(
    chain: ChainId,
    clients: &[NodeKey],
    count: u64,
) -> anyhow::Result<Vec<VecDeque<SignedTransaction>>> {
    let each = count.div_ceil(clients.len().max(1) as u64);
    let sign = |clients: &[NodeKey]| -> Vec<VecDeque<SignedTransaction>> {
        clients
            .iter()
            .map(|key| {
                (0..each).filter_map(|nonce| update(chain, key, nonce, VALIDITY_BLOCKS)).collect()
            })
            .collect()
    };
    std::thread::scope(|scope| {
        let shares = clients.chunks(clients.len().div_ceil(cores()).max(1));
        let threads: Vec<_> = shares.map(|share| scope.spawn(move || sign(share))).collect();
        let signed = threads
            .into_iter()
            .map(|thread| thread.join().ok().context("a thread that signs has panicked"));
        Ok(signed.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    })
}

fn transaction(
    context: &crate::node::context::NodeContext,
    key: &NodeKey,
    nonce: u64,
) -> Option<SignedTransaction> {
    update(context.chain, key, nonce, context.tip().height() + VALIDITY_BLOCKS)
}

fn update(chain: ChainId, key: &NodeKey, nonce: u64, expires: Height) -> Option<SignedTransaction> {
    let name = RefName::try_from(format!("{}/load", key.id())).ok()?;
    let cid = Cid::of(CidCodec::Raw, &nonce.to_le_bytes());
    let action = Action::UpdateRef { name, expected: nonce, cid };
    Some(Transaction { chain, sender: key.id(), nonce, expires, action }.sign(key))
}

/// A client's key. It is not secret: the accounts hold nothing, and the chain ends with the bench.
fn client_key(number: u64) -> NodeKey {
    let mut secret = [0xb3; 32];
    if let Some(head) = secret.first_chunk_mut::<8>() {
        *head = number.to_le_bytes();
    }
    NodeKey::from_bytes(&secret)
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

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Time of one transaction signature, microseconds, in a batch as large as a block under load.
/// `is_known` says whether the senders' keys are cached.
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
    let stat = fs::read_to_string("/proc/self/stat").context("CPU time is known on Linux only")?;
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
    let table =
        fs::read_to_string("/proc/self/net/dev").context("traffic is known on Linux only")?;
    let line = table
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("lo:"))
        .context("there is no loopback")?;
    let first =
        line.split_whitespace().next().context("the table of interfaces is not understood")?;
    Ok(first.parse()?)
}

fn percentile(sorted: &[f64], percent: usize) -> f64 {
    round(sorted.get(sorted.len() * percent / 100).copied().unwrap_or_default())
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
