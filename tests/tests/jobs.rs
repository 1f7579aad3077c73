//! Jobs on a real network of processes: what a kill, a lie and a stranger do to them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use std::{process::Command, time::Duration};
use tequio_core::compute::{
    dataset::{CsvOptions, Label, prepare},
    params::JobParams,
    train::train,
};
use tequio_tests::{
    network::{Network, binary, root},
    process::Process,
};

const JOB_WAIT: Duration = Duration::from_secs(300);
const DIGITS: &str = "tests/data/digits.csv.gz";
/// The attackers work, too, so a shorter job than the demo's is enough.
const ROUNDS: u32 = 24;

/// Submits the digits job to a node and returns its id.
fn submit(network: &Network, node: usize) -> String {
    let data = root().join(DIGITS);
    let submitted = network
        .ask(
            node,
            &[
                "job",
                "train",
                "--data",
                data.to_str().unwrap(),
                "--no-header",
                "--label",
                "-1",
                "--layers",
                "64",
                "--rounds",
                &ROUNDS.to_string(),
            ],
        )
        .unwrap();
    submitted["id"].as_str().or(submitted["job"].as_str()).expect("the job's id").to_owned()
}

/// Follows a job until it has made `rounds` rounds.
fn watch_rounds(network: &Network, node: usize, job: &str, rounds: u64) -> Process {
    let mut watch = network.begin(node, &["job", "watch", job]).unwrap();
    watch
        .wait_for("round", JOB_WAIT, |l| l["round"].as_u64().is_some_and(|r| r >= rounds) || l["event"] == "final")
        .unwrap();
    watch
}

fn finish(network: &Network, node: usize, job: &str) -> Value {
    network.begin(node, &["job", "watch", job]).unwrap().event("final", JOB_WAIT).unwrap()
}

/// What one process alone computes from the same data: the model that every network must arrive at.
fn expected_weights() -> String {
    let mut csv = Vec::new();
    std::io::Read::read_to_end(
        &mut flate2::read::GzDecoder::new(std::fs::File::open(root().join(DIGITS)).unwrap()),
        &mut csv,
    )
    .unwrap();
    let options = CsvOptions { header: false, ..CsvOptions::new(Label::Last) };
    let data = prepare(&csv, &options).unwrap();
    let mut params = JobParams::for_dataset(&data, &[64], 0).unwrap();
    params.rounds = ROUNDS;
    let plan = params.validate().unwrap();
    train(&plan, data.train(), |_, _| ()).unwrap().hash().to_string()
}

#[test]
fn killing_each_validator_in_turn_loses_nothing() {
    let mut network = Network::start(4, 0).unwrap();
    let job = submit(&network, 0);
    for victim in 0..4 {
        drop(watch_rounds(&network, 0, &job, victim as u64 * 3 + 1));
        network.kill(victim).unwrap();
        network.launch(victim).unwrap();
        network.ready(victim).unwrap();
    }
    let done = finish(&network, 0, &job);
    assert_eq!(done["weights"], expected_weights(), "{done}");
    // Every node ends with the same record of it.
    for node in 1..4 {
        assert_eq!(finish(&network, node, &job)["model_cid"], done["model_cid"]);
    }
}

#[test]
fn wrong_results_are_refused_and_the_model_is_the_true_one() {
    let network = Network::start(4, 0).unwrap();
    let mut liars: Vec<Process> = ["product", "delta", "step", "opening"]
        .iter()
        .map(|lie| {
            let mut command = Command::new(binary("tequio-adversary"));
            command.args(["worker", "--lie", lie, "--node", &network.address(0).unwrap()]);
            Process::spawn(lie, &mut command, &network.folder().join(format!("{lie}.log"))).unwrap()
        })
        .collect();
    for liar in &mut liars {
        liar.event("ready", JOB_WAIT).unwrap();
    }
    let job = submit(&network, 0);
    let done = finish(&network, 0, &job);
    assert_eq!(done["weights"], expected_weights());
    assert!(done["rejected"].as_u64().unwrap() > 0, "no lie was told: {done}");
    // Nobody who lied is credited.
    let events = network.ask(0, &["job", "show", &job]).unwrap();
    let contributors = events["contributors"].as_array().unwrap();
    assert!(contributors.iter().all(|c| (0..4).any(|n| c["id"] == network.member(n))), "{events}");
}
