//! The application of a block: each transaction in order, then the jobs that end, then the epoch
//! boundary.

use super::{
    accounts::check_expiry,
    error::{TransactionError, TransactionResult},
    executor::{BlockContext, BlockExecutor, TransactionStateKeys},
};
use crate::{
    ledger::{
        ids::TransactionId,
        state::{Entry, RecentBlock, State, StateChange},
        transaction::{Action, SignedTransaction, Transaction},
    },
    types::{Digest, Verified},
};
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

/// The effects of a block.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The next state.
    pub state: State,
    /// The changed entries for the store, in the order of their state keys. Entries are never
    /// removed.
    pub changes: Vec<StateChange>,
    /// The result of each transaction.
    pub receipts: Vec<Receipt>,
}

/// The result of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Receipt {
    /// The transaction.
    pub transaction: TransactionId,
    /// Applied, or the reason why not.
    pub result: Result<(), TransactionError>,
}

impl State {
    /// Applies a block.
    pub fn apply(
        &self,
        context: BlockContext<'_>,
        transactions: &[Verified<SignedTransaction>],
    ) -> Outcome {
        let mut block = BlockExecutor::new(self, context);
        block.record_parent();
        let state_keys: Vec<TransactionStateKeys> =
            transactions.iter().map(|t| TransactionStateKeys::of(&t.transaction)).collect();
        let all: Vec<Digest> =
            state_keys.iter().flat_map(|p| [Some(p.sender), p.name]).flatten().collect();
        self.prefetch(&all);
        let receipts = transactions
            .iter()
            .zip(&state_keys)
            .map(|(t, state_keys)| {
                let id = t.id();
                Receipt {
                    transaction: id,
                    result: block.apply_transaction(&t.transaction, id, state_keys),
                }
            })
            .collect();
        block.finalize_jobs();
        block.apply_epoch_boundary();
        let mut state = block.state;
        let changes = state.commit_staged();
        Outcome { state, changes, receipts }
    }
}

impl BlockExecutor<'_> {
    fn record_parent(&mut self) {
        self.put(Entry::Recent(RecentBlock { height: self.height - 1, digest: self.parent }));
    }

    fn apply_transaction(
        &mut self,
        transaction: &Transaction,
        id: TransactionId,
        state_keys: &TransactionStateKeys,
    ) -> TransactionResult {
        check_expiry(transaction, self.height)?;
        if let Action::Register { anchor, solution } = transaction.action {
            return self.register(transaction.sender, anchor, solution);
        }
        let mut account = self
            .state
            .account_at(&state_keys.sender)
            .filter(|a| a.registered)
            .cloned()
            .ok_or(TransactionError::UnknownSender)?;
        if transaction.nonce != account.nonce {
            return Err(TransactionError::WrongNonce {
                found: transaction.nonce,
                expected: account.nonce,
            });
        }
        // From here on the nonce is used up, whatever the result of the action.
        account.nonce += 1;
        self.state.stage(state_keys.sender, Entry::Account(account.clone()));
        match &transaction.action {
            Action::Register { .. } => Err(TransactionError::AlreadyRegistered),
            Action::SubmitJob(spec) => self.submit_job(account, id, spec),
            Action::JobResult { job, result } => self.job_result(account, *job, result),
            Action::Audit { job, verdict } => self.audit(account.node, *job, *verdict),
            Action::CancelJob { job } => self.cancel_job(account, *job),
            Action::UpdateRef { name, expected, cid } => {
                self.update_ref(account, state_keys, name, *expected, *cid)
            }
            Action::Report { accused, evidence } => self.report(account.node, *accused, evidence),
            Action::Join { amount, keys } => self.join(account, *amount, keys),
            Action::Bond { amount } => self.bond(account, *amount),
            Action::Leave => self.leave(account.node),
            Action::RotateKeys { keys } => self.rotate_keys(account.node, keys),
            Action::Transfer { to, amount } => self.transfer(account, *to, *amount),
        }
    }
}
