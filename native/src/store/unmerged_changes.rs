//! The changes of the newest blocks that the table of entries lacks, see
//! [`state_table`](super::state_table).

use super::error::StoreError;
use borsh::BorshDeserialize;
use redb::ReadableTable;
use std::{collections::BTreeMap, ops::RangeInclusive};
use tequio_core::{
    codec,
    ledger::{State, StateChange, state::ENTRY_LEN_MAX},
    types::Height,
};

/// Number of slices of the key range, by the first six bits. Each block merges one of them into the
/// table.
pub(super) const SLICES: Height = 64;

pub(super) type StateKeyBytes = [u8; 32];

/// The slice that the block at this height merges.
pub(super) fn slice_at(height: Height) -> RangeInclusive<StateKeyBytes> {
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
    pub(super) head: Height,
    pub(super) entries: BTreeMap<StateKeyBytes, Vec<u8>>,
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
    pub(super) fn take_slice<'a>(
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
    pub(super) fn on_committed(&mut self, height: Height, changes: &[StateChange]) {
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
