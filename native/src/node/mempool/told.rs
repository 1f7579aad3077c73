//! What full nodes tell is checked in rounds: the signatures of many cost half of what they cost one by one.
//!
//! Of what several coming leaders have been told the first has put most into its block by the time of a round. What stands in a proposal is
//! checked there, in one batch, and is looked at here no more. A round begins at once where nothing has been told lately. Who builds a
//! block does not wait for it, and checks what members have told: what strangers tell may be false, and cost a leader its time. So
//! what strangers tell has rounds more often, and is in time for a block as well.

use super::{Source, ask, is_small};
use crate::node::context::Context;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tequio_core::{
    ledger::SignedTransaction,
    wire::{
        mempool::{MESSAGE_LEN_MAX, Message, TRANSACTIONS_MAX},
        packed,
    },
};
use tequio_p2p::{Share, Tells};
use tokio::time::Instant;

/// Between the beginnings of two rounds, of what strangers have told, and of all.
const ROUND: Duration = Duration::from_millis(100);
/// As long as some blocks of a large committee take: few of what the next leaders have been told wait that long.
const ROUND_OF_ALL: Duration = Duration::from_millis(500);

/// Most transactions that are checked before a block is built; the rest waits for its round.
const FOR_BLOCK_MAX: usize = 512;

/// What has been told and is not checked yet.
#[derive(Debug, Default)]
pub(super) struct Told {
    waiting: Mutex<Waiting>,
    /// Held while something is checked.
    turn: Mutex<()>,
}

#[derive(Debug, Default)]
struct Waiting {
    news: Vec<News>,
    /// Transactions, and messages of any kind, so that offers without an end keep nothing waiting that came before.
    count: usize,
}

#[derive(Debug)]
struct News {
    source: Source,
    /// Whether a member of the committee has told it.
    is_of_member: bool,
    transactions: Vec<SignedTransaction>,
    /// The memory that it holds.
    share: Option<Share>,
}

impl Told {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// What a round is about: all, or what strangers have told.
    fn take_for_round(&mut self, is_of_all: bool) -> Vec<News> {
        // Messages without transactions are done with.
        let taken: Vec<_> = self.news.extract_if(.., |news| is_of_all || !news.is_of_member).collect();
        self.count = self.news.iter().map(|news| 1 + news.transactions.len()).sum();
        taken
    }

    /// What members have told, as far as there is time for it before a block.
    fn take_for_block(&mut self) -> Vec<News> {
        let mut left = FOR_BLOCK_MAX;
        let is_taken = |news: &mut News| {
            let fits = news.is_of_member && news.transactions.len() <= left;
            left -= if fits { news.transactions.len() } else { 0 };
            fits
        };
        let taken: Vec<_> = self.news.extract_if(.., is_taken).collect();
        self.count -= taken.iter().map(|news| 1 + news.transactions.len()).sum::<usize>();
        taken
    }
}

/// When the next rounds may begin.
#[derive(Debug)]
struct Rounds {
    of_strangers: Instant,
    of_all: Instant,
}

impl Rounds {
    /// When the next one is due, if anything waits.
    fn due(&self, waiting: &Waiting, is_small: bool) -> Option<Instant> {
        let is_urgent = waiting.news.iter().any(|news| !news.is_of_member);
        let next = match (is_small, is_urgent) {
            (true, _) => Instant::now(),
            (false, true) => self.of_strangers.min(self.of_all),
            (false, false) => self.of_all,
        };
        Some(next).filter(|_| waiting.count > 0)
    }

    /// A round begins; whether it is one of all that waits.
    fn begin(&mut self, must_be_of_all: bool) -> bool {
        let now = Instant::now();
        let is_of_all = must_be_of_all || now >= self.of_all;
        self.of_strangers = now + ROUND;
        if is_of_all {
            self.of_all = now + ROUND_OF_ALL;
        }
        is_of_all
    }
}

/// Takes in what full nodes tell, until the network ends.
pub async fn listen(context: Arc<Context>, mut tells: Tells) {
    let mut rounds = Rounds { of_strangers: Instant::now(), of_all: Instant::now() };
    loop {
        let is_small = is_small(&context);
        let due = rounds.due(&context.mempool.told.waiting(), is_small);
        let heard = match due {
            None => Some(tells.next().await),
            Some(at) => tokio::time::timeout_at(at, tells.next()).await.ok(),
        };
        let mut is_full = false;
        if let Some(message) = heard {
            let Some(message) = message else { return };
            hear(&context, message);
            is_full = context.mempool.told.waiting().count >= TRANSACTIONS_MAX;
            if !is_full {
                continue;
            }
        }
        let is_of_all = rounds.begin(is_small || is_full);
        let context = context.clone();
        // Signatures are slow enough to keep off the threads of the network.
        let _ = tokio::task::spawn_blocking(move || check_round(&context, is_of_all)).await;
    }
}

fn hear(context: &Arc<Context>, message: tequio_p2p::Told) {
    let from = message.peer;
    let is_of_member = context.committee_has(&from);
    let heard = packed::decode::<Message>(&message.body, MESSAGE_LEN_MAX);
    context.mempool.told.waiting().count += 1;
    match heard {
        Ok(Message::New { transactions, pass_on }) => {
            let (source, share) = (Source::Told { peer: from, pass_on }, Some(message.share));
            let mut waiting = context.mempool.told.waiting();
            waiting.count += transactions.len();
            waiting.news.push(News { source, is_of_member, transactions: transactions.into_vec(), share });
        }
        Ok(Message::Offer(names)) => {
            let names = context.mempool.talk().offered(from, is_of_member, &names);
            ask(context, from, names);
        }
        Err(error) => tracing::debug!(peer = %from.short(), %error, "malformed talk of the mempool"),
    }
}

fn check_round(context: &Context, is_of_all: bool) {
    let told = &context.mempool.told;
    let _turn = told.turn.lock().unwrap_or_else(PoisonError::into_inner);
    let round = told.waiting().take_for_round(is_of_all);
    take_in(context, round);
}

/// Checks what members have told so far. When this returns, what is right of it waits for a block, unless a round is in hand.
pub fn check_for_block(context: &Context) {
    let told = &context.mempool.told;
    if let Ok(_turn) = told.turn.try_lock() {
        let news = told.waiting().take_for_block();
        take_in(context, news);
    }
}

fn take_in(context: &Context, news: Vec<News>) {
    let (mut told, mut shares) = (Vec::new(), Vec::new());
    for News { source, transactions, share, .. } in news {
        told.push((source, transactions));
        shares.push(share);
    }
    if !told.is_empty() {
        context.accept_told(told);
    }
    drop(shares);
}

#[cfg(test)]
mod tests {
    use super::*;
    use tequio_core::{
        crypto::NodeKey,
        ledger::{Action, Transaction},
        types::ChainId,
    };

    fn news(peer: u8, is_of_member: bool, count: usize) -> News {
        let key = NodeKey::from_bytes(&[peer; 32]);
        let transaction =
            Transaction { chain: ChainId([1; 32]), sender: key.id(), nonce: 0, expires: 9, action: Action::Leave };
        let transactions = vec![transaction.sign(&key); count];
        News { source: Source::Told { peer: key.id(), pass_on: false }, is_of_member, transactions, share: None }
    }

    #[test]
    fn before_a_block_only_what_members_have_told_is_checked_and_no_more_than_there_is_time_for() {
        let all = [news(1, true, 200), news(2, false, 1), news(3, true, 400), news(4, true, 312), news(5, true, 1)];
        let count = all.iter().map(|news| 1 + news.transactions.len()).sum();
        let mut waiting = Waiting { news: all.into(), count };
        let lens = |news: &[News]| news.iter().map(|news| news.transactions.len()).collect::<Vec<_>>();
        assert_eq!(lens(&waiting.take_for_block()), [200, 312]);
        assert_eq!((lens(&waiting.news), waiting.count), (vec![1, 400, 1], 405));
        assert_eq!(lens(&waiting.take_for_block()), [400, 1]);
        assert!(waiting.take_for_block().is_empty());
        assert_eq!((lens(&waiting.news), waiting.count), (vec![1], 2));
    }
}
