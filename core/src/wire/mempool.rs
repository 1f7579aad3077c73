//! `/tequio/mempool/4` and `/tequio/want/1`: full nodes send each other the transactions that wait
//! for a block, some in full and some by their ids. They request the transactions that they lack.

use crate::{
    codec::BoundedVec,
    ledger::{SignedTransaction, TransactionId},
};
use borsh::{BorshDeserialize, BorshSerialize};

/// Largest encoded message and answer, bytes, before compression.
pub const MESSAGE_LEN_MAX: usize = 256 * 1024;
/// Largest encoded [`GetTransactions`], bytes.
pub const GET_TRANSACTIONS_LEN_MAX: usize = 4 + TRANSACTION_IDS_MAX * 32;
/// Most transactions in one message or answer.
pub const TRANSACTIONS_MAX: usize = 1024;
/// Most ids in one message or request.
pub const TRANSACTION_IDS_MAX: usize = 2048;

/// Transactions, in order of arrival.
pub type Transactions = BoundedVec<SignedTransaction, TRANSACTIONS_MAX>;
/// Ids of transactions, the oldest first.
pub type TransactionIds = BoundedVec<TransactionId, TRANSACTION_IDS_MAX>;

/// A one-way message.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Message {
    /// New transactions, in full.
    New {
        /// The transactions.
        transactions: Transactions,
        /// Whether the sender cannot reach the next proposers. The first receivers then forward
        /// the transactions as if they were their own.
        forward: bool,
    },
    /// Ids of transactions that have waited at the sender for a while and may be missing elsewhere.
    Announce(TransactionIds),
}

/// Requests transactions by their ids. The answer is a compressed [`Transactions`]: the requested
/// transactions that wait at the receiver, as many as fit.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct GetTransactions {
    /// The ids.
    pub ids: TransactionIds,
}
