//! `tequio job`: train, infer, list, show, watch, cancel, export.

use super::{
    Dir, Json,
    client::{Client, segment},
    export,
    infer::Infer,
    queued, say,
};
use crate::data;
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

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
    /// Answer the rows of a CSV with a model that a job has trained
    Infer(Infer),
    /// List the network's jobs, newest first
    List(List),
    /// Show a job
    Show(One),
    /// Follow a job until it is over
    Watch(One),
    /// Give up a job of this node
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
    /// What stands between fields; guessed where nothing is said
    #[arg(long, value_name = "CHAR")]
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
    /// What is brought to mean 0 and deviation 1 together; pixels are recognised
    #[arg(long, value_name = "HOW")]
    scale: Option<Scale>,
    /// How workers share the training: lanes of many steps that others recompute, or an exchange after every step,
    /// each checked by Freivalds' algorithm
    #[arg(long, value_name = "MODE", default_value = "local")]
    mode: Mode,
    /// Name of the job; by default the file's
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
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
    /// Does what was asked.
    pub fn execute(self) -> anyhow::Result<()> {
        match self.command {
            Command::Train(train) => train.execute(),
            Command::Infer(infer) => infer.execute(),
            Command::List(list) => list.execute(),
            Command::Show(one) => {
                let job = one.client()?.json(&format!("/v1/jobs/{}", segment(&one.job)?))?;
                say(one.json, &job, || describe(&job));
                Ok(())
            }
            Command::Watch(one) => {
                let last = watch(&one.client()?, &one.job, one.json)?;
                say(one.json, &last, || describe(&last));
                Ok(())
            }
            Command::Cancel(one) => {
                let answer = one.client()?.delete(&format!("/v1/jobs/{}", segment(&one.job)?))?;
                say(one.json, &answer, || match answer["queued"].as_u64() {
                    Some(number) => format!("queued as number {number}, NOT final: there is no quorum now"),
                    None => format!("cancelled at height {}", answer["height"]),
                });
                Ok(())
            }
            Command::Export(Export { one, out }) => {
                let exported = export::write(&one.client()?, &one.job, &out)?;
                say(one.json, &exported, || format!("exported to {}", out.display()));
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
        say(self.json, &answer, || {
            let jobs = answer["jobs"].as_array().map(Vec::as_slice).unwrap_or_default();
            if jobs.is_empty() { "no jobs".into() } else { jobs.iter().map(describe).collect::<Vec<_>>().join("\n") }
        });
        Ok(())
    }
}

impl Train {
    fn execute(self) -> anyhow::Result<()> {
        if let Some(out) = self.out.as_deref().filter(|out| out.exists()) {
            bail!("{} exists already", out.display());
        }
        let place = || self.data.display().to_string();
        let body = data::read_file(&self.data).with_context(place)?;
        let client = Client::of(&self.dir.dir)?;
        let submitted = client.post("/v1/jobs", &self.query(), &body).with_context(place)?;
        let wait = self.wait || self.out.is_some();
        let Some(id) = queued::submitted_id(&client, &submitted, wait, self.json)? else { return Ok(()) };
        let mut event = submitted.clone();
        event["event"] = json!("submitted");
        event["id"] = json!(id);
        say(self.json, &event, || {
            format!(
                "job {id}\n{} training and {} test rows, {} features, {} classes; {} rounds",
                submitted["training_rows"],
                submitted["test_rows"],
                submitted["features"],
                submitted["classes"].as_array().map_or(0, Vec::len),
                submitted["rounds"]
            )
        });
        if !wait {
            return Ok(());
        }
        let last = watch(&client, &id, Json { json: self.json.json })?;
        if let Some(out) = &self.out {
            export::write(&client, &id, out)?;
        }
        let mut last = last;
        last["out"] = json!(self.out);
        say(self.json, &last, || format!("model {}", last["model_cid"].as_str().unwrap_or_default()));
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

/// What a job is called where nobody says: as its file.
pub fn name_of(data: &Path) -> String {
    let stem = data.file_stem().map(|s| s.to_string_lossy().trim_end_matches(".csv").to_owned());
    stem.unwrap_or_default().chars().take(16).collect()
}

/// Follows a job, tells of each round, and returns it when it is final.
pub fn watch(client: &Client, id: &str, json: Json) -> anyhow::Result<Value> {
    let path = format!("/v1/jobs/{}/events", segment(id)?);
    let mut round = None;
    let mut state = String::new();
    for job in client.events(&path)? {
        let mut job = job?;
        let new_round = job["round"].as_u64().filter(|r| *r > 0 && Some(*r) != round);
        let now = job["state"].as_str().unwrap_or_default().to_owned();
        if let Some(number) = new_round {
            round = Some(number);
            let event = json!({
                "event": "round", "job": id, "round": number, "rounds": job["rounds"], "accuracy": job["accuracy"],
                "units": job["units"], "units_total": job["units_total"], "rejected": job["rejected"],
            });
            say(json, &event, || describe(&job));
        }
        if now == state {
            continue;
        }
        state.clone_from(&now);
        match now.as_str() {
            "final" => {
                job["event"] = json!("final");
                job["job"] = json!(id);
                if !json.json {
                    say(json, &job, || describe(&job));
                }
                return Ok(job);
            }
            "failed" => bail!("the job has failed: {}", job["reason"].as_str().unwrap_or("unknown")),
            "pending" => say(json, &json!({"event": "pending", "job": id}), || "waiting for its auditors".into()),
            _ => {}
        }
    }
    bail!("the node stopped telling about the job; `tequio job watch` asks again")
}

/// A job in a line.
fn describe(job: &Value) -> String {
    let text = |name: &str| job[name].as_str().unwrap_or_default();
    let accuracy = job["accuracy"].as_f64().map_or(String::new(), |a| format!(", {:.2} %", a * 100.0));
    let rounds = match text("kind") {
        "infer" => " (batch)".to_owned(),
        _ => format!(" round {}/{}", job["round"], job["rounds"]),
    };
    format!(
        "{} {:8} {}{rounds}{accuracy}, {}/{} units, {} rejected",
        text("id"),
        text("state"),
        text("name"),
        job["units"],
        job["units_total"],
        job["rejected"]
    )
}
