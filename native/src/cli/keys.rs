//! `tequio keys`: shows a node's public keys, and moves its keys in sealed files only.

use super::{
    options::{Dir, Json, PassphraseFile},
    output::print,
};
use crate::{
    config::Config,
    keys::{self, Keys as NodeKeys},
};
use anyhow::{Context as _, ensure};
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::{Path, PathBuf};
use tequio_host::DirectoryLock;
use tequio_host::PassphraseSource;

/// Show, export and import a node's keys
#[derive(Debug, Args)]
pub struct Keys {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the public keys
    Show(Show),
    /// Write the keys into a file, sealed with a passphrase of its own
    Export(Export),
    /// Import keys from such a file. The node that exported them must never run again: two nodes
    /// with one key sign conflicting votes and lose their bond
    Import(Import),
}

#[derive(Debug, Args)]
struct Show {
    #[command(flatten)]
    dir: Dir,
    #[command(flatten)]
    passphrase: PassphraseFile,
    #[command(flatten)]
    json: Json,
}

#[derive(Debug, Args)]
struct Export {
    #[command(flatten)]
    show: Show,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// File with the new file's passphrase; by default the same passphrase
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Import {
    #[command(flatten)]
    show: Show,
    /// The file to read
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Replace existing keys
    #[arg(long)]
    force: bool,
}

impl Keys {
    /// Runs the subcommand.
    pub fn execute(self) -> anyhow::Result<()> {
        match self.command {
            Command::Show(show) => {
                let keys = NodeKeys::open(&show.keystore(), &show.passphrase()?)?;
                show.describe(&keys, "shown")
            }
            Command::Export(Export { show, out, new_passphrase_file }) => {
                ensure!(
                    !out.exists(),
                    "{} exists already: remove it, or give --out another name",
                    out.display()
                );
                let passphrase = show.passphrase()?;
                let keys = NodeKeys::open(&show.keystore(), &passphrase)?;
                let sealed_with = match &new_passphrase_file {
                    Some(file) => {
                        PassphraseSource { file: Some(file), new: true, what: "the export" }
                            .read()?
                    }
                    None => passphrase,
                };
                keys.save(&out, &sealed_with)?;
                show.describe(&keys, "exported")
            }
            Command::Import(Import { show, from, force }) => {
                ensure!(
                    show.dir.dir.is_dir(),
                    "there is no directory {}: make it with `tequio init` first",
                    show.dir.dir.display()
                );
                let _lock = DirectoryLock::take(&show.dir.dir)?;
                ensure!(
                    force || !show.keystore().exists(),
                    "{} has keys already: --force replaces them, and they are lost",
                    show.dir.dir.display()
                );
                let passphrase = show.passphrase()?;
                let keys = NodeKeys::open(&from, &passphrase)?;
                keys.save(&show.keystore(), &passphrase)?;
                show.describe(&keys, "imported")
            }
        }
    }
}

impl Show {
    fn keystore(&self) -> PathBuf {
        self.dir.dir.join(keys::FILE_NAME)
    }

    fn passphrase(&self) -> anyhow::Result<tequio_host::Passphrase> {
        let configured = Config::load(&self.dir.dir).ok().and_then(|(c, _)| c.passphrase_file);
        let configured = configured.map(|file| self.dir.dir.join(file));
        let file: Option<&Path> =
            self.passphrase.passphrase_file.as_deref().or(configured.as_deref());
        let what = format!("the keys in {}", self.dir.dir.display());
        PassphraseSource { file, new: false, what: &what }.read().map_err(Into::into)
    }

    fn describe(&self, keys: &NodeKeys, event: &str) -> anyhow::Result<()> {
        let peer = tequio_p2p::identity::peer_id(keys.id())
            .context("the key is not a point of the curve")?;
        let voting = hex::encode(keys.voting.public().0);
        let vrf = hex::encode(keys.vrf.public().0);
        let object = json!({
            "event": event, "node": keys.id().to_string(), "peer_id": peer.to_string(),
            "voting_key": voting,
            "vrf_key": vrf,
        });
        print(self.json, &object, || {
            format!("node    {}\npeer    {peer}\nvoting  {voting}\nvrf     {vrf}", keys.id())
        });
        Ok(())
    }
}
