//! What a node keeps: one redb file with the chain, the state's entries, the consensus log, jobs and objects.
//!
//! A final block, its certificate, the entries it changes and the new head go to disk in one transaction, so that
//! a crash leaves the chain before it or after it, never between. Refused: stores of newer versions or of other
//! chains, and a state whose root is not the one that its head's header commits to.

mod chain;
mod error;
mod jobs;
mod log;
mod objects;
mod queue;
mod snapshot;
mod tables;

pub use chain::{FinalBlock, Head};
pub use error::StoreError;
pub use objects::ReadError;
pub use queue::{OPEN_MAX, QueueError, Queued, Stage, Write};
pub use snapshot::Progress;

use redb::{Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, WriteTransaction};
use std::path::Path;
use tables::{BLOCKS, ENTRIES, HEADERS, JOBS, KEPT, LOG, META, NEXT, OBJECTS, QUEUE, RECEIPTS, STAGED, STAGED_KEPT};
use tequio_core::types::ChainId;

/// Version of the tables and of what is in them.
pub const VERSION: u32 = 2;
/// Stores of this version and later ones are upgraded when they are opened: version 2 has added tables.
const VERSION_MIN: u32 = 1;
/// Name of the file in a node's directory.
pub const FILE_NAME: &str = "store.redb";
/// Memory for cached pages, bytes.
const CACHE_LEN: usize = 64 * 1024 * 1024;

/// One node's store. All calls block; asynchronous callers go through `spawn_blocking`.
#[derive(Debug)]
pub struct Store {
    db: Database,
}

impl Store {
    /// Opens or makes the file, and checks that it is of this version and chain.
    pub fn open(path: &Path, chain: &ChainId) -> Result<Self, StoreError> {
        let db = Database::builder().set_cache_size(CACHE_LEN).create(path)?;
        let store = Self { db };
        let write = store.write()?;
        {
            let mut meta = write.open_table(META)?;
            let version = meta.get(tables::VERSION_KEY)?.map(|v| v.value().to_vec());
            match version.as_deref().map(<[u8; 4]>::try_from) {
                None => {
                    meta.insert(tables::VERSION_KEY, VERSION.to_le_bytes().as_slice())?;
                    meta.insert(tables::CHAIN_KEY, chain.0.as_slice())?;
                }
                Some(Ok(bytes)) if u32::from_le_bytes(bytes) == VERSION => {}
                Some(Ok(bytes)) if (VERSION_MIN..VERSION).contains(&u32::from_le_bytes(bytes)) => {
                    meta.insert(tables::VERSION_KEY, VERSION.to_le_bytes().as_slice())?;
                }
                Some(Ok(bytes)) => return Err(StoreError::Version { found: u32::from_le_bytes(bytes) }),
                Some(Err(_)) => return Err(StoreError::Damaged("the version")),
            }
            if meta.get(tables::CHAIN_KEY)?.is_none_or(|c| c.value() != chain.0) {
                return Err(StoreError::OtherChain);
            }
            // Reading needs the tables to exist.
            write.open_table(HEADERS)?;
            write.open_table(BLOCKS)?;
            for entries in [ENTRIES, STAGED, STAGED_KEPT, KEPT, NEXT] {
                write.open_table(entries)?;
            }
            write.open_table(RECEIPTS)?;
            write.open_table(LOG)?;
            write.open_table(JOBS)?;
            write.open_table(OBJECTS)?;
            write.open_table(QUEUE)?;
        }
        write.commit()?;
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

#[cfg(test)]
mod tests;
