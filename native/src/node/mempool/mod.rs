//! The transactions that wait for a block, and the talk about them: `talk` says what is told to
//! whom, offered and asked for; here it meets the network, and in `told` what comes from there is
//! checked.

mod pool;
mod talk;
mod told;

pub use pool::{BYTES_MAX, ITEMS_MAX, PER_SENDER_MAX, Rejected};
pub use talk::{EAGER, FANOUT, LEADERS, SMALL, Source};
#[cfg(test)]
pub use told::hear;
pub use told::{check_for_block, listen};

use super::{context::Context, machine::now_ms};
use pool::Pool;
use std::{
    collections::BTreeSet,
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use talk::Talk;
use tequio_core::{
    codec::{self, BoundedVec},
    ledger::{Checked, SignedTransaction, State, TransactionId},
    types::{Height, NodeId, Verified},
    wire::{
        mempool::{MESSAGE_LEN_MAX, Message, TRANSACTIONS_MAX, Transactions, WANT_LEN_MAX, Want},
        packed,
    },
};
use tequio_p2p::{Channel, Protocol, Reply};
use tokio::{sync::Notify, time::Instant};

/// How long new transactions are gathered before they are told: a quarter of what blocks take,
/// within these bounds. One message for all that come in that time costs less than one for each.
const GATHER_MS: RangeInclusive<u64> = 10..=100;
const GATHER_PER_BLOCK: u64 = 4;
/// How often it is looked for what is to be offered.
const LOOK: Duration = Duration::from_millis(500);
/// For the answer to a question; then the next one is asked.
const WANT_TIMEOUT: Duration = Duration::from_secs(3);
/// What a message has around its transactions: variant, count, flag.
const AROUND: usize = 16;

/// The waiting transactions.
#[derive(Debug, Default)]
pub struct Mempool {
    pool: Mutex<Pool>,
    talk: Mutex<Talk>,
    told: told::Told,
    /// For consensus.
    arrived: Notify,
    /// For the talk.
    fresh: Notify,
}

impl Mempool {
    fn pool(&self) -> MutexGuard<'_, Pool> {
        // Every change below leaves the pool consistent at every point where it could panic.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn talk(&self) -> MutexGuard<'_, Talk> {
        self.talk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a transaction in. False if it waits already.
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
            self.talk().arrived(id, source, height, now_ms());
            self.arrived.notify_one();
            if !matches!(source, Source::Told { pass_on: false, .. }) {
                self.fresh.notify_one();
            }
        }
        Ok(new)
    }

    /// Whether this transaction waits already, so that its copies need not be checked again.
    pub fn contains(&self, id: &TransactionId) -> bool {
        self.pool().contains(id)
    }

    /// Which of these transactions wait here, signature and all, so that a block with them need not
    /// be checked for theirs.
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

    /// What to put into a block: senders in turn, those of most reputation first, each in the order
    /// of its nonces.
    pub fn select(
        &self,
        state: &State,
        height: Height,
        len_max: usize,
        count_max: usize,
    ) -> Vec<Verified<SignedTransaction>> {
        self.pool().select(state, height, len_max, count_max)
    }

    /// Whether anything waits that could be in the next block.
    pub fn is_wanted(&self, state: &State, height: Height) -> bool {
        self.pool().is_wanted(state, height)
    }

    /// These are in a final block.
    pub fn settled(&self, ids: impl IntoIterator<Item = TransactionId>) {
        let mut talk = self.talk();
        ids.into_iter().for_each(|id| talk.settled(id));
    }

    /// Drops what a new final state makes impossible.
    pub fn prune(&self, state: &State, height: Height) {
        self.pool().prune(state, height);
    }
}

/// Asks a peer for transactions, and others for those that it does not give.
fn ask(context: &Arc<Context>, peer: NodeId, names: Vec<TransactionId>) {
    if names.is_empty() {
        return;
    }
    let context = context.clone();
    tokio::spawn(async move {
        let mut questions = vec![(peer, names)];
        while let Some((peer, names)) = questions.pop() {
            let want = Want { names: BoundedVec::truncated(names.iter().copied()) };
            let answer = context
                .network
                .request(peer, Protocol::Want, codec::encode(&want), WANT_TIMEOUT)
                .await;
            let given = answer
                .ok()
                .and_then(|body| packed::decode::<Transactions>(&body, MESSAGE_LEN_MAX).ok());
            if let Some(given) = given {
                let asked: BTreeSet<_> = names.iter().collect();
                let given =
                    given.into_vec().into_iter().filter(|t| asked.contains(&t.id())).collect();
                let (context, news) =
                    (context.clone(), vec![(Source::Told { peer, pass_on: false }, given)]);
                let _ = tokio::task::spawn_blocking(move || context.accept_told(news)).await;
            }
            questions.extend(context.mempool.talk().answered(peer, &names));
        }
    });
}

/// Answers with those of the transactions that wait here, as many as fit.
pub async fn serve(context: Arc<Context>, from: NodeId, body: Vec<u8>, reply: Reply) {
    let want = match codec::decode::<Want>(&body, WANT_LEN_MAX) {
        Ok(want) => want,
        Err(error) => {
            return tracing::debug!(peer = %from.short(), %error, "malformed question for transactions");
        }
    };
    let found = context.mempool.pool().get(want.names.iter());
    // The first batch is what fits.
    let first = batches(found.iter()).into_iter().next().unwrap_or_default();
    reply.send(packed::encode(&first));
}

/// Tells and offers, until the node stops.
pub async fn gossip(context: Arc<Context>) {
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut tips = context.watch_tip();
    // Set while new transactions are gathered.
    let mut tell_at: Option<Instant> = None;
    loop {
        tokio::select! {
            () = context.mempool.fresh.notified(), if tell_at.is_none() => {
                tell_at = Some(Instant::now() + gather(context.block_took_ms()));
            }
            () = tokio::time::sleep_until(tell_at.unwrap_or_else(Instant::now)), if tell_at.is_some() => {
                tell_at = None;
                tell_new(&context);
            }
            changed = tips.changed() => {
                if changed.is_err() {
                    return;
                }
                let tip = tips.borrow_and_update().height();
                tell_again(&context, tip);
            }
            _ = look.tick() => offer(&context),
        }
    }
}

fn gather(block_took_ms: u64) -> Duration {
    Duration::from_millis(
        (block_took_ms / GATHER_PER_BLOCK).clamp(*GATHER_MS.start(), *GATHER_MS.end()),
    )
}

/// Tells new transactions to the next leaders, or to others in their place.
fn tell_new(context: &Context) {
    let fresh = context.mempool.talk().fresh();
    if fresh.is_empty() {
        return;
    }
    let (full_nodes, leaders) = (context.full_nodes(), context.next_builders(LEADERS));
    let reaches =
        leaders.iter().any(|(_, leader)| *leader == context.id || full_nodes.contains(leader));
    let until = leaders.last().map_or(0, |(height, _)| *height);
    let first: Vec<NodeId> = match is_small(context) {
        true => context.committee().seats.iter().map(|seat| seat.node).collect(),
        false => leaders.into_iter().map(|(_, leader)| leader).collect(),
    };
    let chosen = talk::eager(&full_nodes, first.into_iter(), talk::chance());
    context.mempool.talk().told(&fresh, &chosen, until);
    tell(context, &chosen, &fresh, !reaches);
}

/// Tells the leaders that come now of what those before have left.
fn tell_again(context: &Context, tip: Height) {
    let begun = context.begun(tip);
    let leaders = context.next_builders(LEADERS);
    let until = leaders.last().map_or(0, |(height, _)| *height);
    let leaders = connected_among(context, leaders);
    let again = {
        let pool = context.mempool.pool();
        context.mempool.talk().again(begun, &leaders, until, |id| pool.contains(id))
    };
    again
        .into_iter()
        .for_each(|(leader, ids)| tell(context, &BTreeSet::from([leader]), &ids, false));
}

/// Whether all members are told, so that they know the transactions of a proposal before it comes.
fn is_small(context: &Context) -> bool {
    context.committee_len() <= SMALL
}

fn connected_among(context: &Context, leaders: Vec<(Height, NodeId)>) -> BTreeSet<NodeId> {
    let full_nodes = context.full_nodes();
    leaders
        .into_iter()
        .map(|(_, leader)| leader)
        .filter(|leader| full_nodes.contains(leader))
        .collect()
}

fn tell(context: &Context, peers: &BTreeSet<NodeId>, ids: &[TransactionId], pass_on: bool) {
    let transactions = context.mempool.pool().get(ids.iter());
    for transactions in batches(transactions.iter()) {
        let message = Message::New { transactions, pass_on };
        context.network.tell(
            Channel::Mempool,
            peers.iter().copied(),
            &packed::encode(&message).into(),
        );
    }
}

/// Offers what has waited for long.
fn offer(context: &Context) {
    let tip = context.tip().height();
    let offers = {
        let pool = context.mempool.pool();
        context.mempool.talk().offers(tip, now_ms(), |id| pool.contains(id))
    };
    let full_nodes = context.full_nodes();
    let say = |peer: NodeId, names: Vec<TransactionId>| {
        if !names.is_empty() {
            let message = Message::Offer(BoundedVec::truncated(names));
            context.network.tell(Channel::Mempool, [peer], &packed::encode(&message).into());
        }
    };
    if !offers.ours.is_empty() {
        full_nodes.iter().for_each(|peer| say(*peer, offers.ours.clone()));
    }
    if !offers.others.is_empty() {
        let mut chosen = connected_among(context, context.next_builders(LEADERS));
        chosen.extend(talk::some(&full_nodes, FANOUT, talk::chance()));
        for peer in chosen {
            say(
                peer,
                offers.others.iter().filter(|(_, from)| *from != peer).map(|(id, _)| *id).collect(),
            );
        }
    }
}

/// Cuts transactions into batches below the cap of a message.
fn batches<'t>(transactions: impl Iterator<Item = &'t SignedTransaction>) -> Vec<Transactions> {
    let (mut batches, mut batch, mut len) = (Vec::new(), Vec::new(), 0);
    for transaction in transactions {
        let item = borsh::object_length(transaction).unwrap_or(MESSAGE_LEN_MAX);
        if len + item > MESSAGE_LEN_MAX - AROUND || batch.len() >= TRANSACTIONS_MAX {
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
    fn a_quarter_of_what_a_block_takes_is_gathered_within_bounds() {
        assert_eq!(
            [0, 39, 44, 240, 399, 401, u64::MAX].map(|ms| gather(ms).as_millis()),
            [10, 10, 11, 60, 99, 100, 100]
        );
    }
}
