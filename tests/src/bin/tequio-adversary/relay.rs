//! A relay that changes the answers to light nodes' questions.

use crate::{say, secret};
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

/// What a lying relay changes.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Lie {
    /// A byte of each header's state root.
    Header,
    /// A byte of each proof.
    Proof,
    /// A byte of each object.
    Object,
    /// Leaves signers out until the rest are no quorum.
    Weight,
    /// Certificates signed by a committee of its own.
    Committee,
    /// Headers and certificates of another chain.
    Chain,
    /// Nothing: an honest relay, for comparison.
    Nothing,
}

const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// Serves until the process is ended.
pub async fn run(lie: Lie, node: Multiaddr, listen: Multiaddr) -> Result<()> {
    let upstream = identity::node_of(&node).context("--node must end in /p2p/ID")?;
    let config =
        Config { keep: vec![node], serve: vec![Protocol::Light], ..Config::new(secret()?) };
    let (network, mut events) = spawn(config)?;
    let address = identity::with_peer(network.listen(listen).await?, network.local_id());
    say(
        &json!({ "event": "ready", "listen": [address.to_string()], "node": network.local_id().to_string() }),
    );
    while let Some(event) = events.next().await {
        let Event::Inbound { protocol: Protocol::Light, body, reply, .. } = event else { continue };
        let network = network.clone();
        tokio::spawn(async move {
            match answer(&network, upstream, lie, body).await {
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
    lie: Lie,
    body: Vec<u8>,
) -> Result<Vec<u8>> {
    let request: Request = codec::decode(&body, REQUEST_LEN_MAX)?;
    let bytes = network.request(upstream, Protocol::Light, body, ANSWER_WAIT).await?;
    let response: Response = codec::decode(&bytes, RESPONSE_LEN_MAX)?;
    let changed = distort(lie, response)?;
    if codec::encode(&changed) != bytes {
        say(
            &json!({ "event": "lied", "about": format!("{request:?}").split([' ', '(', '{']).next() }),
        );
    }
    Ok(codec::encode(&changed))
}

fn distort(lie: Lie, response: Response) -> Result<Response> {
    Ok(match (lie, response) {
        (Lie::Object, Response::Object(bytes)) => {
            let mut bytes = bytes.into_vec();
            flip(&mut bytes);
            Response::Object(BoundedBytes::try_from(bytes)?)
        }
        (Lie::Proof, Response::Proved { header, entries }) => {
            let mut entries = entries.into_vec();
            for entry in &mut entries {
                match &mut entry.entry {
                    Some(bytes) => {
                        let mut changed = bytes.to_vec();
                        flip(&mut changed);
                        *bytes = BoundedVec::try_from(changed)?;
                    }
                    // What is absent is said to be there.
                    none => *none = Some(BoundedVec::try_from(vec![0; 8])?),
                }
            }
            Response::Proved { header, entries: BoundedVec::try_from(entries)? }
        }
        (_, Response::Header(header)) => Response::Header(distort_header(lie, header)?),
        (_, Response::Proved { header, entries }) => {
            Response::Proved { header: distort_header(lie, header)?, entries }
        }
        (_, other) => other,
    })
}

fn distort_header(lie: Lie, mut header: FinalHeader) -> Result<FinalHeader> {
    match lie {
        Lie::Header => flip(&mut header.header.state.0),
        Lie::Weight => {
            if let Some(certificate) = &mut header.certificate {
                leave_one(certificate);
            }
        }
        Lie::Committee => {
            // Votes of keys that nobody bonded, for the true header: a quorum of strangers.
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
        Lie::Chain => {
            header.header.chain = ChainId([0xee; 32]);
            if let Some(certificate) = &mut header.certificate {
                certificate.vote.chain = header.header.chain;
                certificate.vote.digest = header.header.digest();
            }
        }
        Lie::Proof | Lie::Object | Lie::Nothing => {}
    }
    Ok(header)
}

/// Keeps the first signer only.
fn leave_one(certificate: &mut Certificate) {
    let first = certificate.seats().next().unwrap_or_default();
    certificate.signers.fill(0);
    if let Some(byte) = certificate.signers.get_mut(first / 8) {
        *byte = 1 << (first % 8);
    }
}

fn flip(bytes: &mut [u8]) {
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
}
