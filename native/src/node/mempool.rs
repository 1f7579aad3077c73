//! Transactions that wait for a block: verified, in the order of each sender's nonces, bounded in items and bytes,
//! with a share for each sender, so that nobody can fill it alone.
//!
//! New ones are passed on to other full nodes once; own ones again until they are in a block.

use super::context::Context;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tequio_core::{
    codec::{self, BoundedVec},
    ledger::{SignedTransaction, State, TransactionError, TransactionId, transaction::TRANSACTION_LEN_MAX},
    types::{Height, NodeId, Unverified, Verified},
    wire::mempool::{REQUEST_LEN_MAX, Request, Response, TRANSACTIONS_MAX},
};
use tequio_p2p::{Protocol, Reply};
use tokio::sync::{Notify, mpsc};

/// Most waiting transactions.
pub const ITEMS_MAX: usize = 8192;
/// Most bytes of waiting transactions.
pub const BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most waiting transactions of one sender.
pub const PER_SENDER_MAX: usize = 64;
/// How often own transactions are passed on again until they are in a block.
const AGAIN: Duration = Duration::from_secs(3);
/// How long new transactions are gathered before they are passed on.
const GATHER: Duration = Duration::from_millis(10);
const GOSSIP_TIMEOUT: Duration = Duration::from_secs(5);
/// New transactions that wait to be passed on; further ones reach others by their senders' own efforts.
const FRESH_MAX: usize = 4096;

/// Why a transaction does not wait here. The fault is its sender's, but for a full pool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Above a limit of the protocol.
    #[error("the transaction is larger than {TRANSACTION_LEN_MAX} bytes")]
    TooLarge,
    /// Could not be in the next block, nor later.
    #[error("{0}")]
    Inadmissible(#[from] TransactionError),
    /// No room.
    #[error("too many transactions wait")]
    Full,
    /// Another transaction of the sender has this nonce.
    #[error("another transaction with nonce {0} waits already")]
    NonceTaken(u64),
}

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

#[derive(Debug, Default)]
struct Pool {
    senders: BTreeMap<NodeId, BTreeMap<u64, Waiting>>,
    ids: BTreeSet<TransactionId>,
    bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    transaction: Verified<SignedTransaction>,
    id: TransactionId,
    len: usize,
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
        self.pool().ids.contains(id)
    }

    /// Waits for a new transaction.
    pub async fn arrival(&self) {
        self.arrived.notified().await;
    }

    /// Number of waiting transactions.
    pub fn len(&self) -> usize {
        self.pool().ids.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number for a sender's next transaction.
    pub fn next_nonce(&self, sender: &NodeId, state: &State) -> u64 {
        let mut nonce = state.account(sender).map_or(0, |a| a.nonce);
        if let Some(waiting) = self.pool().senders.get(sender) {
            while waiting.contains_key(&nonce) {
                nonce += 1;
            }
        }
        nonce
    }

    /// What to put into a block: senders in turn, each in the order of its nonces.
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

    fn own(&self, sender: &NodeId) -> Vec<SignedTransaction> {
        let pool = self.pool();
        let waiting = pool.senders.get(sender).into_iter().flat_map(BTreeMap::values);
        waiting.map(|w| SignedTransaction::clone(&w.transaction)).collect()
    }
}

impl Pool {
    fn insert(
        &mut self,
        transaction: Verified<SignedTransaction>,
        state: &State,
        height: Height,
    ) -> Result<bool, Rejected> {
        let id = transaction.id();
        if self.ids.contains(&id) {
            return Ok(false);
        }
        state.admits(&transaction.transaction, height)?;
        let len = codec::encode(&*transaction).len();
        if len > TRANSACTION_LEN_MAX {
            return Err(Rejected::TooLarge);
        }
        if self.ids.len() >= ITEMS_MAX || self.bytes + len > BYTES_MAX {
            return Err(Rejected::Full);
        }
        let (sender, nonce) = (transaction.transaction.sender, transaction.transaction.nonce);
        let of_sender = self.senders.entry(sender).or_default();
        if of_sender.len() >= PER_SENDER_MAX {
            return Err(Rejected::Full);
        }
        if of_sender.contains_key(&nonce) {
            return Err(Rejected::NonceTaken(nonce));
        }
        of_sender.insert(nonce, Waiting { transaction, id, len });
        self.ids.insert(id);
        self.bytes += len;
        Ok(true)
    }

    fn select(
        &self,
        state: &State,
        height: Height,
        len_max: usize,
        count_max: usize,
    ) -> Vec<Verified<SignedTransaction>> {
        let mut queues: Vec<_> = self
            .senders
            .iter()
            .map(|(sender, waiting)| (state.account(sender).filter(|a| a.registered).map(|a| a.nonce), waiting.iter()))
            .collect();
        let (mut selected, mut len) = (Vec::new(), 0);
        while !queues.is_empty() {
            queues.retain_mut(|(next, waiting)| {
                let Some((nonce, item)) = waiting.next() else { return false };
                // A registered sender's nonces follow each other; a gap ends its turn.
                if next.is_some_and(|next| next != *nonce) || len + item.len > len_max || selected.len() >= count_max {
                    return false;
                }
                if state.admits(&item.transaction.transaction, height).is_ok() {
                    len += item.len;
                    selected.push(item.transaction.clone());
                }
                *next = next.map(|n| n + 1);
                // Of a newcomer only its registration can be applied.
                next.is_some()
            });
        }
        selected
    }

    fn prune(&mut self, state: &State, height: Height) {
        let Self { senders, ids, bytes } = self;
        senders.retain(|_, waiting| {
            waiting.retain(|_, item| {
                let keep = state.admits(&item.transaction.transaction, height).is_ok();
                if !keep {
                    ids.remove(&item.id);
                    *bytes -= item.len;
                }
                keep
            });
            !waiting.is_empty()
        });
    }
}

/// Answers transactions that a peer passes on.
pub async fn serve(context: Arc<Context>, from: NodeId, body: Vec<u8>, reply: Reply) {
    let Ok(request) = codec::decode::<Request>(&body, REQUEST_LEN_MAX) else {
        tracing::debug!(peer = %from.short(), "malformed transactions");
        return;
    };
    // Signatures are slow enough to keep off the threads of the network.
    let accepted = tokio::task::spawn_blocking(move || {
        let accept = |t| context.accept_transaction(t, Some(from)).unwrap_or(false);
        request.transactions.into_vec().into_iter().filter(|t| accept(Unverified::new(t.clone()))).count()
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
                let own = context.mempool.own(&context.id);
                batch.extend(own.into_iter().map(|transaction| Fresh { transaction, from: None }));
            }
        }
        for peer in context.full_nodes() {
            let wanted = batch.iter().filter(|f| f.from != Some(peer)).map(|f| &f.transaction);
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
            bodies.push(codec::encode(&Request { transactions: BoundedVec::truncated(batch.drain(..)) }));
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

#[cfg(test)]
mod tests {
    use super::*;
    use tequio_core::{
        crypto::NodeKey,
        knowledge::{Cid, CidCodec},
        ledger::{Action, Entry, Transaction, state::Account},
        types::ChainId,
    };

    const CHAIN: ChainId = ChainId([1; 32]);

    fn key(n: u8) -> NodeKey {
        NodeKey::from_bytes(&[n; 32])
    }

    fn state(senders: &[u8]) -> State {
        let mut state = State::default();
        for n in senders {
            state.insert(Entry::Account(Account::new(key(*n).id(), 5)));
        }
        state
    }

    fn transaction(n: u8, nonce: u64) -> Verified<SignedTransaction> {
        let action = Action::UpdateRef {
            name: "x".try_into().unwrap(),
            expected: 0,
            cid: Cid::of(CidCodec::Raw, &nonce.to_le_bytes()),
        };
        let transaction = Transaction { chain: CHAIN, sender: key(n).id(), nonce, expires: 10, action };
        Unverified::new(transaction.sign(&key(n))).verify(&CHAIN).unwrap()
    }

    #[test]
    fn selects_senders_in_turn_and_nonces_in_order() {
        let (state, mut pool) = (state(&[1, 2]), Pool::default());
        for (n, nonce) in [(1, 6), (1, 5), (1, 8), (2, 5)] {
            assert!(pool.insert(transaction(n, nonce), &state, 1).unwrap());
        }
        assert!(!pool.insert(transaction(1, 5), &state, 1).unwrap(), "known");
        let mut found: Vec<_> = pool.select(&state, 1, usize::MAX, 10).iter().map(|t| t.transaction.nonce).collect();
        found.sort_unstable();
        assert_eq!(found, [5, 5, 6], "nonce 8 waits for 7");
        assert_eq!(pool.select(&state, 1, usize::MAX, 2).len(), 2);
        assert_eq!(pool.select(&state, 1, 10, 10).len(), 0);
    }

    #[test]
    fn refuses_what_cannot_be_applied_and_drops_it_later() {
        let (state, mut pool) = (state(&[1]), Pool::default());
        let refused = |r: Result<bool, Rejected>| matches!(r, Err(Rejected::Inadmissible(_)));
        assert!(refused(pool.insert(transaction(1, 4), &state, 1)), "used nonce");
        assert!(refused(pool.insert(transaction(3, 5), &state, 1)), "no account");
        assert!(refused(pool.insert(transaction(1, 5), &state, 11)), "expired");
        pool.insert(transaction(1, 5), &state, 1).unwrap();
        pool.prune(&state, 11);
        assert_eq!((pool.ids.len(), pool.bytes, pool.senders.len()), (0, 0, 0));
    }

    #[test]
    fn knows_what_waits_until_it_is_gone() {
        let pool = Mempool::default();
        let waiting = transaction(1, 5);
        assert!(!pool.contains(&waiting.id()));
        assert_eq!(pool.insert(waiting.clone(), None, &state(&[1]), 1), Ok(true));
        assert!(pool.contains(&waiting.id()) && !pool.contains(&transaction(1, 6).id()));
        let mut after = State::default();
        after.insert(Entry::Account(Account::new(key(1).id(), 6)));
        pool.prune(&after, 2);
        assert!(!pool.contains(&waiting.id()));
    }

    #[test]
    fn one_sender_cannot_fill_it() {
        let (state, mut pool) = (state(&[1, 2]), Pool::default());
        for nonce in 0..PER_SENDER_MAX as u64 {
            pool.insert(transaction(1, 5 + nonce), &state, 1).unwrap();
        }
        assert_eq!(pool.insert(transaction(1, 5000), &state, 1), Err(Rejected::Full));
        pool.insert(transaction(2, 5), &state, 1).unwrap();
    }
}
