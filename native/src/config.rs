//! `config.toml` of a node's directory. Every option is also a flag and an environment variable of
//! `tequio run`. A flag overrides the variable, and the variable overrides the file. Unknown
//! options are rejected.

use anyhow::Context as _;
use clap::ValueEnum;
use serde::{Deserialize, Deserializer, Serialize};
use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
};
use tequio_core::consensus::{Pipeline, VoteRouting};
use tequio_host::files;

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
    pub external: Vec<String>,
    /// Nodes to stay connected with: addresses, each with `/p2p/...`, or directories of nodes on
    /// this machine.
    pub peers: Vec<String>,
    /// Relays through which other nodes reach this node, each with `/p2p/...`.
    pub relays: Vec<String>,
    /// Concurrent circuits between other peers that this node carries; 0 for none.
    pub circuits: usize,
    /// Address of the HTTP API. Port 0 lets the system choose.
    pub http: HttpAddr,
    /// Host names, besides `localhost` and IP addresses, that requests to the HTTP API may use.
    pub http_hosts: Vec<HostName>,
    /// Threads that compute for jobs.
    pub workers: usize,
    /// Recipients of this node's votes while it has a seat.
    pub votes_to: VoteRoutingConfig,
    /// Whether the node opens the next height while one is being decided. With `on` it does not
    /// delay proposals where processors are contended either.
    #[serde(deserialize_with = "pipelining")]
    pub pipeline: Pipelining,
    /// Newest blocks to keep; 0 keeps all.
    pub keep_blocks: u64,
    /// A node that is more blocks behind than this fetches a whole state instead of the blocks.
    pub snapshot_when_behind: u64,
    /// Log filter, such as `info` or `tequio=debug`; the variable RUST_LOG overrides it.
    pub log: String,
    /// File with the keystore's passphrase; a relative path is relative to the node's directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passphrase_file: Option<PathBuf>,
}

/// Recipients of votes: see `docs/consensus.md`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum VoteRoutingConfig {
    /// To every member: for a committee of distant sites
    #[default]
    All,
    /// To the leader, which aggregates them: for a committee at one site
    Collectors,
}

impl From<VoteRoutingConfig> for VoteRouting {
    fn from(votes: VoteRoutingConfig) -> Self {
        match votes {
            VoteRoutingConfig::All => Self::All,
            VoteRoutingConfig::Collectors => Self::Collectors,
        }
    }
}

/// Pipelining of two heights: see `docs/consensus.md`.
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
            http: SocketAddr::from(([127, 0, 0, 1], 4811)).into(),
            http_hosts: Vec::new(),
            workers: 1,
            votes_to: VoteRoutingConfig::All,
            pipeline: Pipelining::default(),
            keep_blocks: 0,
            snapshot_when_behind: 4096,
            log: crate::log::DEFAULT.to_owned(),
            passphrase_file: None,
        }
    }
}

/// `HOST:PORT`, where the host is a name or an IP address. An IPv6 address is in brackets. A name
/// is resolved when the socket is opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HttpAddr(String);

impl HttpAddr {
    /// The text, in the form that `TcpListener::bind` takes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The error for a text that is not an [`HttpAddr`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not HOST:PORT; write for example 127.0.0.1:4811, [::1]:4811 or localhost:4811")]
pub struct NotHttpAddr(String);

impl FromStr for HttpAddr {
    type Err = NotHttpAddr;

    fn from_str(text: &str) -> Result<Self, NotHttpAddr> {
        let named = text
            .rsplit_once(':')
            .is_some_and(|(host, port)| is_host_name(host) && port.parse::<u16>().is_ok());
        match named || text.parse::<SocketAddr>().is_ok() {
            true => Ok(Self(text.to_owned())),
            false => Err(NotHttpAddr(text.to_owned())),
        }
    }
}

impl TryFrom<String> for HttpAddr {
    type Error = NotHttpAddr;

    fn try_from(text: String) -> Result<Self, NotHttpAddr> {
        text.parse()
    }
}

impl From<HttpAddr> for String {
    fn from(addr: HttpAddr) -> Self {
        addr.0
    }
}

impl From<SocketAddr> for HttpAddr {
    fn from(addr: SocketAddr) -> Self {
        Self(addr.to_string())
    }
}

impl std::fmt::Display for HttpAddr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A DNS name under which the HTTP API serves requests, in lower case and without a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(String);

impl HostName {
    /// Whether the host of a request, without its port, is this name. A final dot is ignored.
    pub fn is(&self, host: &str) -> bool {
        host.strip_suffix('.').unwrap_or(host).eq_ignore_ascii_case(&self.0)
    }
}

/// The error for a text that is not a [`HostName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a host name; write the name alone, such as node1.example, without scheme and port"
)]
pub struct NotHostName(String);

impl FromStr for HostName {
    type Err = NotHostName;

    fn from_str(text: &str) -> Result<Self, NotHostName> {
        match is_host_name(text) && text.parse::<IpAddr>().is_err() {
            true => Ok(Self(text.to_ascii_lowercase())),
            false => Err(NotHostName(text.to_owned())),
        }
    }
}

impl TryFrom<String> for HostName {
    type Error = NotHostName;

    fn try_from(text: String) -> Result<Self, NotHostName> {
        text.parse()
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> Self {
        name.0
    }
}

/// Whether a text consists of labels of letters, digits, hyphens and underscores between dots (RFC
/// 1123; container networks also use underscores).
fn is_host_name(text: &str) -> bool {
    const LEN_MAX: usize = 253;
    let plain = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    text.len() <= LEN_MAX && text.split('.').all(plain)
}

impl Config {
    /// Reads the configuration from a node's directory.
    pub fn load(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(FILE_NAME);
        let bytes =
            files::read_capped(&path, LEN_MAX).map_err(|error| unreadable(dir, &path, error))?;
        let invalid = || {
            format!(
                "{} is not a valid configuration; correct the line (docs/operating.md lists the options)",
                path.display()
            )
        };
        let text = String::from_utf8(bytes)
            .map_err(|_| anyhow::anyhow!("it is not UTF-8 text"))
            .with_context(invalid)?;
        toml::from_str(&text).with_context(invalid)
    }

    /// Writes the configuration into a node's directory.
    pub fn save(&self, dir: &Path) -> anyhow::Result<()> {
        let path = dir.join(FILE_NAME);
        let text = toml::to_string_pretty(self)?;
        files::write_atomic(&path, text.as_bytes(), files::PUBLIC)
            .with_context(|| format!("cannot write {}", path.display()))
    }
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
            "{} is the directory of a network, not of a node: give one of its nodes, such as --dir {}",
            dir.display(),
            node.display()
        ),
        (true, None) if files::is_empty(dir) => {
            anyhow::anyhow!("{} is empty, so no node's directory: {init}", dir.display())
        }
        (true, None) => anyhow::anyhow!(
            "{} is not a node's directory: it has no {FILE_NAME}. Check --dir; for a new node name a directory that is \
             empty or missing, and `tequio init` fills it",
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
    fn an_http_address_has_a_name_or_an_ip_and_a_port() {
        for good in
            ["127.0.0.1:4811", "[::1]:0", "localhost:4811", "node1.my-net_2:1", "0.0.0.0:80"]
        {
            assert_eq!(good.parse::<HttpAddr>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "localhost",
            "4811",
            ":4811",
            "::1:80:",
            "localhost:65536",
            "http://localhost:1",
            "a..b:1",
        ] {
            let error = bad.parse::<HttpAddr>().unwrap_err().to_string();
            assert!(error.contains("127.0.0.1:4811"), "{error}");
        }
        let name: HostName = "Node1.Example".parse().unwrap();
        assert!(
            name.is("node1.example") && name.is("NODE1.example.") && !name.is("node1.example.org")
        );
        for bad in ["", "node1:4811", "http://node1", "127.0.0.1", "*", "a b"] {
            assert!(bad.parse::<HostName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn survives_the_file_and_refuses_unknown_options() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            votes_to: VoteRoutingConfig::Collectors,
            pipeline: Pipelining::Off,
            peers: vec!["/ip4/127.0.0.1/tcp/1".into()],
            workers: 3,
            http: "localhost:4811".parse().unwrap(),
            http_hosts: vec!["node1".parse().unwrap()],
            log: "tequio=debug".into(),
            ..Config::default()
        };
        config.save(dir.path()).unwrap();
        assert_eq!(Config::load(dir.path()).unwrap(), config);
        for (written, pipeline) in
            [("true", Pipelining::Auto), ("false", Pipelining::Off), ("\"on\"", Pipelining::On)]
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
