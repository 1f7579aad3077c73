//! The entries of the newest state: the changes of the newest blocks, and a table of all entries
//! that merges these changes slice by slice.
//!
//! State keys are random. A table that merged every change with its block would write about one
//! page for each change, again and again for an entry that many blocks change. So a block stores
//! its changes in one value. It also merges one slice of the key range into the table, but for the
//! last [`SLICES`] blocks, its own included, and only the last change of each entry. Slice `s` of
//! block `b` is in the table once a height `h` in `b..=head` has `h mod SLICES = s`. When all
//! slices are merged, the changes of `b` may be deleted. Changes that the table lacks are kept in
//! memory, and read again when the store is opened. Rationale:
//! `docs/adr/0023-incremental-state-table.md`.

use super::{
    Store, StoreError,
    tables::{CHANGES, ENTRIES},
};
use borsh::BorshDeserialize;
use redb::{ReadableTable, WriteTransaction};
use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    sync::{MutexGuard, PoisonError},
};
use tequio_core::{
    codec,
    ledger::{State, StateChange, state::ENTRY_LEN_MAX},
    types::Height,
};

/// Number of slices of the key range, by the first six bits. Each block merges one of them into the
/// table.
const SLICES: Height = 64;

type StateKeyBytes = [u8; 32];

/// The slice that the block at this height merges.
fn slice_at(height: Height) -> RangeInclusive<StateKeyBytes> {
    const WIDTH: u8 = (256 / SLICES) as u8;
    let first = (height % SLICES) as u8 * WIDTH;
    let (mut from, mut to) = ([0; 32], [u8::MAX; 32]);
    (from[0], to[0]) = (first, first + (WIDTH - 1));
    from..=to
}

/// Changes that the table lacks: the last one of each entry, at most what [`SLICES`] blocks can
/// change. After the store is opened, some of them may be in the table as well.
#[derive(Debug, Default)]
pub(super) struct UnmergedChanges {
    head: Height,
    entries: BTreeMap<StateKeyBytes, Vec<u8>>,
}

impl UnmergedChanges {
    /// Reads all stored changes. Changes that are already in the table do no harm.
    pub(super) fn load(
        changes: &impl ReadableTable<u64, &'static [u8]>,
        head: Height,
    ) -> Result<Self, StoreError> {
        let mut entries = BTreeMap::new();
        for item in changes.iter()? {
            let (_, bytes) = item?;
            let mut rest = bytes.value();
            while !rest.is_empty() {
                let change = <(StateKeyBytes, Vec<u8>)>::deserialize(&mut rest);
                let (key, bytes) =
                    change.map_err(|_| StoreError::Damaged("the changes of a block"))?;
                entries.insert(key, bytes);
            }
        }
        Ok(Self { head, entries })
    }

    /// Adds the changes to a state that was read from the table.
    pub(super) fn complete(self, state: &mut State) -> Result<(), StoreError> {
        for bytes in self.entries.into_values() {
            state.insert(
                codec::decode(&bytes, ENTRY_LEN_MAX)
                    .map_err(|_| StoreError::Damaged("the state"))?,
            );
        }
        Ok(())
    }

    /// The entries that a block merges into the table, ordered by key.
    fn take_slice<'a>(
        &'a self,
        slice: &RangeInclusive<StateKeyBytes>,
        changes: &'a [StateChange],
    ) -> BTreeMap<&'a StateKeyBytes, &'a [u8]> {
        let mut due: BTreeMap<_, _> =
            self.entries.range(slice.clone()).map(|(at, bytes)| (at, &bytes[..])).collect();
        let own = changes.iter().filter(|change| slice.contains(&change.state_key().0));
        due.extend(own.map(|change| (&change.state_key().0, &change.bytes[..])));
        due
    }

    /// Called when a block and the slice that it merges are on disk.
    fn on_committed(&mut self, height: Height, changes: &[StateChange]) {
        if self.head + 1 != height {
            // Another thread has appended since; it has read this block's changes, or will read
            // them.
            return;
        }
        self.head = height;
        let slice = slice_at(height);
        let others = changes.iter().filter(|change| !slice.contains(&change.state_key().0));
        self.entries.extend(others.map(|change| (change.state_key().0, change.bytes.clone())));
        self.entries.extract_if(slice, |_, _| true).for_each(drop);
    }
}

impl Store {
    pub(super) fn unmerged_changes(&self) -> MutexGuard<'_, UnmergedChanges> {
        self.unmerged_changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds to a write the changes of the block after the head and the slice that its height
    /// merges. The caller must call [`Store::on_changes_committed`] after the commit.
    pub(super) fn append_changes(
        &self,
        write: &WriteTransaction,
        height: Height,
        changes: &[StateChange],
    ) -> Result<(), StoreError> {
        let mut table = write.open_table(CHANGES)?;
        let mut unmerged = self.unmerged_changes();
        if unmerged.head + 1 != height {
            // A state was fetched, or another thread has appended a block that is not entered yet.
            *unmerged = UnmergedChanges::load(&table, height - 1)?;
        }
        if !changes.is_empty() {
            table.insert(height, encode(changes).as_slice())?;
        }
        // All slices of these blocks are merged.
        let is_done = |first: &Height| first + SLICES <= height + 1;
        while let Some(first) = first(&table)?.filter(is_done) {
            table.remove(first)?;
        }
        let due = unmerged.take_slice(&slice_at(height), changes);
        if !due.is_empty() {
            let mut entries = write.open_table(ENTRIES)?;
            for (key, bytes) in due {
                entries.insert(key, bytes)?;
            }
        }
        Ok(())
    }

    /// Called when the fetched state of this height is on disk.
    pub(super) fn on_state_adopted(&self, height: Height) {
        *self.unmerged_changes() = UnmergedChanges { head: height, entries: BTreeMap::new() };
    }

    /// Called when the write of [`Store::append_changes`] is on disk.
    pub(super) fn on_changes_committed(&self, height: Height, changes: &[StateChange]) {
        self.unmerged_changes().on_committed(height, changes);
    }
}

fn first(changes: &impl ReadableTable<u64, &'static [u8]>) -> Result<Option<Height>, StoreError> {
    Ok(changes.first()?.map(|(height, _)| height.value()))
}

/// The borsh encodings of key and bytes, concatenated.
fn encode(changes: &[StateChange]) -> Vec<u8> {
    let len = changes
        .iter()
        .map(|change| size_of::<StateKeyBytes>() + size_of::<u32>() + change.bytes.len())
        .sum();
    let mut encoded = Vec::with_capacity(len);
    for change in changes {
        encoded.extend_from_slice(&change.state_key().0);
        encoded.extend_from_slice(&(change.bytes.len() as u32).to_le_bytes());
        encoded.extend_from_slice(&change.bytes);
    }
    encoded
}

#[cfg(test)]
mod tests;
