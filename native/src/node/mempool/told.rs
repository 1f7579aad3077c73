//! What full nodes tell is checked in rounds, and before a block is built: the signatures of many cost half of what they cost one by one.
//!
//! Of what several coming leaders have been told the first has put most into its block by the time of a round. What stands in a proposal is
//! checked there, in one batch, and is looked at here no more. A round begins at once where nothing has been told lately.

use super::{ALL, Source, ask};
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

/// Between the beginnings of two rounds.
const ROUND: Duration = Duration::from_millis(100);

/// What has been told and is not checked yet.
#[derive(Debug, Default)]
pub(super) struct Told {
    waiting: Mutex<Waiting>,
    /// Held while a round is checked.
    turn: Mutex<()>,
}

#[derive(Debug, Default)]
struct Waiting {
    news: Vec<(Source, Vec<SignedTransaction>)>,
    /// The memory that they hold.
    shares: Vec<Share>,
    /// Transactions, and messages of any kind, so that offers without an end keep nothing waiting that came before.
    count: usize,
}

impl Told {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.waiting)
    }
}

/// Takes in what full nodes tell, until the network ends.
pub async fn listen(context: Arc<Context>, mut tells: Tells) {
    let mut next_round = Instant::now();
    while let Some(first) = tells.next().await {
        hear(&context, first);
        // Where all are told, the transactions of a proposal are to be known before it comes.
        let until = if context.full_nodes().len() <= ALL { Instant::now() } else { next_round };
        while context.mempool.told.waiting().count < TRANSACTIONS_MAX {
            let next = match tells.try_next() {
                None => tokio::time::timeout_at(until, tells.next()).await.ok().flatten(),
                next => next,
            };
            let Some(message) = next else { break };
            hear(&context, message);
        }
        next_round = Instant::now() + ROUND;
        let context = context.clone();
        // Signatures are slow enough to keep off the threads of the network.
        let _ = tokio::task::spawn_blocking(move || check(&context)).await;
    }
}

fn hear(context: &Arc<Context>, message: tequio_p2p::Told) {
    let from = message.peer;
    let heard = packed::decode::<Message>(&message.body, MESSAGE_LEN_MAX);
    {
        let mut waiting = context.mempool.told.waiting();
        waiting.count += 1;
        if let Ok(Message::New { transactions, pass_on }) = heard {
            waiting.count += transactions.len();
            waiting.news.push((Source::Told { peer: from, pass_on }, transactions.into_vec()));
            waiting.shares.push(message.share);
            return;
        }
    }
    match heard {
        Ok(Message::New { .. }) => {}
        Ok(Message::Offer(names)) => {
            let is_member = context.committee_has(&from);
            let names = context.mempool.talk().offered(from, is_member, &names);
            ask(context, from, names);
        }
        Err(error) => tracing::debug!(peer = %from.short(), %error, "malformed talk of the mempool"),
    }
}

/// Checks what has been told so far, all of it together. When this returns, what is right of it waits for a block.
pub fn check(context: &Context) {
    let told = &context.mempool.told;
    // Who builds a block while a round is checked waits for what is in it.
    let _turn = lock(&told.turn);
    let Waiting { news, shares, .. } = std::mem::take(&mut *told.waiting());
    if !news.is_empty() {
        context.accept_told(news);
    }
    drop(shares);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is one call: nothing is left half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
