//! `tequio job infer`: a model that the network has trained classifies a batch of rows.

use super::{
    client::{Client, job_id},
    export,
    job_watch::{ClosedOutput, watch},
    kb,
    options::{Dir, Json, separator},
    output::{cannot_write, counted, print},
    queued,
    submission::{Key, locate_error, name_of},
};
use crate::{api::view, data};
use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tequio_core::{
    ledger::job::{JobId, JobKind, JobOutput, JobStatus},
    objects::{answers::Answers, model::Model},
};
use tequio_host::files;

/// Classify the rows of a CSV with a model that a job has trained
#[derive(Debug, Args)]
#[command(after_help = "Example:
  tequio job infer --dir net/node1 --model JOB --data new.csv --out classes.csv

The model's columns are found in the file by their names; other columns are passed over.")]
pub struct Infer {
    #[command(flatten)]
    dir: Dir,
    /// The job that trained the model
    #[arg(long, value_name = "JOB")]
    model: String,
    /// The rows: CSV, or CSV in gzip
    #[arg(long, value_name = "FILE.csv[.gz]")]
    data: PathBuf,
    /// The first line is data; columns are named by their positions from 0
    #[arg(long)]
    no_header: bool,
    /// Separator of fields; detected by default
    #[arg(long, value_name = "CHAR", value_parser = separator)]
    separator: Option<char>,
    /// Name of the job; by default the file's
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    key: Key,
    /// Wait until the answers are final
    #[arg(long)]
    wait: bool,
    /// Wait, check the proof of the answers, and write the class of each row into this file
    #[arg(long, value_name = "FILE.csv")]
    out: Option<PathBuf>,
    #[command(flatten)]
    json: Json,
}

impl Infer {
    /// Submits the batch, and waits for its answers on request.
    pub fn execute(self) -> anyhow::Result<()> {
        if let Some(out) = self.out.as_deref().filter(|out| out.exists()) {
            bail!("{} exists already: remove it, or give --out another name", out.display());
        }
        // An unwritable path fails before the batch is computed.
        if let Some(folder) = self.out.as_deref().and_then(Path::parent) {
            fs::create_dir_all(folder).with_context(|| {
                format!(
                    "cannot make {} for the answers: give --out a place where this user may write",
                    folder.display()
                )
            })?;
        }
        let location = || self.data.display().to_string();
        let body = data::read_file(&self.data).with_context(location)?;
        let trained = format!("/v1/jobs/{}", job_id(&self.model)?);
        let mut client = Client::of(&self.dir.dir)?;
        let key = self.key.take()?;
        // Distinguishes errors of the model from errors of the file below.
        client.json(&trained).with_context(|| format!("the model of job {}", self.model))?;
        let mut query = vec![
            ("header", (!self.no_header).to_string()),
            ("name", self.name.clone().unwrap_or_else(|| name_of(&self.data))),
        ];
        query.extend(self.separator.map(|s| ("separator", s.to_string())));
        let submitted = client.submit(&format!("{trained}/infer"), &query, &body, &key);
        let submitted = submitted.map_err(|error| locate_error(error, location))?;
        let wait = self.wait || self.out.is_some();
        let Some(id) = queued::submitted_id(&client, &submitted, wait, self.json)? else {
            return Ok(());
        };
        let mut event = submitted.clone();
        event["event"] = json!("submitted");
        event["id"] = json!(id);
        event["key"] = json!(key);
        print(self.json, &event, || {
            let rows = counted(submitted["rows"].as_u64().unwrap_or_default(), "row");
            let parts = counted(submitted["units_total"].as_u64().unwrap_or_default(), "part");
            format!("job {id}\n{rows} in {parts}")
        });
        if !wait {
            return Ok(());
        }
        let mut last = watch(&client, &id, self.json, ClosedOutput::Continue)?;
        if let Some(out) = &self.out {
            last["counts"] = write(&client, &id, out)?;
        }
        last["out"] = json!(self.out);
        print(self.json, &last, || {
            format!("answers {}", last["answers_cid"].as_str().unwrap_or_default())
        });
        Ok(())
    }
}

/// Reads the answers with their proof and writes one class name a line. Returns how often each
/// class occurs.
fn write(client: &Client, id: &str, out: &Path) -> anyhow::Result<Value> {
    let job_id: JobId = id.parse().context("a job's id has 64 hexadecimal digits")?;
    let job = export::proved_job(client, &job_id, JobKind::Infer)?.job;
    let JobStatus::Final { result, .. } = &job.status else {
        bail!("{}", view::no_result(&job.status).unwrap_or_default())
    };
    let JobOutput::Answers(cid) = result.output else { bail!("the job has no answers") };
    let answers = Answers::from_block(kb::fetch(client, cid)?)?;
    ensure!(
        answers.job == job_id && answers.batch == job.spec.dataset,
        "the answers are those of another job"
    );
    let model = Model::from_block(kb::fetch(client, answers.model)?)?;
    let mut counts = vec![0u64; model.classes.len()];
    let mut text = format!("{}\n", field(&model.label));
    for class in &answers.classes {
        let name = model
            .classes
            .get(usize::from(*class))
            .context("an answer is not a class of the model")?;
        text.push_str(&field(name));
        text.push('\n');
        if let Some(count) = counts.get_mut(usize::from(*class)) {
            *count += 1;
        }
    }
    files::write_atomic(out, text.as_bytes(), files::PUBLIC).with_context(|| cannot_write(out))?;
    Ok(model.classes.iter().zip(counts).map(|(name, count)| (name.clone(), json!(count))).collect())
}

/// A CSV field, quoted if necessary (RFC 4180).
fn field(text: &str) -> String {
    match text.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_necessary() {
        assert_eq!(
            [field("setosa"), field("a,b"), field("say \"x\"")],
            ["setosa", "\"a,b\"", "\"say \"\"x\"\"\""]
        );
    }
}
