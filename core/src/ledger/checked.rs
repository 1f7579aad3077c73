//! Which transactions' signatures have been found valid already, so that a block's are not checked
//! twice: once when they came to the mempool, and again in the proposal.
//!
//! A transaction is known by its whole signed bytes. Its id alone would not do: it leaves out the
//! signature, so a leader could put the transaction into a block with a false one, and whoever had
//! seen the true one would vote for it while all others would not. What is known changes what a
//! check costs, never what it finds.
//!
//! Only what the bytes alone decide is remembered: that the sender, whose identity is its key,
//! signed them for this chain. So it holds in every epoch. What hangs on the state or on a
//! committee, as nonces, proofs of possession and evidence, is judged each time that a block is
//! executed.

use super::{SignedTransaction, TransactionId, block::BLOCK_TRANSACTIONS_MAX};
use crate::types::Verified;
use alloc::collections::BTreeMap;

/// Transactions that a [`CheckedSet`] remembers at least; it remembers less than twice as many.
pub const CHECKED_MIN: usize = 2 * BLOCK_TRANSACTIONS_MAX;

/// Says that the signature of one transaction is valid. Only a verified transaction gives one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The digest of all that is signed, chain and sender among it.
    id: TransactionId,
    signature: [u8; 64],
}

impl Checked {
    /// Of a transaction that was verified. The caller may have its id already, but it is not asked:
    /// it would be believed.
    pub fn of(transaction: &Verified<SignedTransaction>) -> Self {
        Self::name(transaction)
    }

    fn name(transaction: &SignedTransaction) -> Self {
        Self { id: transaction.id(), signature: transaction.signature.0 }
    }

    /// What it is found by: short, so that few lines of memory are read on the way.
    fn prefix(&self) -> u64 {
        self.id.0.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
    }
}

/// The newest of them. The oldest half is forgotten at a time; the order of the insertions decides,
/// and nothing else. Of those whose ids begin alike only the last is remembered: who makes two
/// collide has one of them checked again.
#[derive(Clone, Debug, Default)]
pub struct CheckedSet {
    newer: BTreeMap<u64, Checked>,
    older: BTreeMap<u64, Checked>,
}

impl CheckedSet {
    /// Remembers one.
    pub fn insert(&mut self, checked: Checked) {
        if self.newer.len() >= CHECKED_MIN {
            self.older = core::mem::take(&mut self.newer);
        }
        self.newer.insert(checked.prefix(), checked);
    }

    /// Whether these very bytes are known to be signed by their sender.
    pub fn contains(&self, transaction: &SignedTransaction) -> bool {
        if self.newer.is_empty() && self.older.is_empty() {
            return false;
        }
        self.has(&Checked::name(transaction))
    }

    fn has(&self, name: &Checked) -> bool {
        let prefix = name.prefix();
        [&self.newer, &self.older].iter().any(|half| half.get(&prefix) == Some(name))
    }

    /// Transactions that are remembered.
    pub fn len(&self) -> usize {
        self.newer.len() + self.older.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        crypto::{KnownKeys, NodeKey, Signature},
        knowledge::{Cid, CidCodec},
        ledger::{
            Action, Transaction,
            transaction::{Claims, InvalidTransaction},
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
        checked: &CheckedSet,
    ) -> Result<Vec<Verified<SignedTransaction>>, InvalidTransaction> {
        Claims::new(transactions, chain, checked, &mut KnownKeys::default())?.verify()
    }

    fn with_another_signature(nonce: u64) -> SignedTransaction {
        SignedTransaction { signature: Signature(signed(nonce + 1).signature.0), ..signed(nonce) }
    }

    fn knowing(transactions: impl IntoIterator<Item = SignedTransaction>) -> CheckedSet {
        let mut set = CheckedSet::default();
        for transaction in transactions {
            set.insert(Checked::of(&Unverified::new(transaction).into_verified()));
        }
        set
    }

    #[test]
    fn the_same_transaction_with_another_signature_is_not_known() {
        let known = knowing([signed(1)]);
        let other = with_another_signature(1);
        assert_eq!(other.id(), signed(1).id(), "the id leaves out the signature");
        assert!(known.contains(&signed(1)) && !known.contains(&other));
        assert_eq!(
            verify_rest(vec![other.clone()], &CHAIN, &known),
            Err(InvalidTransaction::BadSignature)
        );
        assert_eq!(
            verify_rest(vec![signed(1), other], &CHAIN, &known),
            Err(InvalidTransaction::BadSignature)
        );
        assert!(!known.contains(&signed(2)));
    }

    #[test]
    fn what_is_known_is_not_checked_again_and_the_rest_is() {
        // A false signature that is called verified shows that nobody looks at it again.
        let false_one = with_another_signature(1);
        let known = knowing([false_one.clone()]);
        assert_eq!(
            verify_rest(vec![false_one.clone(), signed(2)], &CHAIN, &known).unwrap().len(),
            2
        );
        let both = vec![false_one.clone(), with_another_signature(2)];
        assert_eq!(verify_rest(both, &CHAIN, &known), Err(InvalidTransaction::BadSignature));
        assert_eq!(
            verify_rest(vec![false_one], &CHAIN, &CheckedSet::default()),
            Err(InvalidTransaction::BadSignature)
        );
    }

    #[test]
    fn the_chain_is_looked_at_in_any_case() {
        let known = knowing([signed(1)]);
        assert_eq!(
            verify_rest(vec![signed(1)], &ChainId([2; 32]), &known),
            Err(InvalidTransaction::WrongChain)
        );
    }

    #[test]
    fn the_newest_are_remembered_and_not_more() {
        let name = |n: usize| Checked {
            id: crate::types::Digest(core::array::from_fn(|i| (n >> (8 * (i % 8))) as u8)),
            signature: [0; 64],
        };
        let mut set = CheckedSet::default();
        for n in 0..5 * CHECKED_MIN {
            set.insert(name(n));
            assert!(set.len() <= 2 * CHECKED_MIN);
            let oldest = (n + 1).saturating_sub(CHECKED_MIN);
            assert!(set.has(&name(oldest)));
        }
    }

    #[test]
    fn of_those_that_begin_alike_the_last_is_known() {
        let [mut first, mut second] = [[1; 32], [1; 32]];
        (first[31], second[31]) = (1, 2);
        let name =
            |id, signature| Checked { id: crate::types::Digest(id), signature: [signature; 64] };
        let mut set = CheckedSet::default();
        for (known, other) in [(name(first, 1), name(second, 1)), (name(first, 1), name(first, 2))]
        {
            set.insert(other);
            set.insert(known);
            assert!(set.has(&known) && !set.has(&other));
        }
    }
}
