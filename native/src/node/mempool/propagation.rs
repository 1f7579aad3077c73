//! How transactions spread over the network: the node pushes new ones, announces those that wait
//! for long, and answers requests. `dissemination` decides what is sent to which peers.

use crate::node::{
    chain_view::ChainView,
    machine::now_ms,
    mempool::{
        Mempool,
        dissemination::{self, ANNOUNCE_FANOUT, PUSH_LEADERS, is_small_committee},
    },
    peers::agent::full_nodes,
};
use std::{collections::BTreeSet, ops::RangeInclusive, sync::Arc, time::Duration};
use tequio_core::{
    codec::{self, BoundedVec},
    ledger::{SignedTransaction, TransactionId},
    types::{Height, NodeId},
    wire::{
        compression,
        mempool::{
            GET_TRANSACTIONS_LEN_MAX, GetTransactions, MESSAGE_LEN_MAX, Message, TRANSACTIONS_MAX,
            Transactions,
        },
    },
};
use tequio_p2p::{Network, NotificationProtocol, Reply};
use tokio::time::Instant;

/// How long new transactions are gathered before they are pushed: a quarter of the block latency,
/// within these bounds. One message for all of them costs less than one for each.
const BATCHING_DELAY_MS: RangeInclusive<u64> = 10..=100;
const BATCHES_PER_BLOCK: u64 = 4;
/// Interval at which due announcements are sent.
const ANNOUNCE_INTERVAL: Duration = Duration::from_millis(500);
/// Bytes of a message besides its transactions: variant, count, flag.
const MESSAGE_OVERHEAD: usize = 16;

/// Spreads the waiting transactions.
#[derive(Debug)]
pub struct Propagation {
    chain: ChainView,
    network: Network,
    mempool: Arc<Mempool>,
}

impl Propagation {
    /// Spreads the transactions of this mempool.
    pub fn new(chain: ChainView, network: Network, mempool: Arc<Mempool>) -> Self {
        Self { chain, network, mempool }
    }

    /// Pushes and announces until the node stops.
    pub async fn run(self) {
        let mut ticks = tokio::time::interval(ANNOUNCE_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut tips = self.chain.watch_tip();
        // Set while new transactions are gathered.
        let mut push_at: Option<Instant> = None;
        loop {
            tokio::select! {
                () = self.mempool.wait_for_push(), if push_at.is_none() => {
                    push_at = Some(Instant::now() + batching_delay(self.chain.block_latency_ms()));
                }
                () = tokio::time::sleep_until(push_at.unwrap_or_else(Instant::now)),
                    if push_at.is_some() => {
                    push_at = None;
                    self.push_new();
                }
                changed = tips.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let tip = tips.borrow_and_update().height();
                    self.push_again(tip);
                }
                _ = ticks.tick() => self.announce(),
            }
        }
    }

    /// Pushes new transactions to the next leaders, or to other full nodes instead.
    fn push_new(&self) {
        let fresh = self.mempool.dissemination().take_fresh();
        if fresh.is_empty() {
            return;
        }
        let (full_nodes, leaders) =
            (full_nodes(&self.network), self.chain.upcoming_proposers(PUSH_LEADERS));
        let reaches = leaders
            .iter()
            .any(|(_, leader)| *leader == self.chain.node || full_nodes.contains(leader));
        let until = leaders.last().map_or(0, |(height, _)| *height);
        let first: Vec<NodeId> = match is_small_committee(self.chain.committee_len()) {
            true => self.chain.committee().seats.iter().map(|seat| seat.node).collect(),
            false => leaders.into_iter().map(|(_, leader)| leader).collect(),
        };
        let chosen = dissemination::push_targets(
            &full_nodes,
            first.into_iter(),
            dissemination::random_order(),
        );
        self.mempool.dissemination().mark_pushed(&fresh, &chosen, until);
        self.push(&chosen, &fresh, !reaches);
    }

    /// Pushes to the next leaders the transactions that earlier leaders have not included.
    fn push_again(&self, tip: Height) {
        let proposed = self.chain.proposed_height(tip);
        let leaders = self.chain.upcoming_proposers(PUSH_LEADERS);
        let until = leaders.last().map_or(0, |(height, _)| *height);
        let leaders = self.connected_among(leaders);
        let pushes = {
            let pool = self.mempool.pool();
            self.mempool
                .dissemination()
                .repeat_pushes(proposed, &leaders, until, |id| pool.contains(id))
        };
        pushes
            .into_iter()
            .for_each(|(leader, ids)| self.push(&BTreeSet::from([leader]), &ids, false));
    }

    fn connected_among(&self, leaders: Vec<(Height, NodeId)>) -> BTreeSet<NodeId> {
        let full_nodes = full_nodes(&self.network);
        leaders
            .into_iter()
            .map(|(_, leader)| leader)
            .filter(|leader| full_nodes.contains(leader))
            .collect()
    }

    fn push(&self, peers: &BTreeSet<NodeId>, ids: &[TransactionId], forward: bool) {
        let transactions = self.mempool.pool().get(ids.iter());
        for transactions in batches(transactions.iter()) {
            let message = Message::New { transactions, forward };
            self.network.notify(
                NotificationProtocol::Mempool,
                peers.iter().copied(),
                &compression::encode(&message).into(),
            );
        }
    }

    /// Announces transactions that have waited for long.
    fn announce(&self) {
        let tip = self.chain.tip().height();
        let announcements = {
            let pool = self.mempool.pool();
            self.mempool.dissemination().due_announcements(tip, now_ms(), |id| pool.contains(id))
        };
        let full_nodes = full_nodes(&self.network);
        let send_ids = |peer: NodeId, ids: Vec<TransactionId>| {
            if !ids.is_empty() {
                let message = Message::Announce(BoundedVec::truncated(ids));
                self.network.notify(
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
            let mut chosen = self.connected_among(self.chain.upcoming_proposers(PUSH_LEADERS));
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
}

/// Responds with the requested transactions that wait here, as many as fit.
pub async fn serve(mempool: Arc<Mempool>, from: NodeId, body: Vec<u8>, reply: Reply) {
    let request = match codec::decode::<GetTransactions>(&body, GET_TRANSACTIONS_LEN_MAX) {
        Ok(request) => request,
        Err(error) => {
            return tracing::debug!(
                peer = %from.short(), %error,
                "malformed request for transactions"
            );
        }
    };
    let found = mempool.pool().get(request.ids.iter());
    // Only the first batch fits into the response.
    let first = batches(found.iter()).into_iter().next().unwrap_or_default();
    reply.send(compression::encode(&first));
}

fn batching_delay(block_took_ms: u64) -> Duration {
    Duration::from_millis(
        (block_took_ms / BATCHES_PER_BLOCK)
            .clamp(*BATCHING_DELAY_MS.start(), *BATCHING_DELAY_MS.end()),
    )
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
