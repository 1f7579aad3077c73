//! What full nodes tell is checked in rounds: the signatures of many cost half of what they cost
//! one by one.
//!
//! Of what several coming leaders have been told the first has put most into its block by the time
//! of a round. What stands in a proposal is checked there, in one batch, and is looked at here no
//! more. A round begins at once where nothing has been told lately. Who builds a block does not
//! wait for it, and checks what members have told: what strangers tell may be false, and cost a
//! leader its time.

use super::{Source, ask, is_small};
use crate::node::context::Context;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
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

/// Most transactions that are checked before a block is built; the rest waits for its round.
const FOR_BLOCK_MAX: usize = 512;

/// What has been told and is not checked yet.
#[derive(Debug, Default)]
pub(super) struct Told {
    waiting: Mutex<Waiting>,
    /// Held while what members have told is checked.
    turn: Mutex<()>,
}

#[derive(Debug, Default)]
struct Waiting {
    news: Vec<News>,
    /// Transactions, and messages of any kind, so that offers without an end keep nothing waiting
    /// that came before.
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

/// Takes in what full nodes tell, until the network ends.
pub async fn listen(context: Arc<Context>, tells: Tells) {
    listen_in_rounds(context, tells, ROUND).await;
}

async fn listen_in_rounds(context: Arc<Context>, mut tells: Tells, round: Duration) {
    let mut next_round = Instant::now();
    while let Some(first) = tells.next().await {
        hear(&context, first);
        let until = if is_small(&context) { Instant::now() } else { next_round };
        while context.mempool.told.waiting().count < TRANSACTIONS_MAX {
            let next = match tells.try_next() {
                None => tokio::time::timeout_at(until, tells.next()).await.ok().flatten(),
                next => next,
            };
            let Some(message) = next else { break };
            hear(&context, message);
        }
        next_round = Instant::now() + round;
        let context = context.clone();
        // Signatures are slow enough to keep off the threads of the network.
        let _ = tokio::task::spawn_blocking(move || check_round(&context)).await;
    }
}

/// Keeps a message for its round; what is offered is asked for at once.
pub fn hear(context: &Arc<Context>, message: tequio_p2p::Told) {
    let from = message.peer;
    let is_of_member = context.committee_has(&from);
    let heard = packed::decode::<Message>(&message.body, MESSAGE_LEN_MAX);
    context.mempool.told.waiting().count += 1;
    match heard {
        Ok(Message::New { transactions, pass_on }) => {
            let (source, share) = (Source::Told { peer: from, pass_on }, Some(message.share));
            let mut waiting = context.mempool.told.waiting();
            waiting.count += transactions.len();
            waiting.news.push(News {
                source,
                is_of_member,
                transactions: transactions.into_vec(),
                share,
            });
        }
        Ok(Message::Offer(names)) => {
            let names = context.mempool.talk().offered(from, is_of_member, &names);
            ask(context, from, names);
        }
        Err(error) => {
            tracing::debug!(peer = %from.short(), %error, "malformed talk of the mempool")
        }
    }
}

/// What members have told first, by itself: what strangers have told keeps neither them nor a
/// leader waiting.
fn check_round(context: &Context) {
    let told = &context.mempool.told;
    let of_strangers = {
        let _turn = told.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let round = std::mem::take(&mut *told.waiting());
        let (of_members, of_strangers) = round.news.into_iter().partition(|news| news.is_of_member);
        take_in(context, of_members);
        of_strangers
    };
    take_in(context, of_strangers);
}

/// Checks what members have told so far. When this returns, what is right of it waits for a block,
/// unless a round is in hand.
pub fn check_for_block(context: &Context) {
    let told = &context.mempool.told;
    let _turn = match told.turn.try_lock() {
        Ok(turn) => turn,
        Err(TryLockError::Poisoned(turn)) => turn.into_inner(),
        Err(TryLockError::WouldBlock) => return,
    };
    let news = told.waiting().take_for_block();
    take_in(context, news);
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
    use super::{super::SMALL, *};
    use crate::node::fixture::Fixture;
    use std::time::Instant as Realtime;
    use tequio_core::{
        crypto::NodeKey,
        ledger::{Action, Transaction},
        types::ChainId,
    };

    fn news(peer: u8, is_of_member: bool, count: usize) -> News {
        let key = NodeKey::from_bytes(&[peer; 32]);
        let transaction = Transaction {
            chain: ChainId([1; 32]),
            sender: key.id(),
            nonce: 0,
            expires: 9,
            action: Action::Leave,
        };
        let transactions = vec![transaction.sign(&key); count];
        News {
            source: Source::Told { peer: key.id(), pass_on: false },
            is_of_member,
            transactions,
            share: None,
        }
    }

    #[test]
    fn before_a_block_only_what_members_have_told_is_checked_and_no_more_than_there_is_time_for() {
        let all = [
            news(1, true, 200),
            news(2, false, 1),
            news(3, true, 400),
            news(4, true, 312),
            news(5, true, 1),
        ];
        let count = all.iter().map(|news| 1 + news.transactions.len()).sum();
        let mut waiting = Waiting { news: all.into(), count };
        let lens =
            |news: &[News]| news.iter().map(|news| news.transactions.len()).collect::<Vec<_>>();
        assert_eq!(lens(&waiting.take_for_block()), [200, 312]);
        assert_eq!((lens(&waiting.news), waiting.count), (vec![1, 400, 1], 405));
        assert_eq!(lens(&waiting.take_for_block()), [400, 1]);
        assert!(waiting.take_for_block().is_empty());
        assert_eq!((lens(&waiting.news), waiting.count), (vec![1], 2));
    }

    /// Generous: the machine may be busy.
    const WITHIN: Duration = Duration::from_secs(30);

    fn wait(what: &str, is_so: impl Fn() -> bool) {
        let began = Realtime::now();
        while !is_so() {
            assert!(began.elapsed() < WITHIN, "{what}");
            std::thread::yield_now();
        }
    }

    /// A node in a committee of so many seats is told of one transaction, and when it has been
    /// taken in of others, each when the one before has arrived; then the round is over. How
    /// many checks it took until then, and in all.
    fn checks(
        seats: usize,
        round: Duration,
        others: u8,
        arrived: impl Fn(&Context, u8) -> bool + Send + 'static,
    ) -> [u64; 2] {
        let mut fixture = Fixture::of(seats);
        let (context, tells) = (fixture.context.clone(), fixture.tells());
        let listening = fixture.runtime.spawn(listen_in_rounds(context.clone(), tells, round));
        let peer = fixture.peer(&fixture.members[1].node);
        fixture.told(&peer, &fixture.signed(0));
        wait("the first is not taken in at once", || context.mempool.len() == 1);
        for number in 1..=others {
            fixture.told(&peer, &fixture.signed(number));
            wait("it does not arrive", || arrived(&context, number));
            // Timers go off in their order: a round that was to end by now has begun to.
            fixture.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(2)).await });
        }
        let meanwhile = context.metrics.told_checks.get();
        listening.abort();
        check_round(&context);
        assert_eq!(
            (context.mempool.len(), context.metrics.told.get()),
            (others as usize + 1, others as u64 + 1)
        );
        [meanwhile, context.metrics.told_checks.get()]
    }

    /// So that no round ends by itself.
    const NEVER: Duration = Duration::from_secs(1_000_000);

    fn taken_in(context: &Context, number: u8) -> bool {
        context.mempool.len() == usize::from(number) + 1
    }

    #[test]
    fn what_is_told_within_a_round_is_checked_at_once() {
        let heard = |context: &Context, number: u8| {
            context.mempool.told.waiting().news.len() == usize::from(number)
        };
        assert_eq!(checks(SMALL + 1, NEVER, 5, heard), [1, 2]);
    }

    #[test]
    fn a_round_ends_by_itself() {
        assert_eq!(checks(SMALL + 1, Duration::from_millis(1), 5, taken_in), [6, 6]);
    }

    #[test]
    fn in_a_small_committee_nothing_that_is_told_waits() {
        assert_eq!(checks(SMALL, NEVER, 5, taken_in), [6, 6]);
    }

    #[test]
    fn what_strangers_have_told_spoils_no_check_of_what_members_have() {
        let mut fixture = Fixture::of(SMALL + 1);
        let mut tells = fixture.tells();
        let forged =
            SignedTransaction { signature: fixture.signed(3).signature, ..fixture.signed(2) };
        let [first, second] = [1, 2].map(|member: usize| fixture.members[member].node.clone());
        let stranger = NodeKey::from_bytes(&[0x77; 32]);
        let all = [(first, fixture.signed(0)), (stranger, forged), (second, fixture.signed(1))];
        for (key, transaction) in all {
            let peer = fixture.peer(&key);
            fixture.told(&peer, &transaction);
            let told = async { tokio::time::timeout(WITHIN, tells.next()).await };
            hear(&fixture.context, fixture.runtime.block_on(told).expect("in time").unwrap());
        }
        check_round(&fixture.context);
        assert_eq!(fixture.context.mempool.len(), 2);
        // One of what members have told; of the forged one a batch, its message, and itself.
        assert_eq!(fixture.context.metrics.told_checks.get(), 1 + 3);
    }
}
