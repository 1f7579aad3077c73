//! The pool of verified transactions in each sender's nonce order. It is bounded in items and
//! bytes, with a quota for each sender, so that no sender can fill it alone. If it is full, senders
//! with higher reputation displace those with lower.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};
use tequio_core::{
    ledger::{
        SenderView, SignedTransaction, State, TransactionError, TransactionId, VerifiedSignature,
        transaction::TRANSACTION_LEN_MAX,
    },
    types::{Height, NodeId, Verified},
};

/// Most waiting transactions.
pub const ITEMS_MAX: usize = 8192;
/// Most bytes of waiting transactions.
pub const BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most waiting transactions of one sender.
pub const PER_SENDER_MAX: usize = 64;

/// The reason why a transaction is not added. The sender is at fault, except if the pool is full.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Exceeds a limit of the protocol.
    #[error("the transaction is larger than {TRANSACTION_LEN_MAX} bytes")]
    TooLarge,
    /// Neither the next block nor a later one could contain it.
    #[error("{0}")]
    Inadmissible(#[from] TransactionError),
    /// The pool is full, and no sender has a lower reputation.
    #[error("too many transactions wait for a block; send it again in some seconds")]
    Full,
    /// The sender's quota is used up.
    #[error(
        "{PER_SENDER_MAX} transactions of this sender wait already; send more when some of them \
         are in a block"
    )]
    SenderFull,
    /// Another transaction of the sender has this nonce.
    #[error("another transaction with nonce {0} waits already")]
    NonceTaken(u64),
}

#[derive(Debug, Default)]
pub(super) struct Pool {
    senders: BTreeMap<NodeId, BTreeMap<u64, PooledTransaction>>,
    /// Sender and nonce of each transaction.
    ids: HashMap<TransactionId, (NodeId, u64)>,
    bytes: usize,
}

#[derive(Debug)]
struct PooledTransaction {
    transaction: Verified<SignedTransaction>,
    signature: VerifiedSignature,
    id: TransactionId,
    len: usize,
}

fn reputation(state: &State, sender: &NodeId) -> u64 {
    state.sender_view(sender).reputation()
}

/// A sender's waiting transactions that could be applied one after the other. The nonces of a
/// registered sender must be consecutive, so a gap ends the sequence. Of an unregistered sender
/// only the registration can be applied.
fn applicable_prefix<'p>(
    view: SenderView<'_>,
    waiting: &'p BTreeMap<u64, PooledTransaction>,
) -> impl Iterator<Item = &'p PooledTransaction> + use<'p> {
    let next = view.nonce();
    let follows = move |((nonce, _), position): &((&u64, &PooledTransaction), u64)| match next {
        Some(next) => next.checked_add(*position) == Some(**nonce),
        None => *position == 0,
    };
    waiting.iter().zip(0..).take_while(follows).map(|((_, item), _)| item)
}

impl Pool {
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn contains(&self, id: &TransactionId) -> bool {
        self.ids.contains_key(id)
    }

    /// The first nonce from `nonce` on that no waiting transaction of the sender has.
    pub(super) fn next_nonce(&self, sender: &NodeId, mut nonce: u64) -> u64 {
        if let Some(waiting) = self.senders.get(sender) {
            while waiting.contains_key(&nonce) {
                nonce += 1;
            }
        }
        nonce
    }

    /// Signatures of those transactions that wait here with the same signature.
    pub(super) fn verified_signatures(
        &self,
        transactions: &[SignedTransaction],
    ) -> Vec<VerifiedSignature> {
        let waiting = |t: &SignedTransaction| {
            self.senders.get(&t.transaction.sender)?.get(&t.transaction.nonce)
        };
        let same = |t: &SignedTransaction| {
            waiting(t).filter(|w| *w.transaction == *t).map(|w| w.signature)
        };
        transactions.iter().filter_map(same).collect()
    }

    /// Those of the transactions that wait here.
    pub(super) fn get<'i>(
        &self,
        ids: impl Iterator<Item = &'i TransactionId>,
    ) -> Vec<SignedTransaction> {
        let waiting =
            |id| self.ids.get(id).and_then(|(sender, nonce)| self.senders.get(sender)?.get(nonce));
        ids.filter_map(waiting).map(|w| SignedTransaction::clone(&w.transaction)).collect()
    }

    pub(super) fn insert(
        &mut self,
        transaction: Verified<SignedTransaction>,
        state: &State,
        height: Height,
    ) -> Result<bool, Rejected> {
        let id = transaction.id();
        if self.ids.contains_key(&id) {
            return Ok(false);
        }
        let view = state.sender_view(&transaction.transaction.sender);
        view.admits(&transaction.transaction, height)?;
        let len = borsh::object_length(&*transaction).unwrap_or(usize::MAX);
        if len > TRANSACTION_LEN_MAX {
            return Err(Rejected::TooLarge);
        }
        let (sender, nonce) = (transaction.transaction.sender, transaction.transaction.nonce);
        let mut displaced = None;
        if let Some(waiting) = self.senders.get(&sender) {
            if waiting.contains_key(&nonce) {
                return Err(Rejected::NonceTaken(nonce));
            }
            if waiting.len() >= PER_SENDER_MAX {
                // All later transactions may depend on an earlier one.
                let last = waiting.keys().next_back().copied().filter(|last| nonce < *last);
                displaced = Some(last.ok_or(Rejected::SenderFull)?);
            }
        }
        let displaced = displaced.and_then(|last| self.take(&sender, last));
        if let Err(error) = self.make_room(state, view.reputation(), len) {
            displaced.into_iter().for_each(|item| self.put(item));
            return Err(error);
        }
        self.put(PooledTransaction {
            signature: VerifiedSignature::of(&transaction),
            transaction,
            id,
            len,
        });
        Ok(true)
    }

    fn put(&mut self, item: PooledTransaction) {
        let (sender, nonce) =
            (item.transaction.transaction.sender, item.transaction.transaction.nonce);
        self.ids.insert(item.id, (sender, nonce));
        self.bytes += item.len;
        self.senders.entry(sender).or_default().insert(nonce, item);
    }

    fn take(&mut self, sender: &NodeId, nonce: u64) -> Option<PooledTransaction> {
        let waiting = self.senders.get_mut(sender)?;
        let item = waiting.remove(&nonce)?;
        if waiting.is_empty() {
            self.senders.remove(sender);
        }
        self.ids.remove(&item.id);
        self.bytes -= item.len;
        Some(item)
    }

    /// Makes room for a transaction of `len` bytes, if evicting senders with less reputation than
    /// `than` frees enough. Otherwise evicts nothing.
    fn make_room(&mut self, state: &State, than: u64, len: usize) -> Result<(), Rejected> {
        let is_short = |items: usize, bytes: usize| items >= ITEMS_MAX || bytes + len > BYTES_MAX;
        if !is_short(self.ids.len(), self.bytes) {
            return Ok(());
        }
        let lesser = self.senders.iter().filter(|(sender, _)| reputation(state, sender) < than);
        let lesser = lesser.flat_map(|(_, waiting)| waiting.values());
        let (items, bytes) = lesser.fold((0, 0), |(items, bytes), w| (items + 1, bytes + w.len));
        if is_short(self.ids.len() - items, self.bytes - bytes) {
            return Err(Rejected::Full);
        }
        while is_short(self.ids.len(), self.bytes) {
            self.evict_lowest(state);
        }
        Ok(())
    }

    /// Drops the last transaction of the sender with the lowest reputation.
    fn evict_lowest(&mut self, state: &State) {
        let least = self.senders.keys().map(|sender| (reputation(state, sender), *sender)).min();
        let Some((_, sender)) = least else { return };
        let last =
            self.senders.get(&sender).and_then(|waiting| waiting.keys().next_back().copied());
        last.and_then(|nonce| self.take(&sender, nonce));
    }

    pub(super) fn select(
        &self,
        state: &State,
        height: Height,
        len_max: usize,
        count_max: usize,
    ) -> Vec<Verified<SignedTransaction>> {
        let view = |(sender, waiting)| (state.sender_view(sender), waiting);
        let mut senders: Vec<(SenderView<'_>, &BTreeMap<u64, PooledTransaction>)> =
            self.senders.iter().map(view).collect();
        // Senders of equal reputation stay in the order of their ids.
        senders.sort_by_key(|(view, _)| Reverse(view.reputation()));
        let mut queues: Vec<_> = Vec::with_capacity(senders.len());
        for (view, waiting) in senders {
            queues.push((view, applicable_prefix(view, waiting)));
        }
        let (mut selected, mut len) = (Vec::new(), 0);
        while !queues.is_empty() {
            queues.retain_mut(|(view, waiting)| {
                let Some(item) = waiting.next() else { return false };
                if len + item.len > len_max || selected.len() >= count_max {
                    return false;
                }
                if view.admits(&item.transaction.transaction, height).is_ok() {
                    len += item.len;
                    selected.push(item.transaction.clone());
                }
                true
            });
        }
        selected
    }

    /// Whether any transaction could be selected.
    pub(super) fn has_applicable(&self, state: &State, height: Height) -> bool {
        self.senders.iter().any(|(sender, waiting)| {
            let view = state.sender_view(sender);
            applicable_prefix(view, waiting)
                .any(|item| view.admits(&item.transaction.transaction, height).is_ok())
        })
    }

    pub(super) fn prune(&mut self, state: &State, height: Height) {
        let Self { senders, ids, bytes } = self;
        senders.retain(|sender, waiting| {
            let view = state.sender_view(sender);
            waiting.retain(|_, item| {
                let keep = view.admits(&item.transaction.transaction, height).is_ok();
                if !keep {
                    ids.remove(&item.id);
                    *bytes -= item.len;
                }
                keep
            });
            !waiting.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tequio_core::{
        content::{Cid, CidCodec},
        crypto::NodeKey,
        ledger::{Action, Entry, Transaction, state::Account},
        types::{ChainId, Unverified},
    };

    const CHAIN: ChainId = ChainId([1; 32]);

    fn key(n: u8) -> NodeKey {
        NodeKey::from_bytes(&[n; 32])
    }

    fn state(senders: &[u8]) -> State {
        let mut state = State::default();
        for n in senders {
            state.insert(Entry::Account(Account::new(key(*n).id(), 5)));
        }
        state
    }

    fn transaction(n: u8, nonce: u64) -> Verified<SignedTransaction> {
        let action = Action::UpdateRef {
            name: "x".try_into().unwrap(),
            expected: 0,
            cid: Cid::of(CidCodec::Raw, &nonce.to_le_bytes()),
        };
        let transaction =
            Transaction { chain: CHAIN, sender: key(n).id(), nonce, expires: 10, action };
        Unverified::new(transaction.sign(&key(n))).verify(&CHAIN).unwrap()
    }

    #[test]
    fn selects_senders_round_robin_and_nonces_in_order() {
        let (state, mut pool) = (state(&[1, 2]), Pool::default());
        for (n, nonce) in [(1, 6), (1, 5), (1, 8), (2, 5)] {
            assert!(pool.insert(transaction(n, nonce), &state, 1).unwrap());
        }
        assert!(!pool.insert(transaction(1, 5), &state, 1).unwrap(), "known");
        let mut found: Vec<_> =
            pool.select(&state, 1, usize::MAX, 10).iter().map(|t| t.transaction.nonce).collect();
        found.sort_unstable();
        assert_eq!(found, [5, 5, 6], "nonce 8 waits for 7");
        assert_eq!(pool.select(&state, 1, usize::MAX, 2).len(), 2);
        assert_eq!(pool.select(&state, 1, 10, 10).len(), 0);
    }

    #[test]
    fn returns_verified_signatures_only_if_they_are_equal() {
        let (state, mut pool) = (state(&[1]), Pool::default());
        let (waits, other) = (transaction(1, 5), transaction(1, 6));
        pool.insert(waits.clone(), &state, 1).unwrap();
        let forged =
            SignedTransaction { signature: other.signature, ..SignedTransaction::clone(&waits) };
        let block = [other.into_inner(), forged, waits.clone().into_inner()];
        assert_eq!(pool.verified_signatures(&block), [VerifiedSignature::of(&waits)]);
    }

    #[test]
    fn refuses_inapplicable_transactions_and_prunes_them_later() {
        let (state, mut pool) = (state(&[1]), Pool::default());
        let refused = |r: Result<bool, Rejected>| matches!(r, Err(Rejected::Inadmissible(_)));
        assert!(refused(pool.insert(transaction(1, 4), &state, 1)), "used nonce");
        assert!(refused(pool.insert(transaction(3, 5), &state, 1)), "no account");
        assert!(refused(pool.insert(transaction(1, 5), &state, 11)), "expired");
        pool.insert(transaction(1, 5), &state, 1).unwrap();
        pool.prune(&state, 11);
        assert_eq!((pool.ids.len(), pool.bytes, pool.senders.len()), (0, 0, 0));
    }

    #[test]
    fn one_sender_cannot_fill_the_pool() {
        let (state, mut pool) = (state(&[1, 2]), Pool::default());
        let first = transaction(1, 5).id();
        assert!(!pool.contains(&first));
        for nonce in 0..PER_SENDER_MAX as u64 {
            pool.insert(transaction(1, 5 + nonce), &state, 1).unwrap();
        }
        assert_eq!(pool.insert(transaction(1, 5000), &state, 1), Err(Rejected::SenderFull));
        pool.insert(transaction(2, 5), &state, 1).unwrap();
        assert!(pool.contains(&first));
    }

    #[test]
    fn a_sender_at_its_limit_can_still_fill_its_nonce_gap() {
        let (state, mut pool) = (state(&[1]), Pool::default());
        let last = 5 + PER_SENDER_MAX as u64;
        for nonce in 6..=last {
            pool.insert(transaction(1, nonce), &state, 1).unwrap();
        }
        assert!(pool.select(&state, 1, usize::MAX, usize::MAX).is_empty());
        assert_eq!(pool.insert(transaction(1, last + 1), &state, 1), Err(Rejected::SenderFull));
        // Full in bytes, too: no sender has a lower reputation, so all stay.
        let bytes = pool.bytes;
        pool.bytes += BYTES_MAX;
        assert_eq!(pool.insert(transaction(1, 5), &state, 1), Err(Rejected::Full));
        assert_eq!((pool.bytes, pool.len()), (bytes + BYTES_MAX, PER_SENDER_MAX));
        pool.bytes = bytes;
        assert!(pool.insert(transaction(1, 5), &state, 1).unwrap());
        let selected = pool.select(&state, 1, usize::MAX, usize::MAX);
        let nonces: Vec<_> = selected.iter().map(|t| t.transaction.nonce).collect();
        assert_eq!(nonces, (5..last).collect::<Vec<_>>());
        assert_eq!(
            (pool.len(), pool.contains(&transaction(1, last).id())),
            (PER_SENDER_MAX, false)
        );
    }

    #[test]
    fn higher_reputation_is_selected_first_and_evicts_lower_when_full() {
        let (mut state, mut pool) = (state(&[1, 2]), Pool::default());
        state.insert(Entry::Account(Account { reputation: 7, ..Account::new(key(3).id(), 5) }));
        for n in 1..=3 {
            pool.insert(transaction(n, 5), &state, 1).unwrap();
        }
        let selected = pool.select(&state, 1, usize::MAX, 1);
        assert_eq!(selected.first().unwrap().transaction.sender, key(3).id());
        // As if the pool had many more bytes.
        pool.bytes += BYTES_MAX;
        assert_eq!(
            pool.insert(transaction(1, 6), &state, 1),
            Err(Rejected::Full),
            "no less than the others"
        );
        assert_eq!(
            pool.insert(transaction(3, 6), &state, 1),
            Err(Rejected::Full),
            "the others are not enough"
        );
        assert_eq!(pool.len(), 3, "nothing is evicted for a rejected transaction");
        // Full to the last byte: evicting one transaction is just enough.
        pool.bytes = BYTES_MAX;
        assert!(pool.insert(transaction(3, 6), &state, 1).unwrap());
        assert_eq!(pool.len(), 3);
        let of = |n| pool.senders.get(&key(n).id()).map_or(0, BTreeMap::len);
        assert_eq!((of(1) + of(2), of(3)), (1, 2));
        let [first, second] = [transaction(3, 5), transaction(3, 6)];
        let unknown = transaction(9, 9).id();
        assert_eq!(
            pool.get([second.id(), unknown, first.id()].iter()),
            [second.into_inner(), first.into_inner()]
        );
    }
}
