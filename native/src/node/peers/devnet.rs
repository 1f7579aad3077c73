//! Peers on this machine, named by their directories. A running node stores its addresses in its
//! directory, so the system may choose its ports, and other nodes find it after every start.

use serde::Deserialize;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tequio_host::files;
use tequio_p2p::{Multiaddr, Network, identity};

/// The file in a node's directory by which `tequio status` and other programs find the running
/// node.
pub const RUN_FILE: &str = "run.json";
/// Largest length of this file, bytes.
pub const RUN_FILE_LEN_MAX: usize = 64 * 1024;
/// Pause between two reads of the file.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// A peer to stay connected with, as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfiguredPeer {
    /// A peer's address.
    Address(Multiaddr),
    /// The directory of a node on this machine. A relative path starts at this node's directory.
    Directory(PathBuf),
}

impl ConfiguredPeer {
    /// Multiaddresses begin with a slash and a protocol; everything else is a path.
    pub fn parse(dir: &Path, text: &str) -> anyhow::Result<Self> {
        match text.parse() {
            Ok(addr) => Ok(Self::Address(addr)),
            Err(_) if dir.join(text).is_dir() => Ok(Self::Directory(dir.join(text))),
            Err(error) => anyhow::bail!(
                "{text:?} is neither a multiaddress ({error}) nor the directory of a node here: \
                 write for example \
                 /ip4/203.0.113.5/tcp/4810/p2p/12D3KooW..."
            ),
        }
    }
}

/// The fields of the file that are used here.
#[derive(Deserialize)]
struct RunInfo {
    listen: Vec<Multiaddr>,
}

/// Stays connected to the node of a directory, whatever its current addresses. Never returns.
pub async fn stay_connected(network: Network, dir: PathBuf) {
    let mut known: Vec<Multiaddr> = Vec::new();
    loop {
        if let Some(found) = addresses(&dir)
            && found != known
        {
            for peer in known.iter().filter_map(identity::node_of) {
                network.remove_persistent_peer(peer).await;
            }
            for addr in &found {
                network.add_persistent_peer(addr.clone()).await;
            }
            known = found;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Listening addresses of the node of a directory, if it runs.
fn addresses(dir: &Path) -> Option<Vec<Multiaddr>> {
    let bytes = files::read_capped(&dir.join(RUN_FILE), RUN_FILE_LEN_MAX).ok()?;
    serde_json::from_slice::<RunInfo>(&bytes).ok().map(|run| run.listen)
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
        let addr = ConfiguredPeer::parse(&own, "/ip4/127.0.0.1/tcp/1").unwrap();
        assert_eq!(addr, ConfiguredPeer::Address("/ip4/127.0.0.1/tcp/1".parse().unwrap()));
        assert_eq!(
            ConfiguredPeer::parse(&own, "../node2").unwrap(),
            ConfiguredPeer::Directory(own.join("../node2"))
        );
        let error = ConfiguredPeer::parse(&own, "../node3").unwrap_err().to_string();
        assert!(error.contains("neither a multiaddress"), "{error}");
    }

    #[test]
    fn only_a_complete_file_of_a_running_node_has_addresses() {
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
