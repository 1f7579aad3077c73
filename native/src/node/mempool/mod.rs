//! The transactions that wait for a block, and how they spread. `dissemination` decides what is
//! pushed, announced and requested; this module connects it to the network, and `ingest` verifies
//! what peers send.

mod dissemination;
mod ingest;
mod pool;

pub use dissemination::{ANNOUNCE_FANOUT, PUSH_LEADERS, PUSH_PEERS, SMALL_COMMITTEE_MAX, Source};
#[cfg(test)]
pub use ingest::receive;
pub use ingest::{listen, verify_for_proposal};
pub use pool::{BYTES_MAX, ITEMS_MAX, PER_SENDER_MAX, Rejected};

use super::{context::NodeContext, machine::now_ms};
use dissemination::Dissemination;
use pool::Pool;
use std::{
    collections::BTreeSet,
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tequio_core::{
    codec::{self, BoundedVec},
    ledger::{SignedTransaction, State, TransactionId, VerifiedSignature},
    types::{Height, NodeId, Verified},
    wire::{
        compression,
        mempool::{
            GET_TRANSACTIONS_LEN_MAX, GetTransactions, MESSAGE_LEN_MAX, Message, TRANSACTIONS_MAX,
            Transactions,
        },
    },
};
use tequio_p2p::{NotificationProtocol, Protocol, Reply};
use tokio::{sync::Notify, time::Instant};

/// How long new transactions are gathered before they are pushed: a quarter of the block latency,
/// within these bounds. One message for all of them costs less than one for each.
const BATCHING_DELAY_MS: RangeInclusive<u64> = 10..=100;
const BATCHES_PER_BLOCK: u64 = 4;
/// Interval at which due announcements are sent.
const ANNOUNCE_INTERVAL: Duration = Duration::from_millis(500);
/// Timeout of a request for transactions; then the next peer is asked.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes of a message besides its transactions: variant, count, flag.
const MESSAGE_OVERHEAD: usize = 16;

/// The waiting transactions.
#[derive(Debug, Default)]
pub struct Mempool {
    pool: Mutex<Pool>,
    dissemination: Mutex<Dissemination>,
    ingest_queue: ingest::IngestQueue,
    /// Notifies consensus of new transactions.
    inserted: Notify,
    /// Notifies the dissemination task of transactions to push.
    push_due: Notify,
}

impl Mempool {
    fn pool(&self) -> MutexGuard<'_, Pool> {
        // Every change below leaves the pool consistent at every point where it could panic.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dissemination(&self) -> MutexGuard<'_, Dissemination> {
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

/// Requests transactions from a peer, and those that it does not send from others.
fn fetch_transactions(context: &Arc<NodeContext>, peer: NodeId, ids: Vec<TransactionId>) {
    if ids.is_empty() {
        return;
    }
    let context = context.clone();
    tokio::spawn(async move {
        let mut requests = vec![(peer, ids)];
        while let Some((peer, ids)) = requests.pop() {
            let request = GetTransactions { ids: BoundedVec::truncated(ids.iter().copied()) };
            let answer = context
                .network
                .request(peer, Protocol::GetTransactions, codec::encode(&request), FETCH_TIMEOUT)
                .await;
            let given = answer
                .ok()
                .and_then(|body| compression::decode::<Transactions>(&body, MESSAGE_LEN_MAX).ok());
            if let Some(given) = given {
                let asked: BTreeSet<_> = ids.iter().collect();
                let given =
                    given.into_vec().into_iter().filter(|t| asked.contains(&t.id())).collect();
                let (context, batch) =
                    (context.clone(), vec![(Source::Peer { peer, forward: false }, given)]);
                let _ = tokio::task::spawn_blocking(move || context.accept_from_peers(batch)).await;
            }
            requests.extend(context.mempool.dissemination().on_response(peer, &ids));
        }
    });
}

/// Responds with the requested transactions that wait here, as many as fit.
pub async fn serve(context: Arc<NodeContext>, from: NodeId, body: Vec<u8>, reply: Reply) {
    let request = match codec::decode::<GetTransactions>(&body, GET_TRANSACTIONS_LEN_MAX) {
        Ok(request) => request,
        Err(error) => {
            return tracing::debug!(peer = %from.short(), %error, "malformed question for transactions");
        }
    };
    let found = context.mempool.pool().get(request.ids.iter());
    // Only the first batch fits into the response.
    let first = batches(found.iter()).into_iter().next().unwrap_or_default();
    reply.send(compression::encode(&first));
}

/// Pushes and announces until the node stops.
pub async fn disseminate(context: Arc<NodeContext>) {
    let mut ticks = tokio::time::interval(ANNOUNCE_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut tips = context.watch_tip();
    // Set while new transactions are gathered.
    let mut push_at: Option<Instant> = None;
    loop {
        tokio::select! {
            () = context.mempool.push_due.notified(), if push_at.is_none() => {
                push_at = Some(Instant::now() + batching_delay(context.block_latency_ms()));
            }
            () = tokio::time::sleep_until(push_at.unwrap_or_else(Instant::now)), if push_at.is_some() => {
                push_at = None;
                push_new(&context);
            }
            changed = tips.changed() => {
                if changed.is_err() {
                    return;
                }
                let tip = tips.borrow_and_update().height();
                push_again(&context, tip);
            }
            _ = ticks.tick() => announce(&context),
        }
    }
}

fn batching_delay(block_took_ms: u64) -> Duration {
    Duration::from_millis(
        (block_took_ms / BATCHES_PER_BLOCK)
            .clamp(*BATCHING_DELAY_MS.start(), *BATCHING_DELAY_MS.end()),
    )
}

/// Pushes new transactions to the next leaders, or to other full nodes instead.
fn push_new(context: &NodeContext) {
    let fresh = context.mempool.dissemination().take_fresh();
    if fresh.is_empty() {
        return;
    }
    let (full_nodes, leaders) = (context.full_nodes(), context.upcoming_proposers(PUSH_LEADERS));
    let reaches =
        leaders.iter().any(|(_, leader)| *leader == context.id || full_nodes.contains(leader));
    let until = leaders.last().map_or(0, |(height, _)| *height);
    let first: Vec<NodeId> = match is_small_committee(context) {
        true => context.committee().seats.iter().map(|seat| seat.node).collect(),
        false => leaders.into_iter().map(|(_, leader)| leader).collect(),
    };
    let chosen =
        dissemination::push_targets(&full_nodes, first.into_iter(), dissemination::random_order());
    context.mempool.dissemination().mark_pushed(&fresh, &chosen, until);
    push(context, &chosen, &fresh, !reaches);
}

/// Pushes to the next leaders the transactions that earlier leaders have not included.
fn push_again(context: &NodeContext, tip: Height) {
    let proposed = context.proposed_height(tip);
    let leaders = context.upcoming_proposers(PUSH_LEADERS);
    let until = leaders.last().map_or(0, |(height, _)| *height);
    let leaders = connected_among(context, leaders);
    let pushes = {
        let pool = context.mempool.pool();
        context
            .mempool
            .dissemination()
            .repeat_pushes(proposed, &leaders, until, |id| pool.contains(id))
    };
    pushes
        .into_iter()
        .for_each(|(leader, ids)| push(context, &BTreeSet::from([leader]), &ids, false));
}

/// Whether transactions are pushed to all members, who then have a proposal's transactions before
/// it arrives.
fn is_small_committee(context: &NodeContext) -> bool {
    context.committee_len() <= SMALL_COMMITTEE_MAX
}

fn connected_among(context: &NodeContext, leaders: Vec<(Height, NodeId)>) -> BTreeSet<NodeId> {
    let full_nodes = context.full_nodes();
    leaders
        .into_iter()
        .map(|(_, leader)| leader)
        .filter(|leader| full_nodes.contains(leader))
        .collect()
}

fn push(context: &NodeContext, peers: &BTreeSet<NodeId>, ids: &[TransactionId], forward: bool) {
    let transactions = context.mempool.pool().get(ids.iter());
    for transactions in batches(transactions.iter()) {
        let message = Message::New { transactions, forward };
        context.network.notify(
            NotificationProtocol::Mempool,
            peers.iter().copied(),
            &compression::encode(&message).into(),
        );
    }
}

/// Announces transactions that have waited for long.
fn announce(context: &NodeContext) {
    let tip = context.tip().height();
    let announcements = {
        let pool = context.mempool.pool();
        context.mempool.dissemination().due_announcements(tip, now_ms(), |id| pool.contains(id))
    };
    let full_nodes = context.full_nodes();
    let send_ids = |peer: NodeId, ids: Vec<TransactionId>| {
        if !ids.is_empty() {
            let message = Message::Announce(BoundedVec::truncated(ids));
            context.network.notify(
                NotificationProtocol::Mempool,
                [peer],
                &compression::encode(&message).into(),
            );
        }
    };
    if !announcements.local.is_empty() {
        full_nodes.iter().for_each(|peer| send_ids(*peer, announcements.local.clone()));
    }
    if !announcements.remote.is_empty() {
        let mut chosen = connected_among(context, context.upcoming_proposers(PUSH_LEADERS));
        chosen.extend(dissemination::sample(
            &full_nodes,
            ANNOUNCE_FANOUT,
            dissemination::random_order(),
        ));
        for peer in chosen {
            send_ids(
                peer,
                announcements
                    .remote
                    .iter()
                    .filter(|(_, from)| *from != peer)
                    .map(|(id, _)| *id)
                    .collect(),
            );
        }
    }
}

/// Splits transactions into batches below the size cap of a message.
fn batches<'t>(transactions: impl Iterator<Item = &'t SignedTransaction>) -> Vec<Transactions> {
    let (mut batches, mut batch, mut len) = (Vec::new(), Vec::new(), 0);
    for transaction in transactions {
        let item = borsh::object_length(transaction).unwrap_or(MESSAGE_LEN_MAX);
        if len + item > MESSAGE_LEN_MAX - MESSAGE_OVERHEAD || batch.len() >= TRANSACTIONS_MAX {
            batches.push(BoundedVec::truncated(batch.drain(..)));
            len = 0;
        }
        len += item;
        batch.push(transaction.clone());
    }
    if !batch.is_empty() {
        batches.push(BoundedVec::truncated(batch));
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_batching_delay_is_a_quarter_of_the_block_latency_within_bounds() {
        assert_eq!(
            [0, 39, 44, 240, 399, 401, u64::MAX].map(|ms| batching_delay(ms).as_millis()),
            [10, 10, 11, 60, 99, 100, 100]
        );
    }
}
