//! Nodes that keep few blocks: what is gone is said to be gone, what stays is still proved from the
//! first committee on, and who joins takes the state from them.

use crate::{
    WITHIN,
    past::Past,
    seats::ask,
    support::{Devnet, tequio},
};
use serde_json::Value;
use std::{fs, process::Command};
use tequio::node::prune::KEEP_BLOCKS_MIN;
use tequio_core::{
    codec::BoundedVec,
    ledger::{Entry, Key},
    light::LightClient,
    types::{NodeId, Unverified},
    wire::light::{HANDOVERS_MAX, Request, Response},
};

/// The block whose state is to be kept.
const KEPT: u64 = 150;

#[test]
fn a_node_that_keeps_few_blocks_proves_its_state_and_lets_others_join() {
    let keep = ["--keep-blocks", &KEEP_BLOCKS_MIN.to_string()];
    let mut net = Devnet::make(4);
    let past = Past::of(&net, 4);
    // As if the nodes had begun to keep a state at that block. A few blocks are missing until it
    // may be relied upon.
    let write_kept = &mut |store: &tequio::store::Store, head: &tequio::store::Head| {
        if head.header.header.height == KEPT {
            store.write_next(&head.header, &head.state).unwrap();
        }
    };
    let end = KEPT + KEEP_BLOCKS_MIN - 2;
    drop(past.make(&Past::store(&net, 1), end, &mut |_| Vec::new(), write_kept));
    for node in [2, 3, 4] {
        fs::copy(Past::store(&net, 1), Past::store(&net, node)).unwrap();
    }
    (1..=4).for_each(|node| net.restart_with(node, &keep));
    for node in 1..=4 {
        net.wait_until(node, "/v1/status", WITHIN, |status| status["lowest_block"] == KEPT + 1);
    }

    // The oldest that stays is whole, and of what is gone nobody says that it was empty.
    assert_eq!(net.get(1, &format!("/v1/blocks/{}", KEPT + 1))["height"], KEPT + 1);
    for gone in [1, KEPT] {
        let (status, said) = net.ask(1, &format!("/v1/blocks/{gone}")).unwrap();
        let error = &said["error"];
        assert_eq!((status, &error["code"]), (410, &"PRUNED".into()), "{said}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(&format!("keeps blocks from {} on", KEPT + 1)), "{message}");
    }
    net.wait_status(1, &format!("/v1/blocks/{}", u64::MAX), 404, WITHIN);

    light_node_reads(&net, past.keys[2].id());

    // Nobody has the first block any more.
    let peer = net.listen(1).to_owned();
    let joined = net.init_join(&[peer]);
    net.restart(joined);
    net.wait_height(joined, net.height(1) + 1, WITHIN);
    let lowest = net.get(joined, "/v1/status")["lowest_block"].as_u64().unwrap();
    assert!(lowest > KEPT, "it began with a state, not with block {lowest}");
    let path = format!("/v1/blocks/{}", net.height(joined));
    assert_eq!(net.get(joined, &path), net.get_patiently(1, &path, WITHIN));

    // What is left can be replayed from the kept state.
    net.kill(1);
    let output = Command::new(tequio())
        .args(["verify-chain", "--json", "--dir"])
        .arg(net.dir(1))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let replayed: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(replayed["from"], KEPT, "{replayed}");
}

/// A light client that knows the first committee only follows the handovers of epochs whose blocks
/// are gone, and reads an account with a proof.
fn light_node_reads(net: &Devnet, account: NodeId) {
    let checkpoint = fs::read(net.path().join("net").join("checkpoint.bin")).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let (network, mut events) = tequio_p2p::spawn(tequio_p2p::Config::new([79; 32])).unwrap();
        tokio::spawn(async move { while events.next().await.is_some() {} });
        let addr: tequio_p2p::Multiaddr = net.listen(1).parse().unwrap();
        let peer = tequio_p2p::identity::node_of(&addr).unwrap();
        network.keep(addr).await;
        let now_ms = tequio::node::machine::now_ms;
        let mut light = LightClient::start(&checkpoint, None, now_ms()).unwrap();
        let keys = [Key::Account(account)];
        let request = Request::Prove { keys: BoundedVec::truncated(keys.clone()) };
        let Response::Proved { header, entries } = ask(&network, peer, &request).await else {
            panic!("no proof")
        };
        while light.committee().epoch() < header.header.epoch {
            let request =
                Request::Handovers { from: light.committee().epoch(), count: HANDOVERS_MAX as u16 };
            let Response::Handovers(page) = ask(&network, peer, &request).await else {
                panic!("no handovers")
            };
            assert!(!page.is_empty(), "the handovers of pruned blocks stay");
            light.follow_handovers(HANDOVERS_MAX, page.into_vec(), now_ms()).unwrap();
        }
        let read = light.read(&keys, Unverified::new(header), &entries, now_ms()).unwrap();
        assert!(
            matches!(&read[..], [Some(Entry::Account(found))] if found.node == account),
            "{read:?}"
        );
        assert!(light.head().height > KEPT);
    });
}
