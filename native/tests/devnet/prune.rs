//! Nodes that keep few blocks. They report pruned blocks as pruned, still prove the remaining state
//! from the first committee on, and provide the state to joining nodes.

use crate::{
    WITHIN,
    prebuilt_chain::PrebuiltChain,
    seats::light_request,
    support::{Devnet, tequio},
};
use serde_json::Value;
use std::{fs, process::Command};
use tequio::node::chain::prune::RETAINED_BLOCKS_MIN;
use tequio_core::{
    codec::BoundedVec,
    ledger::{Entry, Key},
    light::LightClient,
    types::{NodeId, Unverified},
    wire::light::{HANDOVERS_MAX, Request, Response},
};

/// The block whose state is the replay base.
const KEPT: u64 = 150;

#[test]
fn a_node_that_keeps_few_blocks_proves_its_state_and_lets_others_join() {
    let keep = ["--retained-blocks", &RETAINED_BLOCKS_MIN.to_string()];
    let mut net = Devnet::make(4);
    let past = PrebuiltChain::of(&net, 4);
    // The nodes have already begun to store the state at that block. It becomes the replay base a
    // few blocks later.
    let write_kept = &mut |store: &tequio::store::Store, head: &tequio::store::Head| {
        if head.header.header.height == KEPT {
            store.write_next_replay_base(&head.header, &head.state).unwrap();
        }
    };
    let end = KEPT + RETAINED_BLOCKS_MIN - 2;
    drop(past.make(&PrebuiltChain::store(&net, 1), end, &mut |_| Vec::new(), write_kept));
    for node in [2, 3, 4] {
        fs::copy(PrebuiltChain::store(&net, 1), PrebuiltChain::store(&net, node)).unwrap();
    }
    (1..=4).for_each(|node| net.restart_with(node, &keep));
    for node in 1..=4 {
        net.wait_until(node, "/v1/status", WITHIN, |status| status["lowest_block"] == KEPT + 1);
    }

    // The oldest kept block is complete, and pruned blocks are not reported as empty.
    assert_eq!(net.get(1, &format!("/v1/blocks/{}", KEPT + 1))["height"], KEPT + 1);
    for gone in [1, KEPT] {
        let (status, body) = net.http_get(1, &format!("/v1/blocks/{gone}")).unwrap();
        let error = &body["error"];
        assert_eq!((status, &error["code"]), (410, &"PRUNED".into()), "{body}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(&format!("keeps blocks from {} on", KEPT + 1)), "{message}");
    }
    net.wait_status(1, &format!("/v1/blocks/{}", u64::MAX), 404, WITHIN);

    light_node_reads(&net, past.keys[2].id());

    // No node has the first block any more.
    let peer = net.listen(1).to_owned();
    let joined = net.init_join(&[peer]);
    net.restart(joined);
    net.wait_height(joined, net.height(1) + 1, WITHIN);
    let lowest = net.get(joined, "/v1/status")["lowest_block"].as_u64().unwrap();
    assert!(lowest > KEPT, "it began with a state, not with block {lowest}");
    let path = format!("/v1/blocks/{}", net.height(joined));
    assert_eq!(net.get(joined, &path), net.get_within(1, &path, WITHIN));

    // The kept blocks can be replayed from the replay base.
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

/// A light client that knows only the first committee follows the handovers of epochs whose blocks
/// are pruned, and reads an account with a proof.
fn light_node_reads(net: &Devnet, account: NodeId) {
    let checkpoint = fs::read(net.path().join("net").join("checkpoint.bin")).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let (network, mut events) = tequio_p2p::spawn(tequio_p2p::Config::new([79; 32])).unwrap();
        tokio::spawn(async move { while events.next().await.is_some() {} });
        let addr: tequio_p2p::Multiaddr = net.listen(1).parse().unwrap();
        let peer = tequio_p2p::identity::node_of(&addr).unwrap();
        network.add_persistent_peer(addr).await;
        let now_ms = tequio::node::machine::now_ms;
        let mut light = LightClient::start(&checkpoint, None, now_ms()).unwrap();
        let keys = [Key::Account(account)];
        let request = Request::Prove { keys: BoundedVec::truncated(keys.clone()) };
        let Response::Proved { header, entries } = light_request(&network, peer, &request).await
        else {
            panic!("no proof")
        };
        while light.committee().epoch() < header.header.epoch {
            let request =
                Request::Handovers { from: light.committee().epoch(), count: HANDOVERS_MAX as u16 };
            let Response::Handovers(page) = light_request(&network, peer, &request).await else {
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
