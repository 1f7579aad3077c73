//! Many transactions whose signatures are checked at once, except for those in the cache.

use super::{
    signature_cache::VerifiedSignatureCache,
    transaction::{InvalidTransaction, SignedTransaction},
};
use crate::{
    crypto::{KeyLookup, signature_batch::SignatureBatch},
    types::{ChainId, Unverified, Verified},
};
use alloc::vec::Vec;

/// Transactions of one chain whose signatures are checked at once.
pub struct TransactionBatch {
    transactions: Vec<SignedTransaction>,
    batch: SignatureBatch,
}

impl TransactionBatch {
    /// Checks the chain. Signatures already in the cache are not checked again.
    pub fn new(
        transactions: Vec<SignedTransaction>,
        chain: &ChainId,
        cache: &VerifiedSignatureCache,
        keys: &mut impl KeyLookup,
    ) -> Result<Self, InvalidTransaction> {
        let mut batch = SignatureBatch::default();
        for signed in &transactions {
            let SignedTransaction { transaction, signature } = signed;
            if transaction.chain != *chain {
                return Err(InvalidTransaction::WrongChain);
            }
            if cache.contains(signed) {
                continue;
            }
            batch.add_digest(keys, &transaction.sender, &signed.id(), signature);
        }
        Ok(Self { transactions, batch })
    }

    /// Checks the signatures: either all are valid, or none is accepted.
    pub fn verify(self) -> Result<Vec<Verified<SignedTransaction>>, InvalidTransaction> {
        self.batch.verify().map_err(|_| InvalidTransaction::BadSignature)?;
        Ok(self.transactions.into_iter().map(|t| Unverified::new(t).into_verified()).collect())
    }
}
