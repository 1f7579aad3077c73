//! Jobs on a real network of processes, with kills, Byzantine workers and workers from outside.

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
/// Attackers compute as well, so a shorter job than the demo's is enough.
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
    let submitted = network.run_client(node, &[&table[..], &training[..]].concat()).unwrap();
    submitted["id"].as_str().expect("the job's id").to_owned()
}

/// Follows a job until it has made `rounds` rounds.
fn watch_rounds(network: &Network, node: usize, job: &str, rounds: u64) -> Process {
    let mut watch = network.spawn_client(node, &["job", "watch", job]).unwrap();
    watch
        .wait_for("round", JOB_WAIT, |l| {
            l["round"].as_u64().is_some_and(|r| r >= rounds) || l["event"] == "final"
        })
        .unwrap();
    watch
}

fn finish(network: &Network, node: usize, job: &str) -> Value {
    network.spawn_client(node, &["job", "watch", job]).unwrap().event("final", JOB_WAIT).unwrap()
}

fn digits() -> Vec<u8> {
    let mut csv = Vec::new();
    let file = std::fs::File::open(root().join(DIGITS)).unwrap();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(file), &mut csv).unwrap();
    csv
}

/// Returns the model that one process computes from the same data, which every network must
/// produce.
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

/// Returns the class of every row, as a file.
fn expected_answers() -> String {
    let (data, plan, weights) = expected(JobParams::exact);
    let classifier = Classifier::new(
        plan.params().architecture.clone(),
        weights.quantise(plan.topology()).unwrap(),
    )
    .unwrap();
    let names: Vec<&str> = data.columns().iter().map(|c| &**c).collect();
    let rows = read_batch(&digits(), false, None, &names, data.normalizer()).unwrap();
    let classes = classifier.classes(&rows).unwrap();
    let lines = classes.iter().map(|class| data.classes()[usize::from(*class)].to_string());
    [data.label().to_string()].into_iter().chain(lines).map(|line| line + "\n").collect()
}

/// Starts workers beside those of the nodes, each with one fault.
fn byzantine_workers(network: &Network, faults: &[&str]) -> Vec<Process> {
    faults.iter().map(|fault| worker(network, fault).0).collect()
}

/// Starts a worker from outside with this fault; returns it once it is ready, and its id.
fn worker(network: &Network, fault: &str) -> (Process, Value) {
    let mut command = Command::new(binary("tequio-adversary"));
    command.args(["worker", "--fault", fault, "--node", &network.address(0).unwrap()]);
    let mut worker =
        Process::spawn(fault, &mut command, &network.folder().join(format!("{fault}.log")))
            .unwrap();
    let ready = worker.event("ready", JOB_WAIT).unwrap();
    (worker, ready["node"].clone())
}

/// Checks that no Byzantine worker is credited.
fn only_members_are_credited(network: &Network, job: &str) {
    let shown = network.run_client(0, &["job", "show", job]).unwrap();
    let contributors = shown["contributors"].as_array().unwrap();
    assert!(contributors.iter().all(|c| (0..4).any(|n| c["id"] == network.member(n))), "{shown}");
}

/// Waits until a Byzantine worker has been detected, and only then starts an honest worker. Returns
/// the honest worker and its id.
fn honest_worker_after_byzantine(network: &Network, attackers: &mut [Process]) -> (Process, Value) {
    let first = attackers.first_mut().expect("a Byzantine worker");
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
        network.wait_ready(victim).unwrap();
    }
    let done = finish(&network, 0, &job);
    assert_eq!(done["weights"], expected_weights(), "{done}");
    // Every node ends with the same record of the job.
    for node in 1..4 {
        assert_eq!(finish(&network, node, &job)["model_cid"], done["model_cid"]);
    }
}

#[test]
fn wrong_results_are_refused_and_the_model_is_the_true_one() {
    let network = Network::start(4, 0).unwrap();
    let _workers = byzantine_workers(&network, &["product", "delta", "step", "opening"]);
    let job = submit(&network, 0);
    let done = finish(&network, 0, &job);
    assert_eq!(done["weights"], expected_weights());
    assert!(done["rejected"].as_u64().unwrap() > 0, "no wrong result was rejected: {done}");
    only_members_are_credited(&network, &job);
}

#[test]
fn exact_mode_and_batch_inference_are_checked_by_their_products() {
    // The nodes compute nothing, because a fast machine would finish before an attacker can act.
    let network = Network::start_with(4, 0, &["--workers", "0"]).unwrap();
    let mut attackers = byzantine_workers(&network, &["product", "delta", "step"]);
    let job = submit_mode(&network, 0, "exact");
    let (honest, id) = honest_worker_after_byzantine(&network, &mut attackers);
    let done = finish(&network, 0, &job);
    assert_eq!(done["weights"], expected(JobParams::exact).2.hash().to_string(), "{done}");
    assert!(done["rejected"].as_u64().unwrap() > 0, "no wrong result was rejected: {done}");
    assert_eq!(done["checked"], done["units"]);
    let shown = network.run_client(0, &["job", "show", &job]).unwrap();
    assert!(
        shown["contributors"].as_array().unwrap().iter().all(|c| c["id"] == id),
        "a Byzantine worker is credited: {shown}"
    );

    drop((attackers, honest));
    let mut attackers = self::byzantine_workers(&network, &["product", "delta"]);
    let (data, out) = (root().join(DIGITS), network.folder().join("answers.csv"));
    let (data, out) = (data.to_str().unwrap(), out.to_str().unwrap());
    let batch = ["job", "infer", "--model", &job, "--data", data, "--no-header", "--out", out];
    let mut infer = network.spawn_client(0, &batch).unwrap();
    let _honest = honest_worker_after_byzantine(&network, &mut attackers);
    let done = infer
        .wait_for("answers", JOB_WAIT, |l| l["kind"] == "infer" && l["state"] == "final")
        .unwrap();
    assert!(infer.finish(JOB_WAIT).unwrap().success());
    assert_eq!(std::fs::read_to_string(out).unwrap(), expected_answers());
    assert_eq!(done["checked"], done["units"]);
    // Every node holds the answers, under the same name.
    let name = format!("answers/{}", done["id"].as_str().unwrap());
    let found =
        network.run_client(3, &["kb", "get", &name, "--output", &format!("{out}.cbor")]).unwrap();
    assert_eq!(found["cid"], done["answers_cid"]);
    // A job that was never trained gives no answer.
    let refused = network
        .run_client(0, &["job", "infer", "--model", done["id"].as_str().unwrap(), "--data", data]);
    assert!(refused.unwrap_err().to_string().contains("has not trained a model"));
}
