//! The committee changes while the chain goes on: a node that came late gets a seat, another gives
//! its up, a third changes its keys; a light node that knows the first committee only follows into
//! the epochs of the later ones.

use crate::{
    WITHIN,
    past::Past,
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
/// Blocks before anybody comes: some epochs.
const PAST: u64 = 70;

fn seat(net: &Devnet, node: usize) -> Value {
    net.get(node, "/v1/seat")
}

/// Waits until a node shows this of its seat. Blocks come sooner where there is something to put
/// into them.
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
fn members_join_leave_and_change_their_keys_while_the_chain_goes_on() {
    let mut net = Devnet::make_with(4, &["--term-blocks", "4", "--epoch-blocks", EPOCH]);
    // The chain is some epochs old before the fifth node comes: it walks to the state that it
    // fetches.
    drop(Past::of(&net, 4).make(&Past::store(&net, 1), PAST, &mut |_| Vec::new(), &mut |_, _| ()));
    for node in [2, 3, 4] {
        fs::copy(Past::store(&net, 1), Past::store(&net, node)).unwrap();
    }
    (1..=4).for_each(|node| net.restart(node));
    // Votes go to members directly: whoever wants a seat has to be connected with all of them.
    let peers: Vec<String> =
        (1..=4).map(|node| net.dir(node).to_str().unwrap().to_owned()).collect();
    let fifth = net.init_join(&peers);
    net.restart_with(fifth, &["--snapshot-when-behind", "8"]);
    net.wait_log(fifth, "going on from a state that was fetched whole", WITHIN);
    let status = net.get(fifth, "/v1/status");
    assert!(status["lowest_block"].as_u64() > Some(PAST), "{status}");

    // Without anything to bond there is no seat; with it the seat comes at a turn.
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
    assert!(net.whole_log(fifth).contains("another committee decides"));

    // Five seats need four: with one of the first four dead, the new one's vote is needed.
    net.kill(4);
    let before = net.height(1);
    net.wait_height(1, before + 3, WITHIN);
    net.restart(4);
    net.wait_height(4, before + 3, WITHIN);

    // New keys: in the keystore before the ledger has them, and used from the turn on.
    let old = seat(&net, 2)["voting_key"].clone();
    net.client(2, &["seat", "rotate", "--json"]);
    let passphrase = Passphrase::new(PASSPHRASE.to_owned());
    let keystore = net.dir(2).join(keys::FILE_NAME);
    let new = Keys::open(&keystore, &passphrase).unwrap().later.last().unwrap().vote.public();
    let new: String = new.0.iter().map(|byte| format!("{byte:02x}")).collect();
    wait(&net, 2, |seat| seat["voting_key"] == new.as_str());
    assert_ne!(old, new.as_str());
    // Another leaves; it follows on, and its bond waits.
    net.client(3, &["seat", "leave", "--json"]);
    let shown = wait(&net, 3, |seat| seat["seat"].is_null());
    assert_eq!(
        (&shown["member"]["state"], &shown["bond"]),
        (&"unbonding".into(), &1000.into()),
        "{shown}"
    );
    let height = net.height(1);
    net.wait_height(3, height + 3, WITHIN);
    // The three others of the new committee decide with the new keys: one of the four is dead.
    wait(&net, 1, |seat| seat["seats"] == 4);
    net.kill(1);
    let before = net.height(2);
    net.wait_height(2, before + 3, WITHIN);
    // The keys are those of the keystore after a crash, too.
    net.kill(2);
    net.restart(1);
    net.restart(2);
    let after = net.wait_height(2, before + 6, WITHIN);
    net.wait_height(fifth, after, WITHIN);

    // It has fetched the handovers below its state, and serves them.
    light_node_follows(&net, fifth);
    net.kill(fifth);
    let replayed = net.client_output(fifth, &["verify-chain", "--json"]);
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stderr));
}

/// From the genesis checkpoint, by what one node shows.
fn light_node_follows(net: &Devnet, node: usize) {
    let checkpoint = fs::read(net.path().join("net").join("checkpoint.bin")).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (network, mut events) = tequio_p2p::spawn(tequio_p2p::Config::new([78; 32])).unwrap();
        tokio::spawn(async move { while events.next().await.is_some() {} });
        let addr: tequio_p2p::Multiaddr = net.listen(node).parse().unwrap();
        let peer = tequio_p2p::identity::node_of(&addr).unwrap();
        network.keep(addr).await;
        let now_ms = tequio::node::machine::now_ms;
        let mut light = LightClient::start(&checkpoint, None, now_ms()).unwrap();
        let Response::Header(head) =
            ask(&network, peer, &Request::Head { after: 0, wait_ms: 0 }).await
        else {
            panic!("no head");
        };
        let (found, known) = (head.header.epoch, 0);
        assert!(found > 4);
        let ahead = light.follow(Unverified::new(head.clone()), now_ms());
        assert_eq!(ahead, Err(LightError::Ahead { found, known }));
        while light.committee().epoch() < found {
            // A few at a time, so that it takes several questions.
            let request = Request::Handovers { from: light.committee().epoch(), count: 3 };
            let Response::Handovers(page) = ask(&network, peer, &request).await else {
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
        // No answer has more than fits, nor handovers that have not come.
        let request = Request::Handovers { from: 0, count: u16::MAX };
        let Response::Handovers(page) = ask(&network, peer, &request).await else {
            panic!("no handovers")
        };
        assert!(
            page.len() <= HANDOVERS_MAX && page.len() as u64 >= found.min(HANDOVERS_MAX as u64)
        );
        let request = Request::Handovers { from: u64::MAX, count: 3 };
        let Response::Handovers(page) = ask(&network, peer, &request).await else {
            panic!("no handovers")
        };
        assert!(page.is_empty());
    });
}

pub async fn ask(
    network: &Network,
    peer: tequio_core::types::NodeId,
    request: &Request,
) -> Response {
    let deadline = tokio::time::Instant::now() + WITHIN;
    loop {
        let body = codec::encode(request);
        match network.request(peer, Protocol::Light, body, Duration::from_secs(20)).await {
            Ok(body) => return codec::decode(&body, RESPONSE_LEN_MAX).unwrap(),
            // Not connected yet.
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
