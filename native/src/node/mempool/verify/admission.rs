//! The way into the pool: checks a transaction against the state and its signature, and inserts it.
//! Signatures are checked in batches, because a signature in a batch costs half of a single check.

use super::signature_batcher::Batcher;
use crate::node::{
    chain_view::ChainView,
    mempool::{Mempool, Rejected, Source},
    telemetry::metrics::Metrics,
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};
use tequio_core::{
    crypto::{KeyCache, KeyLookup as KeyPoints, KeyPoint},
    ledger::{
        SignedTransaction, TransactionId, VerifiedSignatureCache, transaction::InvalidTransaction,
        transaction_batch::TransactionBatch,
    },
    types::{NodeId, Unverified, Verified},
};

/// The reason why a transaction is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAccepted {
    /// The transaction is invalid whatever the state.
    #[error("{0}")]
    Invalid(#[from] InvalidTransaction),
    /// The transaction does not fit the state, or the mempool has no room.
    #[error("{0}")]
    Rejected(#[from] Rejected),
}

/// Whether the transaction is new; false if it already waits.
pub type Acceptance = Result<bool, NotAccepted>;
type VerifyResult = Result<Verified<SignedTransaction>, NotAccepted>;

/// A key cache for several threads. None of them blocks the others while it decompresses a point.
#[derive(Debug, Default)]
pub struct SharedKeyCache(Mutex<KeyCache>);

impl KeyPoints for &SharedKeyCache {
    fn point(&mut self, key: &NodeId) -> Option<KeyPoint> {
        // Each change is one assignment, so a panic leaves no partial change.
        let cached = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = cached().get(key);
        found.or_else(|| {
            let point = KeyPoint::of(key)?;
            cached().insert(key, point);
            Some(point)
        })
    }
}

/// Verifies transactions and adds them to the mempool.
#[derive(Clone, Debug)]
pub struct Admission {
    chain: ChainView,
    mempool: Arc<Mempool>,
    metrics: Arc<Metrics>,
    /// Batches transactions of clients, each with its result.
    batcher: Arc<Batcher<SignedTransaction, Acceptance>>,
    /// Cached keys of transaction senders.
    key_cache: Arc<SharedKeyCache>,
}

impl Admission {
    /// Admits to this mempool.
    pub fn new(chain: ChainView, mempool: Arc<Mempool>, metrics: Arc<Metrics>) -> Self {
        Self { chain, mempool, metrics, batcher: Arc::default(), key_cache: Arc::default() }
    }

    /// Verifies a client's transaction and adds it to the mempool. Blocks for about one or two
    /// batches.
    pub fn submit(&self, transaction: SignedTransaction) -> Result<TransactionId, NotAccepted> {
        let id = transaction.id();
        let verdict = self.batcher.join_batch(transaction, |items| {
            self.metrics.submit_batches.inc();
            self.metrics.submitted.inc_by(items.len() as u64);
            self.accept_batch(items)
        });
        // A missing verdict is reported to the caller as a full mempool.
        verdict.unwrap_or(Err(Rejected::Full.into())).map(|_| id)
    }

    /// Verifies a transaction of this node and adds it to the mempool. False if it already waits.
    pub fn accept_local(&self, transaction: SignedTransaction) -> Acceptance {
        self.accept_batch(vec![transaction]).pop().unwrap_or(Err(Rejected::Full.into()))
    }

    /// Like [`Self::accept_local`] for several transactions, each with its own result.
    pub fn accept_batch(&self, transactions: Vec<SignedTransaction>) -> Vec<Acceptance> {
        let (tip, mempool) = (self.chain.tip(), &*self.mempool);
        let height = tip.height() + 1;
        // Waiting transactions are already verified, and the state check is cheaper than a
        // signature check.
        let judge = |transaction: &SignedTransaction| match mempool.contains(&transaction.id()) {
            true => Some(Ok(false)),
            false => tip
                .state
                .admits(&transaction.transaction, height)
                .err()
                .map(|error| Err(Rejected::from(error).into())),
        };
        let judged: Vec<_> = transactions.iter().map(judge).collect();
        let open = transactions.into_iter().zip(&judged).filter(|(_, verdict)| verdict.is_none());
        let mut checked =
            self.verify_batch(open.map(|(transaction, _)| transaction).collect()).into_iter();
        let insert = |verified| Ok(mempool.insert(verified, Source::Client, &tip.state, height)?);
        let verdict_of = |verdict: Option<Acceptance>| {
            verdict.or_else(|| Some(checked.next()?.and_then(insert)))
        };
        judged.into_iter().filter_map(verdict_of).collect()
    }

    /// Verifies all signatures in one batch. If it fails, each half is a batch, so a false
    /// signature costs other clients little.
    fn verify_batch(&self, mut transactions: Vec<SignedTransaction>) -> Vec<VerifyResult> {
        if !transactions.is_empty() {
            self.metrics.submit_verifications.inc();
        }
        if transactions.len() < 2 {
            let check = |transaction: SignedTransaction| {
                Ok(Unverified::new(transaction).verify(&self.chain.id)?)
            };
            return transactions.into_iter().map(check).collect();
        }
        if let Ok(all) = self.verify_all(transactions.clone()) {
            return all.into_iter().map(Ok).collect();
        }
        let rest = transactions.split_off(transactions.len() / 2);
        let mut checked = self.verify_batch(transactions);
        checked.extend(self.verify_batch(rest));
        checked
    }

    /// Checks whether a transaction could be applied to this node's state, without sending it.
    pub fn check(
        &self,
        transaction: SignedTransaction,
    ) -> Result<(TransactionId, SignedTransaction), NotAccepted> {
        let tip = self.chain.tip();
        tip.state.admits(&transaction.transaction, tip.height() + 1).map_err(Rejected::from)?;
        let verified = Unverified::new(transaction).verify(&self.chain.id)?;
        Ok((verified.id(), verified.into_inner()))
    }

    /// Checks chain and signatures in one batch. Fails with the first error.
    fn verify_all(
        &self,
        transactions: Vec<SignedTransaction>,
    ) -> Result<Vec<Verified<SignedTransaction>>, InvalidTransaction> {
        TransactionBatch::new(
            transactions,
            &self.chain.id,
            &VerifiedSignatureCache::default(),
            &mut &*self.key_cache,
        )?
        .verify()
    }

    /// Inserts transactions of peers and returns the number of new ones. All signatures are checked
    /// in one batch. If it fails, each message is a batch; if that fails too, its signatures are
    /// checked singly. So a peer that sends a false signature delays only its own messages.
    pub fn accept_from_peers(&self, received: Vec<(Source, Vec<SignedTransaction>)>) -> usize {
        let tip = self.chain.tip();
        let height = tip.height() + 1;
        // Only the first copy needs a signature check. A copy with another signature counts as
        // different, because that signature may be the valid one.
        let mut seen = BTreeSet::new();
        let mut is_possible = |t: &SignedTransaction| {
            let id = t.id();
            !self.mempool.contains(&id)
                && tip.state.admits(&t.transaction, height).is_ok()
                && seen.insert((id, t.signature.0))
        };
        let mut messages = received;
        messages.iter_mut().for_each(|(_, transactions)| transactions.retain(&mut is_possible));
        let all: Vec<_> =
            messages.iter().flat_map(|(_, transactions)| transactions).cloned().collect();
        self.metrics.peer_transactions.inc_by(all.len() as u64);
        let check = |transactions: Vec<SignedTransaction>| {
            self.metrics.peer_verifications.inc_by(u64::from(!transactions.is_empty()));
            self.verify_all(transactions)
        };
        let mut verified: Vec<(Source, Verified<SignedTransaction>)> = Vec::new();
        match check(all) {
            Ok(all) => {
                let sources =
                    messages.iter().flat_map(|(source, of)| std::iter::repeat_n(*source, of.len()));
                verified.extend(sources.zip(all));
            }
            Err(_) => {
                for (source, transactions) in messages {
                    let right = check(transactions.clone()).unwrap_or_else(|_| {
                        self.metrics.peer_verifications.inc_by(transactions.len() as u64);
                        transactions
                            .into_iter()
                            .filter_map(|t| Unverified::new(t).verify(&self.chain.id).ok())
                            .collect()
                    });
                    verified.extend(right.into_iter().map(|t| (source, t)));
                }
            }
        }
        let insert =
            |(source, t)| self.mempool.insert(t, source, &tip.state, height).unwrap_or(false);
        verified.into_iter().map(insert).filter(|new| *new).count()
    }
}
