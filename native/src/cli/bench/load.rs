//! The load of the consensus bench: signed transactions of many clients, and their latencies.

use crate::{
    node::{
        chain_view::ChainView,
        machine::now_ms,
        mempool::verify::{admission::Admission, signature_batcher},
    },
    store::Store,
};
use anyhow::Context as _;
use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tequio_core::{
    content::{Cid, CidCodec},
    crypto::NodeKey,
    ledger::{Action, SignedTransaction, Transaction, TransactionId, transaction::RefName},
    types::{ChainId, Height},
};

/// How often the load sends due transactions: the batch interval of a node with many clients.
const SEND_INTERVAL: Duration = signature_batcher::BATCH_INTERVAL;
pub const VALIDITY_BLOCKS: Height = 4000;

/// State that the load and the watchers share.
#[derive(Debug, Default)]
pub struct Load {
    pub stop: AtomicBool,
    waiting: Mutex<HashMap<TransactionId, Instant>>,
    pub submit_ms: Mutex<Vec<f64>>,
    pub final_ms: Mutex<Vec<f64>>,
    pub applied: AtomicU64,
    pub refused: AtomicU64,
}

impl Load {
    pub fn clear(&self) {
        for samples in [&self.submit_ms, &self.final_ms] {
            drop(self.take(samples));
        }
        self.applied.store(0, Ordering::Relaxed);
        self.refused.store(0, Ordering::Relaxed);
    }

    pub fn take(&self, samples: &Mutex<Vec<f64>>) -> Vec<f64> {
        let mut samples =
            std::mem::take(&mut *samples.lock().unwrap_or_else(PoisonError::into_inner));
        samples.sort_by(f64::total_cmp);
        samples
    }
}

/// Records the latency of each block on a node. With `counts`, also records the latency of each
/// transaction.
pub async fn watch(chain: ChainView, store: Arc<Store>, load: Arc<Load>, counts: bool) {
    let mut tips = chain.watch_tip();
    let mut seen = chain.tip().height();
    while tips.changed().await.is_ok() {
        let tip = tips.borrow_and_update().clone();
        let took_ms = now_ms().saturating_sub(tip.header.header.time_ms) as f64;
        load.final_ms.lock().unwrap_or_else(PoisonError::into_inner).push(took_ms);
        if !counts {
            continue;
        }
        for height in seen + 1..=tip.height() {
            for receipt in store.receipts(height).unwrap_or_default() {
                let sent = load
                    .waiting
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(&receipt.transaction);
                if let Some(sent) = sent.filter(|_| receipt.result.is_ok()) {
                    load.applied.fetch_add(1, Ordering::Relaxed);
                    let took_ms = sent.elapsed().as_secs_f64() * 1000.0;
                    load.submit_ms.lock().unwrap_or_else(PoisonError::into_inner).push(took_ms);
                }
            }
        }
        seen = tip.height();
    }
}

/// Sends at a rate: each client to one node, each with its own ref. A node gets the transactions of
/// one interval as a batch, as in `signature_batcher.rs`. The cost of HTTP and of request threads
/// is not included.
pub fn send(
    targets: &[(ChainView, Admission)],
    clients: &[NodeKey],
    mut signed: Vec<VecDeque<SignedTransaction>>,
    rate: u64,
    load: &Load,
) {
    let waiting = || load.waiting.lock().unwrap_or_else(PoisonError::into_inner);
    let mut nonces = vec![0u64; clients.len()];
    let (began, mut sent) = (Instant::now(), 0u64);
    let mut index = 0;
    while !load.stop.load(Ordering::Relaxed) {
        let due = ((began.elapsed().as_secs_f64() * rate as f64) as u64).saturating_sub(sent);
        let mut beat = vec![Vec::new(); targets.len()];
        // At most one transaction of each client.
        for _ in 0..due.min(clients.len() as u64) {
            sent += 1;
            index = (index + 1) % clients.len();
            let (Some(key), Some(nonce), Some(ready)) =
                (clients.get(index), nonces.get(index), signed.get_mut(index))
            else {
                return;
            };
            let at = index % targets.len().max(1);
            let (Some((chain, _)), Some(of_node)) = (targets.get(at), beat.get_mut(at)) else {
                return;
            };
            let ready = ready.pop_front().filter(|ready| {
                let Transaction { nonce: of, expires, .. } = *ready.transaction;
                of == *nonce && expires > chain.tip().height()
            });
            let Some(transaction) = ready.or_else(|| transaction(chain, key, *nonce)) else {
                return;
            };
            waiting().insert(transaction.id(), Instant::now());
            of_node.push((index, transaction));
        }
        for ((_, admission), brought) in targets.iter().zip(beat) {
            let verdicts = admission
                .accept_batch(brought.iter().map(|(_, transaction)| transaction.clone()).collect());
            for ((client, transaction), verdict) in brought.into_iter().zip(verdicts) {
                let (Some(nonce), Some(ready)) = (nonces.get_mut(client), signed.get_mut(client))
                else {
                    return;
                };
                if verdict.is_ok() {
                    *nonce += 1;
                } else {
                    waiting().remove(&transaction.id());
                    load.refused.fetch_add(1, Ordering::Relaxed);
                    ready.push_front(transaction);
                }
            }
        }
        if due <= clients.len() as u64 {
            std::thread::sleep(SEND_INTERVAL);
        }
    }
}

/// Signs `count` transactions on all cores, those of each client in the order of its nonces.
pub fn presign(
    chain: ChainId,
    clients: &[NodeKey],
    count: u64,
) -> anyhow::Result<Vec<VecDeque<SignedTransaction>>> {
    let each = count.div_ceil(clients.len().max(1) as u64);
    let sign = |clients: &[NodeKey]| -> Vec<VecDeque<SignedTransaction>> {
        clients
            .iter()
            .map(|key| {
                (0..each).filter_map(|nonce| update(chain, key, nonce, VALIDITY_BLOCKS)).collect()
            })
            .collect()
    };
    std::thread::scope(|scope| {
        let shares = clients.chunks(clients.len().div_ceil(cores()).max(1));
        let threads: Vec<_> = shares.map(|share| scope.spawn(move || sign(share))).collect();
        let signed = threads
            .into_iter()
            .map(|thread| thread.join().ok().context("a thread that signs has panicked"));
        Ok(signed.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    })
}

fn transaction(chain: &ChainView, key: &NodeKey, nonce: u64) -> Option<SignedTransaction> {
    update(chain.id, key, nonce, chain.tip().height() + VALIDITY_BLOCKS)
}

pub fn update(
    chain: ChainId,
    key: &NodeKey,
    nonce: u64,
    expires: Height,
) -> Option<SignedTransaction> {
    let name = RefName::try_from(format!("{}/load", key.id())).ok()?;
    let cid = Cid::of(CidCodec::Raw, &nonce.to_le_bytes());
    let action = Action::UpdateRef { name, expected: nonce, cid };
    Some(Transaction { chain, sender: key.id(), nonce, expires, action }.sign(key))
}

/// A client's key. It is not secret: the accounts hold nothing, and the chain ends with the bench.
pub fn client_key(number: u64) -> NodeKey {
    let mut secret = [0xb3; 32];
    if let Some(head) = secret.first_chunk_mut::<8>() {
        *head = number.to_le_bytes();
    }
    NodeKey::from_bytes(&secret)
}

pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
