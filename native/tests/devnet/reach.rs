//! A coordinator and a worker that accept no connections, connected with different members. Work
//! units travel between them, and the job states what it waits for.

use crate::{JOB_WITHIN, WITHIN, data, support::Devnet};

#[test]
fn work_units_reach_nodes_that_cannot_be_dialled() {
    let mut net = Devnet::make(4);
    (1..=4).for_each(|node| net.restart_with(node, &["--workers", "0"]));
    net.wait_height(1, 2, WITHIN);
    let coordinator = net.join_hidden("coordinator", 1, &["--workers", "0"]);
    net.wait_height(coordinator, 2, WITHIN);
    let iris = data("iris.csv");
    let train = [
        "job",
        "train",
        "--label",
        "class",
        "--layers",
        "16",
        "--json",
        "--data",
        iris.to_str().unwrap(),
    ];
    let job = net.client(coordinator, &train);
    let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
    // A member without a connection to the coordinator gets the state too.
    let waiting = net.wait_until(3, &path, WITHIN, |job| job["waiting_for"] == "workers");
    assert_eq!((&waiting["state"], &waiting["round"]), (&"running".into(), &0.into()));
    assert!(waiting["waiting_text"].as_str().unwrap().contains("worker"), "{waiting}");
    assert!(waiting["waiting_since_ms"].as_u64() >= waiting["submitted_ms"].as_u64(), "{waiting}");
    assert_eq!(waiting["workers_now"], serde_json::json!({"full": 0, "browsers": 0}));

    let worker = net.join_hidden("worker", 2, &["--workers", "1"]);
    let computing =
        net.wait_until(coordinator, &path, JOB_WITHIN, |job| job["round"].as_u64() >= Some(1));
    assert_eq!(computing["workers_now"]["full"], 1, "{computing}");
    assert!(computing["waiting_for"].is_null(), "{computing}");
    let done = net.wait_until(coordinator, &path, JOB_WITHIN, |job| job["state"] == "final");
    let id = &net.get(worker, "/v1/status")["node"];
    assert!(done["contributors"].as_array().unwrap().iter().any(|c| c["id"] == *id), "{done}");
    assert_eq!(
        (&done["waiting_for"], &done["reason"]),
        (&serde_json::Value::Null, &serde_json::Value::Null)
    );
    assert!(done["best_accuracy"].as_f64() >= done["accuracy"].as_f64(), "{done}");
}
