//! Transactions that clients bring. Where many come they are checked in rounds: a signature in a batch costs half of what it costs
//! alone. Who comes alone does not wait.

use super::{
    context::{Context, NotAccepted},
    mempool::{Rejected, Source},
};
use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    time::{Duration, Instant},
};
use tequio_core::{
    ledger::{SignedTransaction, TransactionId, transaction::verify_all},
    types::{Unverified, Verified},
};

/// Whether it is new here; else it waits already.
type Verdict = Result<bool, NotAccepted>;
type Checked = Result<Verified<SignedTransaction>, NotAccepted>;

/// While many come, they are gathered for so long: after a round that checked several, the next begins no sooner.
pub const ROUND: Duration = Duration::from_millis(5);

/// Callers that wait for their transactions' turn: no more than there are threads for requests.
#[derive(Debug, Default)]
pub struct Admission {
    waiting: Mutex<Vec<(SignedTransaction, Sender<Verdict>)>>,
    /// When the last round began, if it checked several.
    turn: Mutex<Option<Instant>>,
}

impl Admission {
    fn wait(&self, transaction: SignedTransaction) -> Receiver<Verdict> {
        let (sender, verdict) = channel();
        lock(&self.waiting).push((transaction, sender));
        verdict
    }
}

impl Context {
    /// Checks a transaction that a client brings, and lets it wait for a block. Blocks for the time of a round or two.
    pub fn submit(&self, transaction: SignedTransaction) -> Result<TransactionId, NotAccepted> {
        let id = transaction.id();
        let verdict = self.admission.wait(transaction);
        let mut turn = lock(&self.admission.turn);
        // Who had the turn before may have taken this one along.
        if let Ok(verdict) = verdict.try_recv() {
            return verdict.map(|_| id);
        }
        std::thread::sleep(turn.map_or(Duration::ZERO, |last| ROUND.saturating_sub(last.elapsed())));
        let began = Instant::now();
        let waiting = std::mem::take(&mut *lock(&self.admission.waiting));
        *turn = Some(began).filter(|_| waiting.len() > 1);
        let (transactions, callers): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
        for (caller, verdict) in callers.into_iter().zip(self.accept_together(transactions)) {
            // Its caller may have gone.
            let _ = caller.send(verdict);
        }
        // Only now, so that those who wait find their verdicts.
        drop(turn);
        // None only if the thread that had it in hand came to grief: then there was no room, as far as the caller is concerned.
        verdict.recv().unwrap_or(Err(Rejected::Full.into())).map(|_| id)
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
            false => {
                tip.state.admits(&transaction.transaction, height).err().map(|error| Err(Rejected::from(error).into()))
            }
        };
        let judged: Vec<_> = transactions.iter().map(judge).collect();
        let open = transactions.into_iter().zip(&judged).filter(|(_, verdict)| verdict.is_none());
        let mut checked = self.check_together(open.map(|(transaction, _)| transaction).collect()).into_iter();
        let insert = |verified| Ok(mempool.insert(verified, Source::Client, &tip.state, height)?);
        let settle = |verdict: Option<Verdict>| verdict.or_else(|| Some(checked.next()?.and_then(insert)));
        judged.into_iter().filter_map(settle).collect()
    }

    /// All signatures at once; where that fails, those of each half, so that who brings a false one costs the others little.
    fn check_together(&self, mut transactions: Vec<SignedTransaction>) -> Vec<Checked> {
        if transactions.len() < 2 {
            let check = |transaction: SignedTransaction| Ok(Unverified::new(transaction).verify(&self.chain)?);
            return transactions.into_iter().map(check).collect();
        }
        if let Ok(all) = verify_all(transactions.clone(), &self.chain) {
            return all.into_iter().map(Ok).collect();
        }
        let rest = transactions.split_off(transactions.len() / 2);
        let mut checked = self.check_together(transactions);
        checked.extend(self.check_together(rest));
        checked
    }

    /// Whether a transaction could be applied as far as this node knows; it is not sent.
    pub fn check(&self, transaction: SignedTransaction) -> Result<(TransactionId, SignedTransaction), NotAccepted> {
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
