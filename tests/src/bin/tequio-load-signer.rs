//! Signs transactions in advance for the load of `tests/load`, so that the load itself costs no
//! signatures.
//!
//! Usage: `tequio-load-signer GENESIS`. Reads one request a line, and answers each with one line of
//! JSON, the client's `account` and the signed `transactions`, both in hexadecimal: `{"client": N,
//! "anchor": HEIGHT, "digest": HEX}` opens the client's account, `{"client": N, "nonce": FIRST,
//! "sequence": S, "count": C, "expires": HEIGHT}` moves its one ref C times from sequence S on.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::io::{BufRead, Write};
use tequio_core::{
    codec,
    content::{Cid, CidCodec},
    crypto::NodeKey,
    ledger::{
        Action, Genesis, SignedTransaction, Transaction,
        genesis::{FILE_LEN_MAX, GenesisFile},
        transaction::{RefName, VALIDITY_BLOCKS_MAX},
        transition::admission::solve_admission,
    },
    types::Digest,
};

/// Largest number of transactions of one request.
const COUNT_MAX: u64 = 100_000;
const TRIES: u64 = 1 << 32;

fn main() -> Result<()> {
    let path = std::env::args().nth(1).context("usage: tequio-load-signer GENESIS")?;
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {path}"))?;
    ensure!(bytes.len() <= FILE_LEN_MAX, "{path} is not a genesis file");
    let genesis = GenesisFile::decode(&bytes)?.genesis;
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        let signed = if request["anchor"].is_null() {
            ref_updates(&genesis, &request)?
        } else {
            vec![register(&genesis, &request)?]
        };
        let hex: Vec<String> = signed.iter().map(|t| hex::encode(codec::encode(t))).collect();
        writeln!(
            out,
            "{}",
            json!({"account": key(&request)?.id().to_string(), "transactions": hex})
        )?;
        out.flush()?;
    }
    Ok(())
}

fn register(genesis: &Genesis, request: &Value) -> Result<SignedTransaction> {
    let (key, anchor) = (key(request)?, number(request, "anchor")?);
    let digest: Digest = request["digest"].as_str().context("no digest")?.parse()?;
    let (chain, bits) = (genesis.chain(), genesis.params.admission_bits);
    let solution = solve_admission(&chain, &key.id(), &digest, bits, 0, TRIES)
        .context("the puzzle has no solution")?;
    let action = Action::Register { anchor, solution };
    let expires = anchor.saturating_add(VALIDITY_BLOCKS_MAX / 2);
    Ok(Transaction { chain, sender: key.id(), nonce: 0, expires, action }.sign(&key))
}

fn ref_updates(genesis: &Genesis, request: &Value) -> Result<Vec<SignedTransaction>> {
    let (key, chain) = (key(request)?, genesis.chain());
    let (nonce, sequence, expires) =
        (number(request, "nonce")?, number(request, "sequence")?, number(request, "expires")?);
    let count = number(request, "count")?;
    ensure!(count <= COUNT_MAX, "at most {COUNT_MAX} at once");
    let name =
        RefName::try_from(format!("{}/load", key.id())).ok().context("the name is too long")?;
    let one = |i: u64| {
        let cid = Cid::of(CidCodec::Raw, &(nonce + i).to_le_bytes());
        let action = Action::UpdateRef { name: name.clone(), expected: sequence + i, cid };
        Transaction { chain, sender: key.id(), nonce: nonce + i, expires, action }.sign(&key)
    };
    Ok((0..count).map(one).collect())
}

/// Not secret: the accounts hold nothing, and the chain ends with the load.
fn key(request: &Value) -> Result<NodeKey> {
    let mut secret = [0x1d; 32];
    if let Some(head) = secret.first_chunk_mut::<8>() {
        *head = number(request, "client")?.to_le_bytes();
    }
    Ok(NodeKey::from_bytes(&secret))
}

fn number(request: &Value, field: &str) -> Result<u64> {
    request[field].as_u64().with_context(|| format!("no number {field} in {request}"))
}
