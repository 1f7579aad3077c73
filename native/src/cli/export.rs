//! An exported model: a directory with everything that shows what the model is, and nothing that has to be believed.
//!
//! | file | what |
//! |---|---|
//! | `checkpoint.bin` | where the handovers start; it proves nothing by itself |
//! | `handovers.bin` | the committee handovers from the checkpoint's epoch to that of the proof |
//! | `proof.bin` | final header with certificate, and the proved entries of the ref and the job |
//! | `model.cbor` | the model object that the ref points to |
//! | `record.cbor` | the training record: who did what |
//! | `weights.bin` | the exact weights before rounding, named by the model |
//! | `manifest.json` | the same for people |
//! | `BLAKE3SUMS` | BLAKE3 of the files above, as `b3sum` prints it, to tell damage from forgery |

use super::{
    client::{Client, segment},
    handovers, kb,
};
use crate::{
    files,
    node::{jobs::proof_keys, machine::now_ms},
};
use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use std::{fs, path::Path};
use tequio_core::{
    codec,
    knowledge::{Cid, CidCodec, model::Model},
    ledger::{
        Checkpoint, Entry, Header,
        genesis::StartError,
        job::{Job, JobId, JobKind, JobStatus},
    },
    light::{LightClient, handover::HandoverFile},
    types::{Height, TimeMs, Unverified},
    wire::light::{RESPONSE_LEN_MAX, Response},
};

/// Where the handovers start.
pub const CHECKPOINT: &str = "checkpoint.bin";
/// The committee handovers from the checkpoint on. Older exports lack this file.
pub const HANDOVERS: &str = "handovers.bin";
/// Header, certificate and proved entries.
pub const PROOF: &str = "proof.bin";
/// The model object.
pub const MODEL: &str = "model.cbor";
/// The training record.
pub const RECORD: &str = "record.cbor";
/// The exact weights.
pub const WEIGHTS: &str = "weights.bin";
/// For people.
pub const MANIFEST: &str = "manifest.json";
/// Digests of all others.
pub const SUMS: &str = "BLAKE3SUMS";
/// All files but [`SUMS`], in its order.
pub const FILES: [&str; 7] = [CHECKPOINT, HANDOVERS, PROOF, MODEL, RECORD, WEIGHTS, MANIFEST];

/// Reads a final job from a node, checks it, and writes the directory.
pub fn write(client: &Client, id: &str, out: &Path) -> anyhow::Result<Value> {
    let job_id: JobId = segment(id)?.parse().context("a job's id has 64 hexadecimal digits")?;
    let Proved { checkpoint, handovers, proof, job, height } = proved_job(client, &job_id, JobKind::Train)?;
    let JobStatus::Final { result, .. } = &job.status else { bail!("the job is not final yet") };
    let trained = result.output.model().context("the job has trained no model")?;
    let model_block = kb::fetch(client, trained.model)?;
    let model = Model::from_block(model_block.clone())?;
    let record = kb::fetch(client, trained.record)?;
    let weights = kb::join(client, kb::fetch(client, model.weights)?)?;
    let manifest = json!({
        "job": id, "name": job.spec.name.to_string(), "height": height, "model_cid": trained.model.to_string(),
        "record_cid": trained.record.to_string(), "dataset_cid": job.spec.dataset.to_string(),
        "weights": trained.weights.to_string(), "correct": trained.correct, "tested": trained.tested,
        "checkpoint_hash": Checkpoint::hash(&checkpoint).to_string(),
    });
    let manifest_text = serde_json::to_string_pretty(&manifest)?;
    let contents: [&[u8]; 7] =
        [&checkpoint, &handovers, &proof, &model_block.bytes, &record.bytes, &weights, manifest_text.as_bytes()];
    ensure!(!out.exists(), "{} exists already", out.display());
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let mut sums = String::new();
    for (name, bytes) in FILES.iter().zip(contents) {
        files::write_atomic(&out.join(name), bytes, files::PUBLIC)?;
        sums.push_str(&format!("{}  {name}\n", digest(bytes)));
    }
    files::write_atomic(&out.join(SUMS), sums.as_bytes(), files::PUBLIC)?;
    Ok(manifest)
}

/// BLAKE3 in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    Cid::of(CidCodec::Raw, bytes).digest.iter().map(|b| format!("{b:02x}")).collect()
}

/// A job that a light client has read, and what it has read it from.
pub struct Proved {
    checkpoint: Vec<u8>,
    handovers: Vec<u8>,
    proof: Vec<u8>,
    /// The job.
    pub job: Job,
    /// Height of the header that the proof leads to.
    pub height: Height,
}

/// Reads a job from a node with its proof, checked from the node's checkpoint on by way of the
/// committee handovers.
pub fn proved_job(client: &Client, id: &JobId, kind: JobKind) -> anyhow::Result<Proved> {
    let shown = client.json(&format!("/v1/jobs/{id}"))?;
    let found = shown["kind"].as_str().unwrap_or("unknown");
    ensure!(found == kind.as_str(), "job {id} is of kind {found}, and this needs one of kind {}", kind.as_str());
    let now_ms = now_ms();
    let (checkpoint, mut light) = root(client, now_ms)?;
    let proof = client.bytes(&format!("/v1/jobs/{id}/proof"))?.context("the node does not know this job")?;
    let Response::Proved { header, entries } = codec::decode(&proof, RESPONSE_LEN_MAX)? else {
        bail!("the node's answer is no proof");
    };
    let Header { height, epoch, .. } = header.header;
    let handovers = HandoverFile::new(handovers::follow(client, &mut light, epoch, now_ms)?)?.encode();
    let keys = proof_keys(id, kind).context("a job's name is too long")?;
    let found = light.read(&keys, Unverified::new(header), &entries, now_ms)?;
    match found.into_iter().nth(1).flatten() {
        Some(Entry::Job(_, job)) => Ok(Proved { checkpoint, handovers, proof, job: *job, height }),
        _ => bail!("the ledger has no such job"),
    }
}

/// The checkpoint that the node was started with, so that whoever has the same one can verify the
/// export; where that one has expired, the node's newest.
fn root(client: &Client, now_ms: TimeMs) -> anyhow::Result<(Vec<u8>, LightClient)> {
    let fetch = |path| client.bytes(path)?.context("the node has no checkpoint");
    let given = fetch("/v1/checkpoint?root=true")?;
    match LightClient::start(&given, None, now_ms) {
        Ok(light) => Ok((given, light)),
        Err(StartError::Stale { .. }) => {
            let newest = fetch("/v1/checkpoint")?;
            let light = LightClient::start(&newest, None, now_ms)?;
            Ok((newest, light))
        }
        Err(error) => Err(error.into()),
    }
}
