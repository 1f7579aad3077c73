//! The digits job: the command that submits and follows it, and the training of `--headless`, which
//! ends when the model is committed and the tab has verified it.

use std::time::Instant;

use anyhow::{Result, anyhow};
use serde_json::Value;

use super::{
    event::{Source, ended_early},
    network::{Network, text},
    outcome::Outcome,
};
use crate::{
    cli::DemoOptions,
    process::{ProcessReport, describe},
    progress::{Clock, print_line},
    workspace::Workspace,
};

const DATA: &str = "tests/data/digits.csv.gz";
/// The file has no header; its last column is the digit.
const LABEL: [&str; 3] = ["--no-header", "--label", "-1"];
/// One hidden layer, enough for 97 % of the held-out digits.
const LAYERS: &str = "64";

/// Starts the process of one training, which ends with the job. `node` coordinates the job.
pub fn start(
    workspace: &Workspace,
    network: &mut Network,
    number: u32,
    node: usize,
    rounds: Option<u32>,
) -> Result<()> {
    let mut command =
        network.client(workspace, node, &["job", "train", "--layers", LAYERS, "--wait", "--json"]);
    // Another seed, because otherwise each training would repeat the first.
    command
        .args(LABEL)
        .args(["--seed", &(number - 1).to_string(), "--data"])
        .arg(workspace.path(DATA));
    if let Some(rounds) = rounds {
        command.args(["--rounds", &rounds.to_string()]);
    }
    network.spawn("job", &mut command, Source::Job(number))
}

/// Returns how the process of a training ended, once it has closed its output.
pub fn ended(network: &mut Network, number: u32) -> Result<()> {
    let mut process = network.take(Source::Job(number))?;
    let status = process.wait()?;
    if status.success() {
        return Ok(());
    }
    let log = std::fs::read_to_string(process.log()).unwrap_or_default();
    // The program's last message is more informative than its exit code.
    let reason = log.lines().rev().find(|line| !line.trim().is_empty() && !line.starts_with('{'));
    Err(anyhow!(
        "{}",
        reason.map_or_else(|| format!("the job's process {}", describe(status)), str::to_owned)
    ))
}

/// Runs one training with a tab, and returns its outcome.
pub fn train_with_tab(
    options: &DemoOptions,
    workspace: &Workspace,
    network: &mut Network,
    deadline: Instant,
) -> Result<Outcome> {
    const NUMBER: u32 = 1;
    start(workspace, network, NUMBER, 1, options.rounds)?;
    let mut following = JobFollower { began: Instant::now(), record: None, verified: None };
    while following.record.is_none() || following.verified.is_none() {
        match network.next(deadline, "the job")? {
            (Source::Job(_), ProcessReport::Line(line)) => following.on_job_line(line),
            (Source::Tab, ProcessReport::Line(line)) => following.on_tab_line(line),
            (Source::Job(number), ProcessReport::Ended) => {
                let mut process = network.take(Source::Job(number))?;
                if following.record.is_none() || !process.wait()?.success() {
                    return Err(ended_early(&mut process));
                }
            }
            // A tab that dies is a failure at any time. A tab that has verified the model may end.
            (Source::Tab, ProcessReport::Ended) => {
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

/// The reports of the processes so far.
struct JobFollower {
    began: Instant,
    record: Option<Value>,
    verified: Option<Value>,
}

impl JobFollower {
    fn on_job_line(&mut self, line: Value) {
        match line["event"].as_str() {
            Some("round") => {
                let accuracy = line["accuracy"].as_f64().unwrap_or_default();
                self.print_line(&format!(
                    "round {} of {}: {:.1} %",
                    line["round"],
                    line["rounds"],
                    accuracy * 100.0
                ));
            }
            Some("final") => {
                self.print_line("the model is committed");
                self.record = Some(line);
            }
            _ => {}
        }
    }

    fn on_tab_line(&mut self, line: Value) {
        if line["event"] == "verified" {
            self.print_line("the tab has read the model back and verified it");
            self.verified = Some(line);
        }
    }

    /// Prints one line of progress with the time since the job began.
    fn print_line(&self, text: &str) {
        print_line(&format!("  {:>6}  {text}", Clock(self.began.elapsed()).to_string()));
    }

    fn outcome(self, validators: &[String]) -> Result<Outcome> {
        let mut outcome = Outcome::from_record(&self.record.unwrap_or_default(), validators)?;
        if let Some(verified) = &self.verified {
            outcome.verified_by_tab(&text(verified, "model_cid")?, text(verified, "path")?)?;
        }
        Ok(outcome)
    }
}
