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
    /// Those of the messages that strangers have told.
    of_strangers: usize,
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
        let taken: Vec<_> = self.news.extract_if(.., |news| is_of_all || !news.is_of_member).collect();
        self.of_strangers = 0;
        // Messages that bring no transactions are done with.
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
    /// Between the beginnings of two rounds, of what strangers have told, and of all.
    pauses: [Duration; 2],
    of_strangers: Instant,
    of_all: Instant,
}

impl Rounds {
    fn new(pauses: [Duration; 2]) -> Self {
        Self { pauses, of_strangers: Instant::now(), of_all: Instant::now() }
    }

    /// When the next one is due, if anything waits.
    fn due(&self, now: Instant, waiting: &Waiting, is_small: bool) -> Option<Instant> {
        let next = match (is_small, waiting.of_strangers > 0) {
            (true, _) => now,
            (false, true) => self.of_strangers.min(self.of_all),
            (false, false) => self.of_all,
        };
        Some(next).filter(|_| waiting.count > 0)
    }

    /// A round begins; whether it is one of all that waits.
    fn begin(&mut self, now: Instant, must_be_of_all: bool) -> bool {
        let [pause, pause_of_all] = self.pauses;
        let is_of_all = must_be_of_all || now >= self.of_all;
        self.of_strangers = now + pause;
        if is_of_all {
            self.of_all = now + pause_of_all;
        }
        is_of_all
    }
}

/// Takes in what full nodes tell, until the network ends.
pub async fn listen(context: Arc<Context>, tells: Tells) {
    listen_in_rounds(context, tells, Rounds::new([ROUND, ROUND_OF_ALL])).await;
}

async fn listen_in_rounds(context: Arc<Context>, mut tells: Tells, mut rounds: Rounds) {
    loop {
        let is_small = is_small(&context);
        let due = rounds.due(Instant::now(), &context.mempool.told.waiting(), is_small);
        let heard = match due {
            None => Some(tells.next().await),
            // What has come already is heard before.
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
        let is_of_all = rounds.begin(Instant::now(), is_small || is_full);
        let context = context.clone();
        // Signatures are slow enough to keep off the threads of the network.
        let _ = tokio::task::spawn_blocking(move || check_round(&context, is_of_all)).await;
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
            waiting.of_strangers += usize::from(!is_of_member);
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
        let transaction =
            Transaction { chain: ChainId([1; 32]), sender: key.id(), nonce: 0, expires: 9, action: Action::Leave };
        let transactions = vec![transaction.sign(&key); count];
        News { source: Source::Told { peer: key.id(), pass_on: false }, is_of_member, transactions, share: None }
    }

    #[test]
    fn a_round_is_of_all_or_of_what_strangers_have_told() {
        let all = [news(1, true, 2), news(2, false, 1), news(3, true, 4), news(4, false, 3)];
        // And one message without transactions.
        let count = 1 + all.iter().map(|news| 1 + news.transactions.len()).sum::<usize>();
        let mut waiting = Waiting { news: all.into(), count, of_strangers: 2 };
        let lens = |news: &[News]| news.iter().map(|news| news.transactions.len()).collect::<Vec<_>>();
        assert_eq!(lens(&waiting.take_for_round(false)), [1, 3]);
        assert_eq!((waiting.count, waiting.of_strangers), (8, 0));
        assert_eq!(lens(&waiting.take_for_round(true)), [2, 4]);
        assert_eq!((waiting.count, waiting.of_strangers), (0, 0));
    }

    #[test]
    fn a_round_is_due_sooner_where_strangers_wait() {
        let second = Duration::from_secs(1);
        let mut rounds = Rounds::new([second, 5 * second]);
        let now = Instant::now();
        let waiting = |count, of_strangers| Waiting { news: Vec::new(), count, of_strangers };
        let due = |rounds: &Rounds| [(0, 0), (1, 0), (1, 1)].map(|(c, s)| rounds.due(now, &waiting(c, s), false));
        let [none, of_all, of_strangers] = due(&rounds);
        assert!(none.is_none() && of_all <= Some(now) && of_strangers <= Some(now), "nothing was told lately");
        assert!(rounds.begin(now, false));
        assert_eq!(due(&rounds), [None, Some(now + 5 * second), Some(now + second)]);
        let later = now + 2 * second;
        assert!(!rounds.begin(later, false));
        assert_eq!(due(&rounds), [None, Some(now + 5 * second), Some(later + second)]);
        assert!(rounds.begin(later, true));
        assert_eq!(due(&rounds), [None, Some(later + 5 * second), Some(later + second)]);
        assert_eq!(rounds.due(now, &waiting(1, 0), true), Some(now), "in a small committee at once");
    }

    #[test]
    fn before_a_block_only_what_members_have_told_is_checked_and_no_more_than_there_is_time_for() {
        let all = [news(1, true, 200), news(2, false, 1), news(3, true, 400), news(4, true, 312), news(5, true, 1)];
        let count = all.iter().map(|news| 1 + news.transactions.len()).sum();
        let mut waiting = Waiting { news: all.into(), count, of_strangers: 1 };
        let lens = |news: &[News]| news.iter().map(|news| news.transactions.len()).collect::<Vec<_>>();
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

    /// A node in a committee of so many seats is told of one transaction, and when it has been taken in of others, each when the one before
    /// has arrived; then the round is over. How many checks it took until then, and in all.
    fn checks(
        seats: usize,
        pauses: [Duration; 2],
        others: u8,
        arrived: impl Fn(&Context, u8) -> bool + Send + 'static,
    ) -> [u64; 2] {
        let mut fixture = Fixture::of(seats);
        let (context, tells) = (fixture.context.clone(), fixture.tells());
        let listening = fixture.runtime.spawn(listen_in_rounds(context.clone(), tells, Rounds::new(pauses)));
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
        check_round(&context, true);
        assert_eq!((context.mempool.len(), context.metrics.told.get()), (others as usize + 1, others as u64 + 1));
        [meanwhile, context.metrics.told_checks.get()]
    }

    /// So that no round ends by itself.
    const NEVER: Duration = Duration::from_secs(1_000_000);

    fn taken_in(context: &Context, number: u8) -> bool {
        context.mempool.len() == usize::from(number) + 1
    }

    #[test]
    fn what_is_told_within_a_round_is_checked_at_once() {
        let heard = |context: &Context, number: u8| context.mempool.told.waiting().news.len() == usize::from(number);
        assert_eq!(checks(SMALL + 1, [NEVER; 2], 5, heard), [1, 2]);
    }

    #[test]
    fn a_round_ends_by_itself() {
        assert_eq!(checks(SMALL + 1, [NEVER, Duration::from_millis(1)], 5, taken_in), [6, 6]);
    }

    #[test]
    fn in_a_small_committee_nothing_that_is_told_waits() {
        assert_eq!(checks(SMALL, [NEVER; 2], 5, taken_in), [6, 6]);
    }
}
