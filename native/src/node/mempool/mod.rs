//! The transactions that wait for a block, and the talk about them: new ones are passed on to other full nodes once, to whom
//! `spread` says; own ones again until they are in a block.

mod pool;
mod spread;

pub use pool::{BYTES_MAX, ITEMS_MAX, PER_SENDER_MAX, Rejected};

use super::context::Context;
use pool::Pool;
use spread::Spread;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tequio_core::{
    codec::{self, BoundedVec},
    ledger::{Checked, SignedTransaction, State, TransactionId},
    types::{Height, NodeId, Verified},
    wire::{
        mempool::{REQUEST_LEN_MAX, Request, Response, TRANSACTIONS_MAX},
        packed,
    },
};
use tequio_p2p::{Protocol, Reply};
use tokio::sync::{Notify, mpsc};

/// How often own transactions are passed on again until they are in a block.
const AGAIN: Duration = Duration::from_secs(3);
/// How long new transactions are gathered before they are passed on.
const GATHER: Duration = Duration::from_millis(10);
const GOSSIP_TIMEOUT: Duration = Duration::from_secs(5);
/// New transactions that wait to be passed on; further ones reach others by their senders' own efforts.
const FRESH_MAX: usize = 4096;

/// A transaction that is new here, and who brought it.
#[derive(Debug)]
struct Fresh {
    transaction: SignedTransaction,
    from: Option<NodeId>,
}

/// The waiting transactions.
#[derive(Debug)]
pub struct Mempool {
    pool: Mutex<Pool>,
    fresh: mpsc::Sender<Fresh>,
    waiting: Mutex<Option<mpsc::Receiver<Fresh>>>,
    arrived: Notify,
}

impl Default for Mempool {
    fn default() -> Self {
        let (fresh, waiting) = mpsc::channel(FRESH_MAX);
        Self { pool: Mutex::default(), fresh, waiting: Mutex::new(Some(waiting)), arrived: Notify::new() }
    }
}

impl Mempool {
    fn pool(&self) -> MutexGuard<'_, Pool> {
        // Every change below leaves the pool consistent at every point where it could panic.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a transaction in. False if it waits already.
    pub fn insert(
        &self,
        transaction: Verified<SignedTransaction>,
        from: Option<NodeId>,
        state: &State,
        height: Height,
    ) -> Result<bool, Rejected> {
        let plain = SignedTransaction::clone(&transaction);
        let new = self.pool().insert(transaction, state, height)?;
        if new {
            let _ = self.fresh.try_send(Fresh { transaction: plain, from });
            self.arrived.notify_one();
        }
        Ok(new)
    }

    /// Whether this transaction waits already, so that its copies need not be checked again.
    pub fn contains(&self, id: &TransactionId) -> bool {
        self.pool().contains(id)
    }

    /// Which of these transactions wait here, signature and all, so that a block with them need not be checked for theirs.
    pub fn checked(&self, transactions: &[SignedTransaction]) -> Vec<Checked> {
        self.pool().checked(transactions)
    }

    /// Waits for a new transaction.
    pub async fn arrival(&self) {
        self.arrived.notified().await;
    }

    /// Number of waiting transactions.
    pub fn len(&self) -> usize {
        self.pool().len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number for a sender's next transaction.
    pub fn next_nonce(&self, sender: &NodeId, state: &State) -> u64 {
        let nonce = state.account(sender).map_or(0, |a| a.nonce);
        self.pool().next_nonce(sender, nonce)
    }

    /// What to put into a block: senders in turn, those of most reputation first, each in the order of its nonces.
    pub fn select(
        &self,
        state: &State,
        height: Height,
        len_max: usize,
        count_max: usize,
    ) -> Vec<Verified<SignedTransaction>> {
        self.pool().select(state, height, len_max, count_max)
    }

    /// Drops what a new final state makes impossible.
    pub fn prune(&self, state: &State, height: Height) {
        self.pool().prune(state, height);
    }
}

/// Answers transactions that a peer passes on.
pub async fn serve(context: Arc<Context>, from: NodeId, body: Vec<u8>, reply: Reply) {
    // Signatures are slow enough to keep off the threads of the network.
    let accepted = tokio::task::spawn_blocking(move || match packed::decode::<Request>(&body, REQUEST_LEN_MAX) {
        Ok(request) => context.accept_transactions(request.transactions.into_vec(), from),
        Err(error) => {
            tracing::debug!(peer = %from.short(), %error, "malformed transactions");
            0
        }
    });
    let accepted = accepted.await.unwrap_or(0) as u32;
    reply.send(codec::encode(&Response { accepted }));
}

/// Passes new transactions on, and own ones again, until the node stops.
pub async fn gossip(context: Arc<Context>) {
    let Some(mut fresh) = context.mempool.waiting.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
    let mut again = tokio::time::interval(AGAIN);
    let mut batch = Vec::new();
    loop {
        batch.clear();
        tokio::select! {
            count = fresh.recv_many(&mut batch, TRANSACTIONS_MAX) => {
                if count == 0 {
                    return;
                }
                // One exchange for all that come together: an exchange costs more than a transaction.
                tokio::time::sleep(GATHER).await;
                while let Some(next) = (batch.len() < TRANSACTIONS_MAX).then(|| fresh.try_recv().ok()).flatten() {
                    batch.push(next);
                }
            }
            _ = again.tick() => {
                let own = context.mempool.pool().of(&context.id);
                batch.extend(own.into_iter().map(|transaction| Fresh { transaction, from: None }));
            }
        }
        let peers = context.full_nodes();
        let spread = Spread::among(&peers);
        for peer in peers {
            let wanted = batch.iter().filter(|f| spread.tells(&peer, f.from.as_ref())).map(|f| &f.transaction);
            for body in requests(wanted) {
                let network = context.network.clone();
                // Lost ones are passed on by others, or again.
                tokio::spawn(async move { network.request(peer, Protocol::Mempool, body, GOSSIP_TIMEOUT).await });
            }
        }
    }
}

/// Cuts transactions into requests below the cap.
fn requests<'t>(transactions: impl Iterator<Item = &'t SignedTransaction>) -> Vec<Vec<u8>> {
    let (mut bodies, mut batch, mut len) = (Vec::new(), Vec::new(), 0);
    let mut close = |batch: &mut Vec<SignedTransaction>| {
        if !batch.is_empty() {
            bodies.push(packed::encode(&Request { transactions: BoundedVec::truncated(batch.drain(..)) }));
        }
    };
    for transaction in transactions {
        let item = codec::encode(transaction).len();
        if len + item > REQUEST_LEN_MAX - 16 || batch.len() >= TRANSACTIONS_MAX {
            close(&mut batch);
            len = 0;
        }
        len += item;
        batch.push(transaction.clone());
    }
    close(&mut batch);
    bodies
}
