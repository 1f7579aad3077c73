//! SIGKILL ends processes again and again while clients write. Every transaction that a client has
//! seen as final is in every ledger exactly once, and all ledgers agree.
//!
//! `TEQUIO_KILL_SECONDS` sets the duration, `TEQUIO_KILL_SEED` repeats the choice of victims.

use crate::{WITHIN, support::Devnet};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tequio_core::{
    codec,
    content::{Cid, CidCodec},
    crypto::NodeKey,
    ledger::{
        Action, SignedTransaction, Transaction, TransactionId,
        transition::admission::solve_admission,
    },
    types::{ChainId, Height},
};

const NODES: usize = 4;
const CLIENTS: u8 = 3;
/// Concurrent transactions of one client.
const BATCH: u64 = 8;
const SECONDS: u64 = 12;
const ADMISSION_BITS: u8 = 14;
const POLL_INTERVAL: Duration = Duration::from_millis(100);
const RESEND_AFTER: Duration = Duration::from_secs(2);

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}

/// HTTP address and token of each node; `None` while the node is down.
type NodeAddresses = Arc<Mutex<Vec<Option<(String, String)>>>>;

#[test]
fn acknowledged_transactions_are_applied_once_although_nodes_are_killed() {
    let seed = number("TEQUIO_KILL_SEED").unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
    });
    let seconds = number("TEQUIO_KILL_SECONDS").unwrap_or(SECONDS);
    println!("TEQUIO_KILL_SEED={seed} TEQUIO_KILL_SECONDS={seconds}");
    let mut net = Devnet::start(NODES);
    net.wait_height(1, 1, WITHIN);
    let chain: ChainId = net.get(1, "/v1/status")["chain"].as_str().unwrap().parse().unwrap();
    let addresses: NodeAddresses =
        Arc::new(Mutex::new((1..=NODES).map(|n| Some(net.access(n))).collect()));
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (1..=CLIENTS)
        .map(|n| {
            let client = Client::new(n, chain, addresses.clone(), stop.clone());
            thread::spawn(move || client.run())
        })
        .collect();

    let mut random = seed;
    let (mut kills, mut leaders, mut quorums) = (0, 0, 0);
    let until = Instant::now() + Duration::from_secs(seconds);
    // The loop also continues until a leader was among the victims and a quorum was lost.
    while Instant::now() < until || leaders == 0 || quorums == 0 {
        assert!(
            Instant::now() < until + WITHIN,
            "seed {seed}: {kills} kills, {leaders} leaders, {quorums} quorums"
        );
        // Mostly one node, sometimes two: then no block is final until they are back.
        let victims = 1 + usize::from(next_random(&mut random).is_multiple_of(4));
        let first = next_random(&mut random) as usize % NODES;
        let victims: Vec<usize> = (0..victims).map(|i| (first + i) % NODES + 1).collect();
        for victim in &victims {
            addresses.lock().unwrap()[victim - 1] = None;
            net.kill(*victim);
            kills += 1;
        }
        if victims.len() == 1 {
            let other = victims[0] % NODES + 1;
            let before = net.height(other);
            let reached = net.wait_height(other, before + 1 + next_random(&mut random) % 3, WITHIN);
            // The other members give up a view whose leader is silent.
            let view = |height: u64| {
                net.get_within(other, &format!("/v1/blocks/{height}"), WITHIN)["view"].as_u64()
            };
            leaders += u64::from((before + 1..=reached).any(|height| view(height) > Some(0)));
        } else {
            quorums += 1;
        }
        for victim in &victims {
            net.restart(*victim);
            addresses.lock().unwrap()[victim - 1] = Some(net.access(*victim));
        }
    }
    stop.store(true, Ordering::Relaxed);
    let acknowledged: BTreeMap<TransactionId, Height> =
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    let last = acknowledged.values().max().copied().unwrap();
    let head = (1..=NODES).map(|node| net.height(node)).max().unwrap().max(last);
    let count = acknowledged.len();
    println!(
        "{count} transactions acknowledged, {kills} kills, {leaders} of leaders, {quorums} of a \
         quorum, {head} blocks"
    );
    assert!(acknowledged.len() as u64 >= BATCH, "too few decisions");
    let mut states = Vec::new();
    for node in 1..=NODES {
        net.wait_height(node, head, WITHIN);
        let mut found: BTreeMap<TransactionId, Vec<Height>> = BTreeMap::new();
        for height in 1..=head {
            let block = net.get_within(node, &format!("/v1/blocks/{height}"), WITHIN);
            for id in block["transactions"].as_array().unwrap() {
                found.entry(id.as_str().unwrap().parse().unwrap()).or_default().push(height);
            }
            if height == head {
                states.push(block["state"].clone());
            }
        }
        for (id, height) in &acknowledged {
            assert_eq!(
                found.get(id),
                Some(&vec![*height]),
                "seed {seed}: node {node}, transaction {id}"
            );
        }
    }
    assert!(states.iter().all(|state| *state == states[0]), "seed {seed}: {states:?}");
}

/// The next number of a seeded sequence (splitmix64).
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Updates a ref of its own repeatedly, through any node that answers. Records the transactions
/// that a node has reported as final.
struct Client {
    key: NodeKey,
    chain: ChainId,
    addresses: NodeAddresses,
    stop: Arc<AtomicBool>,
    agent: ureq::Agent,
    turn: usize,
    acknowledged: BTreeMap<TransactionId, Height>,
}

impl Client {
    fn new(n: u8, chain: ChainId, addresses: NodeAddresses, stop: Arc<AtomicBool>) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(10)))
            .build()
            .into();
        let key = NodeKey::from_bytes(&[200 + n; 32]);
        Self { key, chain, addresses, stop, agent, turn: n.into(), acknowledged: BTreeMap::new() }
    }

    fn run(mut self) -> BTreeMap<TransactionId, Height> {
        let mut nonce = self.register();
        let mut sequence = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let height = self.get_json("/v1/status")["height"].as_u64().unwrap();
            let batch: Vec<_> =
                (0..BATCH).map(|i| self.update(nonce + i, sequence + i, height + 2000)).collect();
            self.submit_all(batch);
            nonce += BATCH;
            sequence += BATCH;
        }
        self.acknowledged
    }

    /// Registers the account. Returns its first nonce.
    fn register(&mut self) -> u64 {
        let account = format!("/v1/accounts/{}", self.key.id());
        let status = self.get_json("/v1/status");
        let (anchor, head) =
            (status["head"]["height"].as_u64().unwrap(), status["head"]["hash"].as_str().unwrap());
        let (id, digest) = (self.key.id(), head.parse().unwrap());
        let solution =
            solve_admission(&self.chain, &id, &digest, ADMISSION_BITS, 0, 1 << 30).unwrap();
        let action = Action::Register { anchor, solution };
        let transaction =
            Transaction { chain: self.chain, sender: id, nonce: 0, expires: anchor + 200, action };
        self.submit_all(vec![transaction.sign(&self.key)]);
        self.get_json(&account)["nonce"].as_u64().unwrap()
    }

    fn update(&self, nonce: u64, expected: u64, expires: Height) -> SignedTransaction {
        let name = format!("{}/log", self.key.id());
        let cid = Cid::of(CidCodec::Raw, &nonce.to_le_bytes());
        let action = Action::UpdateRef { name: name.as_str().try_into().unwrap(), expected, cid };
        Transaction { chain: self.chain, sender: self.key.id(), nonce, expires, action }
            .sign(&self.key)
    }

    /// Sends transactions until a node reports each as final and applied.
    fn submit_all(&mut self, batch: Vec<SignedTransaction>) {
        let deadline = Instant::now() + WITHIN;
        let mut open: Vec<(TransactionId, Vec<u8>)> =
            batch.iter().map(|t| (t.id(), codec::encode(t))).collect();
        let mut sent: Option<Instant> = None;
        while !open.is_empty() {
            assert!(
                Instant::now() < deadline,
                "not final: {:?}",
                open.iter().map(|(id, _)| id).collect::<Vec<_>>()
            );
            if sent.is_none_or(|at| at.elapsed() >= RESEND_AFTER) {
                sent = Some(Instant::now());
                open.iter().for_each(|(_, body)| self.send(body));
            }
            // In the order of nonces: if the first is not final, the others are not.
            let (id, _) = &open[0];
            match self.get(&format!("/v1/transactions/{id}")) {
                Some((200, receipt)) => {
                    assert_eq!(receipt["applied"], true, "{receipt}");
                    self.acknowledged.insert(*id, receipt["height"].as_u64().unwrap());
                    open.remove(0);
                }
                _ => thread::sleep(POLL_INTERVAL),
            }
        }
    }

    /// The next running node.
    fn access(&mut self) -> Option<(String, String)> {
        let addresses = self.addresses.lock().unwrap();
        self.turn += 1;
        addresses.iter().cycle().skip(self.turn % NODES).take(NODES).flatten().next().cloned()
    }

    fn send(&mut self, body: &[u8]) {
        let Some((http, token)) = self.access() else { return };
        // A node that is killed at this moment does not answer. The transaction is then sent again.
        let _ = self
            .agent
            .post(format!("{http}/v1/transactions"))
            .header("authorization", token)
            .send(body);
    }

    fn get(&mut self, path: &str) -> Option<(u16, Value)> {
        let (http, _) = self.access()?;
        let mut response = self.agent.get(format!("{http}{path}")).call().ok()?;
        let value = response.body_mut().read_json().ok()?;
        Some((response.status().as_u16(), value))
    }

    fn get_json(&mut self, path: &str) -> Value {
        let deadline = Instant::now() + WITHIN;
        loop {
            match self.get(path) {
                Some((200, value)) => return value,
                _ => assert!(Instant::now() < deadline, "no node answers {path}"),
            }
            thread::sleep(POLL_INTERVAL);
        }
    }
}
