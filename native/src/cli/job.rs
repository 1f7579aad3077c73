//! `tequio job`: train, infer, list, show, watch, cancel, export.

use super::{
    client::{Client, job_id, unknown_outcome},
    export,
    infer::Infer,
    job_text,
    job_watch::{ClosedOutput, watch},
    options::{Dir, Json, separator},
    output::{counted, print},
    queued,
    submission::{Key, locate_error, name_of},
};
use crate::data;
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Train models, and watch them being trained
#[derive(Debug, Args)]
pub struct Job {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a classifier on a CSV of numbers with a class column
    Train(Box<Train>),
    /// Classify the rows of a CSV with a model that a job has trained
    Infer(Infer),
    /// List the network's jobs: running ones first, then pending ones, then ended ones
    List(List),
    /// Show a job
    Show(One),
    /// Follow a job until it ends
    Watch(One),
    /// Cancel a job of this node
    Cancel(One),
    /// Write a finished job's model and its proofs into a directory, for `tequio verify`
    Export(Export),
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  tequio job train --dir net/node1 --data iris.csv --label species --layers 32 --wait --out model")]
struct Train {
    #[command(flatten)]
    dir: Dir,
    /// The data: CSV, or CSV in gzip
    #[arg(long, value_name = "FILE.csv[.gz]")]
    data: PathBuf,
    /// The column with the class: its name, its position from 0, or -1 for the last
    #[arg(long, value_name = "COLUMN", allow_hyphen_values = true)]
    label: String,
    /// The first line is data; columns are named by their positions from 0
    #[arg(long)]
    no_header: bool,
    /// Separator of fields; detected by default
    #[arg(long, value_name = "CHAR", value_parser = separator)]
    separator: Option<char>,
    /// Widths of the hidden layers
    #[arg(long, value_name = "N,N", default_value = "64,32")]
    layers: String,
    /// Rounds of training; by default enough for the size of the data
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// Seed of the split, the first weights and the order of rows
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u32,
    /// Which columns are standardized (mean 0, deviation 1) together; pixel data is detected
    #[arg(long, value_name = "HOW")]
    scale: Option<Scale>,
    /// How workers share the training: units of many local steps that other workers recompute, or
    /// an exchange after every step, each checked by Freivalds' algorithm
    #[arg(long, value_name = "MODE", default_value = "local")]
    mode: Mode,
    /// Name of the job; by default the file's
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    key: Key,
    /// Wait until the model is final
    #[arg(long)]
    wait: bool,
    /// Wait, and write the model and its proofs into this directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    json: Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// Many steps between exchanges: little traffic
    Local,
    /// One step between exchanges: for fast links
    Exact,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Scale {
    /// All columns together
    Global,
    /// Each column by itself
    Column,
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    dir: Dir,
    #[command(flatten)]
    json: Json,
}

#[derive(Debug, Args)]
struct One {
    #[command(flatten)]
    dir: Dir,
    /// The job's id
    job: String,
    #[command(flatten)]
    json: Json,
}

#[derive(Debug, Args)]
struct Export {
    #[command(flatten)]
    one: One,
    /// The directory to make
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Job {
    /// Runs the subcommand.
    pub fn execute(self) -> anyhow::Result<()> {
        match self.command {
            Command::Train(train) => train.execute(),
            Command::Infer(infer) => infer.execute(),
            Command::List(list) => list.execute(),
            Command::Show(one) => {
                let id = job_id(&one.job)?;
                let client = one.client()?;
                let mut job = client.json(&format!("/v1/jobs/{id}"))?;
                job["events"] = events(&client, id)?;
                print(one.json, &job, || job_text::in_full(&job));
                Ok(())
            }
            Command::Watch(one) => {
                job_id(&one.job)?;
                let last = watch(&one.client()?, &one.job, one.json, ClosedOutput::End)?;
                print(one.json, &last, || job_text::in_full(&last));
                Ok(())
            }
            Command::Cancel(one) => {
                let id = job_id(&one.job)?;
                let client = one.client()?;
                let cancelled = client.delete(&format!("/v1/jobs/{id}"));
                let answer = cancelled.map_err(|error| {
                    unknown_outcome(error, || {
                        let dir = one.dir.dir.display();
                        format!(
                            "it is not known whether the job was cancelled: `tequio job show \
                             --dir {dir} {id}` shows it once the node answers"
                        )
                    })
                })?;
                print(one.json, &answer, || match answer["queued"].as_u64() {
                    Some(number) => queued::text(&answer, number),
                    None => format!("cancelled at height {}", answer["height"]),
                });
                Ok(())
            }
            Command::Export(Export { one, out }) => {
                job_id(&one.job)?;
                let exported = export::write(&one.client()?, &one.job, &out)?;
                print(one.json, &exported, || format!("exported to {}", out.display()));
                Ok(())
            }
        }
    }
}

impl One {
    fn client(&self) -> anyhow::Result<Client> {
        Client::of(&self.dir.dir)
    }
}

impl List {
    fn execute(self) -> anyhow::Result<()> {
        let answer = Client::of(&self.dir.dir)?.json("/v1/jobs")?;
        print(self.json, &answer, || {
            let jobs = answer["jobs"].as_array().map(Vec::as_slice).unwrap_or_default();
            if jobs.is_empty() {
                "no jobs".into()
            } else {
                jobs.iter().map(job_text::in_list).collect::<Vec<_>>().join("\n")
            }
        });
        Ok(())
    }
}

impl Train {
    fn execute(self) -> anyhow::Result<()> {
        if let Some(out) = self.out.as_deref().filter(|out| out.exists()) {
            bail!("{} exists already: remove it, or give --out another name", out.display());
        }
        let location = || self.data.display().to_string();
        let body = data::read_file(&self.data).with_context(location)?;
        let (query, key) = (self.query(), self.key.take()?);
        let mut client = Client::of(&self.dir.dir)?;
        let submitted = client
            .submit("/v1/jobs", &query, &body, &key)
            .map_err(|error| locate_error(error, location))?;
        let wait = self.wait || self.out.is_some();
        let Some(id) = queued::submitted_id(&client, &submitted, wait, self.json)? else {
            return Ok(());
        };
        let mut event = submitted.clone();
        event["event"] = json!("submitted");
        event["id"] = json!(id);
        event["key"] = json!(key);
        print(self.json, &event, || {
            format!(
                "job {id}\n{} training and {}, {}, {} classes; {}",
                submitted["training_rows"],
                match submitted["test_rows"].as_u64() {
                    Some(0) => "no test rows".to_owned(),
                    rows => counted(rows.unwrap_or_default(), "test row"),
                },
                counted(submitted["features"].as_u64().unwrap_or_default(), "feature"),
                submitted["classes"].as_array().map_or(0, Vec::len),
                counted(submitted["rounds"].as_u64().unwrap_or_default(), "round")
            )
        });
        if !wait {
            return Ok(());
        }
        let last = watch(&client, &id, self.json, ClosedOutput::Continue)?;
        if let Some(out) = &self.out {
            export::write(&client, &id, out)?;
        }
        let mut last = last;
        last["out"] = json!(self.out);
        print(self.json, &last, || {
            format!("model {}", last["model_cid"].as_str().unwrap_or_default())
        });
        Ok(())
    }

    fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = vec![
            ("label", self.label.clone()),
            ("header", (!self.no_header).to_string()),
            ("layers", self.layers.clone()),
            ("seed", self.seed.to_string()),
            ("name", self.name.clone().unwrap_or_else(|| name_of(&self.data))),
            ("mode", if matches!(self.mode, Mode::Exact) { "exact" } else { "local" }.to_owned()),
        ];
        let scale = self.scale.map(|s| match s {
            Scale::Global => "global".to_owned(),
            Scale::Column => "column".to_owned(),
        });
        query.extend(scale.map(|s| ("scale", s)));
        query.extend(self.rounds.map(|r| ("rounds", r.to_string())));
        query.extend(self.separator.map(|s| ("separator", s.to_string())));
        query
    }
}

/// Late and refused results of a job that the node has seen.
fn events(client: &Client, id: &str) -> anyhow::Result<Value> {
    let mut all = client.json("/v1/events")?["events"].take();
    if let Some(events) = all.as_array_mut() {
        events.retain(|event| event["job"] == id);
    }
    Ok(all)
}
