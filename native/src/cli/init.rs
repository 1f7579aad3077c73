//! `tequio init`: makes a directory with keys and configuration, for a new network on this machine
//! or to join a network.

use super::{
    options::{Json, PassphraseFile},
    output::print,
};
use crate::{
    config::{self, Config},
    keys::{self, Keys},
    node::{CHECKPOINT_FILE, GENESIS_FILE, machine::now_ms, peers::devnet::ConfiguredPeer},
};
use anyhow::{Context as _, bail, ensure};
use clap::{ArgGroup, Args};
use serde_json::{Value, json};
use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};
use tequio_core::{
    codec::BoundedVec,
    ledger::{
        Checkpoint, Genesis, Params,
        committee::SEATS_MAX,
        genesis::{FILE_LEN_MAX, GenesisFile},
    },
    types::{Digest, Height},
};
use tequio_host::files;
use tequio_host::{Passphrase, PassphraseSource};
use tequio_p2p::identity;
use zeroize::Zeroizing;

/// Balance of each validator of a devnet besides its bond, for nodes that join later.
const DEVNET_BALANCE: u64 = 10_000;
/// Bond of each validator of a devnet: all have the same weight.
const DEVNET_BOND: u64 = 1000;
/// Blocks of an epoch of a network for experiments.
const EPOCH_BLOCKS: Height = 64;
/// Shortest epoch of a long-lived network, milliseconds.
const EPOCH_MS_MIN: u64 = 60 * 60 * 1000;
const BLOCK_INTERVAL_MS_MIN: u64 = 150;
const PASSPHRASE_FILE_NAME: &str = "passphrase";

/// Make a node's directory
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("network").required(true).args(["devnet", "join"]))]
#[command(after_help = "Examples:
  tequio init --dir net --devnet --validators 4
  tequio init --dir node --join checkpoint.bin --genesis genesis.bin \\
      --peer /ip4/203.0.113.5/tcp/4810/p2p/12D3KooW...")]
pub struct Init {
    /// The directory to make; it must be empty or missing
    #[arg(long, env = "TEQUIO_DIR", value_name = "DIR")]
    dir: PathBuf,
    /// Make genesis, checkpoint and one directory for each validator of a network on this machine
    #[arg(long)]
    devnet: bool,
    /// How many validators the network has; four survive the loss of one
    #[arg(long, value_name = "N", default_value_t = 4,
        value_parser = clap::value_parser!(u16).range(1..=64))]
    validators: u16,
    /// Name of the new network
    #[arg(long, value_name = "NAME", default_value = "devnet")]
    name: String,
    /// Blocks for which one seed fixes the order of leaders
    #[arg(long, value_name = "N", default_value_t = 64,
        value_parser = clap::value_parser!(u64).range(1..))]
    term_blocks: Height,
    /// Blocks for which one committee decides, a multiple of --term-blocks. The default is 64,
    /// which is two minutes without load; with --long-lived it is the least number that lasts an
    /// hour at full load
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(2..))]
    epoch_blocks: Option<Height>,
    /// For a long-lived network: epochs of at least an hour, so that the committee handovers of a
    /// month stay small
    #[arg(long, requires = "devnet")]
    long_lived: bool,
    /// Join the network of this checkpoint file, as a full node without a seat
    #[arg(long, value_name = "CHECKPOINT", requires = "genesis")]
    join: Option<PathBuf>,
    /// The network's genesis file
    #[arg(long, value_name = "GENESIS")]
    genesis: Option<PathBuf>,
    /// The checkpoint's BLAKE3 hash, from a source that you trust
    #[arg(long, value_name = "HASH")]
    checkpoint_hash: Option<Digest>,
    /// A node of the network, with /p2p/..., or the directory of one on this machine; may be
    /// repeated
    #[arg(long = "peer", value_name = "MULTIADDR|DIR")]
    peers: Vec<String>,
    /// Address to listen on; may be repeated
    #[arg(long, value_name = "MULTIADDR")]
    listen: Vec<String>,
    #[command(flatten)]
    passphrase: PassphraseFile,
    #[command(flatten)]
    json: Json,
}

impl Init {
    /// Makes the directory.
    pub fn execute(self) -> anyhow::Result<()> {
        let dir = self.dir.as_path();
        let is_new = !dir.exists();
        fs::create_dir_all(dir).with_context(|| {
            format!(
                "cannot make the directory {}: name one in a place where this user may write",
                dir.display()
            )
        })?;
        check_empty(dir)?;
        let made = match &self.join {
            Some(checkpoint) => self.join(checkpoint),
            None => self.fill(|| self.devnet()),
        };
        if made.is_err() && is_new {
            // Removes only an empty directory.
            let _ = fs::remove_dir(dir);
        }
        made
    }

    /// Writes a node's files, and removes them on failure. Fails and removes nothing if the
    /// directory is no longer empty: the user may have put files there during the passphrase
    /// prompt.
    fn fill(&self, write: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        check_empty(&self.dir)?;
        let written = write();
        if written.is_err() {
            // The directory was empty, so it now contains only an incomplete node. That node would
            // block the next attempt.
            clear(&self.dir);
        }
        written.map_err(|error| match error.is::<io::Error>() {
            true => error.context(format!(
                "cannot write in {}: check that the disk has room and that this user may write \
                 there",
                self.dir.display()
            )),
            false => error,
        })
    }

    fn join(&self, checkpoint: &Path) -> anyhow::Result<()> {
        let genesis = self.genesis.as_deref().context("--join needs --genesis")?;
        let read = |path: &Path| {
            files::read_capped(path, FILE_LEN_MAX).with_context(|| {
                format!(
                    "cannot read {}: give --join and --genesis the files of the network's operator",
                    path.display()
                )
            })
        };
        let (checkpoint_bytes, genesis_bytes) = (read(checkpoint)?, read(genesis)?);
        let location = || format!("{} cannot be used as the checkpoint", checkpoint.display());
        let opened = Checkpoint::open(&checkpoint_bytes, self.checkpoint_hash.as_ref(), now_ms());
        let (opened, _) = opened.with_context(location)?;
        let start = GenesisFile::decode(&genesis_bytes).and_then(|g| g.build_state());
        let start = start
            .with_context(|| format!("{} cannot be used as the genesis", genesis.display()))?;
        ensure!(
            start.chain == opened.header.chain,
            "{} and {} are of different networks: get both from the same source",
            genesis.display(),
            checkpoint.display()
        );
        if self.peers.is_empty() {
            bail!(
                "no --peer is given: give at least one node of the network, or the new node cannot \
                 connect to the network"
            );
        }
        let peers =
            self.peers.iter().map(|peer| join_peer(peer)).collect::<anyhow::Result<Vec<_>>>()?;
        let what = "the new node's keys";
        let source =
            PassphraseSource { file: self.passphrase.passphrase_file.as_deref(), new: true, what };
        let passphrase = source.read()?;
        let keys = Keys::generate()?;
        let mut config = Config { peers, ..Config::default() };
        if !self.listen.is_empty() {
            config.listen.clone_from(&self.listen);
        }
        config.passphrase_file =
            self.passphrase.passphrase_file.as_deref().map(std::path::absolute).transpose()?;
        self.fill(|| {
            keys.save(&self.dir.join(keys::FILE_NAME), &passphrase)?;
            files::write_atomic(&self.dir.join(GENESIS_FILE), &genesis_bytes, files::PUBLIC)?;
            files::write_atomic(&self.dir.join(CHECKPOINT_FILE), &checkpoint_bytes, files::PUBLIC)?;
            config.save(&self.dir)
        })?;
        let hash = Checkpoint::hash(&checkpoint_bytes);
        let object = json!({
            "event": "initialised", "dir": self.dir, "chain": start.chain.to_string(),
            "node": keys.id().to_string(),
            "peer_id": peer_id(&keys)?, "checkpoint_hash": hash.to_string(),
        });
        print(self.json, &object, || {
            format!(
                "node {} of network {}\ncheckpoint {hash}{}\nrun it: tequio run --dir {}",
                keys.id(),
                start.chain,
                if self.checkpoint_hash.is_some() {
                    ""
                } else {
                    " (compare this with the hash that you were given)"
                },
                self.dir.display()
            )
        });
        Ok(())
    }

    fn devnet(&self) -> anyhow::Result<()> {
        let (passphrase, passphrase_file) = self.devnet_passphrase()?;
        let members =
            (0..self.validators).map(|_| Keys::generate()).collect::<anyhow::Result<Vec<_>>>()?;
        let params = devnet_params(self.term_blocks, self.epoch_blocks());
        let genesis = devnet_genesis(&self.name, &members, params)?;
        let start = genesis.build_state()?;
        let trust_period_ms = start.params.trust_period_ms;
        let checkpoint =
            Checkpoint::new(start.header, None, start.committee.record().clone(), trust_period_ms)
                .encode();
        files::write_atomic(&self.dir.join(GENESIS_FILE), &genesis.encode(), files::PUBLIC)?;
        files::write_atomic(&self.dir.join(CHECKPOINT_FILE), &checkpoint, files::PUBLIC)?;
        let mut nodes = Vec::new();
        for (i, keys) in members.iter().enumerate() {
            let dir = self.dir.join(devnet_folder(i));
            fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
            keys.save(&dir.join(keys::FILE_NAME), &passphrase)?;
            let others = (0..members.len()).filter(|j| *j != i);
            let config = Config {
                listen: vec![format!("/ip4/{}/tcp/0", Ipv4Addr::LOCALHOST)],
                // A port that is free now may be taken when the node starts. Nodes of one machine
                // find each other by their directories instead.
                peers: others.map(|j| format!("../{}", devnet_folder(j))).collect(),
                http: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into(),
                passphrase_file: passphrase_file.clone(),
                ..Config::default()
            };
            config.save(&dir)?;
            nodes.push(json!({
                "dir": dir, "node": keys.id().to_string(), "peer_id": peer_id(keys)?,
            }));
        }
        let hash = Checkpoint::hash(&checkpoint);
        let object = json!({
            "event": "initialised", "dir": self.dir, "chain": start.chain.to_string(),
            "nodes": nodes,
            "genesis": self.dir.join(GENESIS_FILE), "checkpoint": self.dir.join(CHECKPOINT_FILE),
            "checkpoint_hash": hash.to_string(),
        });
        print(self.json, &object, || self.devnet_text(&nodes, &hash));
        Ok(())
    }

    /// The given value, or the default for the network's purpose.
    fn epoch_blocks(&self) -> Height {
        let default = if self.long_lived {
            EPOCH_MS_MIN.div_ceil(BLOCK_INTERVAL_MS_MIN)
        } else {
            EPOCH_BLOCKS
        };
        self.epoch_blocks.unwrap_or_else(|| default.next_multiple_of(self.term_blocks))
    }

    fn devnet_text(&self, nodes: &[Value], hash: &Digest) -> String {
        let run = nodes
            .iter()
            .filter_map(|n| n["dir"].as_str())
            .map(|dir| format!("  tequio run --dir {dir}\n"));
        format!("checkpoint {hash}\nrun each of them:\n{}", run.collect::<String>().trim_end())
    }

    /// The given passphrase, or a random one in a file beside the network, which is for
    /// experiments.
    fn devnet_passphrase(&self) -> anyhow::Result<(Passphrase, Option<PathBuf>)> {
        let given = self.passphrase.passphrase_file.as_deref();
        if given.is_some()
            || std::env::var_os(tequio_host::passphrase::PASSPHRASE_ENV)
                .is_some_and(|text| !text.is_empty())
        {
            let source = PassphraseSource { file: given, new: true, what: "the new keys" };
            return Ok((source.read()?, given.map(std::path::absolute).transpose()?));
        }
        let random = tequio_host::random::<16>()?;
        let passphrase = Zeroizing::new(hex::encode(random.as_slice()));
        files::write_atomic(
            &self.dir.join(PASSPHRASE_FILE_NAME),
            passphrase.as_bytes(),
            files::PRIVATE,
        )?;
        Ok((passphrase, Some(Path::new("..").join(PASSPHRASE_FILE_NAME))))
    }
}

/// Rejects a directory that is not empty; the error describes the directory.
fn check_empty(dir: &Path) -> anyhow::Result<()> {
    let mut entries = fs::read_dir(dir)
        .with_context(|| format!("cannot read the directory {}", dir.display()))?;
    if entries.next().is_none() {
        return Ok(());
    }
    let dir_text = dir.display();
    if dir.join(config::FILE_NAME).is_file() {
        bail!(
            "{dir_text} is a node's directory already: `tequio run --dir {dir_text}` runs it; a \
             new one needs another --dir"
        );
    }
    match config::node_directories(dir).first() {
        Some(node) => bail!(
            "{dir_text} holds a network already: `tequio run --dir {}` runs its first node; a new \
             one needs another --dir",
            node.display()
        ),
        None => bail!(
            "{dir_text} is not empty, and no node's: give --dir a directory that is empty or \
             missing"
        ),
    }
}

/// Removes the files that a failed `init` has left in a directory.
fn clear(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        let removed =
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        if let Err(error) = removed {
            tracing::warn!(
                path = %path.display(), %error,
                "cannot remove the files of the failed init"
            );
        }
    }
}

/// A peer as the new node's configuration names it: an address with its peer id, or an absolute
/// path.
fn join_peer(peer: &str) -> anyhow::Result<String> {
    match ConfiguredPeer::parse(Path::new(""), peer)? {
        ConfiguredPeer::Address(addr) => {
            ensure!(
                identity::node_of(&addr).is_some(),
                "--peer {peer} does not name the node that it leads to: add /p2p/ and the peer id, \
                 as that node prints it"
            );
            Ok(addr.to_string())
        }
        ConfiguredPeer::Directory(dir) => {
            let dir = std::path::absolute(dir)?;
            Ok(dir.to_str().with_context(|| format!("{peer} is no UTF-8"))?.to_owned())
        }
    }
}

/// Name of a validator's directory inside its network's directory.
fn devnet_folder(index: usize) -> String {
    format!("node{}", index + 1)
}

fn peer_id(keys: &Keys) -> anyhow::Result<String> {
    Ok(identity::peer_id(keys.id()).context("the key is not a point of the curve")?.to_string())
}

/// Parameters for a network whose nodes share one machine: short block times, long view timeouts.
fn devnet_params(term_blocks: Height, epoch_blocks: Height) -> Params {
    Params {
        block_interval_ms_max: 2_000,
        block_interval_ms_min: BLOCK_INTERVAL_MS_MIN,
        view_timeout_ms: 3_000,
        clock_skew_ms_max: 30_000,
        audit_blocks_min: 2,
        audit_blocks_max: 5_000,
        admission_bits: 14,
        mint_max: 10_000_000,
        trust_period_ms: 30 * 24 * 60 * 60 * 1000,
        leader_term_blocks: term_blocks,
        epoch_blocks,
        bond_min: DEVNET_BOND / 10,
        reputation_min: 0,
        // 1.5 times the trust period.
        unbonding_ms: 45 * 24 * 60 * 60 * 1000,
    }
}

fn devnet_genesis(name: &str, members: &[Keys], params: Params) -> anyhow::Result<GenesisFile> {
    ensure!(members.len() <= SEATS_MAX, "at most {SEATS_MAX} validators");
    ensure!(
        params.epoch_blocks.is_multiple_of(params.leader_term_blocks),
        "--epoch-blocks is {}, but must be a multiple of --term-blocks, which is {}",
        params.epoch_blocks,
        params.leader_term_blocks
    );
    let genesis = Genesis {
        name: name.try_into().with_context(|| format!("the --name {name:?} is too long"))?,
        time_ms: now_ms(),
        params,
        accounts: BoundedVec::truncated(
            members.iter().map(|k| (k.id(), DEVNET_BALANCE, DEVNET_BOND)),
        ),
        seats: BoundedVec::truncated(members.iter().map(|k| k.genesis_seat(DEVNET_BOND))),
    };
    let chain = genesis.chain();
    let possessions = members.iter().map(|k| k.voting.prove_possession(&chain, &k.id())).collect();
    Ok(GenesisFile::new(genesis, possessions)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        init: Init,
    }

    #[test]
    fn a_failed_init_removes_only_its_own_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        let init = Line::parse_from(["init", "--dir", path, "--devnet"]).init;
        let fail = || {
            fs::write(dir.path().join("keystore"), b"half")?;
            bail!("the disk is full")
        };
        assert!(init.fill(fail).is_err());
        assert!(files::is_empty(dir.path()));
        // A file that the user put there during the passphrase prompt.
        fs::write(dir.path().join("letter"), b"mine").unwrap();
        assert!(init.fill(fail).unwrap_err().to_string().contains("not empty"));
        assert_eq!(fs::read(dir.path().join("letter")).unwrap(), b"mine");
    }

    fn epoch_blocks(options: &[&str]) -> Height {
        let line = [["init", "--dir", "x", "--devnet"].as_slice(), options].concat();
        Line::parse_from(line).init.epoch_blocks()
    }

    #[test]
    fn an_epoch_of_a_long_lived_network_lasts_at_least_an_hour() {
        for term in ["64", "1000", "7"] {
            let blocks = epoch_blocks(&["--long-lived", "--term-blocks", term]);
            assert!(
                blocks * BLOCK_INTERVAL_MS_MIN >= EPOCH_MS_MIN
                    && blocks.is_multiple_of(term.parse().unwrap())
            );
        }
        assert_eq!(epoch_blocks(&[]), 64);
        assert_eq!(epoch_blocks(&["--long-lived", "--epoch-blocks", "128"]), 128);
    }
}
