//! `/tequio/mempool/4` and `/tequio/want/1`: full nodes tell each other of the transactions that
//! wait for a block, some in full and some by their names, and ask for those that they lack.

use crate::{
    codec::BoundedVec,
    ledger::{SignedTransaction, TransactionId},
};
use borsh::{BorshDeserialize, BorshSerialize};

/// Largest encoded message and answer, bytes, before they are packed.
pub const MESSAGE_LEN_MAX: usize = 256 * 1024;
/// Largest encoded question, bytes.
pub const WANT_LEN_MAX: usize = 4 + NAMES_MAX * 32;
/// Most transactions in one message or answer.
pub const TRANSACTIONS_MAX: usize = 1024;
/// Most names in one message or question.
pub const NAMES_MAX: usize = 2048;

/// Transactions, in the order in which they came.
pub type Transactions = BoundedVec<SignedTransaction, TRANSACTIONS_MAX>;
/// Names of transactions, the oldest first.
pub type Names = BoundedVec<TransactionId, NAMES_MAX>;

/// What is told one way.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Message {
    /// New transactions, in full.
    New {
        /// The transactions.
        transactions: Transactions,
        /// The teller does not reach who makes the next block: who hears them first passes them on
        /// as if they were its own.
        pass_on: bool,
    },
    /// Transactions that have waited for a while with the teller and may be lacking elsewhere.
    Offer(Names),
}

/// Asks for transactions by their names. The answer is a packed [`Transactions`]: those that wait
/// there, as many as fit.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Want {
    /// Their names.
    pub names: Names,
}
