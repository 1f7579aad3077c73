use super::{
    super::{
        tables::{META, VERSION_KEY},
        tests::Chain,
    },
    *,
};
use std::collections::BTreeSet;
use tequio_core::{
    codec,
    ledger::{Entry, state::Account},
    types::NodeId,
};

impl Chain {
    /// Appends a block that changes these accounts, besides the entries that every block changes.
    fn change(&mut self, accounts: impl IntoIterator<Item = u8>) {
        self.append_with(&[], |block, outcome| {
            for number in accounts {
                let entry = account(number, block.header.height);
                outcome.changes.push(StateChange::new(entry.clone()));
                outcome.state.insert(entry);
            }
            block.header.state = outcome.state.root();
        });
    }

    /// Heights of the blocks whose changes are stored.
    fn kept(&self) -> Vec<Height> {
        let changes = self.store.read().unwrap().open_table(CHANGES).unwrap();
        changes.iter().unwrap().map(|item| item.unwrap().0.value()).collect()
    }

    /// The table's entry under a key.
    fn in_table(&self, key: &StateKeyBytes) -> Option<Vec<u8>> {
        let entries = self.store.read().unwrap().open_table(ENTRIES).unwrap();
        entries.get(key).unwrap().map(|bytes| bytes.value().to_vec())
    }
}

fn account(number: u8, nonce: u64) -> Entry {
    Entry::Account(Account::new(NodeId([number; 32]), nonce))
}

/// Keys that blocks change at any height: as many as a byte has values, in no order.
fn some(seed: u64) -> impl Iterator<Item = u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x as u8
    };
    let count = next() % 8;
    let chosen: BTreeSet<u8> = (0..count).map(|_| next()).collect();
    chosen.into_iter()
}

#[test]
fn the_slices_are_the_whole_range_and_do_not_overlap() {
    let slices: Vec<_> = (0..SLICES).map(slice_at).collect();
    assert_eq!((*slices[0].start(), *slices[slices.len() - 1].end()), ([0; 32], [0xff; 32]));
    for pair in slices.windows(2) {
        let (end, start) = (pair[0].end(), pair[1].start());
        assert_eq!((end[0] + 1, &end[1..], &start[1..]), (start[0], &[0xff; 31][..], &[0; 31][..]));
    }
    assert_eq!(slice_at(SLICES + 7), slice_at(7));
}

#[test]
fn the_state_is_complete_after_every_reopening() {
    let mut chain = Chain::new();
    for height in 1..=4 * SLICES {
        chain.change(some(height));
        if height % 13 == 0 {
            chain = chain.reopened();
        }
    }
    chain.reopened();
}

#[test]
fn stored_changes_and_memory_complete_the_table() {
    let mut chain = Chain::new();
    for height in 1..=3 * SLICES {
        chain.change(some(height));
        assert_eq!(
            chain.kept(),
            ((height + 2).saturating_sub(SLICES).max(1)..=height).collect::<Vec<_>>()
        );
        let unmerged = chain.store.unmerged_changes();
        for entry in chain.head.state.entries() {
            let (key, bytes) = (entry.state_key().0, codec::encode(entry));
            match unmerged.entries.get(&key) {
                Some(waits) => assert_eq!(*waits, bytes),
                None => assert_eq!(chain.in_table(&key), Some(bytes)),
            }
        }
        let read = chain.store.read().unwrap();
        let again = UnmergedChanges::load(&read.open_table(CHANGES).unwrap(), height).unwrap();
        assert!(unmerged.entries.iter().all(|(key, bytes)| again.entries.get(key) == Some(bytes)));
    }
    // A change that no later block overwrites is in the table once each slice was merged.
    chain.change([7]);
    (1..SLICES).for_each(|_| chain.change([]));
    assert_eq!(
        chain.in_table(&account(7, 0).state_key().0),
        Some(codec::encode(&account(7, 3 * SLICES + 1)))
    );
    let every_block = chain.store.unmerged_changes().entries.len();
    assert!(every_block <= SLICES as usize, "{every_block}");
}

#[test]
fn an_entry_changed_by_many_blocks_is_written_once_per_cycle() {
    let mut chain = Chain::new();
    let key = account(1, 0).state_key().0;
    let mut found = BTreeSet::new();
    for _ in 0..2 * SLICES {
        chain.change([1]);
        found.extend(chain.in_table(&key));
    }
    assert_eq!(found.len(), 2);
}

#[test]
fn a_block_merged_late_does_not_revert_newer_changes() {
    let mut chain = Chain::new();
    chain.change([1]);
    // As if another thread had appended the second block before this one has entered the first.
    *chain.store.unmerged_changes() = UnmergedChanges::default();
    chain.change([1]);
    let late = [StateChange::new(account(1, 1))];
    chain.store.on_changes_committed(1, &late);
    {
        let unmerged = chain.store.unmerged_changes();
        assert_eq!(
            (
                unmerged.head,
                unmerged.entries.values().filter(|waits| **waits == late[0].bytes).count()
            ),
            (2, 0)
        );
    }
    (0..SLICES).for_each(|_| chain.change([]));
    assert_eq!(chain.in_table(&account(1, 0).state_key().0), Some(codec::encode(&account(1, 2))));
    chain.reopened();
}

#[test]
fn a_fetched_state_leaves_no_changes_of_the_one_before() {
    let mut other = Chain::new();
    (0..40).for_each(|_| other.change([2, 3]));
    let mut chain = Chain::new();
    (0..20).for_each(|_| chain.change([1, 2]));
    let at = chain.store.stage_begin(&other.head.header).unwrap();
    let entries: Vec<_> = other.head.state.entries().cloned().collect();
    chain.store.stage(at, &entries, None).unwrap();
    chain.store.adopt(&other.head.header).unwrap();
    chain.head = other.head;
    assert!(chain.kept().is_empty());
    let mut chain = chain.reopened();
    for height in 0..2 * SLICES {
        chain.change([4]);
        if height % 20 == 0 {
            chain = chain.reopened();
        }
    }
    assert_eq!(chain.in_table(&account(1, 0).state_key().0), None);
    chain.reopened();
}

#[test]
fn a_fetched_state_is_in_effect_before_the_store_is_reopened() {
    let mut other = Chain::new();
    (0..21).for_each(|_| other.change([2]));
    let mut chain = Chain::new();
    (0..20).for_each(|_| chain.change([1]));
    let at = chain.store.stage_begin(&other.head.header).unwrap();
    chain.store.stage(at, &other.head.state.entries().cloned().collect::<Vec<_>>(), None).unwrap();
    chain.store.adopt(&other.head.header).unwrap();
    chain.head = other.head;
    (0..SLICES).for_each(|_| chain.change([]));
    assert_eq!(chain.in_table(&account(1, 0).state_key().0), None);
    chain.reopened();
}

#[test]
fn a_store_of_version_3_is_upgraded() {
    let mut chain = Chain::new();
    (1..=10).for_each(|height| chain.change(some(height)));
    // The older version's table had all entries, and no changes were stored.
    let write = chain.store.write().unwrap();
    {
        let mut entries = write.open_table(ENTRIES).unwrap();
        for entry in chain.head.state.entries() {
            entries.insert(&entry.state_key().0, codec::encode(entry).as_slice()).unwrap();
        }
        write.open_table(META).unwrap().insert(VERSION_KEY, 3u32.to_le_bytes().as_slice()).unwrap();
    }
    write.delete_table(CHANGES).unwrap();
    write.commit().unwrap();
    let mut chain = chain.reopened();
    (0..SLICES).for_each(|_| {
        let height = chain.height();
        chain.change(some(height));
    });
    chain.reopened();
}
