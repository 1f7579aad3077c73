//! `/tequio/mempool/3`: full nodes pass transactions on to each other.

use crate::{codec::BoundedVec, ledger::SignedTransaction};
use borsh::{BorshDeserialize, BorshSerialize};

/// Largest encoded request, bytes.
pub const REQUEST_LEN_MAX: usize = 256 * 1024;
/// Largest encoded response, bytes.
pub const RESPONSE_LEN_MAX: usize = 64;
/// Most transactions passed on at once.
pub const TRANSACTIONS_MAX: usize = 1024;

/// New transactions.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Request {
    /// In the order in which they came.
    pub transactions: BoundedVec<SignedTransaction, TRANSACTIONS_MAX>,
}

/// How many were new and accepted.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Response {
    /// Their number.
    pub accepted: u32,
}
