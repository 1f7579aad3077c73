//! The configuration of the network: where the node listens, which peers and relays it stays
//! connected with, and its WebRTC certificate.

use super::peers::{agent::agent, devnet::ConfiguredPeer, relay_reservations};
use crate::{config::Config, keys::Keys};
use anyhow::Context as _;
use std::path::Path;
use tequio_core::types::NodeId;
use tequio_host::files;
use tequio_p2p::{Multiaddr, Network, WebRtcCertificate, identity};

const WEBRTC_FILE: &str = "webrtc.pem";

pub fn network_config(
    dir: &Path,
    config: &Config,
    peers: &[ConfiguredPeer],
    keys: &Keys,
) -> anyhow::Result<tequio_p2p::Config> {
    let mut network = tequio_p2p::Config::new(*keys.node.to_bytes());
    network.agent = agent();
    network.persistent_peers = relays(&config.relays)?;
    network.persistent_peers.extend(peers.iter().filter_map(|peer| match peer {
        ConfiguredPeer::Address(addr) => Some(addr.clone()),
        ConfiguredPeer::Directory(_) => None,
    }));
    network.external_addrs = addresses(&config.external_addresses)?;
    network.relay = relay_reservations::relay_limits(config.relay_circuits);
    if config.listen.iter().any(|a| a.contains("webrtc-direct")) {
        network.webrtc = Some(webrtc_certificate(&dir.join(WEBRTC_FILE))?);
    }
    Ok(network)
}

fn addresses<'a>(texts: impl IntoIterator<Item = &'a String>) -> anyhow::Result<Vec<Multiaddr>> {
    texts
        .into_iter()
        .map(|a| {
            a.parse().with_context(|| {
                format!("{a:?} is not a multiaddress, such as /ip4/0.0.0.0/tcp/4810")
            })
        })
        .collect()
}

/// Parses the configured relays. Each address must name its relay, because a circuit is bound to
/// it.
pub fn relays(texts: &[String]) -> anyhow::Result<Vec<Multiaddr>> {
    let relays = addresses(texts)?;
    match relays.iter().find(|relay| identity::node_of(relay).is_none()) {
        None => Ok(relays),
        Some(relay) => anyhow::bail!(
            "the relay {relay} lacks its identity: the address must end in /p2p/<peer id>"
        ),
    }
}

/// Loads or creates the certificate. It is stored because its hash is part of the node's address.
fn webrtc_certificate(path: &Path) -> anyhow::Result<WebRtcCertificate> {
    const LEN_MAX: usize = 64 * 1024;
    if path.exists() {
        let location = || {
            format!(
                "cannot use the WebRTC certificate {}: restore it, or remove it and the node \
                 makes another, which gives its WebRTC address another hash",
                path.display()
            )
        };
        let bytes = files::read_capped(path, LEN_MAX).with_context(location)?;
        return WebRtcCertificate::from_bytes(&bytes).with_context(location);
    }
    let certificate = WebRtcCertificate::generate()?;
    files::write_atomic(path, &certificate.to_bytes(), files::PRIVATE)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(certificate)
}

/// Opens the listening sockets.
pub async fn listen(
    network: &Network,
    node: NodeId,
    config: &Config,
) -> anyhow::Result<Vec<Multiaddr>> {
    let mut listening = Vec::new();
    for addr in addresses(&config.listen)? {
        let actual = network.listen(addr.clone()).await.map_err(|error| {
            let cause = error.reason();
            anyhow::anyhow!(
                "cannot listen on {addr}: {cause}. See that no other program has the port and that \
                 this machine has the address, or choose another with --listen or `listen` in \
                 config.toml. The node's directory is unharmed"
            )
        })?;
        listening.push(identity::with_peer(actual, node));
    }
    Ok(listening)
}
