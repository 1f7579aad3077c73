//! States that are here whole besides the newest one.
//!
//! *Staged*: one that is being fetched in chunks, with the place where the next chunk begins. It
//! lies in tables of its own until it is complete, so half of it is never taken for the state.
//! *Kept*: the one below the lowest block, from which the blocks can be replayed; there is none
//! while all blocks are here. *Next*: the one that will be kept once the blocks up to it go.

use super::{
    Store, StoreError,
    chain::{HEADER_LEN_MAX, height_in, lowest_in, read_entries},
    tables::{
        BLOCK_RECEIPTS, BLOCKS, CHANGES, ENTRIES, HEAD_KEY, HEADERS, KEPT, LOG, LOWEST_KEY,
        LOWEST_SINCE_KEY, META, NEXT, NEXT_KEY, RECEIPT_INDEX, STAGED, STAGED_KEPT, STAGED_KEY,
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

/// Entries written in one go, so that a block that becomes final meanwhile waits for milliseconds.
const ENTRIES_AT_ONCE: usize = 2048;
const PROGRESS_LEN_MAX: usize = HEADER_LEN_MAX + 64;

/// How far a state is that is being fetched or written.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Progress {
    /// The final header that commits to it.
    pub header: FinalHeader,
    /// Where the next chunk begins; nothing once all of it is here.
    pub next: Option<Digest>,
    /// Entries that are here.
    pub entries: u64,
}

impl Store {
    /// The lowest block from which on all are here.
    pub fn lowest_block(&self) -> Result<Height, StoreError> {
        lowest_in(&self.read()?.open_table(META)?)
    }

    /// The state that is being fetched, if one is.
    pub fn staged(&self) -> Result<Option<Progress>, StoreError> {
        self.progress(STAGED_KEY)
    }

    /// Begins to fetch a state; what there is of another one goes.
    pub fn stage_begin(&self, header: &FinalHeader) -> Result<Progress, StoreError> {
        let progress = Progress { header: header.clone(), next: Some(Digest([0; 32])), entries: 0 };
        let write = self.write()?;
        write.delete_table(STAGED)?;
        write.delete_table(STAGED_KEPT)?;
        write.open_table(STAGED)?;
        write.open_table(STAGED_KEPT)?;
        set_progress(&write, STAGED_KEY, Some(&progress))?;
        write.commit()?;
        Ok(progress)
    }

    /// Keeps a chunk that was proved, together with where the next one begins.
    pub fn stage(
        &self,
        mut at: Progress,
        entries: &[Entry],
        next: Option<Digest>,
    ) -> Result<Progress, StoreError> {
        at.next = next;
        at.entries += entries.len() as u64;
        let write = self.write()?;
        put(&write, STAGED, entries.iter())?;
        put(&write, STAGED_KEPT, entries.iter())?;
        set_progress(&write, STAGED_KEY, Some(&at))?;
        write.commit()?;
        Ok(at)
    }

    /// All that was fetched.
    pub fn staged_state(&self) -> Result<State, StoreError> {
        read_entries(&self.read()?, STAGED)
    }

    /// The staged state, which must be complete, becomes the newest one. [`Store::prune_blocks`]
    /// removes the blocks below it.
    pub fn adopt(&self, header: &FinalHeader) -> Result<(), StoreError> {
        let staged =
            self.staged()?.filter(|staged| staged.next.is_none() && staged.header == *header);
        staged.ok_or(StoreError::Damaged("the fetched state"))?;
        let height = header.header.height;
        let write = self.write()?;
        for table in [ENTRIES, KEPT, NEXT] {
            write.delete_table(table)?;
        }
        write.rename_table(STAGED, ENTRIES)?;
        write.rename_table(STAGED_KEPT, KEPT)?;
        for table in [STAGED, STAGED_KEPT, NEXT] {
            write.open_table(table)?;
        }
        write.delete_table(CHANGES)?;
        write.open_table(CHANGES)?;
        // All of it is of blocks that go.
        write.delete_table(RECEIPT_INDEX)?;
        write.open_table(RECEIPT_INDEX)?;
        write.open_table(HEADERS)?.insert(height, codec::encode(header).as_slice())?;
        write.open_table(LOG)?.retain_in(..=(height, u64::MAX), |_, _| false)?;
        set_progress(&write, STAGED_KEY, None)?;
        set_progress(&write, NEXT_KEY, None)?;
        set_height(&write, HEAD_KEY, height)?;
        set_height(&write, LOWEST_KEY, height + 1)?;
        write.commit()?;
        self.state_adopted(height);
        Ok(())
    }

    /// Gives up what is being fetched.
    pub fn unstage(&self) -> Result<(), StoreError> {
        let write = self.write()?;
        for table in [STAGED, STAGED_KEPT] {
            write.delete_table(table)?;
            write.open_table(table)?;
        }
        set_progress(&write, STAGED_KEY, None)?;
        Ok(write.commit()?)
    }

    /// The state from which the blocks that are here can be replayed, with its header; nothing
    /// where that is genesis.
    pub fn kept(&self) -> Result<Option<(FinalHeader, State)>, StoreError> {
        let lowest = self.lowest_block()?;
        if lowest <= 1 {
            return Ok(None);
        }
        let header = self
            .final_header(lowest - 1)?
            .ok_or(StoreError::Damaged("the header of the kept state"))?;
        let state = read_entries(&self.read()?, KEPT)?;
        if state.root() != header.header.state {
            return Err(StoreError::Damaged("the kept state"));
        }
        Ok(Some((header, state)))
    }

    /// The height of the state that will be kept next, if it is written.
    pub fn next_kept(&self) -> Result<Option<Height>, StoreError> {
        Ok(self.progress(NEXT_KEY)?.filter(|p| p.next.is_none()).map(|p| p.header.header.height))
    }

    /// Writes a final state, in steps, as the one that will be kept next.
    pub fn write_next(&self, header: &FinalHeader, state: &State) -> Result<(), StoreError> {
        let mut progress =
            Progress { header: header.clone(), next: Some(Digest([0; 32])), entries: 0 };
        let write = self.write()?;
        write.delete_table(NEXT)?;
        write.open_table(NEXT)?;
        set_progress(&write, NEXT_KEY, Some(&progress))?;
        write.commit()?;
        let mut entries = state.entries().peekable();
        while entries.peek().is_some() {
            let write = self.write()?;
            put(&write, NEXT, entries.by_ref().take(ENTRIES_AT_ONCE))?;
            write.commit()?;
        }
        progress.next = None;
        progress.entries = state.entries().count() as u64;
        let write = self.write()?;
        set_progress(&write, NEXT_KEY, Some(&progress))?;
        Ok(write.commit()?)
    }

    /// The state that was to be kept next is kept now: the blocks up to it are of no use any more.
    pub fn keep_next(&self) -> Result<(), StoreError> {
        let Some(height) = self.next_kept()? else { return Ok(()) };
        let write = self.write()?;
        write.delete_table(KEPT)?;
        write.rename_table(NEXT, KEPT)?;
        write.open_table(NEXT)?;
        set_progress(&write, NEXT_KEY, None)?;
        set_height(&write, LOWEST_KEY, height + 1)?;
        let head = height_in(&write.open_table(META)?, HEAD_KEY)?
            .ok_or(StoreError::Damaged("the head"))?;
        set_height(&write, LOWEST_SINCE_KEY, head)?;
        Ok(write.commit()?)
    }

    /// Removes up to `count_max` blocks below the lowest one that counts, with the receipts of
    /// their transactions; the blocks that follow take them out of the index. Says how many
    /// there were. Headers with their certificates stay: they are small, and light nodes ask
    /// for them.
    pub fn prune_blocks(&self, count_max: usize) -> Result<usize, StoreError> {
        let lowest = self.lowest_block()?;
        // Most of the time there is nothing to do, and a write costs a sync.
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

    fn progress(&self, key: &str) -> Result<Option<Progress>, StoreError> {
        let read = self.read()?;
        let bytes = read.open_table(META)?.get(key)?;
        let progress = bytes.map(|b| codec::decode(b.value(), PROGRESS_LEN_MAX)).transpose();
        progress.map_err(|_| StoreError::Damaged("how far a state is"))
    }
}

fn set_progress(
    write: &WriteTransaction,
    key: &str,
    progress: Option<&Progress>,
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
        table.insert(&entry.place().0, codec::encode(entry).as_slice())?;
    }
    Ok(())
}
