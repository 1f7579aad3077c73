//! A real Chromium against a real network, and against Byzantine relays.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use std::{process::Command, time::Duration};
use tequio_tests::{
    browser,
    network::{Network, binary, root},
    process::Process,
};

const WAIT: Duration = Duration::from_secs(300);

fn script(network: &Network, name: &str, arguments: &[&str]) -> Process {
    browser::script(network, name, arguments).unwrap()
}

fn train(network: &Network, rounds: u32) -> String {
    let data = root().join("tests/data/digits.csv.gz");
    let rounds = rounds.to_string();
    let arguments = [
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
        &rounds,
    ];
    let submitted = network.run_client(0, &arguments).unwrap();
    submitted["job"].as_str().or(submitted["id"].as_str()).unwrap().to_owned()
}

fn finished(network: &Network, job: &str) -> Value {
    network.spawn_client(0, &["job", "watch", job]).unwrap().event("final", WAIT).unwrap()
}

#[test]
fn two_tabs_work_on_one_job_and_a_closed_one_loses_nothing() {
    let network = Network::start(4, 1).unwrap();
    let mut tabs = script(&network, "tabs", &["--url", &network.page(0).unwrap()]);
    let nodes: Vec<Value> =
        (0..2).map(|_| tabs.event("joined", WAIT).unwrap()["node"].clone()).collect();
    assert_ne!(nodes[0], nodes[1], "each tab has an identity of its own");
    let job = train(&network, 40);
    tabs.event("closed", WAIT).unwrap();
    let verified = tabs.event("verified", WAIT).unwrap();
    assert!(tabs.finish(WAIT).unwrap().success());
    let done = finished(&network, &job);
    assert_eq!(done["model_cid"], verified["model_cid"]);
    let contributors = done["contributors"].as_array().unwrap();
    for node in nodes {
        assert!(contributors.iter().any(|c| c["id"] == node), "{node} is not credited: {done}");
    }
}

#[test]
fn examples_run_and_a_tab_replaces_a_relay_that_sends_invalid_data() {
    let network = Network::start(4, 1).unwrap();
    let job = train(&network, 4);
    let model = finished(&network, &job)["model_cid"].clone();
    // The same network serves the package's examples.
    let mut examples = script(&network, "examples", &["--url", &network.page(0).unwrap()]);
    for (event, field) in [("readme", "model"), ("react", "label"), ("node", "label")] {
        let shown = examples.event(event, WAIT).unwrap_or_else(|e| panic!("{event}: {e}"));
        assert!(shown[field].as_str().is_some_and(|text| !text.is_empty()), "{shown}");
        assert!(event != "node" || shown["none"] == "NOT_FOUND", "{shown}");
    }
    assert!(examples.finish(WAIT).unwrap().success());
    check_browser_environments(&network);
    // Side by side, because each tab mostly waits for the next block.
    let tabs = ["header", "weight", "committee", "chain", "proof", "object"].map(|fault| {
        let mut command = Command::new(binary("tequio-adversary"));
        command.args(["relay", "--fault", fault, "--node", &network.address(1).unwrap()]);
        let mut byzantine =
            Process::spawn(fault, &mut command, &network.folder().join(format!("{fault}.log")))
                .unwrap();
        let ready = byzantine.event("ready", WAIT).unwrap();
        let honest = network.relay(0).unwrap();
        let honest = honest.listen.iter().find(|a| a.contains("/ws")).unwrap();
        let page = network.page(0).unwrap();
        let (page, fragment) = page.split_once('#').unwrap();
        let url = format!(
            "{page}?relay={}&relay={honest}#{fragment}",
            ready["listen"][0].as_str().unwrap()
        );
        let arguments =
            ["--url", &url, "--byzantine", ready["node"].as_str().unwrap(), "--wait-model"];
        (fault, byzantine, script(&network, "byzantine-relay", &arguments))
    });
    for (fault, _byzantine, mut tab) in tabs {
        let caught = tab.event("caught", WAIT).unwrap_or_else(|e| panic!("{fault}: {e}"));
        assert_eq!(caught["named"], true, "{fault}: {caught}");
        assert_eq!(tab.event("verified", WAIT).unwrap()["model_cid"], model, "{fault}");
        assert!(tab.finish(WAIT).unwrap().success());
    }
}

/// The package in unmodified browsers.
fn check_browser_environments(network: &Network) {
    let mut pages = script(network, "surroundings", &["--url", &network.page(0).unwrap()]);
    let mut seen =
        |event: &str| pages.event(event, WAIT).unwrap_or_else(|e| panic!("{event}: {e}"));
    for event in ["forbidden", "unclonable"] {
        let found = seen(event);
        assert_eq!(found["storage"], "visit", "{found}");
    }
    let closed = seen("closed");
    assert!(closed["storage"] == "kept" && closed["another"] == true, "{closed}");
    for event in ["ahead", "behind"] {
        let found = seen(event);
        assert!(found["offBy"].as_f64().is_some_and(|ms| ms.abs() < 5_000.0), "{found}");
        assert_eq!(found["stale"], false, "{found}");
    }
    let far = seen("far");
    assert_eq!(far["code"], "STALE_CHECKPOINT", "{far}");
    assert!(far["message"].as_str().unwrap().contains("40 days ahead"), "{far}");
    assert!(far["offBy"].as_f64().is_some_and(|ms| ms.abs() < 5_000.0), "{far}");
    let dead = seen("dead");
    assert_eq!(dead["codes"], serde_json::json!(["NO_RELAY", "NO_RELAY"]));
    assert!(dead["ms"].as_u64().is_some_and(|ms| ms < 10_000), "{dead}");
    let policy = seen("policy");
    assert_eq!(
        (&policy["code"], &policy["directive"]),
        (&"CSP_BLOCKED".into(), &"connect-src".into()),
        "{policy}"
    );
    assert!(pages.finish(WAIT).unwrap().success());
}

#[test]
fn a_reloaded_tab_resumes_and_one_without_webrtc_uses_websocket() {
    let network = Network::start(4, 1).unwrap();
    let mut tab = script(&network, "resume", &["--url", &network.page(0).unwrap()]);
    let resumed = tab.event("resumed", WAIT).unwrap();
    let (before, after) = (&resumed["before"], &resumed["after"]);
    assert_eq!(before["node"], after["node"]);
    assert!(after["height"].as_u64() >= before["height"].as_u64());
    assert_eq!(before["transport"], "webrtc", "{resumed}");
    let fallback = tab.event("fallback", WAIT).unwrap();
    assert_eq!(fallback["transport"], "websocket");
    assert_eq!(fallback["overflow"], 0, "the page is wider than a phone");
    assert_eq!(fallback["language"], "es");
    assert!(tab.finish(WAIT).unwrap().success());
}

#[test]
fn a_tab_reports_that_no_block_becomes_final_and_when_blocks_resume() {
    let mut network = Network::start(4, 1).unwrap();
    let mut tab = script(&network, "reduced", &["--url", &network.page(0).unwrap()]);
    tab.event("normal", WAIT).unwrap();
    for node in [2, 3] {
        network.kill(node).unwrap();
    }
    let reduced = tab.event("reduced", WAIT).unwrap();
    assert!(reduced["notice"].as_str().unwrap().starts_with("Reduced mode"), "{reduced}");
    for node in [2, 3] {
        network.launch(node).unwrap();
    }
    let normal = tab.event("normal again", WAIT).unwrap();
    assert!(normal["height"].as_u64() > reduced["height"].as_u64(), "{reduced} {normal}");
    assert!(tab.finish(WAIT).unwrap().success());
}
