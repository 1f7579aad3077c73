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
    database::Store,
    error::StoreError,
    tables::{CHANGES, ENTRIES},
    unmerged_changes::{SLICES, StateKeyBytes, UnmergedChanges, slice_at},
};
use redb::{ReadableTable, WriteTransaction};
use std::{
    collections::BTreeMap,
    sync::{MutexGuard, PoisonError},
};
use tequio_core::{ledger::StateChange, types::Height};

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
