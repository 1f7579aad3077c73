//! A cache of transactions with valid signatures. A signature checked on arrival in the mempool is
//! not checked again in a proposal.
//!
//! The cache identifies a transaction by its whole signed bytes. The id does not suffice, because
//! it omits the signature: a leader could put the transaction into a block with a false signature,
//! and nodes that have seen the true one would vote for it while all others would not. The cache
//! changes the cost of a check, never its result.
//!
//! The cache keeps only what the bytes alone decide: that the sender, whose identity is its key,
//! signed them for this chain. This holds in every epoch. What depends on the state or on a
//! committee (nonces, proofs of possession, evidence) is checked at each execution of a block.

use super::{block::BLOCK_TRANSACTIONS_MAX, ids::TransactionId, transaction::SignedTransaction};
use crate::types::Verified;
use alloc::collections::BTreeMap;

/// Transactions that a [`VerifiedSignatureCache`] holds at least; it holds less than twice as many.
pub const VERIFIED_SIGNATURES_MIN: usize = 2 * BLOCK_TRANSACTIONS_MAX;

/// Attests that the signature of one transaction is valid. Only a verified transaction yields one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedSignature {
    /// Digest of the signed content, which includes chain and sender.
    id: TransactionId,
    signature: [u8; 64],
}

impl VerifiedSignature {
    /// Attests a verified transaction. Does not take the id as an argument: a wrong one would be
    /// trusted.
    pub fn of(transaction: &Verified<SignedTransaction>) -> Self {
        Self::from_signed(transaction)
    }

    fn from_signed(transaction: &SignedTransaction) -> Self {
        Self { id: transaction.id(), signature: transaction.signature.0 }
    }

    /// A short lookup key, so that a lookup reads few cache lines.
    fn prefix(&self) -> u64 {
        self.id.0.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
    }
}

/// The newest valid signatures. The oldest half is evicted at a time; only the insertion order
/// decides. Of transactions whose ids share a prefix only the last is kept: a sender that makes two
/// collide causes one more check.
#[derive(Clone, Debug, Default)]
pub struct VerifiedSignatureCache {
    newer: BTreeMap<u64, VerifiedSignature>,
    older: BTreeMap<u64, VerifiedSignature>,
}

impl VerifiedSignatureCache {
    /// Adds a valid signature.
    pub fn insert(&mut self, verified: VerifiedSignature) {
        if self.newer.len() >= VERIFIED_SIGNATURES_MIN {
            self.older = core::mem::take(&mut self.newer);
        }
        self.newer.insert(verified.prefix(), verified);
    }

    /// Whether the cache contains exactly these signed bytes.
    pub fn contains(&self, transaction: &SignedTransaction) -> bool {
        if self.newer.is_empty() && self.older.is_empty() {
            return false;
        }
        self.contains_signature(&VerifiedSignature::from_signed(transaction))
    }

    fn contains_signature(&self, name: &VerifiedSignature) -> bool {
        let prefix = name.prefix();
        [&self.newer, &self.older].iter().any(|half| half.get(&prefix) == Some(name))
    }

    /// Number of transactions in the cache.
    pub fn len(&self) -> usize {
        self.newer.len() + self.older.len()
    }

    /// Whether the cache is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        content::{Cid, CidCodec},
        crypto::{KeyCache, NodeKey, Signature},
        ledger::{
            Action, Transaction, transaction::InvalidTransaction,
            transaction_batch::TransactionBatch,
        },
        types::{ChainId, Unverified},
    };
    use alloc::{vec, vec::Vec};

    const CHAIN: ChainId = ChainId([1; 32]);

    fn signed(nonce: u64) -> SignedTransaction {
        let key = NodeKey::from_bytes(&[7; 32]);
        let cid = Cid::of(CidCodec::Raw, b"x");
        let action = Action::UpdateRef { name: "x".try_into().unwrap(), expected: 0, cid };
        Transaction { chain: CHAIN, sender: key.id(), nonce, expires: 10, action }.sign(&key)
    }

    fn verify_rest(
        transactions: Vec<SignedTransaction>,
        chain: &ChainId,
        cache: &VerifiedSignatureCache,
    ) -> Result<Vec<Verified<SignedTransaction>>, InvalidTransaction> {
        TransactionBatch::new(transactions, chain, cache, &mut KeyCache::default())?.verify()
    }

    fn with_another_signature(nonce: u64) -> SignedTransaction {
        SignedTransaction { signature: Signature(signed(nonce + 1).signature.0), ..signed(nonce) }
    }

    fn cache_of(
        transactions: impl IntoIterator<Item = SignedTransaction>,
    ) -> VerifiedSignatureCache {
        let mut cache = VerifiedSignatureCache::default();
        for transaction in transactions {
            cache.insert(VerifiedSignature::of(&Unverified::new(transaction).into_verified()));
        }
        cache
    }

    #[test]
    fn a_cached_transaction_with_another_signature_is_not_a_hit() {
        let cache = cache_of([signed(1)]);
        let other = with_another_signature(1);
        assert_eq!(other.id(), signed(1).id(), "the id leaves out the signature");
        assert!(cache.contains(&signed(1)) && !cache.contains(&other));
        assert_eq!(
            verify_rest(vec![other.clone()], &CHAIN, &cache),
            Err(InvalidTransaction::BadSignature)
        );
        assert_eq!(
            verify_rest(vec![signed(1), other], &CHAIN, &cache),
            Err(InvalidTransaction::BadSignature)
        );
        assert!(!cache.contains(&signed(2)));
    }

    #[test]
    fn only_uncached_signatures_are_checked() {
        // Marking a false signature as verified shows that it is not checked again.
        let false_one = with_another_signature(1);
        let cache = cache_of([false_one.clone()]);
        assert_eq!(
            verify_rest(vec![false_one.clone(), signed(2)], &CHAIN, &cache).unwrap().len(),
            2
        );
        let both = vec![false_one.clone(), with_another_signature(2)];
        assert_eq!(verify_rest(both, &CHAIN, &cache), Err(InvalidTransaction::BadSignature));
        assert_eq!(
            verify_rest(vec![false_one], &CHAIN, &VerifiedSignatureCache::default()),
            Err(InvalidTransaction::BadSignature)
        );
    }

    #[test]
    fn the_chain_is_always_checked() {
        let cache = cache_of([signed(1)]);
        assert_eq!(
            verify_rest(vec![signed(1)], &ChainId([2; 32]), &cache),
            Err(InvalidTransaction::WrongChain)
        );
    }

    #[test]
    fn evicts_the_oldest_entries() {
        let name = |n: usize| VerifiedSignature {
            id: crate::types::Digest(core::array::from_fn(|i| (n >> (8 * (i % 8))) as u8)),
            signature: [0; 64],
        };
        let mut cache = VerifiedSignatureCache::default();
        for n in 0..5 * VERIFIED_SIGNATURES_MIN {
            cache.insert(name(n));
            assert!(cache.len() <= 2 * VERIFIED_SIGNATURES_MIN);
            let oldest = (n + 1).saturating_sub(VERIFIED_SIGNATURES_MIN);
            assert!(cache.contains_signature(&name(oldest)));
        }
    }

    #[test]
    fn of_entries_with_equal_prefixes_the_last_is_kept() {
        let [mut first, mut second] = [[1; 32], [1; 32]];
        (first[31], second[31]) = (1, 2);
        let name = |id, signature| VerifiedSignature {
            id: crate::types::Digest(id),
            signature: [signature; 64],
        };
        let mut cache = VerifiedSignatureCache::default();
        for (kept, other) in [(name(first, 1), name(second, 1)), (name(first, 1), name(first, 2))] {
            cache.insert(other);
            cache.insert(kept);
            assert!(cache.contains_signature(&kept) && !cache.contains_signature(&other));
        }
    }
}
