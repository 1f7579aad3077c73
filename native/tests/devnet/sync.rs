//! Nodes that were down or join late. They catch up on blocks while the others continue, or on a
//! proved state if no node has the blocks any more, despite a byzantine peer and a crash. The
//! blocks in a store can be replayed.

use crate::{
    WITHIN,
    prebuilt_chain::{FinalChain, PrebuiltChain},
    support::{Devnet, tequio},
};
use serde_json::Value;
use std::{
    fs,
    process::{Command, Output},
    sync::{Arc, mpsc},
    time::Instant,
};
use tequio::{
    keys::Keys,
    node::{chain::sync::RETRY_INTERVAL, peers::agent::AGENT_PREFIX},
    store::{Head, Store},
};
use tequio_core::{
    codec::{self, BoundedVec},
    content::{Cid, CidCodec},
    ledger::{Action, Entry, SignedTransaction, State, Transaction, epoch},
    types::{ChainId, Digest, Unverified, Verified},
    wire::{
        compression, light,
        sync::{Blocks, Request, Response, Snapshots},
    },
};
use tequio_p2p::{Event, Protocol};

fn verify_chain(net: &Devnet, node: usize) -> Output {
    Command::new(tequio())
        .args(["verify-chain", "--json", "--dir"])
        .arg(net.dir(node))
        .output()
        .unwrap()
}

/// The last line of `verify-chain`, which must succeed.
fn verified(net: &Devnet, node: usize) -> Value {
    let output = verify_chain(net, node);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(String::from_utf8(output.stdout).unwrap().lines().last().unwrap()).unwrap()
}

#[test]
fn a_node_a_thousand_blocks_behind_catches_up_while_the_others_continue() {
    let mut net = Devnet::make(4);
    let past = PrebuiltChain::of(&net, 4);
    let made = past.make(&PrebuiltChain::store(&net, 1), 1000, &mut |_| Vec::new(), &mut |_, _| ());
    drop(made);
    for node in [2, 3] {
        fs::copy(PrebuiltChain::store(&net, 1), PrebuiltChain::store(&net, node)).unwrap();
    }
    (1..=4).for_each(|node| net.restart(node));
    let before = net.height(1);
    assert!(before >= 1000);
    net.wait_height(4, before, WITHIN);
    // The three others decide without this node, and it takes part in later decisions.
    let after = net.wait_height(1, before + 2, WITHIN);
    net.wait_height(4, after, WITHIN);
    let status = net.get(4, "/v1/status");
    assert_eq!((&status["lowest_block"], status["seat"].is_null()), (&1.into(), false), "{status}");
    for height in [1, 500, 1000] {
        let path = format!("/v1/blocks/{height}");
        assert_eq!(net.get(4, &path), net.get(1, &path));
    }
    net.kill(4);
    let replayed = verified(&net, 4);
    assert_eq!(
        (&replayed["genesis"], replayed["height"].as_u64() >= Some(after)),
        (&true.into(), true),
        "{replayed}"
    );
}

/// A node backs off after a peer that has no blocks to give. A busy machine sends fewer requests,
/// so the test compares their number with the least time that they take.
#[test]
fn a_peer_with_a_false_head_is_requested_again_with_backoff() {
    const QUESTIONS: u32 = 7;
    let mut net = Devnet::make(4);
    let past = PrebuiltChain::of(&net, 4);
    let FinalChain { head, store } =
        past.make(&net.path().join("made.redb"), 3, &mut |_| Vec::new(), &mut |_, _| ());
    drop(store);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (false_head, questions) = runtime.block_on(false_head_peer(head));
    let joined = net.init_join(&[false_head]);
    let began = Instant::now();
    net.restart(joined);
    for question in 1..=QUESTIONS {
        questions
            .recv_timeout(WITHIN)
            .unwrap_or_else(|_| panic!("no question {question}\n{}", net.whole_log(joined)));
    }
    let least = RETRY_INTERVAL * (QUESTIONS - 1);
    assert!(began.elapsed() >= least, "{QUESTIONS} questions in {:?}", began.elapsed());
    assert_eq!(net.height(joined), 0);
}

/// A peer that looks like a full node and claims a head that is ahead. It answers requests for
/// blocks with none, or not at all. Returns its address, and one message for each request for
/// blocks.
async fn false_head_peer(head: Head) -> (String, mpsc::Receiver<()>) {
    let (sender, questions) = mpsc::channel();
    let mut config = tequio_p2p::Config::new([76; 32]);
    config.agent = format!("{AGENT_PREFIX}0");
    let (network, mut events) = tequio_p2p::spawn(config).unwrap();
    let addr = network.listen("/ip4/127.0.0.1/tcp/0".parse().unwrap()).await.unwrap();
    let addr = tequio_p2p::identity::with_peer(addr, network.local_id()).to_string();
    tokio::spawn(async move {
        let _network = network;
        let mut requested = 0u32;
        while let Some(event) = events.next().await {
            let Event::InboundRequest { protocol, body, reply, .. } = event else { continue };
            match protocol {
                Protocol::Light => {
                    reply.send(codec::encode(&light::Response::Header(head.header.clone())))
                }
                Protocol::Sync
                    if matches!(codec::decode(&body, 64).unwrap(), Request::Blocks { .. }) =>
                {
                    requested += 1;
                    let _ = sender.send(());
                    if requested.is_multiple_of(2) {
                        let (head, blocks) = (head.header.header.height, BoundedVec::new());
                        reply.send(compression::encode(&Response::Blocks(Blocks {
                            head,
                            lowest: 1,
                            blocks,
                        })));
                    }
                }
                _ => reply.send(Vec::new()),
            }
        }
    });
    (addr, questions)
}

/// Enough refs for a state of several chunks.
fn refs(keys: &[Keys], chain: ChainId) -> Vec<Verified<SignedTransaction>> {
    let mut transactions = Vec::new();
    for keys in keys {
        for nonce in 0..500 {
            let name = format!("{}/{:0>80}", keys.id(), nonce);
            let cid = Cid::of(CidCodec::Raw, &[nonce as u8]);
            let action =
                Action::UpdateRef { name: name.as_str().try_into().unwrap(), expected: 0, cid };
            let transaction =
                Transaction { chain, sender: keys.id(), nonce, expires: 1000, action };
            transactions
                .push(Unverified::new(transaction.sign(&keys.node)).verify(&chain).unwrap());
        }
    }
    transactions
}

#[test]
fn a_late_node_fetches_a_proved_state_despite_a_crash_and_a_byzantine_peer() {
    const PRUNED: u64 = 150;
    let mut net = Devnet::make(4);
    let past = PrebuiltChain::of(&net, 4);
    let load = refs(&past.keys, past.start.chain);
    let write_kept = &mut |store: &Store, head: &Head| {
        if head.header.header.height == PRUNED {
            store.write_next_replay_base(&head.header, &head.state).unwrap();
        }
    };
    let once = &mut |height| if height == 5 { load.clone() } else { Vec::new() };
    let FinalChain { head, store } =
        past.make(&PrebuiltChain::store(&net, 1), 320, once, write_kept);
    let handovers = handovers(&store, &head.state);
    // A node does this in steps once it has enough newer blocks.
    store.promote_next_replay_base().unwrap();
    while store.prune_blocks(64).unwrap() > 0 {}
    drop(store);
    for node in [2, 3, 4] {
        fs::copy(PrebuiltChain::store(&net, 1), PrebuiltChain::store(&net, node)).unwrap();
    }
    assert!(head.state.entries().count() > 2000);
    (1..=4).for_each(|node| net.restart(node));
    assert_eq!(net.get(1, "/v1/status")["lowest_block"], PRUNED + 1);

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (byzantine, requested) = runtime.block_on(byzantine_peer(head.clone(), handovers));
    let joined = net.init_join(&[byzantine]);
    // The store of a node that crashed after the first chunk.
    let crashed = Store::open(&PrebuiltChain::store(&net, joined), &past.start.chain).unwrap();
    crashed.load_head(&past.start).unwrap();
    let at = crashed.stage_begin(&head.header).unwrap();
    let zero = Digest([0; 32]);
    let (entries, next) =
        head.state.chunk(&zero).unwrap().verify(&head.state.root(), &zero).unwrap();
    assert!(next.is_some(), "more than one chunk");
    let here = crashed.stage(at, &entries, next).unwrap().entries;
    drop(crashed);

    // With only a byzantine peer the node makes no progress.
    net.restart(joined);
    net.wait_log(joined, "sent a bad chunk of the state", WITHIN);
    assert_eq!(net.height(joined), 0);
    net.kill(joined);
    let (one, two) = (net.listen(1).to_owned(), net.listen(2).to_owned());
    net.restart_with(joined, &["--peer", &one, "--peer", &two]);
    let height = net.wait_height(joined, head.header.header.height + 1, WITHIN);
    let status = net.get(joined, "/v1/status");
    assert_eq!(status["lowest_block"].as_u64(), Some(head.header.header.height + 1), "{status}");
    let log = net.whole_log(joined);
    let requested = requested.lock().unwrap().clone();
    assert_eq!(
        requested,
        [next.unwrap()],
        "the chunk on disk is not requested again, and a Byzantine peer gets one request"
    );
    assert_eq!(
        log.matches(&format!("entries={here}")).count(),
        2,
        "both began where the first had ended: {log}"
    );
    let hash = |node| net.get(node, &format!("/v1/blocks/{height}"))["hash"].clone();
    assert_eq!(hash(joined), hash(3));
    // After a kill and a restart it continues from there.
    net.kill(joined);
    net.restart_with(joined, &["--peer", &one, "--peer", &two]);
    net.wait_height(joined, net.height(1) + 1, WITHIN);
    net.kill(joined);
    let replayed = verified(&net, joined);
    assert_eq!(replayed["from"], head.header.header.height, "{replayed}");
    net.kill(1);
    assert_eq!(verified(&net, 1)["from"], PRUNED);
}

type RequestedChunks = Arc<std::sync::Mutex<Vec<Digest>>>;

/// A peer that looks like a full node, offers the true header, and sends chunks of another state.
/// Returns its address, and the starts of the requested chunks.
async fn byzantine_peer(
    head: Head,
    handovers: Vec<light::CommitteeHandover>,
) -> (String, RequestedChunks) {
    let requested = RequestedChunks::default();
    let mut config = tequio_p2p::Config::new([77; 32]);
    config.agent = format!("{AGENT_PREFIX}0");
    let (network, mut events) = tequio_p2p::spawn(config).unwrap();
    let addr = network.listen("/ip4/127.0.0.1/tcp/0".parse().unwrap()).await.unwrap();
    let addr = tequio_p2p::identity::with_peer(addr, network.local_id()).to_string();
    let seen = requested.clone();
    tokio::spawn(async move {
        let _network = network;
        let forged = changed(head.state.clone());
        while let Some(event) = events.next().await {
            let Event::InboundRequest { protocol, body, reply, .. } = event else { continue };
            match protocol {
                Protocol::Light => {
                    let answer = match codec::decode(&body, light::REQUEST_LEN_MAX).unwrap() {
                        light::Request::Handovers { from, count } => {
                            let page =
                                handovers.iter().skip(from as usize).take(count.into()).cloned();
                            light::Response::Handovers(BoundedVec::truncated(page))
                        }
                        _ => light::Response::Header(head.header.clone()),
                    };
                    reply.send(codec::encode(&answer));
                }
                Protocol::Sync => {
                    let request = codec::decode(&body, 64).unwrap();
                    if let Request::Chunk { from, .. } = request {
                        seen.lock().unwrap().push(from);
                    }
                    reply.send(compression::encode(&answer(request, &head, &forged)));
                }
                _ => reply.send(Vec::new()),
            }
        }
    });
    (addr, requested)
}

fn answer(request: Request, head: &Head, forged: &State) -> Response {
    let height = head.header.header.height;
    match request {
        Request::Blocks { .. } => {
            Response::Blocks(Blocks { head: height, lowest: height + 1, blocks: BoundedVec::new() })
        }
        Request::Snapshots => {
            let headers = BoundedVec::truncated([head.header.clone()]);
            Response::Snapshots(Snapshots { head: height, lowest: height + 1, headers })
        }
        Request::Chunk { from, .. } => forged.chunk(&from).map_or(Response::Gone, Response::Chunk),
    }
}

/// The committee handovers of all ended epochs.
fn handovers(store: &Store, state: &State) -> Vec<light::CommitteeHandover> {
    let params = state.params().unwrap();
    let handover = |epoch| {
        let (before, next) = (state.committee(epoch)?, state.committee(epoch + 1)?);
        let header = store.final_header(epoch::last_height(params, epoch)?).unwrap()?;
        Some(light::CommitteeHandover::new(header, before, next))
    };
    (0..).map_while(handover).collect()
}

/// The same state, except that every balance is higher.
fn changed(mut state: State) -> State {
    let rich = |entry: &Entry| match entry {
        Entry::Account(account) => {
            let mut account = account.clone();
            account.balance += 1;
            Some(Entry::Account(account))
        }
        _ => None,
    };
    let changes: Vec<Entry> = state.entries().filter_map(rich).collect();
    changes.into_iter().for_each(|entry| state.insert(entry));
    state
}
