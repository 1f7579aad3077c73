//! A Byzantine relay, which changes the answers to light nodes' requests.

use crate::{print_event, secret};
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde_json::json;
use std::time::Duration;
use tequio_core::{
    codec::{self, BoundedBytes, BoundedVec},
    ledger::Certificate,
    types::ChainId,
    wire::light::{FinalHeader, REQUEST_LEN_MAX, RESPONSE_LEN_MAX, Request, Response},
};
use tequio_p2p::{Config, Event, Multiaddr, Network, Protocol, identity, spawn};

/// The fault of a Byzantine relay.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ByzantineFault {
    /// Changes a byte of each header's state root.
    Header,
    /// Changes a byte of each proof.
    Proof,
    /// Changes a byte of each object.
    Object,
    /// Leaves signers out until the rest are no quorum.
    Weight,
    /// Sends certificates signed by a committee of its own.
    Committee,
    /// Sends headers and certificates of another chain.
    Chain,
    /// Changes nothing: an honest relay, for comparison.
    Nothing,
}

const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// Serves until the process ends.
pub async fn run(fault: ByzantineFault, node: Multiaddr, listen: Multiaddr) -> Result<()> {
    let upstream = identity::node_of(&node).context("--node must end in /p2p/ID")?;
    let config = Config {
        persistent_peers: vec![node],
        serve: vec![Protocol::Light],
        ..Config::new(secret()?)
    };
    let (network, mut events) = spawn(config)?;
    let address = identity::with_peer(network.listen(listen).await?, network.local_id());
    print_event(&json!({ "event": "ready", "listen": [address.to_string()],
        "node": network.local_id().to_string() }));
    while let Some(event) = events.next().await {
        let Event::InboundRequest { protocol: Protocol::Light, body, reply, .. } = event else {
            continue;
        };
        let network = network.clone();
        tokio::spawn(async move {
            match answer(&network, upstream, fault, body).await {
                Ok(body) => reply.send(body),
                Err(e) => eprintln!("not answered: {e:#}"),
            }
        });
    }
    bail!("the network ended")
}

async fn answer(
    network: &Network,
    upstream: tequio_core::types::NodeId,
    fault: ByzantineFault,
    body: Vec<u8>,
) -> Result<Vec<u8>> {
    let request: Request = codec::decode(&body, REQUEST_LEN_MAX)?;
    let bytes = network.request(upstream, Protocol::Light, body, ANSWER_WAIT).await?;
    let response: Response = codec::decode(&bytes, RESPONSE_LEN_MAX)?;
    let changed = corrupt_response(fault, response)?;
    if codec::encode(&changed) != bytes {
        print_event(&json!({ "event": "corrupted",
            "request": format!("{request:?}").split([' ', '(', '{']).next() }));
    }
    Ok(codec::encode(&changed))
}

fn corrupt_response(fault: ByzantineFault, response: Response) -> Result<Response> {
    Ok(match (fault, response) {
        (ByzantineFault::Object, Response::Object(bytes)) => {
            let mut bytes = bytes.into_vec();
            flip_bit(&mut bytes);
            Response::Object(BoundedBytes::try_from(bytes)?)
        }
        (ByzantineFault::Proof, Response::Proved { header, entries }) => {
            let mut entries = entries.into_vec();
            for entry in &mut entries {
                match &mut entry.entry {
                    Some(bytes) => {
                        let mut changed = bytes.to_vec();
                        flip_bit(&mut changed);
                        *bytes = BoundedVec::try_from(changed)?;
                    }
                    // An absent entry is presented as existing.
                    none => *none = Some(BoundedVec::try_from(vec![0; 8])?),
                }
            }
            Response::Proved { header, entries: BoundedVec::try_from(entries)? }
        }
        (_, Response::Header(header)) => Response::Header(corrupt_header(fault, header)?),
        (_, Response::Proved { header, entries }) => {
            Response::Proved { header: corrupt_header(fault, header)?, entries }
        }
        (_, other) => other,
    })
}

fn corrupt_header(fault: ByzantineFault, mut header: FinalHeader) -> Result<FinalHeader> {
    match fault {
        ByzantineFault::Header => flip_bit(&mut header.header.state.0),
        ByzantineFault::Weight => {
            if let Some(certificate) = &mut header.certificate {
                keep_one_signer(certificate);
            }
        }
        ByzantineFault::Committee => {
            // Votes for the true header by keys that have no bond: a quorum of unknown members.
            if let Some(certificate) = &mut header.certificate {
                let message = certificate.vote.message();
                let votes: Vec<_> = (0..3u8)
                    .map(|n| {
                        tequio_core::crypto::bls::SecretKey::from_seed(&[n; 32]).sign(&message)
                    })
                    .collect();
                certificate.signature = tequio_core::crypto::bls::aggregate(&votes)?;
            }
        }
        ByzantineFault::Chain => {
            header.header.chain = ChainId([0xee; 32]);
            if let Some(certificate) = &mut header.certificate {
                certificate.vote.chain = header.header.chain;
                certificate.vote.digest = header.header.digest();
            }
        }
        ByzantineFault::Proof | ByzantineFault::Object | ByzantineFault::Nothing => {}
    }
    Ok(header)
}

/// Keeps only the first signer.
fn keep_one_signer(certificate: &mut Certificate) {
    let first = certificate.seats().next().unwrap_or_default();
    certificate.signers.fill(0);
    if let Some(byte) = certificate.signers.get_mut(first / 8) {
        *byte = 1 << (first % 8);
    }
}

fn flip_bit(bytes: &mut [u8]) {
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
}
