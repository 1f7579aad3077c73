//! `config.toml` of a node's directory. Every option is also a flag and an environment variable of
//! `tequio run`. A flag overrides the variable, and the variable overrides the file. Unknown
//! options are rejected.

mod http;

pub use http::{HostName, HttpAddr, NotHostName, NotHttpAddr};

use anyhow::Context as _;
use clap::ValueEnum;
use serde::{Deserialize, Deserializer, Serialize};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};
use tequio_core::consensus::{Pipeline, VoteRouting};
use tequio_host::files;

/// An option that had another name in earlier versions. The old name still works, with a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RenamedOption {
    /// The old and the new key in the file.
    pub key: (&'static str, &'static str),
    /// The old and the new flag of `tequio run`.
    pub flag: (&'static str, &'static str),
    /// The old and the new environment variable, if they differ.
    pub variable: Option<(&'static str, &'static str)>,
}

/// All renamed options. The old keys are aliases of the fields of [`Config`], the old flags are
/// aliases of the flags.
pub const RENAMED_OPTIONS: [RenamedOption; 6] = [
    RenamedOption {
        key: ("external", "external_addresses"),
        flag: ("--external", "--external-address"),
        variable: Some(("TEQUIO_EXTERNAL", "TEQUIO_EXTERNAL_ADDRESSES")),
    },
    RenamedOption {
        key: ("circuits", "relay_circuits"),
        flag: ("--circuits", "--relay-circuits"),
        // TEQUIO_RELAY_CIRCUITS is a variable of the program `tequio-relay`.
        variable: None,
    },
    RenamedOption {
        key: ("votes_to", "vote_routing"),
        flag: ("--votes-to", "--vote-routing"),
        variable: Some(("TEQUIO_VOTES_TO", "TEQUIO_VOTE_ROUTING")),
    },
    RenamedOption {
        key: ("pipeline", "pipelining"),
        flag: ("--pipeline", "--pipelining"),
        variable: Some(("TEQUIO_PIPELINE", "TEQUIO_PIPELINING")),
    },
    RenamedOption {
        key: ("keep_blocks", "retained_blocks"),
        flag: ("--keep-blocks", "--retained-blocks"),
        variable: Some(("TEQUIO_KEEP_BLOCKS", "TEQUIO_RETAINED_BLOCKS")),
    },
    RenamedOption {
        key: ("snapshot_when_behind", "state_sync_threshold"),
        flag: ("--snapshot-when-behind", "--state-sync-threshold"),
        variable: Some(("TEQUIO_SNAPSHOT_WHEN_BEHIND", "TEQUIO_STATE_SYNC_THRESHOLD")),
    },
];

/// Name of the file in a node's directory.
pub const FILE_NAME: &str = "config.toml";
const LEN_MAX: usize = 256 * 1024;

/// The configuration of a node by its operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Addresses to listen on.
    pub listen: Vec<String>,
    /// Addresses announced to other nodes, if they differ from those listened on.
    #[serde(alias = "external")]
    pub external_addresses: Vec<String>,
    /// Nodes to stay connected with: addresses, each with `/p2p/...`, or directories of nodes on
    /// this machine.
    pub peers: Vec<String>,
    /// Relays through which other nodes reach this node, each with `/p2p/...`.
    pub relays: Vec<String>,
    /// Concurrent circuits between other peers that this node carries; 0 for none.
    #[serde(alias = "circuits")]
    pub relay_circuits: usize,
    /// Address of the HTTP API. Port 0 lets the system choose.
    pub http: HttpAddr,
    /// Host names, besides `localhost` and IP addresses, that requests to the HTTP API may use.
    pub http_hosts: Vec<HostName>,
    /// Threads that compute for jobs.
    pub workers: usize,
    /// Recipients of this node's votes while it has a seat.
    #[serde(alias = "votes_to")]
    pub vote_routing: VoteRoutingConfig,
    /// Whether the node opens the next height while one is being decided.
    #[serde(alias = "pipeline", deserialize_with = "deserialize_pipelining")]
    pub pipelining: Pipelining,
    /// Newest blocks to keep; 0 keeps all.
    #[serde(alias = "keep_blocks")]
    pub retained_blocks: u64,
    /// A node that is more blocks behind than this fetches a whole state instead of the blocks.
    #[serde(alias = "snapshot_when_behind")]
    pub state_sync_threshold: u64,
    /// Log filter, such as `info` or `tequio=debug`; the variable RUST_LOG overrides it.
    pub log: String,
    /// File with the keystore's passphrase; a relative path is relative to the node's directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passphrase_file: Option<PathBuf>,
}

/// Recipients of votes: see `docs/consensus/pipelining-and-aggregation.md`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum VoteRoutingConfig {
    /// To every member: for a committee of distant sites
    #[default]
    All,
    /// To the leader, which aggregates them: for a committee at one site
    #[serde(alias = "collectors")]
    #[value(alias = "collectors")]
    Leader,
}

impl From<VoteRoutingConfig> for VoteRouting {
    fn from(votes: VoteRoutingConfig) -> Self {
        match votes {
            VoteRoutingConfig::All => Self::All,
            VoteRoutingConfig::Leader => Self::Leader,
        }
    }
}

/// Pipelining of two heights: see `docs/consensus/pipelining-and-aggregation.md`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Pipelining {
    /// Where pipelining hardly lengthens the time of a block
    #[default]
    #[value(alias = "true")]
    Auto,
    /// Wherever consensus allows it
    On,
    /// Never
    #[value(alias = "false")]
    Off,
}

/// Reads the option. Earlier versions wrote `true`, their default (now `auto`), or `false`.
fn deserialize_pipelining<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Pipelining, D::Error> {
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
            external_addresses: Vec::new(),
            peers: Vec::new(),
            relays: Vec::new(),
            relay_circuits: 32,
            http: SocketAddr::from(([127, 0, 0, 1], 4811)).into(),
            http_hosts: Vec::new(),
            workers: 1,
            vote_routing: VoteRoutingConfig::All,
            pipelining: Pipelining::default(),
            retained_blocks: 0,
            state_sync_threshold: 4096,
            log: crate::log::DEFAULT.to_owned(),
            passphrase_file: None,
        }
    }
}

impl Config {
    /// Reads the configuration from a node's directory. Also returns the options that the file has
    /// under their old names.
    pub fn load(dir: &Path) -> anyhow::Result<(Self, Vec<RenamedOption>)> {
        let path = dir.join(FILE_NAME);
        let bytes =
            files::read_capped(&path, LEN_MAX).map_err(|error| unreadable(dir, &path, error))?;
        let invalid = || {
            format!(
                "{} is not a valid configuration; correct the line (docs/operating.md lists the \
                 options)",
                path.display()
            )
        };
        let text = String::from_utf8(bytes)
            .map_err(|_| anyhow::anyhow!("it is not UTF-8 text"))
            .with_context(invalid)?;
        let renamed = renamed_options(&text).with_context(invalid)?;
        Ok((toml::from_str(&text).with_context(invalid)?, renamed))
    }

    /// Writes the configuration into a node's directory.
    pub fn save(&self, dir: &Path) -> anyhow::Result<()> {
        let path = dir.join(FILE_NAME);
        let text = toml::to_string_pretty(self)?;
        files::write_atomic(&path, text.as_bytes(), files::PUBLIC)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// The options that a configuration has under their old names. The old and the new name of an
/// option together are an error. Text that is not TOML has none: the parser of the configuration
/// reports the line.
fn renamed_options(text: &str) -> anyhow::Result<Vec<RenamedOption>> {
    let table: toml::Table = toml::from_str(text).unwrap_or_default();
    let mut found = Vec::new();
    for option in RENAMED_OPTIONS {
        let (old, new) = option.key;
        if table.contains_key(old) {
            anyhow::ensure!(
                !table.contains_key(new),
                "it has both `{old}` and `{new}`, its new name: remove `{old}`"
            );
            found.push(option);
        }
    }
    Ok(found)
}

/// The error for an unreadable configuration. The usual cause is a wrong directory.
fn unreadable(dir: &Path, path: &Path, error: std::io::Error) -> anyhow::Error {
    let init = format!("make one with `tequio init --dir {} ...`", dir.display());
    if dir.is_file() {
        return anyhow::anyhow!("{} is a file, not a directory: check --dir", dir.display());
    }
    if error.kind() == std::io::ErrorKind::PermissionDenied {
        return anyhow::Error::new(error).context(format!(
            "cannot read {}: run the command as the node's user",
            path.display()
        ));
    }
    if error.kind() != std::io::ErrorKind::NotFound {
        return anyhow::Error::new(error).context(format!("cannot read {}", path.display()));
    }
    let found = node_directories(dir);
    match (dir.is_dir(), found.first()) {
        (false, _) => {
            anyhow::anyhow!("there is no directory {}: check --dir, or {init}", dir.display())
        }
        (true, Some(node)) => anyhow::anyhow!(
            "{} is the directory of a network, not of a node: give one of its nodes, such as --dir \
             {}",
            dir.display(),
            node.display()
        ),
        (true, None) if files::is_empty(dir) => {
            anyhow::anyhow!("{} is empty, so no node's directory: {init}", dir.display())
        }
        (true, None) => anyhow::anyhow!(
            "{} is not a node's directory: it has no {FILE_NAME}. Check --dir; for a new node \
             name a directory that is empty or missing, and `tequio init` fills it",
            dir.display()
        ),
    }
}

/// Most entries of a directory that [`node_directories`] examines.
const NODE_DIRECTORIES_MAX: usize = 1024;

/// The directories in `dir` that have a node's configuration, sorted by name; at most
/// `NODE_DIRECTORIES_MAX`.
pub fn node_directories(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    let is_node = |path: &PathBuf| path.join(FILE_NAME).is_file();
    let mut found: Vec<PathBuf> =
        entries.take(NODE_DIRECTORIES_MAX).map(|entry| entry.path()).filter(is_node).collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_file_and_refuses_unknown_options() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            vote_routing: VoteRoutingConfig::Leader,
            pipelining: Pipelining::Off,
            peers: vec!["/ip4/127.0.0.1/tcp/1".into()],
            workers: 3,
            http: "localhost:4811".parse().unwrap(),
            http_hosts: vec!["node1".parse().unwrap()],
            log: "tequio=debug".into(),
            ..Config::default()
        };
        config.save(dir.path()).unwrap();
        assert_eq!(Config::load(dir.path()).unwrap(), (config, Vec::new()));
        for (written, pipelining) in
            [("true", Pipelining::Auto), ("false", Pipelining::Off), ("\"on\"", Pipelining::On)]
        {
            std::fs::write(dir.path().join(FILE_NAME), format!("pipelining = {written}\n"))
                .unwrap();
            let expected = Config { pipelining, ..Config::default() };
            assert_eq!(Config::load(dir.path()).unwrap().0, expected);
        }
        std::fs::write(dir.path().join(FILE_NAME), "pipelining = \"sometimes\"\n").unwrap();
        let error = format!("{:#}", Config::load(dir.path()).unwrap_err());
        assert!(error.contains("expected \"auto\", \"on\" or \"off\""), "{error}");
        std::fs::write(dir.path().join(FILE_NAME), "worker = 3\n").unwrap();
        let error = format!("{:#}", Config::load(dir.path()).unwrap_err());
        assert!(error.contains("unknown field `worker`"), "{error}");
    }

    #[test]
    fn reads_old_names_reports_them_and_refuses_them_beside_the_new_ones() {
        let dir = tempfile::tempdir().unwrap();
        let load = |text: &str| {
            std::fs::write(dir.path().join(FILE_NAME), text).unwrap();
            Config::load(dir.path())
        };
        let old = "external = [\"/ip4/203.0.113.7/tcp/4810\"]\ncircuits = 7\nvotes_to = \
                   \"collectors\"\n\
                   pipeline = \"off\"\nkeep_blocks = 300\nsnapshot_when_behind = 8\n";
        let config = Config {
            external_addresses: vec!["/ip4/203.0.113.7/tcp/4810".into()],
            relay_circuits: 7,
            vote_routing: VoteRoutingConfig::Leader,
            pipelining: Pipelining::Off,
            retained_blocks: 300,
            state_sync_threshold: 8,
            ..Config::default()
        };
        assert_eq!(load(old).unwrap(), (config.clone(), RENAMED_OPTIONS.to_vec()));
        // The new names need no warning.
        config.save(dir.path()).unwrap();
        assert_eq!(Config::load(dir.path()).unwrap(), (config, Vec::new()));
        let both = load("keep_blocks = 300\nretained_blocks = 300\n").unwrap_err();
        let both = format!("{both:#}");
        assert!(both.contains("`keep_blocks`") && both.contains("`retained_blocks`"), "{both}");
        let wrong = format!("{:#}", load("keep_blocks = \"many\"\n").unwrap_err());
        assert!(wrong.contains("line 1"), "{wrong}");
    }
}
