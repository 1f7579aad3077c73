//! `tequio verify`: checks an exported model in a process of its own, without a network. It trusts
//! the checkpoint that the caller names or has pinned, and the data file; it checks or recomputes
//! everything else.

use super::{
    export, handovers,
    options::Json,
    output::print,
    trust::{self, AsOf, Root, TrustOptions},
};
use crate::{
    data,
    node::{
        jobs::{audit, progress as jobs},
        machine::now_ms,
    },
};
use clap::Args;
use serde_json::{Value, json};
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use tequio_core::{
    codec,
    compute::dataset::{CsvOptions, Label, prepare},
    content::{
        Cid,
        object::{self, Block},
    },
    ledger::{
        Checkpoint, Entry,
        genesis::FILE_LEN_MAX,
        job::{Job, JobId, JobKind, JobStatus, TrainedModel},
    },
    light::{
        LightClient, LightError,
        handover::{self, HandoverFile},
    },
    objects::{model::Model, record::TrainingRecord},
    types::{ChainId, Digest, TimeMs, Unverified, Verified},
    wire::light::{CommitteeHandover, RESPONSE_LEN_MAX, Response},
};
use tequio_host::files;

/// Check an exported model
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tequio verify model --data digits.csv.gz --checkpoint checkpoint.bin
  tequio verify model --data digits.csv.gz --checkpoint checkpoint.bin --as-of 2026-11-05

Verification starts from a checkpoint that you trust: --checkpoint, --dir, or the one that
`tequio checkpoint pin` has stored for the network. The export's own checkpoint is taken only if you
know its hash from a source that you trust: --checkpoint-hash or --trust-embedded.")]
pub struct Verify {
    /// The directory that `tequio job train --out` or `tequio job export` wrote
    export: PathBuf,
    /// The data that the model was trained on: CSV, or CSV in gzip
    #[arg(long, value_name = "FILE.csv[.gz]")]
    data: PathBuf,
    #[command(flatten)]
    trust: TrustOptions,
    /// Start from the export's own checkpoint, which must have this BLAKE3 hash
    #[arg(long, value_name = "HASH", conflicts_with_all = ["checkpoint", "checkpoint_hash", "dir"])]
    trust_embedded: Option<Digest>,
    /// Committee handovers besides those of the export, if your checkpoint is older than the
    /// export's
    #[arg(long, value_name = "FILE")]
    handovers: Option<PathBuf>,
    /// For archives: count trust periods as of this date (YYYY-MM-DD, or a time of RFC 3339)
    #[arg(long, value_name = "DATE")]
    as_of: Option<AsOf>,
    #[command(flatten)]
    json: Json,
}

/// The limit of what `--as-of` proves.
const AS_OF_WARNING: &str = "trust periods count as of that date: keys released since then could \
                             have forged this export. Trust it only if you have had it, or its \
                             hash, since that date";

/// Largest difference between the clocks of exporter and verifier, milliseconds.
const CLOCK_SKEW_MS: u64 = 600_000;

/// The part of the export that is wrong, and the cause.
#[derive(Debug, thiserror::Error)]
#[error("{part}: {reason}")]
struct VerifyFailure {
    part: &'static str,
    reason: String,
}

fn wrong(part: &'static str) -> impl Fn(String) -> VerifyFailure {
    move |reason| VerifyFailure { part, reason }
}

/// Adds the name of a part to an error.
fn in_part<T, E: std::fmt::Display>(
    part: &'static str,
    result: Result<T, E>,
) -> Result<T, VerifyFailure> {
    result.map_err(|e| VerifyFailure { part, reason: e.to_string() })
}

fn ensure(part: &'static str, holds: bool, reason: &str) -> Result<(), VerifyFailure> {
    if holds { Ok(()) } else { Err(wrong(part)(reason.into())) }
}

impl Verify {
    /// Checks everything, and fails with the first error.
    pub fn execute(self) -> anyhow::Result<()> {
        match self.check() {
            Ok(found) => {
                print(self.json, &found, || {
                    format!(
                        "verified: model {} of job {}, {}\nfrom checkpoint {} ({}) on",
                        found["model_cid"].as_str().unwrap_or_default(),
                        found["job"].as_str().unwrap_or_default(),
                        match found["tested"].as_u64() {
                            Some(0) => "no test rows".to_owned(),
                            _ => format!(
                                "{} of {} test rows right",
                                found["correct"], found["tested"]
                            ),
                        },
                        found["root"]["hash"].as_str().unwrap_or_default(),
                        found["root"]["checkpoint"].as_str().unwrap_or_default(),
                    ) + &self.as_of.map_or(String::new(), |AsOf(time_ms)| {
                        format!("\nas of {}: {AS_OF_WARNING}", trust::date(time_ms))
                    })
                });
                Ok(())
            }
            Err(error) => {
                if self.json.json {
                    print(
                        self.json,
                        &json!({"verified": false, "part": error.part, "error": error.reason}),
                        String::new,
                    );
                }
                Err(error.into())
            }
        }
    }

    fn check(&self) -> Result<Value, VerifyFailure> {
        let files = Files::read(&self.export)?;
        self.step("the files are those that were exported");
        let manifest: Value = in_part("manifest", serde_json::from_slice(&files.manifest))?;
        let text = |name: &str| manifest[name].as_str().unwrap_or_default();
        let id: JobId = in_part("manifest", text("job").parse())?;
        let (root, proved) = self.prove(&files, &id)?;
        self.step("the committee handovers, the certificate of the header and the proofs hold");
        let model = check_objects(&files, &id, &proved)?;
        self.step("model, weights and training record are those of the ledger");
        let dataset = data::read_file(&self.data).and_then(data::unpack);
        let place = self.data.display();
        let dataset = in_part("data", dataset.map_err(|error| format!("{place}: {error}")))?;
        let dataset = dataset_of(&dataset, &model, &proved.job)?;
        self.step("the data is what the job was trained on");
        self.step("training again, as the ledger describes it ...");
        let (found, _) = in_part("training", audit::recompute_training(id, &proved.job, &dataset))?;
        let result = &proved.trained;
        ensure("weights", found.weights == result.weights, "training again gives other weights")?;
        ensure("model", found.model == result.model, "training again gives another model")?;
        let accuracy = (found.correct, found.tested) == (result.correct, result.tested);
        ensure("accuracy", accuracy, "the model classifies another number of test rows correctly")?;
        let mut found = json!({
            "verified": true, "job": id.to_string(), "name": proved.job.spec.name.to_string(),
            "height": proved.height,
            "model_cid": result.model.to_string(), "record_cid": result.record.to_string(),
            "dataset_cid": proved.job.spec.dataset.to_string(),
            "weights": result.weights.to_string(),
            "correct": result.correct, "tested": result.tested,
            "checkpoint_hash": Checkpoint::hash(&files.checkpoint).to_string(),
            "accuracy": (found.tested > 0)
                .then(|| f64::from(found.correct) / f64::from(found.tested)),
        });
        found["root"] = json!({"checkpoint": root.source, "hash": root.hash().to_string()});
        if let Some(AsOf(time_ms)) = self.as_of {
            found["as_of"] = json!(trust::date(time_ms));
            found["warning"] = json!(AS_OF_WARNING);
        }
        let same = |(name, value): (&String, &Value)| found.get(name).is_none_or(|f| f == value);
        let agrees = manifest.as_object().is_some_and(|m| m.iter().all(same));
        ensure("manifest", agrees, "contradicts the proofs")?;
        Ok(found)
    }

    /// Finds the root of trust, and proves the ledger's entries along the handovers from the root
    /// to the job.
    fn prove(&self, files: &Files, id: &JobId) -> Result<(Root, Proved), VerifyFailure> {
        let (now_ms, as_of_ms) = (now_ms(), self.as_of.map(|AsOf(time_ms)| time_ms));
        let as_of_ms = as_of_ms.unwrap_or(now_ms);
        let embedded = in_part("checkpoint", trust::open(&files.checkpoint))?;
        let root = in_part("checkpoint", self.root(files, &embedded.header.chain))?;
        let hash = self.trust.checkpoint_hash.as_ref().or(self.trust_embedded.as_ref());
        let mut light =
            in_part("checkpoint", root.start(hash, as_of_ms).map_err(|e| format!("{e:#}")))?;
        in_part("checkpoint", trust::same_chain(light.chain(), &embedded.header.chain))?;
        let mut handovers = files.handovers.clone();
        if let Some(path) = &self.handovers {
            handovers
                .extend(in_part("handovers", handovers::read(path).map_err(|e| format!("{e:#}")))?);
            handovers.sort_by_key(CommitteeHandover::epoch);
            handovers.dedup_by_key(|handover| handover.epoch());
        }
        let proved = prove(files, id, &mut light, handovers, as_of_ms)?;
        Ok((root, proved))
    }

    fn root(&self, files: &Files, chain: &ChainId) -> anyhow::Result<Root> {
        let embedded =
            Root { bytes: files.checkpoint.clone(), source: "the export's own".to_owned() };
        // The caller named the checkpoint by its hash, which is compared again at the start.
        let TrustOptions { checkpoint, checkpoint_hash, dir } = &self.trust;
        let is_named_by_hash =
            checkpoint.is_none() && dir.is_none() && *checkpoint_hash == Some(embedded.hash());
        if self.trust_embedded.is_some() || is_named_by_hash {
            return Ok(embedded);
        }
        match (self.trust.root(chain)?, checkpoint_hash) {
            (Some(root), _) => Ok(root),
            (None, Some(named)) => Err(trust::another_root(&files.checkpoint, named)),
            (None, None) => Err(trust::no_root(&files.checkpoint)),
        }
    }

    fn step(&self, text: &str) {
        if !self.json.json {
            eprintln!("{text}");
        }
    }
}

/// Refuses a directory that is no export at all.
fn check_export(dir: &Path) -> Result<(), VerifyFailure> {
    const REMEDY: &str =
        "name the directory that `tequio job train --out` or `tequio job export` wrote";
    let reason = match fs::metadata(dir) {
        Err(error) => format!("cannot read {}: {error}; {REMEDY}", dir.display()),
        Ok(found) if !found.is_dir() => {
            format!("{} is a file, and an export is a directory: {REMEDY}", dir.display())
        }
        // A node's directory has a checkpoint, too.
        Ok(_)
            if !export::FILES
                .iter()
                .chain([&export::SUMS])
                .any(|name| *name != export::CHECKPOINT && dir.join(name).exists()) =>
        {
            format!("{} is not an export: it has none of its files; {REMEDY}", dir.display())
        }
        Ok(_) => return Ok(()),
    };
    Err(wrong("export")(reason))
}

fn unreadable(dir: &Path, name: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => {
            format!("{name} is missing in {}: export the job again", dir.display())
        }
        _ => format!("{}: {error}", dir.join(name).display()),
    }
}

/// The unverified files of an export.
struct Files {
    checkpoint: Vec<u8>,
    handovers: Vec<CommitteeHandover>,
    proof: Vec<u8>,
    model: Vec<u8>,
    record: Vec<u8>,
    weights: Vec<u8>,
    manifest: Vec<u8>,
}

impl Files {
    fn read(dir: &Path) -> Result<Self, VerifyFailure> {
        check_export(dir)?;
        let read = |part: &'static str, name: &str, len_max: usize| {
            let bytes = files::read_capped(&dir.join(name), len_max);
            in_part(part, bytes.map_err(|error| unreadable(dir, name, &error)))
        };
        let (checkpoint, proof) = (
            read("checkpoint", export::CHECKPOINT, FILE_LEN_MAX)?,
            read("proof", export::PROOF, RESPONSE_LEN_MAX)?,
        );
        let (model, record) = (
            read("model", export::MODEL, object::BLOCK_LEN_MAX)?,
            read("record", export::RECORD, object::BLOCK_LEN_MAX)?,
        );
        let weights = read("weights", export::WEIGHTS, object::CONTENT_LEN_MAX)?;
        let manifest = read("manifest", export::MANIFEST, FILE_LEN_MAX)?;
        let sums = String::from_utf8(read("sums", export::SUMS, FILE_LEN_MAX)?);
        let sums = in_part("sums", sums.map_err(|_| format!("{} is not text", export::SUMS)))?;
        // Older exports have neither the file nor its line.
        let has_handovers =
            dir.join(export::HANDOVERS).exists() || sums.contains(export::HANDOVERS);
        let handovers = has_handovers
            .then(|| read("handovers", export::HANDOVERS, handover::FILE_LEN_MAX))
            .transpose()?;
        let parts = ["checkpoint", "handovers", "proof", "model", "record", "weights", "manifest"];
        let contents = [
            Some(&checkpoint),
            handovers.as_ref(),
            Some(&proof),
            Some(&model),
            Some(&record),
            Some(&weights),
            Some(&manifest),
        ];
        let mut lines = sums.split_inclusive('\n');
        for ((name, part), bytes) in export::FILES.iter().zip(parts).zip(contents) {
            let Some(bytes) = bytes else { continue };
            let line = lines.next().unwrap_or_default();
            let expected = format!("{}  {name}\n", export::digest(bytes));
            // Decides which of the two has changed: a line of another form is damaged itself.
            let form = line.len() == expected.len() && line.ends_with(&format!("  {name}\n"));
            ensure("sums", form, &format!("{} is damaged", export::SUMS))?;
            ensure(part, line == expected, &format!("{name} is not the file that was exported"))?;
        }
        ensure("sums", lines.next().is_none(), &format!("{} is damaged", export::SUMS))?;
        let handovers = match handovers {
            Some(bytes) => in_part("handovers", HandoverFile::decode(&bytes))?.handovers.into_vec(),
            None => Vec::new(),
        };
        Ok(Self { checkpoint, handovers, proof, model, record, weights, manifest })
    }
}

/// The proved entries of the ledger.
struct Proved {
    job: Job,
    trained: TrainedModel,
    height: u64,
}

fn prove(
    files: &Files,
    id: &JobId,
    light: &mut LightClient,
    handovers: Vec<CommitteeHandover>,
    as_of_ms: TimeMs,
) -> Result<Proved, VerifyFailure> {
    let response = in_part("proof", codec::decode::<Response>(&files.proof, RESPONSE_LEN_MAX))?;
    let Response::Proved { header, entries } = response else {
        return Err(wrong("proof")("is not a proof".into()));
    };
    let (height, epoch, time_ms) =
        (header.header.height, header.header.epoch, header.header.time_ms);
    let is_known_then = time_ms <= as_of_ms.saturating_add(CLOCK_SKEW_MS);
    ensure(
        "proof",
        is_known_then,
        &format!("is of {}, later than the date to count as of", trust::date(time_ms)),
    )?;
    in_part(
        "handovers",
        handovers::follow_given(light, handovers, epoch, as_of_ms).map_err(|e| format!("{e:#}")),
    )?;
    let keys =
        in_part("proof", jobs::proof_keys(id, JobKind::Train).ok_or("the job's name is too long"))?;
    let found = light.read(&keys, Unverified::new(header), &entries, as_of_ms);
    let found = found.map_err(|error| match error {
        LightError::PastEpoch(_) => wrong("proof")(format!(
            "is of epoch {epoch} ({}), before the checkpoint, which is of epoch {}: export the \
             job again, or name a checkpoint of that time, with --as-of where it has expired",
            trust::date(time_ms),
            light.committee().epoch()
        )),
        LightError::LaterEpoch { .. } => wrong("handovers")(format!(
            "lead to epoch {}, and the proof is of epoch {epoch}: older exports have no handovers, \
             export the job again",
            light.committee().epoch()
        )),
        LightError::Entry(_) | LightError::Count { .. } => wrong("proof")(error.to_string()),
        error => wrong("certificate")(error.to_string()),
    })?;
    let mut found = found.into_iter();
    let (Some(Some(Entry::Ref(reference))), Some(Some(Entry::Job(_, job)))) =
        (found.next(), found.next())
    else {
        return Err(wrong("proof")("the ledger has no such job, or its model is not final".into()));
    };
    let JobStatus::Final { result, .. } = job.status.clone() else {
        return Err(wrong("proof")("the job is not final".into()));
    };
    let trained = *result
        .output
        .model()
        .ok_or_else(|| wrong("proof")("the job has trained no model".into()))?;
    ensure("proof", reference.cid == trained.model, "the ref does not point to the job's model")?;
    Ok(Proved { job: *job, trained, height })
}

fn check_objects(files: &Files, id: &JobId, proved: &Proved) -> Result<Model, VerifyFailure> {
    let block = |part, cid: Cid, bytes: &[u8]| -> Result<Verified<Block>, VerifyFailure> {
        in_part(part, Unverified::new(Block { cid, bytes: bytes.to_vec() }).verify())
    };
    let Proved { job, trained: result, .. } = proved;
    let model = in_part("model", Model::from_block(block("model", result.model, &files.model)?))?;
    ensure("model", model.job == *id && model.dataset == job.spec.dataset, "is of another job")?;
    ensure(
        "model",
        model.weights_digest == result.weights,
        "has other weights than the ledger's result",
    )?;
    let weights = in_part("weights", object::split(&files.weights))?;
    ensure(
        "weights",
        weights.first().is_some_and(|b| b.cid == model.weights),
        "are not those that the model names",
    )?;
    let record = in_part(
        "record",
        TrainingRecord::from_block(block("record", result.record, &files.record)?),
    )?;
    ensure("record", record.job == *id, "is of another job")?;
    Ok(model)
}

/// Encodes the data set of a CSV; fails if it is not the job's data set.
fn dataset_of(csv: &[u8], model: &Model, job: &Job) -> Result<Vec<u8>, VerifyFailure> {
    let label = model.label.to_string();
    let mut options = CsvOptions::new(Label::Name(&label));
    options.scaling = Some(model.normalizer().scaling());
    // The job may be older than the check.
    options.check_header = false;
    options.seed = job.spec.training().map_or(0, |task| task.params.seed);
    let mut failure = None;
    // The ledger names the data set by its hash alone, so both settings of the header are tried.
    for header in [true, false] {
        options.header = header;
        match prepare(csv, &options) {
            Ok(dataset) => {
                let bytes = codec::encode(&dataset);
                let blocks = in_part("data", object::split(&bytes))?;
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
