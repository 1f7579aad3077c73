//! Four validators in separate processes, made by `tequio init --devnet`. They agree, survive the
//! SIGKILL of any one, and train a model together. The exported model verifies without a network.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod cli_errors;
mod commands;
mod kill;
mod mempool_limits;
mod prebuilt_chain;
mod proofs;
mod prune;
mod reach;
mod reduced;
mod seats;
mod support;
mod sync;
mod transaction_propagation;

use serde_json::Value;
use std::{fs, path::Path, process::Command, time::Duration};
use support::{Devnet, tequio};

/// Generous, because the machine may be busy with other tests. Every wait is for an event.
const WITHIN: Duration = Duration::from_secs(120);
const JOB_WITHIN: Duration = Duration::from_secs(600);

fn data(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data").join(name)
}

#[test]
fn four_validators_agree_and_survive_the_kill_of_any_one() {
    let mut net = Devnet::start(4);
    let height = net.wait_height(1, 2, WITHIN);
    let hash =
        |node: usize, net: &Devnet| net.get(node, &format!("/v1/blocks/{height}"))["hash"].clone();
    for node in 2..=4 {
        net.wait_height(node, height, WITHIN);
        assert_eq!(hash(node, &net), hash(1, &net), "node {node} has another block {height}");
    }
    // A node is killed without warning, leader or not, and the others continue. After a restart it
    // catches up from its store and its peers.
    for victim in [1, 3] {
        net.kill(victim);
        let other = victim % 4 + 1;
        let before = net.height(other);
        let reached = net.wait_height(other, before + 3, WITHIN);
        net.restart(victim);
        net.wait_height(victim, reached, WITHIN);
        assert_eq!(
            net.get(victim, &format!("/v1/blocks/{reached}"))["hash"],
            net.get(other, &format!("/v1/blocks/{reached}"))["hash"]
        );
    }
    // A node that joins without a seat follows, and reports the same state as the others.
    let joined = net.join();
    let height = net.wait_height(joined, net.height(1), WITHIN);
    assert_eq!(net.get(joined, "/v1/status")["seat"], Value::Null);
    assert_eq!(
        net.get(joined, &format!("/v1/blocks/{height}"))["hash"],
        net.get(1, &format!("/v1/blocks/{height}"))["hash"]
    );
    // It also coordinates jobs of its own, for which it registers an account first. The default
    // options suit a small table: they give few rounds.
    let iris = data("iris.csv");
    let job = net.client(
        joined,
        &[
            "job",
            "train",
            "--label",
            "class",
            "--layers",
            "16",
            "--wait",
            "--json",
            "--data",
            iris.to_str().unwrap(),
        ],
    );
    assert_eq!(
        (&job["state"], &job["coordinator"]),
        (&"final".into(), &net.get(joined, "/v1/status")["node"])
    );
    assert_eq!((&job["rounds"], &job["units_total"]), (&50.into(), &400.into()));
    assert!(job["accuracy"].as_f64().unwrap() >= 0.9, "{job}");
    // Two processes in one directory would sign with one key.
    let second = net.try_second(1);
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("in use by another"), "{second:?}");
}

#[test]
fn votes_routed_through_collectors_survive_the_kill_of_any_member() {
    let mut net = Devnet::make(4);
    (1..=4).for_each(|node| net.restart_with(node, &["--vote-routing", "leader"]));
    net.wait_height(1, 4, WITHIN);
    for victim in [2, 4] {
        net.kill(victim);
        let other = victim % 4 + 1;
        let reached = net.wait_height(other, net.height(other) + 3, WITHIN);
        // It restarts with the other vote routing.
        net.restart(victim);
        let height = net.wait_height(victim, reached + 2, WITHIN);
        net.wait_height(other, height, WITHIN);
        let hash = |node: usize| net.get(node, &format!("/v1/blocks/{height}"))["hash"].clone();
        assert_eq!(hash(victim), hash(other));
    }
}

#[test]
fn a_job_survives_its_coordinator_and_its_model_verifies_offline() {
    let mut net = Devnet::start(4);
    let digits = data("digits.csv.gz");
    let submitted = net.client(
        1,
        &[
            "job",
            "train",
            "--no-header",
            "--label",
            "-1",
            "--layers",
            "64",
            "--json",
            "--data",
            digits.to_str().unwrap(),
        ],
    );
    let id = submitted["id"].as_str().unwrap().to_owned();
    // The job's coordinator is killed in the middle of the job.
    let path = format!("/v1/jobs/{id}");
    net.wait_until(1, &path, JOB_WITHIN, |job| job["round"].as_u64() >= Some(3));
    net.kill(1);
    net.restart(1);
    let job = net.wait_until(1, &path, JOB_WITHIN, |job| job["state"] == "final");
    assert!(job["accuracy"].as_f64().unwrap() >= 0.96, "{job}");
    assert_eq!(job["rejected"], 0);
    assert!(job["contributors"].as_array().unwrap().len() > 1, "others have computed too: {job}");

    // Every full node has the model, under the ref.
    let height = job["height"].as_u64().unwrap();
    for node in 2..=4 {
        net.wait_height(node, height, WITHIN);
        assert_eq!(net.get(node, &format!("/v1/refs/models/{id}"))["cid"], job["model_cid"]);
        let cid = job["model_cid"].as_str().unwrap();
        net.wait_status(node, &format!("/v1/objects/{cid}"), 200, WITHIN);
    }

    let export = net.path().join("export");
    net.client(1, &["job", "export", &id, "--json", "--out", export.to_str().unwrap()]);
    let root = net.path().join("net/checkpoint.bin");
    let verify = |export: &Path, data: &Path| verify(export, data, &root);
    let verified = verify(&export, &digits);
    assert!(verified.0, "{}", verified.1);
    assert_eq!(verified.1["model_cid"], job["model_cid"]);

    // Every changed byte is detected, and the error names the part.
    for (file, part) in [
        ("checkpoint.bin", "checkpoint"),
        ("handovers.bin", "handovers"),
        ("proof.bin", "proof"),
        ("model.cbor", "model"),
        ("record.cbor", "record"),
        ("weights.bin", "weights"),
        ("manifest.json", "manifest"),
        ("BLAKE3SUMS", "sums"),
    ] {
        let copy = net.path().join(format!("changed-{file}"));
        fs::create_dir(&copy).unwrap();
        for entry in fs::read_dir(&export).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
        }
        let mut bytes = fs::read(copy.join(file)).unwrap();
        let at = bytes.len() - 2;
        bytes[at] ^= 1;
        fs::write(copy.join(file), bytes).unwrap();
        let (ok, answer) = verify(&copy, &digits);
        assert!(!ok, "{file}");
        assert_eq!(answer["part"], part, "{file}: {answer}");
    }
    let (ok, answer) = verify(&export, &data("wine.csv"));
    assert!(!ok);
    assert_eq!(answer["part"], "data", "{answer}");
}

/// Runs `tequio verify`. Returns whether it succeeded, and the last line it printed.
fn verify(export: &Path, data: &Path, root: &Path) -> (bool, Value) {
    let mut command = Command::new(tequio());
    command
        .arg("verify")
        .arg(export)
        .arg("--data")
        .arg(data)
        .arg("--checkpoint")
        .arg(root)
        .arg("--json");
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.success(), serde_json::from_str(text.lines().last().unwrap_or("null")).unwrap())
}

#[test]
fn wrong_data_gets_clear_errors() {
    let net = Devnet::start(1);
    let file = |name: &str, text: &str| {
        let path = net.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let rows = |n: usize| {
        (0..n).map(|i| format!("{i},{},{}\n", i * 3 % 7, ["a", "b"][i % 2])).collect::<String>()
    };
    let good = format!("x,y,class\n{}", rows(60));
    for (name, text, label, expected) in [
        ("label.csv", good.clone(), "species", "species"),
        ("text.csv", good.replace("\n3,", "\nthree,"), "class", "three"),
        ("one.csv", good.replace(",b\n", ",a\n"), "class", "class"),
        ("empty.csv", String::new(), "class", "empty"),
        ("unequal.csv", good.replace("\n3,", "\n3,3,"), "class", "line 5"),
    ] {
        let output = net.client_output(
            1,
            &["job", "train", "--data", &file(name, &text), "--label", label, "--layers", "8"],
        );
        assert!(!output.status.success(), "{name}");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn changing_state_needs_the_token_and_names_are_refused() {
    let net = Devnet::start(1);
    let base = net.http(1);
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let answer = agent.post(format!("{base}/v1/jobs?label=x&layers=8")).send("x,y\n").unwrap();
    assert_eq!(answer.status(), 401);
    let wrong = agent
        .post(format!("{base}/v1/transactions"))
        .header("authorization", "Bearer 0")
        .send("x")
        .unwrap();
    assert_eq!(wrong.status(), 401);
    let rebound =
        agent.get(format!("{base}/v1/status")).header("host", "evil.example").call().unwrap();
    assert_eq!(rebound.status(), 421);
    let metrics =
        agent.get(format!("{base}/metrics")).call().unwrap().body_mut().read_to_string().unwrap();
    assert!(metrics.contains("tequio_height") && metrics.ends_with("# EOF\n"), "{metrics}");
    let limited =
        (0..1000).map(|_| agent.get(format!("{base}/v1/status")).call().unwrap().status());
    assert!(limited.into_iter().any(|status| status == 429), "a flood is limited");
}
