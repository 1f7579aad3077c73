//! Peers on this machine, named by their directories: a running node leaves there where it listens,
//! so the system may choose its ports, and others find it again after every start.

use serde::Deserialize;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tequio_host::files;
use tequio_p2p::{Multiaddr, Network, identity};

/// Where `tequio status` and others find the running node, in its directory.
pub const RUN_FILE: &str = "run.json";
/// Largest such file, bytes.
pub const RUN_FILE_LEN_MAX: usize = 64 * 1024;
/// A file in a directory tells nobody that it has changed.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// A peer to stay connected with, as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerName {
    /// By its address.
    Address(Multiaddr),
    /// By the directory of a node on this machine; a relative path starts at this node's own.
    Directory(PathBuf),
}

impl PeerName {
    /// Multiaddresses begin with a slash and a protocol; everything else is a path.
    pub fn parse(dir: &Path, text: &str) -> anyhow::Result<Self> {
        match text.parse() {
            Ok(addr) => Ok(Self::Address(addr)),
            Err(_) if dir.join(text).is_dir() => Ok(Self::Directory(dir.join(text))),
            Err(error) => anyhow::bail!(
                "{text:?} is neither a multiaddress ({error}) nor the directory of a node here: write for example \
                 /ip4/203.0.113.5/tcp/4810/p2p/12D3KooW..."
            ),
        }
    }
}

/// The part of the file that is read here.
#[derive(Deserialize)]
struct Run {
    listen: Vec<Multiaddr>,
}

/// Keeps the connection to the node of a directory, wherever it listens at the time. Never ends.
pub async fn keep(network: Network, dir: PathBuf) {
    let mut known: Vec<Multiaddr> = Vec::new();
    loop {
        if let Some(found) = addresses(&dir)
            && found != known
        {
            for peer in known.iter().filter_map(identity::node_of) {
                network.unkeep(peer).await;
            }
            for addr in &found {
                network.keep(addr.clone()).await;
            }
            known = found;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Where the node of a directory listens, if it runs.
fn addresses(dir: &Path) -> Option<Vec<Multiaddr>> {
    let bytes = files::read_capped(&dir.join(RUN_FILE), RUN_FILE_LEN_MAX).ok()?;
    serde_json::from_slice::<Run>(&bytes).ok().map(|run| run.listen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_an_address_or_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("node2")).unwrap();
        let own = dir.path().join("node1");
        std::fs::create_dir(&own).unwrap();
        let addr = PeerName::parse(&own, "/ip4/127.0.0.1/tcp/1").unwrap();
        assert_eq!(addr, PeerName::Address("/ip4/127.0.0.1/tcp/1".parse().unwrap()));
        assert_eq!(
            PeerName::parse(&own, "../node2").unwrap(),
            PeerName::Directory(own.join("../node2"))
        );
        let error = PeerName::parse(&own, "../node3").unwrap_err().to_string();
        assert!(error.contains("neither a multiaddress"), "{error}");
    }

    #[test]
    fn only_a_whole_file_of_a_running_node_tells_addresses() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(addresses(dir.path()), None);
        let file = dir.path().join(RUN_FILE);
        std::fs::write(&file, "{\"listen\": [\"/ip4/127.0").unwrap();
        assert_eq!(addresses(dir.path()), None);
        std::fs::write(
            &file,
            r#"{"listen": ["/ip4/127.0.0.1/tcp/7"], "http": "http://127.0.0.1:1"}"#,
        )
        .unwrap();
        assert_eq!(addresses(dir.path()), Some(vec!["/ip4/127.0.0.1/tcp/7".parse().unwrap()]));
    }
}
