//! What a node keeps: one redb file with the chain, the state's entries, the consensus log, jobs and objects.
//!
//! A final block, its certificate, the entries it changes and the new head go to disk in one transaction, so that
//! a crash leaves the chain before it or after it, never between. Refused: stores of newer versions or of other
//! chains, and a state whose root is not the one that its head's header commits to.

mod chain;
mod entries;
mod error;
mod jobs;
mod log;
mod objects;
mod queue;
mod receipts;
mod snapshot;
mod tables;
mod upgrade;

pub use chain::{FinalBlock, Head};
pub use error::StoreError;
pub use objects::ReadError;
pub use queue::{OPEN_MAX, QueueError, Queued, Stage, Write};
pub use snapshot::Progress;

use redb::{Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, WriteTransaction};
use std::{path::Path, sync::Mutex};
use tables::{
    BLOCK_RECEIPTS, BLOCKS, CHANGES, ENTRIES, HEADERS, JOBS, KEPT, LOG, META, NEXT, OBJECTS, QUEUE, RECEIPT_INDEX,
    STAGED, STAGED_KEPT,
};
use tequio_core::types::ChainId;

/// Version of the tables and of what is in them.
pub const VERSION: u32 = 4;
/// Stores of this version and later ones are upgraded when they are opened.
const VERSION_MIN: u32 = 1;
/// Name of the file in a node's directory.
pub const FILE_NAME: &str = "store.redb";
/// Memory for cached pages, bytes.
const CACHE_LEN: usize = 64 * 1024 * 1024;

/// One node's store. All calls block; asynchronous callers go through `spawn_blocking`.
#[derive(Debug)]
pub struct Store {
    db: Database,
    pending: Mutex<receipts::Pending>,
    unmerged: Mutex<entries::Unmerged>,
}

impl Store {
    /// Opens or makes the file, and checks that it is of this version and chain.
    pub fn open(path: &Path, chain: &ChainId) -> Result<Self, StoreError> {
        let db = Database::builder().set_cache_size(CACHE_LEN).create(path)?;
        let store = Self { db, pending: Mutex::default(), unmerged: Mutex::default() };
        let write = store.write()?;
        if let Some(version) = check(&write, chain)? {
            upgrade::upgrade(&write, version)?;
        }
        // Reading needs the tables to exist.
        for by_height in [HEADERS, BLOCKS, BLOCK_RECEIPTS, CHANGES, QUEUE] {
            write.open_table(by_height)?;
        }
        for entries in [ENTRIES, STAGED, STAGED_KEPT, KEPT, NEXT] {
            write.open_table(entries)?;
        }
        write.open_table(RECEIPT_INDEX)?;
        write.open_table(LOG)?;
        write.open_table(JOBS)?;
        write.open_table(OBJECTS)?;
        write.commit()?;
        if let Some(head) = store.head_height()? {
            let read = store.read()?;
            let receipts = read.open_table(BLOCK_RECEIPTS)?;
            *store.pending() = receipts::Pending::load(&receipts, store.lowest_block()?, head)?;
            *store.unmerged() = entries::Unmerged::load(&read.open_table(CHANGES)?, head)?;
        }
        Ok(store)
    }

    fn read(&self) -> Result<ReadTransaction, StoreError> {
        Ok(self.db.begin_read()?)
    }

    /// A transaction that is on disk once it has committed.
    fn write(&self) -> Result<WriteTransaction, StoreError> {
        let mut write = self.db.begin_write()?;
        write.set_durability(Durability::Immediate).map_err(|_| StoreError::Damaged("the durability"))?;
        Ok(write)
    }
}

/// Checks that a store is of this version and chain, or says what older version it is of. An empty one becomes of this version.
fn check(write: &WriteTransaction, chain: &ChainId) -> Result<Option<u32>, StoreError> {
    let mut meta = write.open_table(META)?;
    let found = meta.get(tables::VERSION_KEY)?.map(|v| <[u8; 4]>::try_from(v.value()).map(u32::from_le_bytes));
    let older = match found.transpose().map_err(|_| StoreError::Damaged("the version"))? {
        None => {
            meta.insert(tables::CHAIN_KEY, chain.0.as_slice())?;
            None
        }
        Some(VERSION) => None,
        Some(older) if (VERSION_MIN..VERSION).contains(&older) => Some(older),
        Some(found) => return Err(StoreError::Version { found }),
    };
    if meta.get(tables::CHAIN_KEY)?.is_none_or(|c| c.value() != chain.0) {
        return Err(StoreError::OtherChain);
    }
    meta.insert(tables::VERSION_KEY, VERSION.to_le_bytes().as_slice())?;
    Ok(older)
}

#[cfg(test)]
mod tests;
