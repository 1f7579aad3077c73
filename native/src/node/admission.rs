//! Transactions that clients bring. Those that come while others are being checked are checked together afterwards: a signature
//! in a batch costs half of what it costs alone. Who comes alone does not wait.

use super::{
    context::{Context, NotAccepted},
    mempool::{Rejected, Source},
};
use std::sync::{
    Mutex, MutexGuard, PoisonError,
    mpsc::{Receiver, Sender, channel},
};
use tequio_core::{
    ledger::{SignedTransaction, TransactionId, transaction::verify_all},
    types::{Unverified, Verified},
};

/// Whether it is new here; else it waits already.
type Verdict = Result<bool, NotAccepted>;

/// Callers that wait for their transactions' turn: no more than there are threads for requests.
#[derive(Debug, Default)]
pub struct Admission {
    waiting: Mutex<Vec<(SignedTransaction, Sender<Verdict>)>>,
    turn: Mutex<()>,
}

impl Admission {
    fn wait(&self, transaction: SignedTransaction) -> Receiver<Verdict> {
        let (sender, verdict) = channel();
        lock(&self.waiting).push((transaction, sender));
        verdict
    }
}

impl Context {
    /// Checks a transaction of our own, or that a client brings, and lets it wait for a block. False if it waits already.
    pub fn accept_transaction(&self, transaction: SignedTransaction) -> Verdict {
        let verdict = self.admission.wait(transaction);
        let turn = lock(&self.admission.turn);
        // Who had the turn before may have taken this one along.
        if let Ok(verdict) = verdict.try_recv() {
            return verdict;
        }
        let (transactions, callers): (Vec<_>, Vec<_>) =
            std::mem::take(&mut *lock(&self.admission.waiting)).into_iter().unzip();
        let verdicts = self.accept_together(transactions);
        drop(turn);
        for (caller, verdict) in callers.into_iter().zip(verdicts) {
            // Its caller may have gone.
            let _ = caller.send(verdict);
        }
        // None only if the thread that had it in hand came to grief: then there was no room, as far as the caller is concerned.
        verdict.recv().unwrap_or(Err(Rejected::Full.into()))
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

    /// All signatures at once; where that fails, one by one.
    fn check_together(
        &self,
        transactions: Vec<SignedTransaction>,
    ) -> Vec<Result<Verified<SignedTransaction>, NotAccepted>> {
        if let [_, _, ..] = transactions.as_slice()
            && let Ok(all) = verify_all(transactions.clone(), &self.chain)
        {
            return all.into_iter().map(Ok).collect();
        }
        let check = |transaction: SignedTransaction| Ok(Unverified::new(transaction).verify(&self.chain)?);
        transactions.into_iter().map(check).collect()
    }

    /// Whether a transaction could be applied as far as this node knows; it is not sent.
    pub fn check(&self, transaction: SignedTransaction) -> Result<(TransactionId, SignedTransaction), NotAccepted> {
        let tip = self.tip();
        tip.state.admits(&transaction.transaction, tip.height() + 1).map_err(Rejected::from)?;
        let verified = Unverified::new(transaction).verify(&self.chain)?;
        Ok((verified.id(), verified.into_inner()))
    }

    /// The same as [`Context::accept_transaction`], for callers that name transactions.
    pub fn submit(&self, transaction: SignedTransaction) -> Result<TransactionId, NotAccepted> {
        let id = transaction.id();
        self.accept_transaction(transaction)?;
        Ok(id)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is one call: nothing is left half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
