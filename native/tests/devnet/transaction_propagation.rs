//! A transaction pushed to one node reaches all nodes, over real sockets. Its origin pushes it to
//! one node and disconnects. There is no quorum, so no block carries the transaction.

use crate::{WITHIN, mempool_limits::signed};
use std::{fs, path::Path, sync::Arc, time::Instant};
use tequio::{
    config::Config,
    keys::Keys,
    node::{
        CHECKPOINT_FILE, GENESIS_FILE, Node,
        machine::now_ms,
        peers::agent::{AGENT_PREFIX, full_nodes},
    },
};
use tequio_core::{
    codec::{self, BoundedVec},
    ledger::{Checkpoint, Genesis, genesis::GenesisFile},
    wire::{
        compression,
        mempool::{GetTransactions, Message},
    },
};
use tequio_p2p::{NotificationProtocol, Protocol};

/// Running members of the seven: one short of the quorum of five.
const RUNNING_MEMBERS: usize = 4;

fn create_network(dir: &Path) -> Vec<Keys> {
    let members: Vec<Keys> = (0..7).map(|_| Keys::generate().unwrap()).collect();
    let accounts = members.iter().map(|keys| (keys.id(), 0, 1000));
    let genesis = Genesis {
        name: "propagated".try_into().unwrap(),
        time_ms: now_ms(),
        params: crate::mempool_limits::params(),
        accounts: BoundedVec::truncated(accounts.chain([(
            crate::mempool_limits::client(0).id(),
            0,
            0,
        )])),
        seats: BoundedVec::truncated(members.iter().map(|keys| keys.genesis_seat(1000))),
    };
    let chain = genesis.chain();
    let possessions =
        members.iter().map(|keys| keys.voting.prove_possession(&chain, &keys.id())).collect();
    let file = GenesisFile::new(genesis, possessions).unwrap();
    let start = file.build_state().unwrap();
    let committee = start.committee.record().clone();
    let checkpoint =
        Checkpoint::new(start.header.clone(), None, committee, start.params.trust_period_ms);
    fs::write(dir.join(GENESIS_FILE), file.encode()).unwrap();
    fs::write(dir.join(CHECKPOINT_FILE), checkpoint.encode()).unwrap();
    members
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_pushed_to_one_node_reaches_all() {
    let dir = tempfile::tempdir().unwrap();
    let members = create_network(dir.path());
    // The nodes form a line: each is connected with the one before it.
    let mut nodes: Vec<Node> = Vec::new();
    for (number, keys) in members.into_iter().take(RUNNING_MEMBERS).enumerate() {
        let dir = dir.path().join(format!("node{number}"));
        fs::create_dir(&dir).unwrap();
        let peers = nodes
            .last()
            .and_then(|node| node.listen.first())
            .map(ToString::to_string)
            .into_iter()
            .collect();
        let config =
            Config { listen: vec!["/ip4/127.0.0.1/tcp/0".into()], peers, ..Config::default() };
        nodes.push(Node::start(&dir, &config, keys).await.unwrap());
    }
    let deadline = Instant::now() + WITHIN;
    let wait = async |done: &dyn Fn() -> bool, what: &str| {
        while !done() {
            assert!(Instant::now() < deadline, "{what}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let are_connected =
        || nodes.windows(2).all(|pair| full_nodes(&pair[0].network).contains(&pair[1].chain.node));
    wait(&are_connected, "the nodes do not connect").await;

    // The origin looks like a full node, pushes to the first node, and marks the transaction as not
    // to be forwarded.
    let first = &nodes[0];
    let transaction = signed(&first.chain, 0, 0);
    let id = transaction.id();
    let mut config = tequio_p2p::Config::new([0x77; 32]);
    config.agent = format!("{AGENT_PREFIX}0");
    let (origin, events) = tequio_p2p::spawn(config).unwrap();
    origin.dial(nodes[0].listen[0].clone()).await.unwrap();
    let message = Message::New {
        transactions: vec![transaction.clone()].try_into().unwrap(),
        forward: false,
    };
    let body: Arc<[u8]> = compression::encode(&message).into();
    origin.notify(NotificationProtocol::Mempool, [first.chain.node], &body);
    wait(&|| first.mempool.contains(&id), "the first node takes nothing").await;
    // Malformed messages, and announcements of unknown ids, do no harm.
    origin.notify(
        NotificationProtocol::Mempool,
        [first.chain.node],
        &Arc::from(&b"\x01\xff\xff\xff\xff"[..]),
    );
    let nothing = Message::Announce(
        (0..2000u32)
            .map(|n| tequio_core::types::Digest([n as u8; 32]))
            .collect::<Vec<_>>()
            .try_into()
            .unwrap(),
    );
    origin.notify(
        NotificationProtocol::Mempool,
        [first.chain.node],
        &compression::encode(&nothing).into(),
    );
    // A peer that requests the transaction gets it.
    let request = codec::encode(&GetTransactions { ids: vec![id].try_into().unwrap() });
    let answer =
        origin.request(first.chain.node, Protocol::GetTransactions, request, WITHIN).await.unwrap();
    let given: tequio_core::wire::mempool::Transactions =
        compression::decode(&answer, 1 << 20).unwrap();
    assert_eq!(given.into_vec(), [transaction]);
    origin.close().await;
    drop(events);

    wait(&|| nodes.iter().all(|node| node.mempool.contains(&id)), "it does not reach all").await;
    assert_eq!(first.chain.tip().height(), 0, "no block contains it");
    for node in nodes {
        node.stop().await;
    }
}
