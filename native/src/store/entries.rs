//! The entries of the newest state: what each block changes, as it is, and a table of all of them
//! that takes in a slice at a time.
//!
//! The places of entries are random keys. A table that took in every change with its block would
//! write about a page for each of them, again and again for an entry that many blocks change. So a
//! block leaves its changes in one value, and takes one slice of the range of places into the
//! table, but of the last [`SLICES`] blocks, its own included, and of each entry only what came
//! last. Slice `s` of block `b` is in the table once a height `h` in `b..=head` has `h mod SLICES =
//! s`; by then the changes of `b` may go. What the table lacks is kept in memory, and read again
//! when the store is opened. Why it is so: `docs/adr/0023-entries-a-slice-at-a-time.md`.

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
    ledger::{Change, State, state::ENTRY_LEN_MAX},
    types::Height,
};

/// Parts of the range of places, by the first six bits, one of which each block takes into the
/// table.
const SLICES: Height = 64;

type Place = [u8; 32];

/// The slice whose turn it is.
fn slice_at(height: Height) -> RangeInclusive<Place> {
    const WIDTH: u8 = (256 / SLICES) as u8;
    let first = (height % SLICES) as u8 * WIDTH;
    let (mut from, mut to) = ([0; 32], [u8::MAX; 32]);
    (from[0], to[0]) = (first, first + (WIDTH - 1));
    from..=to
}

/// What blocks have changed and the table lacks: the last of each entry. At most what [`SLICES`]
/// blocks can change. What was read when the store was opened may be in the table as well.
#[derive(Debug, Default)]
pub(super) struct Unmerged {
    head: Height,
    entries: BTreeMap<Place, Vec<u8>>,
}

impl Unmerged {
    /// Reads all changes that are kept. Those that are in the table already do no harm.
    pub(super) fn load(
        changes: &impl ReadableTable<u64, &'static [u8]>,
        head: Height,
    ) -> Result<Self, StoreError> {
        let mut entries = BTreeMap::new();
        for item in changes.iter()? {
            let (_, bytes) = item?;
            let mut rest = bytes.value();
            while !rest.is_empty() {
                let change = <(Place, Vec<u8>)>::deserialize(&mut rest);
                let (place, bytes) =
                    change.map_err(|_| StoreError::Damaged("the changes of a block"))?;
                entries.insert(place, bytes);
            }
        }
        Ok(Self { head, entries })
    }

    /// Puts them into a state that has what the table has.
    pub(super) fn complete(self, state: &mut State) -> Result<(), StoreError> {
        for bytes in self.entries.into_values() {
            state.insert(
                codec::decode(&bytes, ENTRY_LEN_MAX)
                    .map_err(|_| StoreError::Damaged("the state"))?,
            );
        }
        Ok(())
    }

    /// What the table takes in with a block, in the order of the places.
    fn due<'a>(
        &'a self,
        slice: &RangeInclusive<Place>,
        changes: &'a [Change],
    ) -> BTreeMap<&'a Place, &'a [u8]> {
        let mut due: BTreeMap<_, _> =
            self.entries.range(slice.clone()).map(|(at, bytes)| (at, &bytes[..])).collect();
        let own = changes.iter().filter(|change| slice.contains(&change.place().0));
        due.extend(own.map(|change| (&change.place().0, &change.bytes[..])));
        due
    }

    /// A block is on disk, and with it the slice whose turn it was.
    fn enter(&mut self, height: Height, changes: &[Change]) {
        if self.head + 1 != height {
            // Whoever has appended since has read it, or will.
            return;
        }
        self.head = height;
        let slice = slice_at(height);
        let others = changes.iter().filter(|change| !slice.contains(&change.place().0));
        self.entries.extend(others.map(|change| (change.place().0, change.bytes.clone())));
        self.entries.extract_if(slice, |_, _| true).for_each(drop);
    }
}

impl Store {
    pub(super) fn unmerged(&self) -> MutexGuard<'_, Unmerged> {
        self.unmerged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what the block after the head changes, and what the table takes in at its height, to a
    /// write. Once that is committed, [`Store::changes_appended`] must be told.
    pub(super) fn append_changes(
        &self,
        write: &WriteTransaction,
        height: Height,
        changes: &[Change],
    ) -> Result<(), StoreError> {
        let mut table = write.open_table(CHANGES)?;
        let mut unmerged = self.unmerged();
        if unmerged.head + 1 != height {
            // A state was fetched, or another thread has appended and not entered it yet.
            *unmerged = Unmerged::load(&table, height - 1)?;
        }
        if !changes.is_empty() {
            table.insert(height, encode(changes).as_slice())?;
        }
        // Each slice has had its turn since.
        let is_done = |first: &Height| first + SLICES <= height + 1;
        while let Some(first) = first(&table)?.filter(is_done) {
            table.remove(first)?;
        }
        let due = unmerged.due(&slice_at(height), changes);
        if !due.is_empty() {
            let mut entries = write.open_table(ENTRIES)?;
            for (place, bytes) in due {
                entries.insert(place, bytes)?;
            }
        }
        Ok(())
    }

    /// The state at this height, fetched whole, is on disk.
    pub(super) fn state_adopted(&self, height: Height) {
        *self.unmerged() = Unmerged { head: height, entries: BTreeMap::new() };
    }

    /// The write to which [`Store::append_changes`] has added is on disk.
    pub(super) fn changes_appended(&self, height: Height, changes: &[Change]) {
        self.unmerged().enter(height, changes);
    }
}

fn first(changes: &impl ReadableTable<u64, &'static [u8]>) -> Result<Option<Height>, StoreError> {
    Ok(changes.first()?.map(|(height, _)| height.value()))
}

/// One after the other: borsh of place and bytes.
fn encode(changes: &[Change]) -> Vec<u8> {
    let len = changes
        .iter()
        .map(|change| size_of::<Place>() + size_of::<u32>() + change.bytes.len())
        .sum();
    let mut encoded = Vec::with_capacity(len);
    for change in changes {
        encoded.extend_from_slice(&change.place().0);
        encoded.extend_from_slice(&(change.bytes.len() as u32).to_le_bytes());
        encoded.extend_from_slice(&change.bytes);
    }
    encoded
}

#[cfg(test)]
mod tests;
