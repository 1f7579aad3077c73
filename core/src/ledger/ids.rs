//! The names by which entries, transactions and evidence refer to one another.

use crate::{codec::BoundedString, types::Digest};

/// Longest name of a ref, bytes.
pub const REF_NAME_LEN_MAX: usize = 160;

/// The id of a transaction: the digest of the signed content.
pub type TransactionId = Digest;
/// The id of a job: the id of the transaction that submitted it.
pub type JobId = Digest;
/// Name of a ref: `<owner's NodeId in hex>/<path>`, or `models/<job>`.
pub type RefName = BoundedString<REF_NAME_LEN_MAX>;
