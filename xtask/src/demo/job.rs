//! The digits job: the command that submits and follows it, and the training of `--headless`, which
//! is over when the model is committed and the tab has verified it.

use std::time::Instant;

use anyhow::{Result, anyhow};
use serde_json::Value;

use super::{
    Source, ended_early,
    network::{Network, text},
    outcome::Outcome,
};
use crate::{
    cli::DemoOptions,
    process::{What, describe},
    progress::{Clock, say},
    workspace::Workspace,
};

const DATA: &str = "tests/data/digits.csv.gz";
/// The file has no header; its last column is the digit.
const LABEL: [&str; 3] = ["--no-header", "--label", "-1"];
/// One hidden layer: good for 97 % of the held-out digits.
const LAYERS: &str = "64";

/// Starts the process of one training, which ends with the job: `node` coordinates it.
pub fn start(
    workspace: &Workspace,
    network: &mut Network,
    number: u32,
    node: usize,
    rounds: Option<u32>,
) -> Result<()> {
    let mut command =
        network.client(workspace, node, &["job", "train", "--layers", LAYERS, "--wait", "--json"]);
    // Another seed, or each training would repeat the first.
    command
        .args(LABEL)
        .args(["--seed", &(number - 1).to_string(), "--data"])
        .arg(workspace.path(DATA));
    if let Some(rounds) = rounds {
        command.args(["--rounds", &rounds.to_string()]);
    }
    network.spawn("job", &mut command, Source::Job(number))
}

/// How the process of a training ended, when it has closed its output.
pub fn ended(network: &mut Network, number: u32) -> Result<()> {
    let mut process = network.take(Source::Job(number))?;
    let status = process.wait()?;
    if status.success() {
        return Ok(());
    }
    let log = std::fs::read_to_string(process.log()).unwrap_or_default();
    // The program's own last word says more than its exit code.
    let reason = log.lines().rev().find(|line| !line.trim().is_empty() && !line.starts_with('{'));
    Err(anyhow!(
        "{}",
        reason.map_or_else(|| format!("the job's process {}", describe(status)), str::to_owned)
    ))
}

/// Trains once beside a tab, and says what came of it.
pub fn train_with_tab(
    options: &DemoOptions,
    workspace: &Workspace,
    network: &mut Network,
    deadline: Instant,
) -> Result<Outcome> {
    const NUMBER: u32 = 1;
    start(workspace, network, NUMBER, 1, options.rounds)?;
    let mut following = Following { began: Instant::now(), record: None, verified: None };
    while following.record.is_none() || following.verified.is_none() {
        match network.next(deadline, "the job")? {
            (Source::Job(_), What::Line(line)) => following.on_job_line(line),
            (Source::Tab, What::Line(line)) => following.on_tab_line(line),
            (Source::Job(number), What::Ended) => {
                let mut process = network.take(Source::Job(number))?;
                if following.record.is_none() || !process.wait()?.success() {
                    return Err(ended_early(&mut process));
                }
            }
            // A tab that dies is a failure at any time; one that has verified the model may end.
            (Source::Tab, What::Ended) => {
                let mut process = network.take(Source::Tab)?;
                if following.verified.is_none() || !process.wait()?.success() {
                    return Err(ended_early(&mut process));
                }
            }
            (Source::Node(_) | Source::Relay, _) => {}
        }
    }
    following.outcome(&network.validators)
}

/// What the processes have reported so far.
struct Following {
    began: Instant,
    record: Option<Value>,
    verified: Option<Value>,
}

impl Following {
    fn on_job_line(&mut self, line: Value) {
        match line["event"].as_str() {
            Some("round") => {
                let accuracy = line["accuracy"].as_f64().unwrap_or_default();
                self.say(&format!(
                    "round {} of {}: {:.1} %",
                    line["round"],
                    line["rounds"],
                    accuracy * 100.0
                ));
            }
            Some("final") => {
                self.say("the model is committed");
                self.record = Some(line);
            }
            _ => {}
        }
    }

    fn on_tab_line(&mut self, line: Value) {
        if line["event"] == "verified" {
            self.say("the tab has read the model back and verified it");
            self.verified = Some(line);
        }
    }

    /// One line of progress with the time since the job began.
    fn say(&self, text: &str) {
        say(&format!("  {:>6}  {text}", Clock(self.began.elapsed()).to_string()));
    }

    fn outcome(self, validators: &[String]) -> Result<Outcome> {
        let mut outcome = Outcome::from_record(&self.record.unwrap_or_default(), validators)?;
        if let Some(verified) = &self.verified {
            outcome.verified_by_tab(&text(verified, "model_cid")?, text(verified, "path")?)?;
        }
        Ok(outcome)
    }
}
