//! Jobs on a real network of processes: what a kill, a lie and a stranger do to them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use std::{process::Command, time::Duration};
use tequio_core::compute::{
    dataset::{CsvOptions, Dataset, Label, prepare, read_batch},
    params::{JobParams, Plan},
    predict::Classifier,
    state::Weights,
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
    submit_mode(network, node, "local")
}

fn submit_mode(network: &Network, node: usize, mode: &str) -> String {
    let data = root().join(DIGITS);
    let (data, rounds) = (data.to_str().unwrap(), ROUNDS.to_string());
    let table = ["job", "train", "--data", data, "--no-header", "--label", "-1"];
    let training = ["--layers", "64", "--rounds", &rounds, "--mode", mode];
    let submitted = network.ask(node, &[&table[..], &training[..]].concat()).unwrap();
    submitted["id"].as_str().expect("the job's id").to_owned()
}

/// Follows a job until it has made `rounds` rounds.
fn watch_rounds(network: &Network, node: usize, job: &str, rounds: u64) -> Process {
    let mut watch = network.begin(node, &["job", "watch", job]).unwrap();
    watch
        .wait_for("round", JOB_WAIT, |l| {
            l["round"].as_u64().is_some_and(|r| r >= rounds) || l["event"] == "final"
        })
        .unwrap();
    watch
}

fn finish(network: &Network, node: usize, job: &str) -> Value {
    network.begin(node, &["job", "watch", job]).unwrap().event("final", JOB_WAIT).unwrap()
}

fn digits() -> Vec<u8> {
    let mut csv = Vec::new();
    let file = std::fs::File::open(root().join(DIGITS)).unwrap();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(file), &mut csv).unwrap();
    csv
}

/// What one process alone computes from the same data: the model that every network must arrive at.
fn expected(change: impl FnOnce(JobParams) -> JobParams) -> (Dataset, Plan, Weights) {
    let options = CsvOptions { header: false, ..CsvOptions::new(Label::Last) };
    let data = prepare(&digits(), &options).unwrap();
    let mut params = change(JobParams::for_dataset(&data, &[64], 0).unwrap());
    params.rounds = ROUNDS;
    let plan = params.validate().unwrap();
    let weights = train(&plan, data.train(), |_, _| ()).unwrap();
    (data, plan, weights)
}

fn expected_weights() -> String {
    expected(|params| params).2.hash().to_string()
}

/// The class of every row, as a file.
fn expected_answers() -> String {
    let (data, plan, weights) = expected(JobParams::exact);
    let classifier = Classifier::new(
        plan.params().architecture.clone(),
        weights.publish(plan.topology()).unwrap(),
    )
    .unwrap();
    let names: Vec<&str> = data.columns().iter().map(|c| &**c).collect();
    let rows = read_batch(&digits(), false, None, &names, data.normalizer()).unwrap();
    let classes = classifier.classes(&rows).unwrap();
    let lines = classes.iter().map(|class| data.classes()[usize::from(*class)].to_string());
    [data.label().to_string()].into_iter().chain(lines).map(|line| line + "\n").collect()
}

/// Workers beside those of the nodes, each with one lie.
fn liars(network: &Network, lies: &[&str]) -> Vec<Process> {
    lies.iter().map(|lie| worker(network, lie).0).collect()
}

/// A worker from outside with this lie, ready, and its id.
fn worker(network: &Network, lie: &str) -> (Process, Value) {
    let mut command = Command::new(binary("tequio-adversary"));
    command.args(["worker", "--lie", lie, "--node", &network.address(0).unwrap()]);
    let mut worker =
        Process::spawn(lie, &mut command, &network.folder().join(format!("{lie}.log"))).unwrap();
    let ready = worker.event("ready", JOB_WAIT).unwrap();
    (worker, ready["node"].clone())
}

/// Nobody who lied is credited.
fn only_members_are_credited(network: &Network, job: &str) {
    let shown = network.ask(0, &["job", "show", job]).unwrap();
    let contributors = shown["contributors"].as_array().unwrap();
    assert!(contributors.iter().all(|c| (0..4).any(|n| c["id"] == network.member(n))), "{shown}");
}

/// Waits until somebody's lie has been found out, and only then lets an honest worker at the job;
/// returns it and its id.
fn honest_after_a_lie(network: &Network, liars: &mut [Process]) -> (Process, Value) {
    let first = liars.first_mut().expect("a liar");
    first.event("rejected", JOB_WAIT).unwrap();
    worker(network, "nothing")
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
    let _liars = liars(&network, &["product", "delta", "step", "opening"]);
    let job = submit(&network, 0);
    let done = finish(&network, 0, &job);
    assert_eq!(done["weights"], expected_weights());
    assert!(done["rejected"].as_u64().unwrap() > 0, "no lie was told: {done}");
    only_members_are_credited(&network, &job);
}

#[test]
fn exact_mode_and_batch_inference_are_checked_by_their_products() {
    // The nodes compute nothing: on a fast machine they have done all of it before anybody can lie.
    let network = Network::start_with(4, 0, &["--workers", "0"]).unwrap();
    let mut liars = liars(&network, &["product", "delta", "step"]);
    let job = submit_mode(&network, 0, "exact");
    let (honest, id) = honest_after_a_lie(&network, &mut liars);
    let done = finish(&network, 0, &job);
    assert_eq!(done["weights"], expected(JobParams::exact).2.hash().to_string(), "{done}");
    assert!(done["rejected"].as_u64().unwrap() > 0, "no lie was told: {done}");
    assert_eq!(done["checked"], done["units"]);
    let shown = network.ask(0, &["job", "show", &job]).unwrap();
    assert!(
        shown["contributors"].as_array().unwrap().iter().all(|c| c["id"] == id),
        "a liar is credited: {shown}"
    );

    drop((liars, honest));
    let mut liars = self::liars(&network, &["product", "delta"]);
    let (data, out) = (root().join(DIGITS), network.folder().join("answers.csv"));
    let (data, out) = (data.to_str().unwrap(), out.to_str().unwrap());
    let batch = ["job", "infer", "--model", &job, "--data", data, "--no-header", "--out", out];
    let mut infer = network.begin(0, &batch).unwrap();
    let _honest = honest_after_a_lie(&network, &mut liars);
    let done = infer
        .wait_for("answers", JOB_WAIT, |l| l["kind"] == "infer" && l["state"] == "final")
        .unwrap();
    assert!(infer.finish(JOB_WAIT).unwrap().success());
    assert_eq!(std::fs::read_to_string(out).unwrap(), expected_answers());
    assert_eq!(done["checked"], done["units"]);
    // Every node holds the answers, under the same name.
    let name = format!("answers/{}", done["id"].as_str().unwrap());
    let found = network.ask(3, &["kb", "get", &name, "--output", &format!("{out}.cbor")]).unwrap();
    assert_eq!(found["cid"], done["answers_cid"]);
    // What was never trained answers nothing.
    let refused =
        network.ask(0, &["job", "infer", "--model", done["id"].as_str().unwrap(), "--data", data]);
    assert!(refused.unwrap_err().to_string().contains("has not trained a model"));
}
