//! The pool itself: verified transactions in the order of each sender's nonces, bounded in items
//! and bytes, with a share for each sender, so that nobody can fill it alone. When it is full,
//! senders of more reputation displace those of less.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};
use tequio_core::{
    ledger::{
        Checked, SignedTransaction, Standing, State, TransactionError, TransactionId,
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

/// Why a transaction does not wait here. The fault is its sender's, but for a full pool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Above a limit of the protocol.
    #[error("the transaction is larger than {TRANSACTION_LEN_MAX} bytes")]
    TooLarge,
    /// Could not be in the next block, nor later.
    #[error("{0}")]
    Inadmissible(#[from] TransactionError),
    /// No room, and nothing that matters less.
    #[error("too many transactions wait for a block; send it again in some seconds")]
    Full,
    /// The sender's share is used up.
    #[error(
        "{PER_SENDER_MAX} transactions of this sender wait already; send more when some of them are in a block"
    )]
    SenderFull,
    /// Another transaction of the sender has this nonce.
    #[error("another transaction with nonce {0} waits already")]
    NonceTaken(u64),
}

#[derive(Debug, Default)]
pub(super) struct Pool {
    senders: BTreeMap<NodeId, BTreeMap<u64, Waiting>>,
    /// Whose, and with which number.
    ids: HashMap<TransactionId, (NodeId, u64)>,
    bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    transaction: Verified<SignedTransaction>,
    checked: Checked,
    id: TransactionId,
    len: usize,
}

fn reputation(state: &State, sender: &NodeId) -> u64 {
    state.standing(sender).reputation()
}

/// What could be applied one after the other of what a sender has waiting: the nonces of a
/// registered one follow each other, and a gap ends its turn; of a newcomer only its registration
/// can be applied.
fn in_turn<'p>(
    standing: Standing<'_>,
    waiting: &'p BTreeMap<u64, Waiting>,
) -> impl Iterator<Item = &'p Waiting> + use<'p> {
    let next = standing.nonce();
    let follows = move |((nonce, _), place): &((&u64, &Waiting), u64)| match next {
        Some(next) => next.checked_add(*place) == Some(**nonce),
        None => *place == 0,
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

    /// The first number from `nonce` on that no waiting transaction of the sender has.
    pub(super) fn next_nonce(&self, sender: &NodeId, mut nonce: u64) -> u64 {
        if let Some(waiting) = self.senders.get(sender) {
            while waiting.contains_key(&nonce) {
                nonce += 1;
            }
        }
        nonce
    }

    /// Those of the transactions that wait here, signature and all.
    pub(super) fn checked(&self, transactions: &[SignedTransaction]) -> Vec<Checked> {
        let waiting = |t: &SignedTransaction| {
            self.senders.get(&t.transaction.sender)?.get(&t.transaction.nonce)
        };
        let same =
            |t: &SignedTransaction| waiting(t).filter(|w| *w.transaction == *t).map(|w| w.checked);
        transactions.iter().filter_map(same).collect()
    }

    /// Those that wait here, of these.
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
        let standing = state.standing(&transaction.transaction.sender);
        standing.admits(&transaction.transaction, height)?;
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
                // What comes earlier may be what all the others wait for.
                let last = waiting.keys().next_back().copied().filter(|last| nonce < *last);
                displaced = Some(last.ok_or(Rejected::SenderFull)?);
            }
        }
        let displaced = displaced.and_then(|last| self.take(&sender, last));
        if let Err(error) = self.make_room(state, standing.reputation(), len) {
            displaced.into_iter().for_each(|item| self.put(item));
            return Err(error);
        }
        self.put(Waiting { checked: Checked::of(&transaction), transaction, id, len });
        Ok(true)
    }

    fn put(&mut self, item: Waiting) {
        let (sender, nonce) =
            (item.transaction.transaction.sender, item.transaction.transaction.nonce);
        self.ids.insert(item.id, (sender, nonce));
        self.bytes += item.len;
        self.senders.entry(sender).or_default().insert(nonce, item);
    }

    fn take(&mut self, sender: &NodeId, nonce: u64) -> Option<Waiting> {
        let waiting = self.senders.get_mut(sender)?;
        let item = waiting.remove(&nonce)?;
        if waiting.is_empty() {
            self.senders.remove(sender);
        }
        self.ids.remove(&item.id);
        self.bytes -= item.len;
        Some(item)
    }

    /// Makes room for one transaction of `len` bytes, if those of senders with less reputation than
    /// `than` leave enough; else all stay.
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
            self.drop_least(state);
        }
        Ok(())
    }

    /// Drops the last transaction of the sender who matters least.
    fn drop_least(&mut self, state: &State) {
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
        let standing = |(sender, waiting)| (state.standing(sender), waiting);
        let mut senders: Vec<(Standing<'_>, &BTreeMap<u64, Waiting>)> =
            self.senders.iter().map(standing).collect();
        // Those of equal reputation stay in the order of their names.
        senders.sort_by_key(|(standing, _)| Reverse(standing.reputation()));
        let mut queues: Vec<_> = Vec::with_capacity(senders.len());
        for (standing, waiting) in senders {
            queues.push((standing, in_turn(standing, waiting)));
        }
        let (mut selected, mut len) = (Vec::new(), 0);
        while !queues.is_empty() {
            queues.retain_mut(|(standing, waiting)| {
                let Some(item) = waiting.next() else { return false };
                if len + item.len > len_max || selected.len() >= count_max {
                    return false;
                }
                if standing.admits(&item.transaction.transaction, height).is_ok() {
                    len += item.len;
                    selected.push(item.transaction.clone());
                }
                true
            });
        }
        selected
    }

    /// Whether anything could be selected.
    pub(super) fn is_wanted(&self, state: &State, height: Height) -> bool {
        self.senders.iter().any(|(sender, waiting)| {
            let standing = state.standing(sender);
            in_turn(standing, waiting)
                .any(|item| standing.admits(&item.transaction.transaction, height).is_ok())
        })
    }

    pub(super) fn prune(&mut self, state: &State, height: Height) {
        let Self { senders, ids, bytes } = self;
        senders.retain(|sender, waiting| {
            let standing = state.standing(sender);
            waiting.retain(|_, item| {
                let keep = standing.admits(&item.transaction.transaction, height).is_ok();
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
        crypto::NodeKey,
        knowledge::{Cid, CidCodec},
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
    fn selects_senders_in_turn_and_nonces_in_order() {
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
    fn vouches_for_what_waits_with_this_very_signature() {
        let (state, mut pool) = (state(&[1]), Pool::default());
        let (waits, other) = (transaction(1, 5), transaction(1, 6));
        pool.insert(waits.clone(), &state, 1).unwrap();
        let forged =
            SignedTransaction { signature: other.signature, ..SignedTransaction::clone(&waits) };
        let block = [other.into_inner(), forged, waits.clone().into_inner()];
        assert_eq!(pool.checked(&block), [Checked::of(&waits)]);
    }

    #[test]
    fn refuses_what_cannot_be_applied_and_drops_it_later() {
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
    fn one_sender_cannot_fill_it() {
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
    fn a_full_sender_can_still_close_the_gap_that_the_others_wait_for() {
        let (state, mut pool) = (state(&[1]), Pool::default());
        let last = 5 + PER_SENDER_MAX as u64;
        for nonce in 6..=last {
            pool.insert(transaction(1, nonce), &state, 1).unwrap();
        }
        assert!(pool.select(&state, 1, usize::MAX, usize::MAX).is_empty());
        assert_eq!(pool.insert(transaction(1, last + 1), &state, 1), Err(Rejected::SenderFull));
        // Full of bytes, too: nobody is worth less, so all stay.
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
    fn reputation_goes_first_and_displaces_when_there_is_no_room() {
        let (mut state, mut pool) = (state(&[1, 2]), Pool::default());
        state.insert(Entry::Account(Account { reputation: 7, ..Account::new(key(3).id(), 5) }));
        for n in 1..=3 {
            pool.insert(transaction(n, 5), &state, 1).unwrap();
        }
        let selected = pool.select(&state, 1, usize::MAX, 1);
        assert_eq!(selected.first().unwrap().transaction.sender, key(3).id());
        // As if much more were there.
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
        assert_eq!(pool.len(), 3, "nobody makes way for one who does not get in");
        // Full to the last byte: one of the others is just enough.
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
