//! `tequio checkpoint`: exports fresh checkpoints from a running node, shows checkpoint files, and
//! checks a file against an older one. A checkpoint expires after its trust period. An unexpired
//! checkpoint leads to newer ones along the committee handovers.

use super::{
    client::Client,
    handovers,
    options::Json,
    output::{cannot_write, print},
    trust::{self, Root, TrustOptions},
};
use crate::node::{CHECKPOINT_FILE, machine::now_ms, read_public};
use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tequio_core::{
    ledger::{Checkpoint, genesis::FILE_LEN_MAX},
    light::{LightClient, handover::HandoverFile},
    types::{Digest, TimeMs, Unverified},
    wire::light::FinalHeader,
};
use tequio_host::files;

/// Make, show, check and pin checkpoints, from which verification and new nodes start
#[derive(Debug, Args)]
pub struct CheckpointCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a fresh checkpoint of a running node, verified from an older one
    Export(Export),
    /// Show the contents of a checkpoint file, without verifying them
    Show(Show),
    /// Check a checkpoint file against an older one along the committee handovers between them
    Verify(Verify),
    /// Store a checkpoint as the root of trust of its network, for `tequio verify` and `tequio
    /// checkpoint verify`
    Pin(Pin),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tequio checkpoint export --dir node --out checkpoint.bin
  tequio checkpoint export --dir node --out node/checkpoint.bin --replace

It starts from --checkpoint, or from the checkpoint.bin of the node's directory, and follows the
committee handovers to the newest block. Where both have expired,
--trust-node takes the node's checkpoint without verifying it.")]
struct Export {
    /// The directory of the running node
    #[arg(long, env = "TEQUIO_DIR", value_name = "DIR")]
    dir: PathBuf,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Overwrite the file
    #[arg(long)]
    replace: bool,
    /// Write the committee handovers from the root to the new checkpoint into this file, for
    /// verifiers that have the root
    #[arg(long, value_name = "FILE")]
    handovers: Option<PathBuf>,
    /// The checkpoint to start from; by default checkpoint.bin of the node's directory
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// BLAKE3 hash of the checkpoint to start from, from a source that you trust
    #[arg(long, value_name = "HASH")]
    checkpoint_hash: Option<Digest>,
    /// Take the node's checkpoint without verifying it. For a node of your own whose
    /// checkpoint.bin has expired
    #[arg(long, conflicts_with_all = ["checkpoint", "checkpoint_hash", "handovers"])]
    trust_node: bool,
    #[command(flatten)]
    json: Json,
}

#[derive(Debug, Args)]
struct Show {
    /// The checkpoint file
    file: PathBuf,
    #[command(flatten)]
    json: Json,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tequio checkpoint verify new.bin --dir node
  tequio checkpoint verify new.bin --checkpoint old.bin --handovers handovers.bin

The handovers come from --handovers, or from the node that runs on --dir. Without --checkpoint and
--dir the pinned checkpoint
of the network is the root.")]
struct Verify {
    /// The checkpoint file
    file: PathBuf,
    #[command(flatten)]
    trust: TrustOptions,
    /// Committee handovers: a file of `tequio checkpoint export --handovers`, or handovers.bin of
    /// an exported model
    #[arg(long, value_name = "FILE")]
    handovers: Option<PathBuf>,
    /// Pin the file if it is valid
    #[arg(long)]
    pin: bool,
    #[command(flatten)]
    json: Json,
}

#[derive(Debug, Args)]
struct Pin {
    /// The checkpoint file
    file: PathBuf,
    /// Its BLAKE3 hash, from a source that you trust
    #[arg(long, value_name = "HASH")]
    checkpoint_hash: Digest,
    #[command(flatten)]
    json: Json,
}

impl CheckpointCommand {
    /// Runs the subcommand.
    pub fn execute(self) -> anyhow::Result<()> {
        match self.command {
            Command::Export(export) => export.execute(),
            Command::Show(show) => {
                let bytes = read(&show.file)?;
                print_checkpoint(show.json, "shown", &bytes, json!({}))
                    .with_context(|| show.file.display().to_string())
            }
            Command::Verify(verify) => verify.execute(),
            Command::Pin(pin) => pin.execute(),
        }
    }
}

impl Export {
    fn execute(self) -> anyhow::Result<()> {
        ensure!(
            self.replace || !self.out.exists(),
            "{} exists already; --replace overwrites it",
            self.out.display()
        );
        let client = Client::of(&self.dir)?;
        let newest = client.bytes("/v1/checkpoint")?.context("the node has no checkpoint")?;
        let now_ms = now_ms();
        let mut more = json!({"out": self.out});
        let bytes = if self.trust_node {
            // Checks only the format and the age.
            LightClient::start(&newest, None, now_ms)?;
            more["root"] = json!("the node, not verified");
            newest
        } else {
            let root = self.root()?;
            let mut light = root.start(self.checkpoint_hash.as_ref(), now_ms).context(
                "cannot start from this checkpoint; name a newer one with --checkpoint, or take \
                 the node's without verifying it, with --trust-node",
            )?;
            more["root"] = json!({"checkpoint": root.source, "hash": root.hash().to_string()});
            let newest = trust::open(&newest)?;
            trust::same_chain(light.chain(), &newest.header.chain)?;
            let epoch = newest.committee.epoch;
            let followed = handovers::follow(&client, &mut light, epoch, now_ms)?;
            agrees(&mut light, &newest, now_ms)?;
            if let Some(path) = &self.handovers {
                let file = HandoverFile::new(followed)?.encode();
                files::write_atomic(path, &file, files::PUBLIC)
                    .with_context(|| cannot_write(path))?;
            }
            light.checkpoint().encode()
        };
        files::write_atomic(&self.out, &bytes, files::PUBLIC)
            .with_context(|| cannot_write(&self.out))?;
        print_checkpoint(self.json, "exported", &bytes, more)
    }

    fn root(&self) -> anyhow::Result<Root> {
        match &self.checkpoint {
            Some(path) => Root::read(path),
            None => {
                let bytes = read_public(&self.dir, CHECKPOINT_FILE)?;
                Ok(Root { bytes, source: format!("{CHECKPOINT_FILE} of {}", self.dir.display()) })
            }
        }
    }
}

impl Verify {
    fn execute(self) -> anyhow::Result<()> {
        let bytes = read(&self.file)?;
        let candidate = trust::open(&bytes).with_context(|| self.file.display().to_string())?;
        let chain = candidate.header.chain;
        let root = self.trust.root(&chain)?.with_context(|| {
            format!(
                "no root of trust: name an older checkpoint with --checkpoint or --dir, or pin one \
                 of network {chain}"
            )
        })?;
        let now_ms = now_ms();
        let mut light = root.start(self.trust.checkpoint_hash.as_ref(), now_ms)?;
        trust::same_chain(light.chain(), &chain)?;
        self.follow(&mut light, candidate.committee.epoch, now_ms)?;
        agrees(&mut light, &candidate, now_ms).with_context(|| self.file.display().to_string())?;
        let mut more =
            json!({"root": {"checkpoint": root.source, "hash": root.hash().to_string()}});
        if self.pin {
            more["pinned"] = json!(trust::pin(&bytes, &chain)?);
        }
        print_checkpoint(self.json, "verified", &bytes, more)
    }

    fn follow(&self, light: &mut LightClient, epoch: u64, now_ms: TimeMs) -> anyhow::Result<()> {
        if light.committee().epoch() >= epoch {
            return Ok(());
        }
        match (&self.handovers, &self.trust.dir) {
            (Some(path), _) => {
                handovers::follow_given(light, handovers::read(path)?, epoch, now_ms)
            }
            (None, Some(dir)) => {
                handovers::follow(&Client::of(dir)?, light, epoch, now_ms).map(drop)
            }
            (None, None) => bail!(
                "the checkpoint is {} epochs after the root: give the committee handovers with \
                 --handovers FILE, or a running node with --dir DIR",
                epoch - light.committee().epoch()
            ),
        }
    }
}

impl Pin {
    fn execute(self) -> anyhow::Result<()> {
        let bytes = read(&self.file)?;
        let location = || self.file.display().to_string();
        let (checkpoint, _) = Checkpoint::open(&bytes, Some(&self.checkpoint_hash), now_ms())
            .with_context(location)?;
        let path = trust::pin(&bytes, &checkpoint.header.chain)?;
        print_checkpoint(self.json, "pinned", &bytes, json!({"pinned": path}))
    }
}

/// Whether a checkpoint is on the chain that a light client has followed to the checkpoint's epoch.
/// Advances the client's head to the checkpoint.
fn agrees(light: &mut LightClient, checkpoint: &Checkpoint, now_ms: TimeMs) -> anyhow::Result<()> {
    let Checkpoint { header, certificate, committee, trust_period_ms, .. } = checkpoint;
    ensure!(
        committee.epoch >= light.committee().epoch(),
        "it is of epoch {}, before the root of trust, which is of epoch {}",
        committee.epoch,
        light.committee().epoch()
    );
    ensure!(
        committee.epoch == light.committee().epoch(),
        "the committee handovers lead to epoch {}, and it is of epoch {}",
        light.committee().epoch(),
        committee.epoch
    );
    ensure!(
        committee.digest() == light.committee().record().digest(),
        "its committee is not the one that the handovers lead to"
    );
    ensure!(
        *trust_period_ms == light.checkpoint().trust_period_ms,
        "it claims another trust period than the root"
    );
    let final_header = FinalHeader { header: header.clone(), certificate: certificate.clone() };
    light.follow(Unverified::new(final_header), now_ms)?;
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    files::read_capped(path, FILE_LEN_MAX).with_context(|| {
        format!(
            "cannot read the checkpoint {}: name a file that this user may read",
            path.display()
        )
    })
}

/// Prints the contents of a checkpoint file and the fields of `more`.
fn print_checkpoint(json: Json, event: &str, bytes: &[u8], more: Value) -> anyhow::Result<()> {
    let Checkpoint { header, committee, trust_period_ms, .. } = trust::open(bytes)?;
    let age_ms = now_ms().saturating_sub(header.time_ms);
    let until_ms = header.time_ms.saturating_add(trust_period_ms);
    let is_expired = age_ms > trust_period_ms;
    let mut object = json!({
        "event": event, "checkpoint_hash": Checkpoint::hash(bytes).to_string(),
        "chain": header.chain.to_string(),
        "height": header.height, "epoch": committee.epoch, "seats": committee.seats.len(),
        "time": trust::date(header.time_ms), "age_ms": age_ms,
        "trusted_until": trust::date(until_ms),
        "expired": is_expired,
    });
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
    print(json, &object, || {
        let expired = if is_expired { " (expired)" } else { "" };
        format!(
            "checkpoint {}\nnetwork {}\nheight {} of {}, {} ago; epoch {} with {} seats\nmay be \
             trusted until {}{expired}",
            Checkpoint::hash(bytes),
            header.chain,
            header.height,
            trust::date(header.time_ms),
            trust::age(age_ms),
            committee.epoch,
            committee.seats.len(),
            trust::date(until_ms)
        ) + &match (event, object["root"]["hash"].as_str()) {
            ("shown", _) => "\nnot verified: compare the hash with one that you trust".to_owned(),
            (_, Some(root)) => format!("\n{event}, from checkpoint {root} on"),
            (_, None) => format!("\n{event}"),
        }
    });
    Ok(())
}
