//! Without a quorum a node reports that, serves reads, and stores writes on disk. When the quorum
//! is back, each write is applied once.

use crate::{WITHIN, data, prebuilt_chain::PrebuiltChain, support::Devnet};
use serde_json::Value;
use tequio_core::{
    codec,
    content::{Cid, CidCodec},
    ledger::{Action, Transaction},
};

#[test]
fn writes_without_a_quorum_survive_sigkill_and_are_applied_once_later() {
    let mut net = Devnet::start(4);
    let keys = PrebuiltChain::keys(&net, 4);
    net.wait_height(1, 2, WITHIN);
    net.kill(3);
    net.kill(4);
    net.wait_until(1, "/v1/status", WITHIN, |status| status["mode"] == "reduced");
    assert!(net.client_text(1, &["status"]).contains("REDUCED"));
    net.wait_status(1, "/healthz", 503, WITHIN);

    // Two jobs in the node's own name, and a transaction that another account has signed.
    let iris = data("iris.csv");
    let train = |net: &Devnet, name: &str| {
        let arguments = [
            "job", "train", "--label", "class", "--layers", "8", "--rounds", "1", "--json",
            "--name", name,
        ];
        let answer = net.client(1, &[&arguments[..], &["--data", iris.to_str().unwrap()]].concat());
        assert_eq!(
            (&answer["event"], &answer["final"]),
            (&"queued".into(), &false.into()),
            "{answer}"
        );
        answer["queued"].as_u64().unwrap()
    };
    let mut numbers = vec![train(&net, "first"), train(&net, "second")];
    // A submission with a key, sent twice: it is queued once, and the key is known while it waits.
    let keyed = |net: &Devnet| {
        let arguments = [
            "job", "train", "--label", "class", "--layers", "8", "--rounds", "1", "--json",
            "--name", "keyed",
        ];
        net.client(
            1,
            &[&arguments[..], &["--key", "my-key", "--data", iris.to_str().unwrap()]].concat(),
        )
    };
    let waits = keyed(&net)["queued"].as_u64().unwrap();
    assert_eq!(
        (keyed(&net)["queued"].as_u64(), keyed(&net)["reduced"].as_bool()),
        (Some(waits), Some(true))
    );
    numbers.push(waits);
    let chain = net.get(1, "/v1/status")["chain"].as_str().unwrap().parse().unwrap();
    let name = format!("{}/note", keys[1].id());
    let cid = Cid::of(CidCodec::Raw, b"note");
    let action = Action::UpdateRef { name: name.as_str().try_into().unwrap(), expected: 0, cid };
    let signed = Transaction { chain, sender: keys[1].id(), nonce: 0, expires: 500, action }
        .sign(&keys[1].node);
    let (status, answer) = net.post(1, "/v1/transactions", &codec::encode(&signed)).unwrap();
    assert_eq!((status, &answer["final"]), (202, &false.into()), "{answer}");
    numbers.push(answer["queued"].as_u64().unwrap());
    // None of the writes is in the ledger, and reads still work.
    assert_eq!(net.get(1, "/v1/jobs")["jobs"], Value::Array(Vec::new()));
    assert_eq!(net.get(1, &format!("/v1/accounts/{}", keys[1].id()))["nonce"], 0);

    net.kill(1);
    net.restart(1);
    for number in &numbers {
        assert_eq!(net.get(1, &format!("/v1/queue/{number}"))["state"], "waiting");
    }
    assert_eq!(net.get(1, "/v1/status")["queued_writes"], 4);
    assert_eq!(keyed(&net)["queued"].as_u64(), Some(waits), "after a restart as well");
    net.restart(3);
    net.restart(4);
    // The node is killed again on the way. Signed writes are on disk and are not signed again.
    net.wait_until(1, &format!("/v1/queue/{}", numbers[0]), WITHIN, |write| {
        write["state"] != "waiting"
    });
    net.kill(1);
    net.restart(1);
    for number in &numbers {
        let write = net.wait_until(1, &format!("/v1/queue/{number}"), WITHIN, |write| {
            write["state"] == "applied"
        });
        let receipt =
            net.get(1, &format!("/v1/transactions/{}", write["transaction"].as_str().unwrap()));
        assert_eq!((&receipt["applied"], &receipt["height"]), (&true.into(), &write["height"]));
    }
    let jobs = net.get(1, "/v1/jobs")["jobs"].as_array().unwrap().clone();
    let mut names: Vec<_> = jobs.iter().map(|job| job["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["first", "keyed", "second"]);
    let of_key = jobs.iter().find(|job| job["name"] == "keyed").unwrap();
    assert_eq!(keyed(&net)["id"], of_key["id"]);
    assert_eq!(net.get(1, &format!("/v1/refs/{name}"))["sequence"], 1);
    let status = net.wait_until(1, "/v1/status", WITHIN, |status| status["mode"] == "normal");
    assert_eq!(status["queued_writes"], 0, "{status}");
}

/// Regression: a new network warned at once, because its genesis is older than three blocks by the
/// time the first node starts.
#[test]
fn a_node_that_starts_does_not_warn_before_its_first_block() {
    let mut net = Devnet::make(1);
    // Three times the longest block interval, and more.
    std::thread::sleep(std::time::Duration::from_secs(7));
    net.restart(1);
    net.wait_height(1, 1, WITHIN);
    let log = net.whole_log(1);
    assert!(!log.contains("reduced mode"), "{log}");
}
