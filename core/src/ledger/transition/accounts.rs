//! Accounts: the nonces and the validity that admit a transaction, and transfers.

use super::{
    error::{TransactionError, TransactionResult},
    executor::BlockExecutor,
};
use crate::{
    ledger::{
        state::{Account, Entry, State},
        transaction::{Action, Transaction, VALIDITY_BLOCKS_MAX},
    },
    types::{Height, NodeId},
};

impl State {
    /// Whether the next block could include a transaction: checks sender, expiry, and that the
    /// nonce is unused. For the mempool.
    pub fn admits(&self, transaction: &Transaction, height: Height) -> TransactionResult {
        self.sender_view(&transaction.sender).admits(transaction, height)
    }

    /// The state's view of a sender, for many of its transactions.
    pub fn sender_view(&self, sender: &NodeId) -> SenderView<'_> {
        SenderView(self.account(sender))
    }
}

/// The state's view of one sender.
#[derive(Clone, Copy, Debug)]
pub struct SenderView<'a>(Option<&'a Account>);

impl SenderView<'_> {
    /// Like [`State::admits`], for a transaction of this sender.
    pub fn admits(&self, transaction: &Transaction, height: Height) -> TransactionResult {
        check_expiry(transaction, height)?;
        match (self.nonce(), &transaction.action) {
            (Some(expected), _) if transaction.nonce < expected => {
                Err(TransactionError::WrongNonce { found: transaction.nonce, expected })
            }
            (Some(_), Action::Register { .. }) => Err(TransactionError::AlreadyRegistered),
            (Some(_), _) | (None, Action::Register { .. }) => Ok(()),
            (None, _) => Err(TransactionError::UnknownSender),
        }
    }

    /// The nonce of its next transaction, if it may send any.
    pub fn nonce(&self) -> Option<u64> {
        self.0.filter(|account| account.registered).map(|account| account.nonce)
    }

    /// The sender's reputation.
    pub fn reputation(&self) -> u64 {
        self.0.map_or(0, |account| account.reputation)
    }
}

impl BlockExecutor<'_> {
    pub(super) fn transfer(
        &mut self,
        account: Account,
        to: NodeId,
        amount: u64,
    ) -> TransactionResult {
        let balance = account
            .balance
            .checked_sub(amount)
            .ok_or(TransactionError::InsufficientBalance(account.balance))?;
        // A new member can receive the bond of a seat before it opens its account.
        let opens = amount >= self.params.bond_min;
        let new = opens.then(|| Account { registered: false, ..Account::new(to, 0) });
        let receiver =
            self.state.account(&to).cloned().or(new).ok_or(TransactionError::UnknownReceiver)?;
        if to == account.node {
            return Ok(());
        }
        self.put(Entry::Account(Account { balance, ..account }));
        self.put(Entry::Account(Account {
            balance: receiver.balance.saturating_add(amount),
            ..receiver
        }));
        Ok(())
    }
}

/// Whether the transaction has not expired, and does not expire too late.
pub(super) fn check_expiry(transaction: &Transaction, height: Height) -> TransactionResult {
    if transaction.expires < height {
        return Err(TransactionError::Expired(transaction.expires));
    }
    if transaction.expires > height.saturating_add(VALIDITY_BLOCKS_MAX) {
        return Err(TransactionError::ExpiresTooLate);
    }
    Ok(())
}
