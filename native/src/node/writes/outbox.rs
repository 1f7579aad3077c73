//! Writes of this node's clients, which are accepted even without a quorum. Each is on disk before
//! anything else happens to it, and ends as applied or refused. It is never applied twice and never
//! lost, whenever the process dies.
//!
//! *Never twice*: a write has at most one valid signed transaction at a time. The signed
//! transaction is on disk before it is sent. It is signed again, with another nonce and expiry,
//! only after the chain shows that the old one is in no block and can no longer be in one: this
//! node has executed every block since the signature, and the nonce is used by another transaction
//! or the last height is passed. If a snapshot has skipped blocks, the outcome is unknown; then the
//! write ends, with this as its reason.

use super::{error_hints, submit::Submitter};
use crate::{
    node::{
        blocking::blocking,
        bounded_text::truncated,
        chain_view::ChainView,
        machine::now_ms,
        mempool::{
            Mempool, Rejected,
            verify::admission::{Admission, NotAccepted},
        },
        telemetry::metrics::Metrics,
    },
    store::{
        ClientWrite, Enqueued, KeyedSubmission, OutboxEntry, OutboxError, Store, StoreError,
        WriteStage,
    },
};
use std::{sync::Arc, time::Duration};
use tequio_core::{
    ledger::{Action, SignedTransaction},
    types::Height,
};
use tokio::sync::watch;

/// Blocks within which an own write must be included before it is signed again.
const VALIDITY_BLOCKS: Height = 512;
/// Own writes in flight at once. The pool has room for twice as many of one sender.
const IN_FLIGHT_MAX: usize = 32;
/// Longest time that a client waits for its write to be in a block. Then the answer is that the
/// write is queued.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);
/// Interval at which the outbox is processed even without events: time alone starts and ends
/// reduced mode.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// How long a start may take until blocks become final: the peers connect, and the node catches up.
const START_WITHIN: Duration = Duration::from_secs(15);

/// The writes of this node's clients. Clones notify of the same changes.
#[derive(Clone, Debug)]
pub struct WriteOutbox {
    chain: ChainView,
    store: Arc<Store>,
    mempool: Arc<Mempool>,
    admission: Admission,
    submitter: Submitter,
    metrics: Arc<Metrics>,
    /// Notifies of every change in the outbox.
    changes: Arc<watch::Sender<u64>>,
}

impl WriteOutbox {
    /// The outbox in this store.
    pub fn new(
        chain: ChainView,
        store: Arc<Store>,
        mempool: Arc<Mempool>,
        admission: Admission,
        submitter: Submitter,
        metrics: Arc<Metrics>,
    ) -> Self {
        let changes = Arc::new(watch::channel(0).0);
        Self { chain, store, mempool, admission, submitter, metrics, changes }
    }

    fn notify_changed(&self) {
        self.changes.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Enqueues a write and returns its number. It is on disk when this returns.
    pub async fn submit(&self, write: ClientWrite) -> Result<u64, OutboxError> {
        let number = blocking(&self.store, move |store| store.enqueue(write, now_ms())).await?;
        self.notify_changed();
        Ok(number)
    }

    /// Enqueues a write under its client's idempotency key, unless the key is known. It is on disk
    /// when this returns.
    pub async fn submit_keyed(
        &self,
        write: ClientWrite,
        keyed: KeyedSubmission,
    ) -> Result<Enqueued, OutboxError> {
        let enqueued =
            blocking(&self.store, move |store| store.enqueue_keyed(write, &keyed, now_ms()))
                .await?;
        self.notify_changed();
        Ok(enqueued)
    }

    /// Waits for the outcome of a write. Returns its current stage once this node has been without
    /// a quorum for as long as a block may take, and after `ANSWER_TIMEOUT` at the latest, because
    /// clients time out after a longer wait.
    pub async fn wait_for_outcome(&self, number: u64) -> Result<WriteStage, StoreError> {
        let reduced_wait = Duration::from_millis(self.chain.params.block_interval_ms_max);
        let until = tokio::time::Instant::now() + ANSWER_TIMEOUT;
        let mut changes = self.changes.subscribe();
        let mut reduced_since: Option<tokio::time::Instant> = None;
        loop {
            let found = blocking(&self.store, move |store| store.outbox_entry(number)).await?;
            let stage = found.map(|q| q.stage).ok_or(StoreError::Damaged("the queue"))?;
            reduced_since = self
                .chain
                .is_reduced()
                .then(|| reduced_since.unwrap_or_else(tokio::time::Instant::now));
            let is_late = tokio::time::Instant::now() >= until;
            if stage.is_settled()
                || is_late
                || reduced_since.is_some_and(|since| since.elapsed() >= reduced_wait)
            {
                return Ok(stage);
            }
            let wake = until.min(tokio::time::Instant::now() + POLL_INTERVAL);
            let _ = tokio::time::timeout_at(wake, changes.changed()).await;
        }
    }

    /// Submits writes to the ledger and logs a missing quorum, until the node stops.
    pub async fn run(self) {
        let mut tips = self.chain.watch_tip();
        let mut changes = self.changes.subscribe();
        let mut was_reduced = false;
        let started = tokio::time::Instant::now();
        loop {
            let is_reduced = self.chain.is_reduced();
            // The head that a node finds when it starts is usually old.
            let is_starting = is_reduced && started.elapsed() < START_WITHIN;
            if is_reduced != was_reduced && !is_starting {
                was_reduced = is_reduced;
                let height = self.chain.tip().height();
                match is_reduced {
                    true => tracing::warn!(
                        height,
                        "reduced mode: no block has become final for a long time; local writes are \
                         queued"
                    ),
                    false => {
                        tracing::info!(height, "blocks become final again: queued writes are sent")
                    }
                }
            }
            self.metrics.reduced.set(i64::from(is_reduced));
            match self.process_open_writes(is_reduced).await {
                Ok(open) => {
                    self.metrics.queued.set(open as i64);
                }
                Err(StoreError::Stopping) => return,
                Err(error) => return tracing::error!(%error, "the queue of writes cannot be read"),
            }
            tokio::select! {
                changed = tips.changed() => if changed.is_err() { return },
                _ = changes.changed() => {}
                () = tokio::time::sleep(POLL_INTERVAL) => {}
            }
        }
    }

    /// Processes every open write once. Returns the number of open writes.
    async fn process_open_writes(&self, is_reduced: bool) -> Result<usize, StoreError> {
        let queue = blocking(&self.store, |store| store.outbox_entries()).await?;
        let open: Vec<_> =
            queue.into_iter().filter(|(_, queued)| !queued.stage.is_settled()).collect();
        if open.is_empty() {
            return Ok(0);
        }
        let is_own = |q: &OutboxEntry| matches!(q.write, Some(ClientWrite::Own(_)));
        let is_sent = |q: &OutboxEntry| matches!(q.stage, WriteStage::Sent { .. });
        let mut under_way = open.iter().filter(|(_, q)| is_own(q) && is_sent(q)).count();
        let is_new_here = open.iter().any(|(_, q)| is_own(q) && !is_sent(q));
        if is_new_here
            && !is_reduced
            && let Err(error) = self.submitter.register().await
        {
            tracing::warn!(%error, "this node has no account yet");
            return Ok(open.len());
        }
        let count = open.len();
        for (number, queued) in open {
            if !is_sent(&queued) && (is_reduced || is_own(&queued) && under_way >= IN_FLIGHT_MAX) {
                continue;
            }
            under_way += usize::from(is_own(&queued) && !is_sent(&queued));
            blocking(self, move |outbox| outbox.process_write(number, queued)).await?;
        }
        Ok(count)
    }

    /// Advances one write as far as possible now.
    fn process_write(&self, number: u64, mut queued: OutboxEntry) -> Result<(), StoreError> {
        let Some(write) = queued.write.clone() else { return Ok(()) };
        if queued.stage == WriteStage::Waiting {
            // Held until the transaction is in the pool, which then reserves its nonce.
            let signer = self.submitter.signer();
            let tip = self.chain.tip();
            let transaction = match &write {
                ClientWrite::Own(action) => signer.sign(action.clone(), VALIDITY_BLOCKS),
                ClientWrite::Signed(transaction) => transaction.clone(),
            };
            queued.stage =
                WriteStage::Sent { transaction: transaction.clone(), since: tip.height() };
            self.store.update_outbox_entry(number, &queued)?;
            self.send(transaction);
            self.notify_changed();
            return Ok(());
        }
        let WriteStage::Sent { transaction, since } = &queued.stage else { return Ok(()) };
        // Read the tip before the receipts: receipts for all nonces that the tip's state has used
        // are then in the store.
        let tip = self.chain.tip();
        let id = transaction.id();
        let next = match self.store.receipt(&id)? {
            Some((height, receipt)) => match receipt.result {
                Ok(()) => WriteStage::Applied { transaction: id, height },
                Err(error) => refused(&error_hints::refusal(Some(&write), &error)),
            },
            None => {
                let sent = &transaction.transaction;
                let nonce =
                    tip.state.account(&sent.sender).filter(|a| a.registered).map_or(0, |a| a.nonce);
                let is_over = nonce > sent.nonce || tip.height() > sent.expires;
                if !is_over {
                    // After a restart the mempool may have lost it.
                    if !self.mempool.contains(&id) {
                        self.send(transaction.clone());
                    }
                    return Ok(());
                }
                let is_seen = self.store.lowest_block()? <= since + 1;
                match (&write, self.chain.job(&id)) {
                    (ClientWrite::Own(Action::SubmitJob(_)), Some(job)) => {
                        WriteStage::Applied { transaction: id, height: job.submitted }
                    }
                    (ClientWrite::Own(_), _) if is_seen => WriteStage::Waiting,
                    (ClientWrite::Signed(_), _) if is_seen && nonce > sent.nonce => {
                        refused(&format!("another transaction has used nonce {}", sent.nonce))
                    }
                    (ClientWrite::Signed(_), _) if is_seen => {
                        refused(&format!("in no block up to height {}", sent.expires))
                    }
                    _ => refused(
                        "blocks were passed over while this node was away: look whether it took \
                         effect",
                    ),
                }
            }
        };
        if next.is_settled() {
            queued.write = None;
        }
        tracing::info!(number, stage = ?next, "queued write");
        queued.stage = next;
        self.store.update_outbox_entry(number, &queued)?;
        self.notify_changed();
        Ok(())
    }

    /// Adds a transaction to the pool. If there is no room, the next round retries; if it does not
    /// fit the state, the next round finds out why.
    fn send(&self, transaction: SignedTransaction) {
        match self.admission.accept_local(transaction) {
            Ok(_) | Err(NotAccepted::Rejected(Rejected::Full | Rejected::SenderFull)) => {}
            Err(error) => tracing::debug!(%error, "a queued write cannot be sent yet"),
        }
    }
}

fn refused(reason: &str) -> WriteStage {
    WriteStage::Refused { reason: truncated(reason) }
}
