//! Transactions that clients bring. Where many come they are checked in rounds: a signature in a
//! batch costs half of what it costs alone. Who comes alone does not wait.

use super::{
    context::{Context, NotAccepted},
    mempool::{Rejected, Source},
};
use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{Sender, TryRecvError, channel},
    },
    time::{Duration, Instant},
};
use tequio_core::{
    ledger::{SignedTransaction, TransactionId},
    types::{Unverified, Verified},
};

/// Whether it is new here; else it waits already.
pub type Verdict = Result<bool, NotAccepted>;
type Checked = Result<Verified<SignedTransaction>, NotAccepted>;

/// While many come, they are gathered for so long: after a round that checked several, the next
/// begins no sooner.
pub const ROUND: Duration = Duration::from_millis(5);

/// What clients bring, each with its verdict.
pub type Admission = Rounds<SignedTransaction, Verdict>;

/// Callers that bring something at the same time have it checked together, by one of them. No more
/// of them wait than there are threads for requests.
#[derive(Debug)]
pub struct Rounds<T, V> {
    waiting: Mutex<Vec<(T, Sender<V>)>>,
    /// When the last round began, if it checked several.
    turn: Mutex<Option<Instant>>,
}

impl<T, V> Default for Rounds<T, V> {
    fn default() -> Self {
        Self { waiting: Mutex::default(), turn: Mutex::default() }
    }
}

impl<T, V> Rounds<T, V> {
    /// Has it checked, and blocks for the time of a round or two. The verdicts are in the order of
    /// what is checked. `None` only if the thread that had it in hand came to grief.
    fn join(&self, brought: T, check: impl FnOnce(Vec<T>) -> Vec<V>) -> Option<V> {
        let (sender, verdict) = channel();
        lock(&self.waiting).push((brought, sender));
        let mut turn = lock(&self.turn);
        // Who had the turn before may have taken this one along.
        match verdict.try_recv() {
            Ok(verdict) => return Some(verdict),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => {}
        }
        std::thread::sleep(
            turn.map_or(Duration::ZERO, |last| ROUND.saturating_sub(last.elapsed())),
        );
        let began = Instant::now();
        let waiting = std::mem::take(&mut *lock(&self.waiting));
        *turn = Some(began).filter(|_| waiting.len() > 1);
        let (brought, callers): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
        for (caller, verdict) in callers.into_iter().zip(check(brought)) {
            // Its caller may have gone.
            let _ = caller.send(verdict);
        }
        // The turn ends after this, so that those who wait find their verdicts.
        verdict.try_recv().ok()
    }
}

impl Context {
    /// Checks a transaction that a client brings, and lets it wait for a block. Blocks for the time
    /// of a round or two.
    pub fn submit(&self, transaction: SignedTransaction) -> Result<TransactionId, NotAccepted> {
        let id = transaction.id();
        let verdict = self.admission.join(transaction, |brought| {
            self.metrics.submit_rounds.inc();
            self.metrics.submitted.inc_by(brought.len() as u64);
            self.accept_together(brought)
        });
        // Without a verdict there was no room, as far as the caller is concerned.
        verdict.unwrap_or(Err(Rejected::Full.into())).map(|_| id)
    }

    /// Checks a transaction of our own, and lets it wait for a block. False if it waits already.
    pub fn accept_own(&self, transaction: SignedTransaction) -> Verdict {
        self.accept_together(vec![transaction]).pop().unwrap_or(Err(Rejected::Full.into()))
    }

    /// The same for many that have come together, each with its own verdict.
    pub fn accept_together(&self, transactions: Vec<SignedTransaction>) -> Vec<Verdict> {
        let (tip, mempool) = (self.tip(), &self.mempool);
        let height = tip.height() + 1;
        // Who waits already has been checked, and the state says no faster than a signature does.
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
            self.check_together(open.map(|(transaction, _)| transaction).collect()).into_iter();
        let insert = |verified| Ok(mempool.insert(verified, Source::Client, &tip.state, height)?);
        let settle =
            |verdict: Option<Verdict>| verdict.or_else(|| Some(checked.next()?.and_then(insert)));
        judged.into_iter().filter_map(settle).collect()
    }

    /// All signatures at once; where that fails, those of each half, so that who brings a false one
    /// costs the others little.
    fn check_together(&self, mut transactions: Vec<SignedTransaction>) -> Vec<Checked> {
        if !transactions.is_empty() {
            self.metrics.submit_checks.inc();
        }
        if transactions.len() < 2 {
            let check = |transaction: SignedTransaction| {
                Ok(Unverified::new(transaction).verify(&self.chain)?)
            };
            return transactions.into_iter().map(check).collect();
        }
        if let Ok(all) = self.verify_all(transactions.clone()) {
            return all.into_iter().map(Ok).collect();
        }
        let rest = transactions.split_off(transactions.len() / 2);
        let mut checked = self.check_together(transactions);
        checked.extend(self.check_together(rest));
        checked
    }

    /// Whether a transaction could be applied as far as this node knows; it is not sent.
    pub fn check(
        &self,
        transaction: SignedTransaction,
    ) -> Result<(TransactionId, SignedTransaction), NotAccepted> {
        let tip = self.tip();
        tip.state.admits(&transaction.transaction, tip.height() + 1).map_err(Rejected::from)?;
        let verified = Unverified::new(transaction).verify(&self.chain)?;
        Ok((verified.id(), verified.into_inner()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is one call: nothing is left half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    const WITHIN: Duration = Duration::from_secs(60);

    /// What a caller finds; an error where it came to grief.
    type Found = Result<Option<u32>, ()>;

    /// One caller is in a round of its own until so many others wait; what they find, in their
    /// order, and what each round was given.
    fn others(
        rounds: &Rounds<u32, u32>,
        count: usize,
        check: impl Fn(&[u32]) + Sync,
    ) -> (Vec<Found>, Vec<Vec<u32>>) {
        let (given, (begun, has_begun)) = (Mutex::new(Vec::new()), channel());
        let squares = |brought: Vec<u32>| {
            lock(&given).push(brought.clone());
            check(&brought);
            brought.into_iter().map(|number| number * number).collect()
        };
        let found = std::thread::scope(|scope| {
            let first = scope.spawn(|| {
                rounds.join(0, |brought| {
                    begun.send(()).unwrap();
                    let began = Instant::now();
                    while lock(&rounds.waiting).len() < count {
                        assert!(began.elapsed() < WITHIN, "nobody else comes");
                        std::thread::yield_now();
                    }
                    squares(brought)
                })
            });
            has_begun.recv().unwrap();
            let join = |number: u32| {
                catch_unwind(AssertUnwindSafe(|| rounds.join(number, squares))).map_err(drop)
            };
            let others: Vec<_> =
                (1..=count as u32).map(|number| scope.spawn(move || join(number))).collect();
            assert_eq!(first.join().unwrap(), Some(0));
            others.into_iter().map(|other| other.join().unwrap()).collect()
        });
        let mut given = lock(&given).clone();
        given.iter_mut().for_each(|brought| brought.sort_unstable());
        (found, given)
    }

    #[test]
    fn what_comes_during_a_round_is_checked_together_and_each_finds_its_verdict() {
        let (found, given) = others(&Rounds::default(), 8, |_| ());
        assert_eq!(given, [vec![0], (1..=8).collect()]);
        assert_eq!(found, (1..=8).map(|number| Ok(Some(number * number))).collect::<Vec<_>>());
    }

    #[test]
    fn the_next_round_waits_after_one_of_several_and_not_after_one_of_one() {
        let rounds = Rounds::default();
        assert_eq!(rounds.join(3, |brought| brought), Some(3));
        assert_eq!(*lock(&rounds.turn), None);
        others(&rounds, 2, |_| ());
        let last = lock(&rounds.turn).unwrap();
        let mut began = last;
        let check = |brought| {
            began = Instant::now();
            brought
        };
        assert_eq!(rounds.join(3, check), Some(3));
        assert!(began - last >= ROUND);
        assert_eq!(*lock(&rounds.turn), None);
    }

    #[test]
    fn who_comes_to_grief_leaves_the_others_without_a_verdict_and_not_waiting() {
        let rounds = Rounds::default();
        let (found, given) = others(&rounds, 3, |brought| assert_eq!(brought.len(), 1, "grief"));
        assert_eq!(given[1], [1, 2, 3]);
        assert_eq!(found.iter().filter(|found| found.is_err()).count(), 1);
        assert_eq!(found.iter().filter(|found| **found == Ok(None)).count(), 2);
        assert_eq!(rounds.join(3, |brought| brought), Some(3));
    }
}
