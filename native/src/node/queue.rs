//! Writes of this node's clients, also while there is no quorum. Each is on disk before anything
//! else happens to it, and ends as applied or as refused; it is never applied twice and never
//! forgotten, whenever the process dies.
//!
//! *Never twice*: a write is signed once at a time. The signed transaction is on disk before
//! anybody else gets it. It is signed anew, with other numbers, only when the chain shows that the
//! old one is in no block and can be in none: this node has executed every block since it was
//! signed, and its nonce is used by another, or its last height is passed. Where blocks were passed
//! over by a snapshot that cannot be known: then the write ends, and its reason says so.

use super::{
    blocking::blocking,
    context::{Context, NotAccepted},
    explain,
    light::shortened,
    machine::now_ms,
    mempool::Rejected,
    transactor,
};
use crate::store::{Enqueued, Keyed, QueueError, Queued, Stage, StoreError, Write};
use std::{sync::Arc, time::Duration};
use tequio_core::{
    ledger::{Action, SignedTransaction, Transaction},
    types::Height,
};
use tokio::sync::watch;

/// Blocks within which an own write must be in one, before it is signed again.
const LIFE: Height = 512;
/// Own writes that are under way at once; the pool has room for twice as many of one sender.
const UNDER_WAY_MAX: usize = 32;
/// How long a client waits for its write to be in a block before the answer is that the write is
/// queued.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);
/// Looks at the queue also when nothing happens: time alone ends and begins reduced mode.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Tells of every change in the queue.
#[derive(Debug)]
pub struct Queue {
    changes: watch::Sender<u64>,
}

impl Default for Queue {
    fn default() -> Self {
        Self { changes: watch::channel(0).0 }
    }
}

impl Queue {
    fn changed(&self) {
        self.changes.send_modify(|n| *n = n.wrapping_add(1));
    }
}

/// Keeps a write. It is on disk when this returns its number.
pub async fn submit(context: &Arc<Context>, write: Write) -> Result<u64, QueueError> {
    let number = blocking(context, move |context| context.store.enqueue(write, now_ms())).await?;
    context.queue.changed();
    Ok(number)
}

/// Keeps a write under a key that its client has chosen, unless it was kept before. It is on disk
/// when this returns.
pub async fn submit_keyed(
    context: &Arc<Context>,
    write: Write,
    keyed: Keyed,
) -> Result<Enqueued, QueueError> {
    let enqueued =
        blocking(context, move |context| context.store.enqueue_keyed(write, &keyed, now_ms()))
            .await?;
    context.queue.changed();
    Ok(enqueued)
}

/// What became of a write; or how far it is, once this node has been without a quorum for as long
/// as a block may take, and after `ANSWER_WITHIN` at the latest: clients give up on a node that
/// is silent for longer.
pub async fn outcome(context: &Arc<Context>, number: u64) -> Result<Stage, StoreError> {
    let patience = Duration::from_millis(context.params.block_interval_ms_max);
    let until = tokio::time::Instant::now() + ANSWER_WITHIN;
    let mut changes = context.queue.changes.subscribe();
    let mut reduced_since: Option<tokio::time::Instant> = None;
    loop {
        let found = blocking(context, move |context| context.store.queued(number)).await?;
        let stage = found.map(|q| q.stage).ok_or(StoreError::Damaged("the queue"))?;
        reduced_since =
            context.is_reduced().then(|| reduced_since.unwrap_or_else(tokio::time::Instant::now));
        let is_late = tokio::time::Instant::now() >= until;
        if stage.is_settled()
            || is_late
            || reduced_since.is_some_and(|since| since.elapsed() >= patience)
        {
            return Ok(stage);
        }
        let wake = until.min(tokio::time::Instant::now() + LOOK_AGAIN);
        let _ = tokio::time::timeout_at(wake, changes.changed()).await;
    }
}

/// Brings writes into the ledger, and says when there is no quorum, until the node stops.
pub async fn run(context: Arc<Context>) {
    let mut tips = context.watch_tip();
    let mut changes = context.queue.changes.subscribe();
    let mut was_reduced = false;
    loop {
        let is_reduced = context.is_reduced();
        if is_reduced != was_reduced {
            was_reduced = is_reduced;
            let height = context.tip().height();
            match is_reduced {
                true => tracing::warn!(
                    height,
                    "reduced mode: no final block for long; local writes are queued"
                ),
                false => {
                    tracing::info!(height, "blocks become final again: queued writes are sent")
                }
            }
        }
        context.metrics.reduced.set(i64::from(is_reduced));
        match round(&context, is_reduced).await {
            Ok(open) => {
                context.metrics.queued.set(open as i64);
            }
            Err(StoreError::Stopping) => return,
            Err(error) => return tracing::error!(%error, "the queue of writes cannot be read"),
        }
        tokio::select! {
            changed = tips.changed() => if changed.is_err() { return },
            _ = changes.changed() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}

/// Looks at every open write once. Returns how many there are.
async fn round(context: &Arc<Context>, is_reduced: bool) -> Result<usize, StoreError> {
    let queue = blocking(context, |context| context.store.queue()).await?;
    let open: Vec<_> = queue.into_iter().filter(|(_, queued)| !queued.stage.is_settled()).collect();
    if open.is_empty() {
        return Ok(0);
    }
    let is_own = |q: &Queued| matches!(q.write, Some(Write::Own(_)));
    let is_sent = |q: &Queued| matches!(q.stage, Stage::Sent { .. });
    let mut under_way = open.iter().filter(|(_, q)| is_own(q) && is_sent(q)).count();
    let is_new_here = open.iter().any(|(_, q)| is_own(q) && !is_sent(q));
    if is_new_here
        && !is_reduced
        && let Err(error) = transactor::register(context).await
    {
        tracing::warn!(%error, "this node has no account yet");
        return Ok(open.len());
    }
    let count = open.len();
    for (number, queued) in open {
        if !is_sent(&queued) && (is_reduced || is_own(&queued) && under_way >= UNDER_WAY_MAX) {
            continue;
        }
        under_way += usize::from(is_own(&queued) && !is_sent(&queued));
        blocking(context, move |context| step(context, number, queued)).await?;
    }
    Ok(count)
}

/// Takes one write as far as it goes now.
fn step(context: &Context, number: u64, mut queued: Queued) -> Result<(), StoreError> {
    let Some(write) = queued.write.clone() else { return Ok(()) };
    if queued.stage == Stage::Waiting {
        // Held until the transaction is in the pool: its nonce is taken then.
        let _one_at_a_time =
            context.signing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let tip = context.tip();
        let transaction = match &write {
            Write::Own(action) => sign(context, action.clone()),
            Write::Signed(transaction) => transaction.clone(),
        };
        queued.stage = Stage::Sent { transaction: transaction.clone(), since: tip.height() };
        context.store.queue_set(number, &queued)?;
        send(context, transaction);
        context.queue.changed();
        return Ok(());
    }
    let Stage::Sent { transaction, since } = &queued.stage else { return Ok(()) };
    // The tip before the receipts: what the tip's state shows as used is in the store by then.
    let tip = context.tip();
    let id = transaction.id();
    let next = match context.store.receipt(&id)? {
        Some((height, receipt)) => match receipt.result {
            Ok(()) => Stage::Applied { transaction: id, height },
            Err(error) => refused(&explain::refusal(Some(&write), &error)),
        },
        None => {
            let sent = &transaction.transaction;
            let nonce =
                tip.state.account(&sent.sender).filter(|a| a.registered).map_or(0, |a| a.nonce);
            let is_over = nonce > sent.nonce || tip.height() > sent.expires;
            if !is_over {
                // Lost with the memory of a process, if it is not waiting.
                if !context.mempool.contains(&id) {
                    send(context, transaction.clone());
                }
                return Ok(());
            }
            let is_seen = context.store.lowest_block()? <= since + 1;
            match (&write, context.job(&id)) {
                (Write::Own(Action::SubmitJob(_)), Some(job)) => {
                    Stage::Applied { transaction: id, height: job.submitted }
                }
                (Write::Own(_), _) if is_seen => Stage::Waiting,
                (Write::Signed(_), _) if is_seen && nonce > sent.nonce => {
                    refused(&format!("another transaction has used nonce {}", sent.nonce))
                }
                (Write::Signed(_), _) if is_seen => {
                    refused(&format!("in no block up to height {}", sent.expires))
                }
                _ => refused(
                    "blocks were passed over while this node was away: look whether it took effect",
                ),
            }
        }
    };
    if next.is_settled() {
        queued.write = None;
    }
    tracing::info!(number, stage = ?next, "queued write");
    queued.stage = next;
    context.store.queue_set(number, &queued)?;
    context.queue.changed();
    Ok(())
}

fn refused(reason: &str) -> Stage {
    Stage::Refused { reason: shortened(reason) }
}

fn sign(context: &Context, action: Action) -> SignedTransaction {
    let tip = context.tip();
    let nonce = context.mempool.next_nonce(&context.id, &tip.state);
    let expires = tip.height() + LIFE;
    let transaction =
        Transaction { chain: context.chain, sender: context.id, nonce, expires, action };
    transaction.sign(context.node_key())
}

/// Into the pool. If there is no room, the next round tries again; if it does not fit the state,
/// the next round sees why.
fn send(context: &Context, transaction: SignedTransaction) {
    match context.accept_own(transaction) {
        Ok(_) | Err(NotAccepted::Rejected(Rejected::Full | Rejected::SenderFull)) => {}
        Err(error) => tracing::debug!(%error, "a queued write does not fit now"),
    }
}
