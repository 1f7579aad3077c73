//! The digits job: submitted to the first validator, followed line by line, and finished when the model is committed
//! and, with a tab, when the tab has verified it.

use std::time::Instant;

use anyhow::Result;
use serde_json::Value;

use super::{
    Source, ended_early,
    network::{Network, text},
    outcome::Outcome,
    tab::Tab,
    tell,
};
use crate::{cli::DemoOptions, process::What, workspace::Workspace};

const DATA: &str = "tests/data/digits.csv.gz";
/// The file has no header; its last column is the digit.
const LABEL: [&str; 3] = ["--no-header", "--label", "-1"];
/// One hidden layer: small enough for a minute of training by browsers, good for 97 % of the held-out digits.
const LAYERS: &str = "64";

/// Trains once and says what came of it.
pub fn train(
    options: &DemoOptions,
    workspace: &Workspace,
    network: &mut Network,
    tab: Option<&Tab>,
    deadline: Instant,
) -> Result<Outcome> {
    let mut command = network.client(workspace, 1, &["job", "train", "--layers", LAYERS, "--wait", "--json"]);
    command.args(LABEL).arg("--data").arg(workspace.path(DATA));
    if let Some(rounds) = options.rounds {
        command.args(["--rounds", &rounds.to_string()]);
    }
    network.spawn("job", &mut command, Source::Job)?;
    let mut following = Following { began: Instant::now(), record: None, verified: None };
    while !following.complete(tab.is_some()) {
        let report = network.next(deadline, "the job")?;
        match (report.source, report.what) {
            (Source::Job, What::Line(line)) => following.job_says(line),
            (Source::Tab, What::Line(line)) => following.tab_says(line),
            (Source::Job, What::Ended) => {
                let mut process = network.take(Source::Job)?;
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
    following.outcome(tab)
}

/// What has been heard so far.
struct Following {
    began: Instant,
    record: Option<Value>,
    verified: Option<Value>,
}

impl Following {
    fn complete(&self, with_tab: bool) -> bool {
        self.record.is_some() && (self.verified.is_some() || !with_tab)
    }

    fn job_says(&mut self, line: Value) {
        match line["event"].as_str() {
            Some("round") => {
                let accuracy = line["accuracy"].as_f64().unwrap_or_default();
                tell(self.began, &format!("round {} of {}: {:.1} %", line["round"], line["rounds"], accuracy * 100.0));
            }
            Some("final") => {
                tell(self.began, "the model is committed");
                self.record = Some(line);
            }
            _ => {}
        }
    }

    fn tab_says(&mut self, line: Value) {
        if line["event"] == "verified" {
            tell(self.began, "the tab has read the model back and verified it");
            self.verified = Some(line);
        }
    }

    fn outcome(self, tab: Option<&Tab>) -> Result<Outcome> {
        let record = self.record.unwrap_or_default();
        let mut outcome = Outcome::from_record(&record, tab.map(|tab| tab.node.as_str()))?;
        if let Some(verified) = &self.verified {
            outcome.verified_by_tab(&text(verified, "model_cid")?, text(verified, "path")?)?;
        }
        Ok(outcome)
    }
}
