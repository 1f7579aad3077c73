//! A relay in this process with real sockets on loopback, and the program itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod forwarding;
mod program;
mod turn;
mod web;

use std::{future::Future, path::Path, time::Duration};
use tempfile::TempDir;
use tequio_core::{
    crypto::{NodeKey, bls, vrf},
    ledger::{
        Params,
        genesis::{Checkpoint, Genesis, GenesisFile, GenesisSeat},
    },
    types::{ChainId, NodeId},
};
use tequio_p2p::{
    Config as NetworkConfig, Event, Events, Multiaddr, Network, TransportKind, WebRtcCertificate,
    identity,
};
use tequio_relay::{Config, Relay};

/// A generous time-out, because the machine may be busy.
const LONG: Duration = Duration::from_secs(60);

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.expect("in time")
}

/// A relay on loopback, all ports chosen by the system.
fn config(dir: &Path) -> Config {
    let mut config = Config::new(dir.join("relay"), "a passphrase".to_owned().into());
    let listen = ["udp/0/webrtc-direct", "tcp/0/ws", "tcp/0", "udp/0/quic-v1"];
    config.listen = listen.iter().map(|a| format!("/ip4/127.0.0.1/{a}").parse().unwrap()).collect();
    config.http = ([127, 0, 0, 1], 0).into();
    config
}

fn address_of(relay: &Relay, kind: TransportKind) -> Multiaddr {
    relay.addresses().all().into_iter().find(|a| TransportKind::of(a) == Some(kind)).unwrap()
}

/// A node that is not a relay: a full node or a browser, from the relay's point of view.
struct Node {
    network: Network,
    events: Events,
    id: NodeId,
}

fn node(seed: u8) -> Node {
    let mut config = NetworkConfig::new([seed; 32]);
    config.webrtc = Some(WebRtcCertificate::generate().unwrap());
    let (network, events) = tequio_p2p::spawn(config).unwrap();
    Node { id: network.local_id(), network, events }
}

impl Node {
    /// Answers each request with `answer` of its body, in the background.
    fn serve(self, answer: impl Fn(Vec<u8>) -> Vec<u8> + Send + 'static) -> Network {
        let Self { network, mut events, .. } = self;
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                if let Event::InboundRequest { body, reply, .. } = event {
                    reply.send(answer(body));
                }
            }
        });
        network
    }
}

/// The address `/p2p/<id>` without a transport.
fn bare(id: NodeId) -> Multiaddr {
    format!("/p2p/{}", identity::peer_id(id).unwrap()).parse().unwrap()
}

/// A checkpoint at genesis of a chain with one seat.
fn checkpoint(dir: &Path) -> (std::path::PathBuf, Vec<u8>, ChainId) {
    let (node, voting) = (NodeKey::from_bytes(&[1; 32]).id(), bls::SecretKey::from_seed(&[2; 32]));
    let vrf_key = vrf::SecretKey::from_bytes(&[3; 32]).public();
    let params = Params {
        block_interval_ms_max: 5000,
        block_interval_ms_min: 100,
        view_timeout_ms: 2000,
        clock_skew_ms_max: 5000,
        audit_blocks_min: 2,
        audit_blocks_max: 100,
        admission_bits: 8,
        mint_max: 1000,
        trust_period_ms: 1000,
        leader_term_blocks: 64,
        epoch_blocks: 64,
        bond_min: 1,
        reputation_min: 0,
        unbonding_ms: u64::MAX,
    };
    let genesis = Genesis {
        name: "test".try_into().unwrap(),
        time_ms: 1,
        params,
        accounts: vec![(node, 0, 1)].try_into().unwrap(),
        seats: vec![GenesisSeat { node, key: voting.public(), vrf_key, weight: 1 }]
            .try_into()
            .unwrap(),
    };
    let possession = voting.prove_possession(&genesis.chain(), &node);
    let start = GenesisFile::new(genesis, vec![possession]).unwrap().build_state().unwrap();
    let bytes =
        Checkpoint::new(start.header, None, start.committee.record().clone(), 1000).encode();
    let path = dir.join("checkpoint.bin");
    std::fs::write(&path, &bytes).unwrap();
    (path, bytes, start.chain)
}

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}
