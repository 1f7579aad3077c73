//! `tequio verify`: checks an exported model in a process of its own, without a network. It believes the checkpoint,
//! whose hash the caller compares or pins, and the data file; everything else is checked or computed again.

use super::{Json, export, say};
use crate::{
    data, files,
    node::{audit, jobs, machine::now_ms},
};
use clap::Args;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tequio_core::{
    codec,
    compute::dataset::{CsvOptions, Label, prepare},
    knowledge::{
        Cid,
        model::Model,
        object::{self, Block},
        record::TrainingRecord,
    },
    ledger::{
        Checkpoint, Entry,
        genesis::FILE_LEN_MAX,
        job::{Job, JobId, JobKind, JobStatus, TrainedModel},
    },
    light::LightClient,
    types::{Digest, Unverified, Verified},
    wire::light::{RESPONSE_LEN_MAX, Response},
};

/// Check an exported model
#[derive(Debug, Args)]
#[command(after_help = "Example:
  tequio verify model --data digits.csv.gz --checkpoint-hash 5f0c...

Without --checkpoint-hash the hash is printed: compare it with one that you trust.")]
pub struct Verify {
    /// The directory that `tequio job train --out` or `tequio job export` wrote
    export: PathBuf,
    /// The data that the model was trained on: CSV, or CSV in gzip
    #[arg(long, value_name = "FILE.csv[.gz]")]
    data: PathBuf,
    /// The checkpoint's BLAKE3 hash, as you were given it by a trusted way
    #[arg(long, value_name = "HASH")]
    checkpoint_hash: Option<Digest>,
    #[command(flatten)]
    json: Json,
}

/// Which part is wrong, and why.
#[derive(Debug, thiserror::Error)]
#[error("{part}: {reason}")]
struct Wrong {
    part: &'static str,
    reason: String,
}

fn wrong(part: &'static str) -> impl Fn(String) -> Wrong {
    move |reason| Wrong { part, reason }
}

/// The result of a part, with its name in the error.
fn of<T, E: std::fmt::Display>(part: &'static str, result: Result<T, E>) -> Result<T, Wrong> {
    result.map_err(|e| Wrong { part, reason: e.to_string() })
}

fn ensure(part: &'static str, holds: bool, reason: &str) -> Result<(), Wrong> {
    if holds { Ok(()) } else { Err(wrong(part)(reason.into())) }
}

impl Verify {
    /// Checks everything, and says what is wrong first.
    pub fn execute(self) -> anyhow::Result<()> {
        match self.check() {
            Ok(found) => {
                say(self.json, &found, || {
                    format!(
                        "verified: model {} of job {}, {} of {} test rows right\ncheckpoint {}",
                        found["model_cid"].as_str().unwrap_or_default(),
                        found["job"].as_str().unwrap_or_default(),
                        found["correct"],
                        found["tested"],
                        found["checkpoint_hash"].as_str().unwrap_or_default()
                    )
                });
                Ok(())
            }
            Err(error) => {
                if self.json.json {
                    say(self.json, &json!({"verified": false, "part": error.part, "error": error.reason}), String::new);
                }
                Err(error.into())
            }
        }
    }

    fn check(&self) -> Result<Value, Wrong> {
        let files = Files::read(&self.export)?;
        self.step("the files are those that were exported");
        let manifest: Value = of("manifest", serde_json::from_slice(&files.manifest))?;
        let text = |name: &str| manifest[name].as_str().unwrap_or_default();
        let id: JobId = of("manifest", text("job").parse())?;
        let proved = prove(&files, &id, self.checkpoint_hash.as_ref())?;
        self.step("a quorum has certified the header, and the proofs lead to it");
        let model = check_objects(&files, &id, &proved)?;
        self.step("model, weights and training record are those of the ledger");
        let dataset = of("data", data::read_file(&self.data).and_then(data::unpack))?;
        let dataset = dataset_of(&dataset, &model, &proved.job)?;
        self.step("the data is what the job was trained on");
        self.step("training again, as the ledger describes it ...");
        let (found, _) = of("training", audit::compute(id, &proved.job, &dataset))?;
        let result = &proved.trained;
        ensure("weights", found.weights == result.weights, "training again gives other weights")?;
        ensure("model", found.model == result.model, "training again gives another model")?;
        let accuracy = (found.correct, found.tested) == (result.correct, result.tested);
        ensure("accuracy", accuracy, "the model classifies another number of test rows correctly")?;
        let found = json!({
            "verified": true, "job": id.to_string(), "name": proved.job.spec.name.to_string(), "height": proved.height,
            "model_cid": result.model.to_string(), "record_cid": result.record.to_string(),
            "dataset_cid": proved.job.spec.dataset.to_string(), "weights": result.weights.to_string(),
            "correct": result.correct, "tested": result.tested,
            "checkpoint_hash": Checkpoint::hash(&files.checkpoint).to_string(),
            "accuracy": f64::from(found.correct) / f64::from(found.tested.max(1)),
        });
        let same = |(name, value): (&String, &Value)| found.get(name).is_none_or(|f| f == value);
        let agrees = manifest.as_object().is_some_and(|m| m.iter().all(same));
        ensure("manifest", agrees, "says something else than the proofs")?;
        Ok(found)
    }

    fn step(&self, text: &str) {
        if !self.json.json {
            eprintln!("{text}");
        }
    }
}

/// The files of an export, as they are.
struct Files {
    checkpoint: Vec<u8>,
    proof: Vec<u8>,
    model: Vec<u8>,
    record: Vec<u8>,
    weights: Vec<u8>,
    manifest: Vec<u8>,
}

impl Files {
    fn read(dir: &Path) -> Result<Self, Wrong> {
        let read = |part: &'static str, name: &str, len_max: usize| {
            of(part, files::read_capped(&dir.join(name), len_max).map_err(|e| format!("{name}: {e}")))
        };
        let files = Self {
            checkpoint: read("checkpoint", export::CHECKPOINT, FILE_LEN_MAX)?,
            proof: read("proof", export::PROOF, RESPONSE_LEN_MAX)?,
            model: read("model", export::MODEL, object::BLOCK_LEN_MAX)?,
            record: read("record", export::RECORD, object::BLOCK_LEN_MAX)?,
            weights: read("weights", export::WEIGHTS, object::CONTENT_LEN_MAX)?,
            manifest: read("manifest", export::MANIFEST, FILE_LEN_MAX)?,
        };
        let sums = String::from_utf8(read("sums", export::SUMS, FILE_LEN_MAX)?);
        let sums = of("sums", sums.map_err(|_| format!("{} is not text", export::SUMS)))?;
        let parts = ["checkpoint", "proof", "model", "record", "weights", "manifest"];
        let contents = [&files.checkpoint, &files.proof, &files.model, &files.record, &files.weights, &files.manifest];
        let mut lines = sums.split_inclusive('\n');
        for ((name, part), bytes) in export::FILES.iter().zip(parts).zip(contents) {
            let line = lines.next().unwrap_or_default();
            let expected = format!("{}  {name}\n", export::digest(bytes));
            // Which of the two has changed: a line of another form is damaged itself.
            let form = line.len() == expected.len() && line.ends_with(&format!("  {name}\n"));
            ensure("sums", form, &format!("{} is damaged", export::SUMS))?;
            ensure(part, line == expected, &format!("{name} is not the file that was exported"))?;
        }
        ensure("sums", lines.next().is_none(), &format!("{} is damaged", export::SUMS))?;
        Ok(files)
    }
}

/// What the ledger says.
struct Proved {
    job: Job,
    trained: TrainedModel,
    height: u64,
}

fn prove(files: &Files, id: &JobId, pinned: Option<&Digest>) -> Result<Proved, Wrong> {
    let now_ms = now_ms();
    let mut light = of("checkpoint", LightClient::start(&files.checkpoint, pinned, now_ms))?;
    let response = of("proof", codec::decode::<Response>(&files.proof, RESPONSE_LEN_MAX))?;
    let Response::Proved { header, entries } = response else {
        return Err(wrong("proof")("is no proof".into()));
    };
    let height = header.header.height;
    of("certificate", light.verify(Unverified::new(header.clone())))?;
    let keys = of("proof", jobs::proof_keys(id, JobKind::Train).ok_or("the job's name is too long"))?;
    let found = of("proof", light.read(&keys, Unverified::new(header), &entries, now_ms))?;
    let mut found = found.into_iter();
    let (Some(Some(Entry::Ref(reference))), Some(Some(Entry::Job(_, job)))) = (found.next(), found.next()) else {
        return Err(wrong("proof")("the ledger has no such job, or its model is not final".into()));
    };
    let JobStatus::Final { result, .. } = job.status.clone() else {
        return Err(wrong("proof")("the job is not final".into()));
    };
    let trained = *result.output.model().ok_or_else(|| wrong("proof")("the job has trained no model".into()))?;
    ensure("proof", reference.cid == trained.model, "the ref does not point to the job's model")?;
    Ok(Proved { job: *job, trained, height })
}

fn check_objects(files: &Files, id: &JobId, proved: &Proved) -> Result<Model, Wrong> {
    let block = |part, cid: Cid, bytes: &[u8]| -> Result<Verified<Block>, Wrong> {
        of(part, Unverified::new(Block { cid, bytes: bytes.to_vec() }).verify())
    };
    let Proved { job, trained: result, .. } = proved;
    let model = of("model", Model::from_block(block("model", result.model, &files.model)?))?;
    ensure("model", model.job == *id && model.dataset == job.spec.dataset, "is of another job")?;
    ensure("model", model.weights_digest == result.weights, "has other weights than the ledger's result")?;
    let weights = of("weights", object::split(&files.weights))?;
    ensure("weights", weights.first().is_some_and(|b| b.cid == model.weights), "are not those that the model names")?;
    let record = of("record", TrainingRecord::from_block(block("record", result.record, &files.record)?))?;
    ensure("record", record.job == *id, "is of another job")?;
    Ok(model)
}

/// The encoded data set that this data gives, if it is the job's.
fn dataset_of(csv: &[u8], model: &Model, job: &Job) -> Result<Vec<u8>, Wrong> {
    let label = model.label.to_string();
    let mut options = CsvOptions::new(Label::Name(&label));
    options.scaling = Some(model.normalizer().scaling());
    options.seed = job.spec.training().map_or(0, |task| task.params.seed);
    let mut failure = None;
    // The ledger names the data set by its hash alone; whether the file has a header is found out.
    for header in [true, false] {
        options.header = header;
        match prepare(csv, &options) {
            Ok(dataset) => {
                let bytes = codec::encode(&dataset);
                let blocks = of("data", object::split(&bytes))?;
                if blocks.first().is_some_and(|b| b.cid == job.spec.dataset) {
                    return Ok(bytes);
                }
            }
            Err(error) => drop(failure.get_or_insert(error)),
        }
    }
    let why = failure.map_or(String::new(), |e| format!(" ({e})"));
    Err(wrong("data")(format!("is not what the job was trained on{why}")))
}
