//! `tequio kb`: reads the knowledge base.

use super::{
    client::{Client, segment},
    options::{Dir, Json},
    output::print,
};
use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;
use std::{io::Write, path::PathBuf};
use tequio_core::{
    content::{
        Cid,
        object::{Block, Contents, contents},
    },
    types::{Unverified, Verified},
};
use tequio_host::files;

/// Read the knowledge base
#[derive(Debug, Args)]
pub struct Kb {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read an object by its CID, or the object to which a ref points
    Get(Get),
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  tequio kb get --dir net/node1 models/JOB -o model.cbor")]
struct Get {
    #[command(flatten)]
    dir: Dir,
    /// A CID, or the name of a ref
    what: String,
    /// Write into this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Join contents that are split into parts
    #[arg(long)]
    contents: bool,
    #[command(flatten)]
    json: Json,
}

impl Kb {
    /// Runs the subcommand.
    pub fn execute(self) -> anyhow::Result<()> {
        let Command::Get(get) = self.command;
        let client = Client::of(&get.dir.dir)?;
        let cid = match get.what.parse::<Cid>() {
            Ok(cid) => cid,
            Err(_) => {
                let found = client.json(&format!("/v1/refs/{}", segment(&get.what)?))?;
                found["cid"]
                    .as_str()
                    .and_then(|c| c.parse().ok())
                    .context("the ref points to no CID")?
            }
        };
        let block = fetch(&client, cid)?;
        let bytes = if get.contents { join(&client, block)? } else { block.bytes.clone() };
        match &get.output {
            Some(path) => {
                files::write_atomic(path, &bytes, files::PUBLIC).with_context(|| {
                    format!("cannot write {}: give --output another path", path.display())
                })?;
                let object = json!({"cid": cid.to_string(), "bytes": bytes.len(), "output": path});
                print(get.json, &object, || format!("{cid}: {} bytes", bytes.len()));
            }
            None => std::io::stdout().lock().write_all(&bytes)?,
        }
        Ok(())
    }
}

/// Fetches a block and checks it against its CID.
pub fn fetch(client: &Client, cid: Cid) -> anyhow::Result<Verified<Block>> {
    let bytes = client.bytes(&format!("/v1/objects/{cid}"))?;
    let bytes = bytes.with_context(|| {
        format!(
            "the node of {} does not have object {cid}: ask another node of the network",
            client.dir().display()
        )
    })?;
    Ok(Unverified::new(Block { cid, bytes }).verify()?)
}

/// Fetches contents and joins their parts.
pub fn join(client: &Client, block: Verified<Block>) -> anyhow::Result<Vec<u8>> {
    Ok(match contents(block)? {
        Contents::Whole(bytes) => bytes,
        Contents::Parts { parts, .. } => {
            let mut whole = Vec::new();
            for part in parts {
                whole.extend_from_slice(&fetch(client, part)?.bytes);
            }
            whole
        }
    })
}
