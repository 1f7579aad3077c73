//! A full mempool over a real socket: the error states whether all clients must wait or this one
//! alone, and for how long.

use crate::WITHIN;
use serde_json::Value;
use std::{fs, sync::Barrier, time::Instant};
use tequio::{
    api,
    config::Config,
    keys::Keys,
    node::{
        CHECKPOINT_FILE, GENESIS_FILE, Node,
        chain_view::ChainView,
        machine::now_ms,
        mempool::{ITEMS_MAX, PER_SENDER_MAX, Source},
    },
};
use tequio_core::{
    codec::{self, BoundedVec},
    content::{Cid, CidCodec},
    crypto::NodeKey,
    ledger::{
        Action, Checkpoint, Genesis, Params, SignedTransaction, Transaction, genesis::GenesisFile,
    },
};

const BOND: u64 = 1000;
/// As many clients as fill the mempool, and one more.
const CLIENTS: u8 = (ITEMS_MAX / PER_SENDER_MAX + 1) as u8;

pub fn client(number: u8) -> NodeKey {
    NodeKey::from_bytes(&[number + 1; 32])
}

pub fn signed(chain: &ChainView, number: u8, nonce: u64) -> SignedTransaction {
    let key = client(number);
    let name = format!("{}/note", key.id());
    let action = Action::UpdateRef {
        name: name.as_str().try_into().unwrap(),
        expected: nonce,
        cid: Cid::of(CidCodec::Raw, &nonce.to_le_bytes()),
    };
    Transaction { chain: chain.id, sender: key.id(), nonce, expires: 500, action }.sign(&key)
}

/// Parameters of a chain that makes no blocks without transactions.
pub fn params() -> Params {
    Params {
        block_interval_ms_max: 60_000,
        block_interval_ms_min: 20,
        view_timeout_ms: 60_000,
        clock_skew_ms_max: 30_000,
        audit_blocks_min: 2,
        audit_blocks_max: 100,
        admission_bits: 14,
        mint_max: 0,
        trust_period_ms: 24 * 60 * 60 * 1000,
        leader_term_blocks: 64,
        epoch_blocks: 64,
        bond_min: 1,
        reputation_min: 0,
        unbonding_ms: u64::MAX,
    }
}

/// Starts a single validator on its own chain, on which the clients have accounts.
async fn alone(dir: &std::path::Path) -> Node {
    let keys = Keys::generate().unwrap();
    let accounts = (0..CLIENTS).map(|n| (client(n).id(), 0, 0));
    let genesis = Genesis {
        name: "pressure".try_into().unwrap(),
        time_ms: now_ms(),
        params: params(),
        accounts: BoundedVec::truncated(std::iter::once((keys.id(), 0, BOND)).chain(accounts)),
        seats: BoundedVec::truncated([keys.genesis_seat(BOND)]),
    };
    let possession = keys.voting.prove_possession(&genesis.chain(), &keys.id());
    let file = GenesisFile::new(genesis, vec![possession]).unwrap();
    let start = file.build_state().unwrap();
    let committee = start.committee.record().clone();
    let checkpoint =
        Checkpoint::new(start.header.clone(), None, committee, start.params.trust_period_ms);
    fs::write(dir.join(GENESIS_FILE), file.encode()).unwrap();
    fs::write(dir.join(CHECKPOINT_FILE), checkpoint.encode()).unwrap();
    let config = Config { listen: vec!["/ip4/127.0.0.1/tcp/0".into()], ..Config::default() };
    Node::start(dir, &config, keys).await.unwrap()
}

fn assert_problem(
    mut answer: ureq::http::Response<ureq::Body>,
    status: u16,
    code: &str,
    text: &str,
) {
    assert_eq!(answer.status(), status);
    let wait_s: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait_s), "{wait_s}");
    let problem: Value = answer.body_mut().read_json().unwrap();
    assert_eq!(problem["error"]["code"], code, "{problem}");
    assert!(problem["error"]["message"].as_str().unwrap().contains(text), "{problem}");
}

#[test]
fn a_full_mempool_reports_which_senders_wait_and_for_how_long() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let node = runtime.block_on(alone(dir.path()));
    let chain = node.chain.clone();
    let http = "127.0.0.1:0".parse().unwrap();
    let server = runtime.block_on(api::Server::start(dir.path(), &http, Vec::new(), &node));
    let server = server.unwrap();
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let (url, token) =
        (format!("http://{}/v1/transactions", server.addr), api::bearer(dir.path()).unwrap());
    let post = |number, nonce| {
        let body = codec::encode(&signed(&chain, number, nonce));
        agent.post(&url).header("authorization", &token).send(&body[..]).unwrap()
    };

    // The first nonce is missing, so all that follow wait.
    for number in 0..CLIENTS - 1 {
        for nonce in 1..=PER_SENDER_MAX as u64 {
            node.admission.submit(signed(&chain, number, nonce)).unwrap();
        }
    }
    assert_eq!(node.mempool.len(), ITEMS_MAX);
    assert_problem(
        post(0, PER_SENDER_MAX as u64 + 1),
        429,
        "SENDER_FULL",
        "64 transactions of this sender wait already",
    );
    assert_problem(post(CLIENTS - 1, 0), 503, "BUSY", "too many transactions wait for a block");

    // The missing nonce replaces the sender's last one and makes the others applicable.
    let answer = post(0, 0);
    assert_eq!(answer.status(), 202, "{answer:?}");
    let mut tips = chain.watch_tip();
    let deadline = Instant::now() + WITHIN;
    runtime.block_on(async {
        while node.mempool.len() > ITEMS_MAX - PER_SENDER_MAX {
            let left = deadline.saturating_duration_since(Instant::now());
            tokio::time::timeout(left, tips.changed())
                .await
                .expect("blocks empty the mempool")
                .unwrap();
        }
    });
    assert_eq!(chain.tip().state.account(&client(0).id()).unwrap().nonce, PER_SENDER_MAX as u64);
    let answer = post(CLIENTS - 1, 0);
    assert_eq!(answer.status(), 202, "{answer:?}");
    runtime.block_on(async {
        server.stop().await;
        node.stop().await;
    });
}

/// A transaction's id does not cover its signature. A peer that receives a transaction can forward
/// it with another signature first.
#[test]
fn a_forged_copy_does_not_block_the_valid_transaction_in_the_same_batch() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let node = runtime.block_on(alone(dir.path()));
    let chain = node.chain.clone();
    let right = signed(&chain, 0, 1);
    let forged = SignedTransaction { signature: signed(&chain, 1, 1).signature, ..right.clone() };
    let from_peer = |number, transaction: &SignedTransaction| {
        (Source::Peer { peer: client(number).id(), forward: false }, vec![transaction.clone()])
    };
    assert_eq!(
        node.admission.accept_from_peers(vec![
            from_peer(1, &forged),
            from_peer(2, &right),
            from_peer(3, &right),
            from_peer(1, &forged)
        ]),
        1
    );
    // Copies are not verified. The four verifications: the batch of both, each message, and the
    // forged one.
    assert_eq!(
        (node.metrics.peer_transactions.get(), node.metrics.peer_verifications.get()),
        (2, 4)
    );
    assert!(node.mempool.contains(&right.id()));
    runtime.block_on(node.stop());
}

#[test]
fn each_transaction_of_a_batch_gets_its_own_result() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let node = runtime.block_on(alone(dir.path()));
    let chain = node.chain.clone();
    let good = |number| signed(&chain, number, 1);
    let forged = SignedTransaction { signature: good(1).signature, ..good(2) };
    let unknown = signed(&chain, CLIENTS, 1);
    node.admission.submit(good(0)).unwrap();
    let verdicts = node.admission.accept_batch(vec![
        good(0),
        good(1),
        forged.clone(),
        unknown,
        good(3),
        good(3),
    ]);
    let results: Vec<_> =
        verdicts.iter().map(|v| v.as_ref().map_err(ToString::to_string)).collect();
    let (signature, account) =
        ("the transaction's signature is not valid", "the sender has no account: register first");
    let expected =
        [Ok(&false), Ok(&true), Err(signature.into()), Err(account.into()), Ok(&true), Ok(&false)];
    assert_eq!(results, expected);

    // One forged signature of 32 costs verifications of both halves at five levels, and does not
    // affect the results of the others.
    let many: Vec<_> = (0..32).map(|number| signed(&chain, number, 2)).collect();
    let mut brought = many.clone();
    brought[20] = SignedTransaction { signature: many[0].signature, ..many[20].clone() };
    let before = node.metrics.submit_verifications.get();
    let verdicts = node.admission.accept_batch(brought);
    assert_eq!(node.metrics.submit_verifications.get() - before, 1 + 2 * 5);
    for (number, verdict) in verdicts.iter().enumerate() {
        assert_eq!(verdict.is_ok(), number != 20, "{number}: {verdict:?}");
        assert_eq!(node.mempool.contains(&many[number].id()), number != 20, "{number}");
    }
    let before = node.metrics.submit_verifications.get();
    let right = (0..32).map(|number| signed(&chain, number, 3)).collect();
    assert_eq!(node.admission.accept_batch(right), vec![Ok(true); 32]);
    assert_eq!(node.metrics.submit_verifications.get() - before, 1);

    // From many threads, each of which gets its own result.
    let first = 4;
    std::thread::scope(|scope| {
        for number in first..first + 32 {
            let (node, chain, forged) = (&node, &chain, &forged);
            scope.spawn(move || {
                let own = signed(chain, number, 1);
                assert_eq!(node.admission.submit(own.clone()), Ok(own.id()));
                assert_eq!(
                    node.admission.submit(forged.clone()).unwrap_err().to_string(),
                    signature
                );
                assert_eq!(node.admission.submit(own.clone()), Ok(own.id()));
                assert_eq!(node.admission.accept_local(own), Ok(false));
            });
        }
    });
    assert_eq!(node.mempool.len(), 3 + 31 + 32 + 32);
    runtime.block_on(node.stop());
}

#[test]
fn concurrent_submissions_share_verification_batches() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let node = runtime.block_on(alone(dir.path()));
    let (chain, metrics) = (node.chain.clone(), &node.metrics);
    // None of them is admitted, so they can be submitted again.
    let forged =
        SignedTransaction { signature: signed(&chain, 1, 1).signature, ..signed(&chain, 2, 1) };
    let mut tries = 0;
    while metrics.submit_batches.get() == metrics.submitted.get() {
        tries += 1;
        assert!(tries < 200, "each of {} had its own batch", metrics.submitted.get());
        let start = Barrier::new(16);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    start.wait();
                    assert!(node.admission.submit(forged.clone()).is_err());
                });
            }
        });
    }
    let shown = metrics.encode();
    for name in [
        "tequio_transactions_submitted_total",
        "tequio_submission_batches_total",
        "tequio_submission_signature_checks_total",
    ] {
        assert!(
            shown.lines().any(|line| line.strip_prefix(name).is_some_and(|count| count != " 0")),
            "{name}"
        );
    }
    runtime.block_on(node.stop());
}
