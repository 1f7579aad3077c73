//! The waiting transactions with the state of their dissemination.

use super::{
    dissemination::{Dissemination, Source},
    pool::{Pool, Rejected},
};
use crate::node::machine::now_ms;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tequio_core::{
    ledger::{SignedTransaction, State, TransactionId, VerifiedSignature},
    types::{Height, NodeId, Verified},
};
use tokio::sync::Notify;

/// The waiting transactions.
#[derive(Debug, Default)]
pub struct Mempool {
    pool: Mutex<Pool>,
    dissemination: Mutex<Dissemination>,
    /// Notifies consensus of new transactions.
    inserted: Notify,
    /// Notifies the dissemination task of transactions to push.
    push_due: Notify,
}

impl Mempool {
    pub(super) fn pool(&self) -> MutexGuard<'_, Pool> {
        // Every change below leaves the pool consistent at every point where it could panic.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn dissemination(&self) -> MutexGuard<'_, Dissemination> {
        self.dissemination.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a transaction. False if it already waits.
    pub fn insert(
        &self,
        transaction: Verified<SignedTransaction>,
        source: Source,
        state: &State,
        height: Height,
    ) -> Result<bool, Rejected> {
        let id = transaction.id();
        let new = self.pool().insert(transaction, state, height)?;
        if new {
            self.dissemination().on_insert(id, source, height, now_ms());
            self.inserted.notify_one();
            if !matches!(source, Source::Peer { forward: false, .. }) {
                self.push_due.notify_one();
            }
        }
        Ok(new)
    }

    /// Whether this transaction already waits, so that its copies need no check.
    pub fn contains(&self, id: &TransactionId) -> bool {
        self.pool().contains(id)
    }

    /// Signatures of those transactions that wait here with the same signature. A block with them
    /// needs no check of these signatures.
    pub fn verified_signatures(
        &self,
        transactions: &[SignedTransaction],
    ) -> Vec<VerifiedSignature> {
        self.pool().verified_signatures(transactions)
    }

    /// Waits for a new transaction.
    pub async fn wait_for_insert(&self) {
        self.inserted.notified().await;
    }

    /// Waits for a transaction that is to be pushed.
    pub(super) async fn wait_for_push(&self) {
        self.push_due.notified().await;
    }

    /// Number of waiting transactions.
    pub fn len(&self) -> usize {
        self.pool().len()
    }

    /// Whether no transaction waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The nonce for a sender's next transaction.
    pub fn next_nonce(&self, sender: &NodeId, state: &State) -> u64 {
        let nonce = state.account(sender).map_or(0, |a| a.nonce);
        self.pool().next_nonce(sender, nonce)
    }

    /// Selects transactions for a block: round robin over the senders, highest reputation first,
    /// each sender's in nonce order.
    pub fn select(
        &self,
        state: &State,
        height: Height,
        len_max: usize,
        count_max: usize,
    ) -> Vec<Verified<SignedTransaction>> {
        self.pool().select(state, height, len_max, count_max)
    }

    /// Whether a waiting transaction could be in the next block.
    pub fn has_applicable(&self, state: &State, height: Height) -> bool {
        self.pool().has_applicable(state, height)
    }

    /// Records that these transactions are in a final block.
    pub fn on_included(&self, ids: impl IntoIterator<Item = TransactionId>) {
        let mut dissemination = self.dissemination();
        ids.into_iter().for_each(|id| dissemination.on_included(id));
    }

    /// Drops transactions that a new final state makes inadmissible.
    pub fn prune(&self, state: &State, height: Height) {
        self.pool().prune(state, height);
    }
}
