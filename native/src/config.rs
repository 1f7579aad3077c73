//! `config.toml` of a node's directory. Every option is also a flag and an environment variable of `tequio run`;
//! a flag wins over the variable, the variable over the file. Unknown options are refused.

use crate::files;
use anyhow::Context as _;
use clap::ValueEnum;
use serde::{Deserialize, Deserializer, Serialize};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};
use tequio_core::consensus::{Pipeline, VotesTo};

/// Name of the file in a node's directory.
pub const FILE_NAME: &str = "config.toml";
const LEN_MAX: usize = 256 * 1024;

/// What an operator decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Addresses to listen on.
    pub listen: Vec<String>,
    /// Addresses announced to others, where they differ from those listened on.
    pub external: Vec<String>,
    /// Nodes to stay connected with: addresses, each with `/p2p/...`, or directories of nodes on this machine.
    pub peers: Vec<String>,
    /// Relays to be reachable through, each with `/p2p/...`.
    pub relays: Vec<String>,
    /// Circuits between other peers that this node carries at once; 0 for none.
    pub circuits: usize,
    /// Where the HTTP API listens. Port 0 lets the system choose.
    pub http: SocketAddr,
    /// Threads that compute for jobs.
    pub workers: usize,
    /// Where this node's votes go while it has a seat.
    pub votes_to: Votes,
    /// Whether it opens the next height while one is being decided; with `on` it does not rest where processors are contended either.
    #[serde(deserialize_with = "pipelining")]
    pub pipeline: Pipelining,
    /// Newest blocks that stay here; 0 for all of them.
    pub keep_blocks: u64,
    /// A node that is more blocks behind than this fetches a state whole instead.
    pub snapshot_when_behind: u64,
    /// File with the keystore's passphrase; a relative path starts at the node's directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passphrase_file: Option<PathBuf>,
}

/// Where votes go: see `docs/consensus.md`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Votes {
    /// To every member: for a committee that stands far apart
    #[default]
    All,
    /// To the leader, who adds them up: for a committee of one site
    Collectors,
}

impl From<Votes> for VotesTo {
    fn from(votes: Votes) -> Self {
        match votes {
            Votes::All => Self::All,
            Votes::Collectors => Self::Collectors,
        }
    }
}

/// Two heights at a time: see `docs/consensus.md`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Pipelining {
    /// Where blocks take hardly longer by it
    #[default]
    #[value(alias = "true")]
    Auto,
    /// Wherever it is allowed
    On,
    /// Never
    #[value(alias = "false")]
    Off,
}

/// Earlier versions wrote `true`, which was their default as `auto` is now, or `false`.
fn pipelining<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Pipelining, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected \"auto\", \"on\" or \"off\"")]
    enum Written {
        Name(Pipelining),
        Flag(bool),
    }
    Ok(match Written::deserialize(deserializer)? {
        Written::Name(pipelining) => pipelining,
        Written::Flag(true) => Pipelining::Auto,
        Written::Flag(false) => Pipelining::Off,
    })
}

impl From<Pipelining> for Pipeline {
    fn from(pipelining: Pipelining) -> Self {
        match pipelining {
            Pipelining::Auto => Self::Auto,
            Pipelining::On => Self::On,
            Pipelining::Off => Self::Off,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec!["/ip4/0.0.0.0/tcp/4810".into(), "/ip4/0.0.0.0/udp/4810/quic-v1".into()],
            external: Vec::new(),
            peers: Vec::new(),
            relays: Vec::new(),
            circuits: 32,
            http: SocketAddr::from(([127, 0, 0, 1], 4811)),
            workers: 1,
            votes_to: Votes::All,
            pipeline: Pipelining::default(),
            keep_blocks: 0,
            snapshot_when_behind: 4096,
            passphrase_file: None,
        }
    }
}

impl Config {
    /// Reads the file of a directory.
    pub fn load(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(FILE_NAME);
        let place = || format!("cannot read {}; `tequio init` makes it", path.display());
        let bytes = files::read_capped(&path, LEN_MAX).with_context(place)?;
        let text = String::from_utf8(bytes).with_context(place)?;
        toml::from_str(&text).with_context(|| format!("{} is not valid", path.display()))
    }

    /// Writes the file of a directory.
    pub fn save(&self, dir: &Path) -> anyhow::Result<()> {
        let path = dir.join(FILE_NAME);
        let text = toml::to_string_pretty(self)?;
        files::write_atomic(&path, text.as_bytes(), files::PUBLIC)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_file_and_refuses_unknown_options() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            votes_to: Votes::Collectors,
            pipeline: Pipelining::Off,
            peers: vec!["/ip4/127.0.0.1/tcp/1".into()],
            workers: 3,
            ..Config::default()
        };
        config.save(dir.path()).unwrap();
        assert_eq!(Config::load(dir.path()).unwrap(), config);
        for (written, pipeline) in [("true", Pipelining::Auto), ("false", Pipelining::Off), ("\"on\"", Pipelining::On)]
        {
            std::fs::write(dir.path().join(FILE_NAME), format!("pipeline = {written}\n")).unwrap();
            assert_eq!(Config::load(dir.path()).unwrap(), Config { pipeline, ..Config::default() });
        }
        std::fs::write(dir.path().join(FILE_NAME), "pipeline = \"sometimes\"\n").unwrap();
        let error = format!("{:#}", Config::load(dir.path()).unwrap_err());
        assert!(error.contains("expected \"auto\", \"on\" or \"off\""), "{error}");
        std::fs::write(dir.path().join(FILE_NAME), "worker = 3\n").unwrap();
        let error = format!("{:#}", Config::load(dir.path()).unwrap_err());
        assert!(error.contains("unknown field `worker`"), "{error}");
    }
}
