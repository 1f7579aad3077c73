//! An exported model: a directory with the model and every proof about it. A verifier need not
//! trust the export.
//!
//! | file | contents |
//! |---|---|
//! | `checkpoint.bin` | start of the handovers; proves nothing by itself |
//! | `handovers.bin` | the committee handovers from the checkpoint's epoch to that of the proof |
//! | `proof.bin` | final header with certificate, and the proved entries of the ref and the job |
//! | `model.cbor` | the model object that the ref points to |
//! | `record.cbor` | the training record: each worker's contribution |
//! | `weights.bin` | the exact weights before rounding, named by the model |
//! | `manifest.json` | a readable summary of the above |
//! | `BLAKE3SUMS` | BLAKE3 of the files above, as `b3sum` prints it, to detect damage |

use super::{
    client::{Client, segment},
    handovers, kb,
};
use crate::{
    api::view,
    node::{jobs::progress::proof_keys, machine::now_ms},
};
use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use std::{
    ffi::OsString,
    fs::{self, File},
    path::Path,
};
use tequio_core::{
    codec,
    content::{Cid, CidCodec},
    ledger::{
        Checkpoint, Entry, Header,
        genesis::BootstrapError,
        job::{Job, JobId, JobKind, JobStatus},
    },
    light::{LightClient, handover::HandoverFile},
    objects::model::Model,
    types::{Height, TimeMs, Unverified},
    wire::light::{RESPONSE_LEN_MAX, Response},
};
use tequio_host::files;

/// File with the checkpoint at which the handovers start.
pub const CHECKPOINT: &str = "checkpoint.bin";
/// File with the committee handovers from the checkpoint on. Older exports lack this file.
pub const HANDOVERS: &str = "handovers.bin";
/// File with header, certificate and proved entries.
pub const PROOF: &str = "proof.bin";
/// File with the model object.
pub const MODEL: &str = "model.cbor";
/// File with the training record.
pub const RECORD: &str = "record.cbor";
/// File with the exact weights.
pub const WEIGHTS: &str = "weights.bin";
/// File with the readable summary.
pub const MANIFEST: &str = "manifest.json";
/// File with the digests of all other files.
pub const SUMS: &str = "BLAKE3SUMS";
/// All files except [`SUMS`], in the order of [`SUMS`].
pub const FILES: [&str; 7] = [CHECKPOINT, HANDOVERS, PROOF, MODEL, RECORD, WEIGHTS, MANIFEST];

/// Reads a final job from a node, verifies it, and writes the directory.
pub fn write(client: &Client, id: &str, out: &Path) -> anyhow::Result<Value> {
    let job_id: JobId = segment(id)?.parse().context("a job's id has 64 hexadecimal digits")?;
    ensure!(
        !out.exists(),
        "{} exists already: remove it, or give --out another name",
        out.display()
    );
    let Proved { checkpoint, handovers, proof, job, height } =
        proved_job(client, &job_id, JobKind::Train)?;
    let JobStatus::Final { result, .. } = &job.status else {
        bail!("{}", view::no_result(&job.status).unwrap_or_default())
    };
    let trained = result.output.model().context("the job has trained no model")?;
    let model_block = kb::fetch(client, trained.model)?;
    let model = Model::from_block(model_block.clone())?;
    let record = kb::fetch(client, trained.record)?;
    let weights = kb::join(client, kb::fetch(client, model.weights)?)?;
    let manifest = json!({
        "job": id, "name": job.spec.name.to_string(), "height": height,
        "model_cid": trained.model.to_string(),
        "record_cid": trained.record.to_string(), "dataset_cid": job.spec.dataset.to_string(),
        "weights": trained.weights.to_string(), "correct": trained.correct,
        "tested": trained.tested,
        "checkpoint_hash": Checkpoint::hash(&checkpoint).to_string(),
    });
    let manifest_text = serde_json::to_string_pretty(&manifest)?;
    let contents: [&[u8]; 7] = [
        &checkpoint,
        &handovers,
        &proof,
        &model_block.bytes,
        &record.bytes,
        &weights,
        manifest_text.as_bytes(),
    ];
    let sums: String = FILES
        .iter()
        .zip(contents)
        .map(|(name, bytes)| format!("{}  {name}\n", digest(bytes)))
        .collect();
    let all: Vec<(&str, &[u8])> =
        FILES.into_iter().zip(contents).chain([(SUMS, sums.as_bytes())]).collect();
    write_directory(out, &all)?;
    Ok(manifest)
}

/// Creates a directory with these files atomically: `out` has all of them or does not exist.
fn write_directory(out: &Path, contents: &[(&str, &[u8])]) -> anyhow::Result<()> {
    let folder = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = OsString::from(".");
    name.push(
        out.file_name().with_context(|| format!("{} names no directory to make", out.display()))?,
    );
    name.push(format!(".{}.new", std::process::id()));
    let partial = folder.join(name);
    let written = (|| {
        fs::create_dir_all(&partial)?;
        for (name, bytes) in contents {
            files::write_atomic(&partial.join(name), bytes, files::PUBLIC)?;
        }
        fs::rename(&partial, out)?;
        File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        let _ = fs::remove_dir_all(&partial);
    }
    written.with_context(|| {
        format!(
            "cannot write {}: check that the disk has room and that this user may write there, or \
             give --out another place",
            out.display()
        )
    })
}

/// BLAKE3 hash in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    hex::encode(Cid::of(CidCodec::Raw, bytes).digest)
}

/// A job that a light client has read, with the proof and its start.
pub struct Proved {
    checkpoint: Vec<u8>,
    handovers: Vec<u8>,
    proof: Vec<u8>,
    /// The job.
    pub job: Job,
    /// Height of the header to which the proof leads.
    pub height: Height,
}

/// Reads a job with its proof from a node. Verifies the proof from the node's checkpoint on, along
/// the committee handovers.
pub fn proved_job(client: &Client, id: &JobId, kind: JobKind) -> anyhow::Result<Proved> {
    let shown = client.json(&format!("/v1/jobs/{id}"))?;
    let found = shown["kind"].as_str().unwrap_or("unknown");
    ensure!(
        found == kind.as_str(),
        "job {id} is of kind {found}, and this needs one of kind {}",
        kind.as_str()
    );
    let now_ms = now_ms();
    let (checkpoint, mut light) = root(client, now_ms)?;
    let proof =
        client.bytes(&format!("/v1/jobs/{id}/proof"))?.context("the node has no such job")?;
    let Response::Proved { header, entries } = codec::decode(&proof, RESPONSE_LEN_MAX)? else {
        bail!("the node's answer is not a proof");
    };
    let Header { height, epoch, .. } = header.header;
    let handovers =
        HandoverFile::new(handovers::follow(client, &mut light, epoch, now_ms)?)?.encode();
    let keys = proof_keys(id, kind).context("a job's name is too long")?;
    let found = light.read(&keys, Unverified::new(header), &entries, now_ms)?;
    match found.into_iter().nth(1).flatten() {
        Some(Entry::Job(_, job)) => Ok(Proved { checkpoint, handovers, proof, job: *job, height }),
        _ => bail!("the ledger has no such job"),
    }
}

/// The checkpoint with which the node was started, so that any holder of that checkpoint can verify
/// the export. If it has expired, the node's newest checkpoint.
fn root(client: &Client, now_ms: TimeMs) -> anyhow::Result<(Vec<u8>, LightClient)> {
    let fetch = |path| client.bytes(path)?.context("the node has no checkpoint");
    let given = fetch("/v1/checkpoint?root=true")?;
    match LightClient::start(&given, None, now_ms) {
        Ok(light) => Ok((given, light)),
        Err(BootstrapError::Stale { .. }) => {
            let newest = fetch("/v1/checkpoint")?;
            let light = LightClient::start(&newest, None, now_ms)?;
            Ok((newest, light))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_is_complete_or_absent() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("model");
        // The second file cannot be written.
        let error = write_directory(&out, &[("a", b"1"), ("missing/b", b"2")]).unwrap_err();
        assert!(
            error.to_string().contains("model") && error.to_string().contains("--out"),
            "{error}"
        );
        assert!(files::is_empty(dir.path()), "no partial directory is left");
        write_directory(&out, &[("a", b"1"), ("b", b"2")]).unwrap();
        assert_eq!(
            (fs::read(out.join("a")).unwrap(), fs::read_dir(dir.path()).unwrap().count()),
            (b"1".to_vec(), 1)
        );
    }
}
