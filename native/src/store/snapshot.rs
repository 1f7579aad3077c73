//! Complete states besides the newest one.
//!
//! *Staged*: a state that is being fetched in chunks, with the key at which the next chunk begins.
//! It has tables of its own until it is complete, so a partial state is never used. *Replay base*:
//! the state below the lowest block, from which the blocks can be replayed. There is none while the
//! store has all blocks. *Next replay base*: the state that becomes the replay base when the blocks
//! up to it are pruned.

use super::{
    Store, StoreError,
    chain::{HEADER_LEN_MAX, read_entries},
    meta::{height_in, lowest_in},
    tables::{
        BLOCK_RECEIPTS, BLOCKS, CHANGES, CONSENSUS_WAL, ENTRIES, HEAD_KEY, HEADERS, LOWEST_KEY,
        META, NEXT_REPLAY_BASE, NEXT_REPLAY_BASE_KEY, PRUNED_AT_KEY, RECEIPT_INDEX, REPLAY_BASE,
        STAGED, STAGED_KEY, STAGED_REPLAY_BASE,
    },
};
use borsh::{BorshDeserialize, BorshSerialize};
use redb::{ReadableTable, TableDefinition, WriteTransaction};
use tequio_core::{
    codec,
    ledger::{Entry, State},
    types::{Digest, Height},
    wire::light::FinalHeader,
};

/// Entries per write transaction, so that a block that becomes final meanwhile waits only
/// milliseconds.
const ENTRIES_AT_ONCE: usize = 2048;
const PROGRESS_LEN_MAX: usize = HEADER_LEN_MAX + 64;

/// Progress of a state that is being fetched or written.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SnapshotProgress {
    /// The final header that commits to it.
    pub header: FinalHeader,
    /// Key at which the next chunk begins. None once the state is complete.
    pub next: Option<Digest>,
    /// Entries stored so far.
    pub entries: u64,
}

impl Store {
    /// The lowest height from which on the store has all blocks.
    pub fn lowest_block(&self) -> Result<Height, StoreError> {
        lowest_in(&self.read()?.open_table(META)?)
    }

    /// Progress of the state that is being fetched, if any.
    pub fn staged(&self) -> Result<Option<SnapshotProgress>, StoreError> {
        self.progress(STAGED_KEY)
    }

    /// Starts to fetch a state. Discards an earlier staged state.
    pub fn stage_begin(&self, header: &FinalHeader) -> Result<SnapshotProgress, StoreError> {
        let progress =
            SnapshotProgress { header: header.clone(), next: Some(Digest([0; 32])), entries: 0 };
        let write = self.write()?;
        write.delete_table(STAGED)?;
        write.delete_table(STAGED_REPLAY_BASE)?;
        write.open_table(STAGED)?;
        write.open_table(STAGED_REPLAY_BASE)?;
        set_progress(&write, STAGED_KEY, Some(&progress))?;
        write.commit()?;
        Ok(progress)
    }

    /// Stores a proved chunk together with the key at which the next one begins.
    pub fn stage(
        &self,
        mut at: SnapshotProgress,
        entries: &[Entry],
        next: Option<Digest>,
    ) -> Result<SnapshotProgress, StoreError> {
        at.next = next;
        at.entries += entries.len() as u64;
        let write = self.write()?;
        put(&write, STAGED, entries.iter())?;
        put(&write, STAGED_REPLAY_BASE, entries.iter())?;
        set_progress(&write, STAGED_KEY, Some(&at))?;
        write.commit()?;
        Ok(at)
    }

    /// The complete staged state.
    pub fn staged_state(&self) -> Result<State, StoreError> {
        read_entries(&self.read()?, STAGED)
    }

    /// Makes the staged state, which must be complete, the newest one. [`Store::prune_blocks`]
    /// removes the blocks below it.
    pub fn adopt(&self, header: &FinalHeader) -> Result<(), StoreError> {
        let staged =
            self.staged()?.filter(|staged| staged.next.is_none() && staged.header == *header);
        staged.ok_or(StoreError::Damaged("the fetched state"))?;
        let height = header.header.height;
        let write = self.write()?;
        for table in [ENTRIES, REPLAY_BASE, NEXT_REPLAY_BASE] {
            write.delete_table(table)?;
        }
        write.rename_table(STAGED, ENTRIES)?;
        write.rename_table(STAGED_REPLAY_BASE, REPLAY_BASE)?;
        for table in [STAGED, STAGED_REPLAY_BASE, NEXT_REPLAY_BASE] {
            write.open_table(table)?;
        }
        write.delete_table(CHANGES)?;
        write.open_table(CHANGES)?;
        // All entries belong to blocks that will be pruned.
        write.delete_table(RECEIPT_INDEX)?;
        write.open_table(RECEIPT_INDEX)?;
        write.open_table(HEADERS)?.insert(height, codec::encode(header).as_slice())?;
        write.open_table(CONSENSUS_WAL)?.retain_in(..=(height, u64::MAX), |_, _| false)?;
        set_progress(&write, STAGED_KEY, None)?;
        set_progress(&write, NEXT_REPLAY_BASE_KEY, None)?;
        set_height(&write, HEAD_KEY, height)?;
        set_height(&write, LOWEST_KEY, height + 1)?;
        write.commit()?;
        self.on_state_adopted(height);
        Ok(())
    }

    /// Discards the staged state.
    pub fn unstage(&self) -> Result<(), StoreError> {
        let write = self.write()?;
        for table in [STAGED, STAGED_REPLAY_BASE] {
            write.delete_table(table)?;
            write.open_table(table)?;
        }
        set_progress(&write, STAGED_KEY, None)?;
        Ok(write.commit()?)
    }

    /// The replay base with its header. None if the blocks are replayed from the genesis.
    pub fn replay_base(&self) -> Result<Option<(FinalHeader, State)>, StoreError> {
        let lowest = self.lowest_block()?;
        if lowest <= 1 {
            return Ok(None);
        }
        let header = self
            .final_header(lowest - 1)?
            .ok_or(StoreError::Damaged("the header of the kept state"))?;
        let state = read_entries(&self.read()?, REPLAY_BASE)?;
        if state.root() != header.header.state {
            return Err(StoreError::Damaged("the kept state"));
        }
        Ok(Some((header, state)))
    }

    /// The height of the next replay base, if it is completely written.
    pub fn next_replay_base(&self) -> Result<Option<Height>, StoreError> {
        Ok(self
            .progress(NEXT_REPLAY_BASE_KEY)?
            .filter(|p| p.next.is_none())
            .map(|p| p.header.header.height))
    }

    /// Writes a final state in steps as the next replay base.
    pub fn write_next_replay_base(
        &self,
        header: &FinalHeader,
        state: &State,
    ) -> Result<(), StoreError> {
        let mut progress =
            SnapshotProgress { header: header.clone(), next: Some(Digest([0; 32])), entries: 0 };
        let write = self.write()?;
        write.delete_table(NEXT_REPLAY_BASE)?;
        write.open_table(NEXT_REPLAY_BASE)?;
        set_progress(&write, NEXT_REPLAY_BASE_KEY, Some(&progress))?;
        write.commit()?;
        let mut entries = state.entries().peekable();
        while entries.peek().is_some() {
            let write = self.write()?;
            put(&write, NEXT_REPLAY_BASE, entries.by_ref().take(ENTRIES_AT_ONCE))?;
            write.commit()?;
        }
        progress.next = None;
        progress.entries = state.entries().count() as u64;
        let write = self.write()?;
        set_progress(&write, NEXT_REPLAY_BASE_KEY, Some(&progress))?;
        Ok(write.commit()?)
    }

    /// Makes the next replay base the replay base. The blocks up to it are no longer needed.
    pub fn promote_next_replay_base(&self) -> Result<(), StoreError> {
        let Some(height) = self.next_replay_base()? else { return Ok(()) };
        let write = self.write()?;
        write.delete_table(REPLAY_BASE)?;
        write.rename_table(NEXT_REPLAY_BASE, REPLAY_BASE)?;
        write.open_table(NEXT_REPLAY_BASE)?;
        set_progress(&write, NEXT_REPLAY_BASE_KEY, None)?;
        set_height(&write, LOWEST_KEY, height + 1)?;
        let head = height_in(&write.open_table(META)?, HEAD_KEY)?
            .ok_or(StoreError::Damaged("the head"))?;
        set_height(&write, PRUNED_AT_KEY, head)?;
        Ok(write.commit()?)
    }

    /// Removes up to `count_max` blocks below the lowest one that is needed, with the receipts of
    /// their transactions. Later blocks remove their index entries. Returns the number of removed
    /// blocks. Headers and certificates stay, because they are small and light nodes request them.
    pub fn prune_blocks(&self, count_max: usize) -> Result<usize, StoreError> {
        let lowest = self.lowest_block()?;
        // Usually there is nothing to remove, and a write costs a sync.
        let first = self.read()?.open_table(BLOCKS)?.first()?.map(|(height, _)| height.value());
        if first.is_none_or(|first| first >= lowest) {
            return Ok(0);
        }
        let write = self.write()?;
        let heights = {
            let (mut blocks, mut receipts) =
                (write.open_table(BLOCKS)?, write.open_table(BLOCK_RECEIPTS)?);
            let heights = blocks.range(..lowest)?.take(count_max).map(|item| Ok(item?.0.value()));
            let heights = heights.collect::<Result<Vec<_>, StoreError>>()?;
            for height in &heights {
                blocks.remove(height)?;
                receipts.remove(height)?;
            }
            heights
        };
        write.commit()?;
        Ok(heights.len())
    }

    fn progress(&self, key: &str) -> Result<Option<SnapshotProgress>, StoreError> {
        let read = self.read()?;
        let bytes = read.open_table(META)?.get(key)?;
        let progress = bytes.map(|b| codec::decode(b.value(), PROGRESS_LEN_MAX)).transpose();
        progress.map_err(|_| StoreError::Damaged("how far a state is"))
    }
}

fn set_progress(
    write: &WriteTransaction,
    key: &str,
    progress: Option<&SnapshotProgress>,
) -> Result<(), StoreError> {
    let mut meta = write.open_table(META)?;
    match progress {
        Some(progress) => drop(meta.insert(key, codec::encode(progress).as_slice())?),
        None => drop(meta.remove(key)?),
    }
    Ok(())
}

fn set_height(write: &WriteTransaction, key: &str, height: Height) -> Result<(), StoreError> {
    write.open_table(META)?.insert(key, height.to_le_bytes().as_slice())?;
    Ok(())
}

fn put<'a>(
    write: &WriteTransaction,
    table: TableDefinition<&'static [u8; 32], &'static [u8]>,
    entries: impl Iterator<Item = &'a Entry>,
) -> Result<(), StoreError> {
    let mut table = write.open_table(table)?;
    for entry in entries {
        table.insert(&entry.state_key().0, codec::encode(entry).as_slice())?;
    }
    Ok(())
}
