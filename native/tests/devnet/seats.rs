//! The committee changes while the chain continues. A node that joined late gets a seat, another
//! leaves, a third rotates its keys. A light node that knows only the first committee follows into
//! the later epochs.

use crate::{
    WITHIN,
    prebuilt_chain::PrebuiltChain,
    support::{Devnet, PASSPHRASE},
};
use serde_json::Value;
use std::{
    fs,
    time::{Duration, Instant},
};
use tequio::keys::{self, Keys};
use tequio_core::{
    codec,
    light::{LightClient, LightError, Progress},
    types::Unverified,
    wire::light::{HANDOVERS_MAX, RESPONSE_LEN_MAX, Request, Response},
};
use tequio_host::Passphrase;
use tequio_p2p::{Network, Protocol};

const EPOCH: &str = "8";
/// Blocks before the new node joins: several epochs.
const PAST: u64 = 70;

fn seat(net: &Devnet, node: usize) -> Value {
    net.get(node, "/v1/seat")
}

/// Waits until the status of a node's seat satisfies `done`. Pending transactions make blocks come
/// sooner.
fn wait(net: &Devnet, node: usize, done: impl Fn(&Value) -> bool) -> Value {
    let own = net.get(node, "/v1/status")["node"].as_str().unwrap().to_owned();
    let deadline = Instant::now() + WITHIN;
    loop {
        let found = seat(net, node);
        if done(&found) {
            return found;
        }
        assert!(Instant::now() < deadline, "node {node} stays at {found}\n{}", net.whole_log(node));
        let _ = net.post(node, &format!("/v1/transfers?to={own}&amount=0"), &[]);
    }
}

#[test]
fn members_join_leave_and_change_keys_while_the_chain_continues() {
    let mut net = Devnet::make_with(4, &["--term-blocks", "4", "--epoch-blocks", EPOCH]);
    // The chain is several epochs old when the fifth node joins. The node follows the handovers to
    // the state that it fetches.
    drop(PrebuiltChain::of(&net, 4).make(
        &PrebuiltChain::store(&net, 1),
        PAST,
        &mut |_| Vec::new(),
        &mut |_, _| (),
    ));
    for node in [2, 3, 4] {
        fs::copy(PrebuiltChain::store(&net, 1), PrebuiltChain::store(&net, node)).unwrap();
    }
    (1..=4).for_each(|node| net.restart(node));
    // Votes go directly to members, so a node that requests a seat must be connected with all of
    // them.
    let peers: Vec<String> =
        (1..=4).map(|node| net.dir(node).to_str().unwrap().to_owned()).collect();
    let fifth = net.init_join(&peers);
    net.restart_with(fifth, &["--state-sync-threshold", "8"]);
    net.wait_log(fifth, "continuing from a fetched state", WITHIN);
    let status = net.get(fifth, "/v1/status");
    assert!(status["lowest_block"].as_u64() > Some(PAST), "{status}");

    // Without a bond there is no seat; with a bond the seat begins at an epoch boundary.
    let refused = net.client_output(fifth, &["seat", "join", "--amount", "1000", "--json"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("the balance is 0"), "{refused:?}");
    let node = status["node"].as_str().unwrap().to_owned();
    net.client(1, &["seat", "fund", "--to", &node, "--amount", "1500", "--json"]);
    wait(&net, fifth, |seat| seat["balance"] == 1500);
    net.client(fifth, &["seat", "join", "--amount", "1000", "--json"]);
    let shown = wait(&net, fifth, |seat| seat["seat"].is_u64());
    assert_eq!(
        (&shown["seats"], &shown["weight"], &shown["balance"]),
        (&5.into(), &1000.into(), &500.into()),
        "{shown}"
    );
    assert!(net.whole_log(fifth).contains("a new committee is active"));

    // Five seats need four votes. One of the first four is dead, so the new seat's vote is needed.
    net.kill(4);
    let before = net.height(1);
    net.wait_height(1, before + 3, WITHIN);
    net.restart(4);
    net.wait_height(4, before + 3, WITHIN);

    // New keys are in the keystore before they are in the ledger, and take effect at the epoch
    // boundary.
    let old = seat(&net, 2)["voting_key"].clone();
    net.client(2, &["seat", "rotate", "--json"]);
    let passphrase = Passphrase::new(PASSPHRASE.to_owned());
    let keystore = net.dir(2).join(keys::FILE_NAME);
    let new = Keys::open(&keystore, &passphrase).unwrap().later.last().unwrap().vote.public();
    let new = hex::encode(new.0);
    wait(&net, 2, |seat| seat["voting_key"] == new.as_str());
    assert_ne!(old, new.as_str());
    // Another member leaves. It still follows the chain, and its bond stays locked.
    net.client(3, &["seat", "leave", "--json"]);
    let shown = wait(&net, 3, |seat| seat["seat"].is_null());
    assert_eq!(
        (&shown["member"]["state"], &shown["bond"]),
        (&"unbonding".into(), &1000.into()),
        "{shown}"
    );
    let height = net.height(1);
    net.wait_height(3, height + 3, WITHIN);
    // The three others of the new committee decide with the new keys, because one of the four is
    // dead.
    wait(&net, 1, |seat| seat["seats"] == 4);
    net.kill(1);
    let before = net.height(2);
    net.wait_height(2, before + 3, WITHIN);
    // After a crash the keys still match the keystore.
    net.kill(2);
    net.restart(1);
    net.restart(2);
    let after = net.wait_height(2, before + 6, WITHIN);
    net.wait_height(fifth, after, WITHIN);

    // The node has fetched the handovers before its state, and serves them.
    light_node_follows(&net, fifth);
    net.kill(fifth);
    let replayed = net.client_output(fifth, &["verify-chain", "--json"]);
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stderr));
}

/// A light client follows from the genesis checkpoint with the handovers of one node.
fn light_node_follows(net: &Devnet, node: usize) {
    let checkpoint = fs::read(net.path().join("net").join("checkpoint.bin")).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (network, mut events) = tequio_p2p::spawn(tequio_p2p::Config::new([78; 32])).unwrap();
        tokio::spawn(async move { while events.next().await.is_some() {} });
        let addr: tequio_p2p::Multiaddr = net.listen(node).parse().unwrap();
        let peer = tequio_p2p::identity::node_of(&addr).unwrap();
        network.add_persistent_peer(addr).await;
        let now_ms = tequio::node::machine::now_ms;
        let mut light = LightClient::start(&checkpoint, None, now_ms()).unwrap();
        let Response::Header(head) =
            light_request(&network, peer, &Request::Head { after: 0, wait_ms: 0 }).await
        else {
            panic!("no head");
        };
        let (found, known) = (head.header.epoch, 0);
        assert!(found > 4);
        let ahead = light.follow(Unverified::new(head.clone()), now_ms());
        assert_eq!(ahead, Err(LightError::LaterEpoch { found, known }));
        while light.committee().epoch() < found {
            // A few at a time, so that several requests are necessary.
            let request = Request::Handovers { from: light.committee().epoch(), count: 3 };
            let Response::Handovers(page) = light_request(&network, peer, &request).await else {
                panic!("no handovers")
            };
            assert!(
                (1..=3).contains(&light.follow_handovers(3, page.into_vec(), now_ms()).unwrap())
            );
        }
        let followed = light.follow(Unverified::new(head), now_ms()).unwrap();
        assert!(
            matches!(followed, Progress::Advanced | Progress::Known | Progress::EpochEnd),
            "{followed:?}"
        );
        // No answer exceeds the limit or contains handovers of the future.
        let request = Request::Handovers { from: 0, count: u16::MAX };
        let Response::Handovers(page) = light_request(&network, peer, &request).await else {
            panic!("no handovers")
        };
        assert!(
            page.len() <= HANDOVERS_MAX && page.len() as u64 >= found.min(HANDOVERS_MAX as u64)
        );
        let request = Request::Handovers { from: u64::MAX, count: 3 };
        let Response::Handovers(page) = light_request(&network, peer, &request).await else {
            panic!("no handovers")
        };
        assert!(page.is_empty());
    });
}

pub async fn light_request(
    network: &Network,
    peer: tequio_core::types::NodeId,
    request: &Request,
) -> Response {
    let deadline = tokio::time::Instant::now() + WITHIN;
    loop {
        let body = codec::encode(request);
        match network.request(peer, Protocol::Light, body, Duration::from_secs(20)).await {
            Ok(body) => return codec::decode(&body, RESPONSE_LEN_MAX).unwrap(),
            // The node is not connected yet.
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
