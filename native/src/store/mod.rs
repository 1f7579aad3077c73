//! What a node keeps: one redb file with the chain, the state's entries, the consensus log, jobs
//! and objects.
//!
//! A final block, its certificate, the entries it changes and the new head go to disk in one
//! transaction, so that a crash leaves the chain before it or after it, never between. Refused:
//! stores of newer versions or of other chains, and a state whose root is not the one that its
//! head's header commits to.

mod chain;
mod disk;
mod entries;
mod error;
mod jobs;
mod log;
mod objects;
mod queue;
mod receipts;
mod snapshot;
mod submissions;
mod tables;
mod upgrade;

pub use chain::{FinalBlock, Head};
pub use disk::{Failures, WriteFailure};
pub use error::StoreError;
pub use objects::ReadError;
pub use queue::{Enqueued, OPEN_MAX, QueueError, Queued, SETTLED_MAX, Stage, Write};
pub use snapshot::Progress;
pub use submissions::{
    ABOUT_LEN_MAX, KEY_LEN_MAX, Keyed, SUBMISSION_AGE_MS_MAX, SUBMISSIONS_MAX, Submission,
    SubmissionKey,
};

use crate::panics;
use redb::{
    Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, WriteTransaction,
};
use std::{
    path::{Path, PathBuf},
    sync::Mutex,
};
use tables::{
    BLOCK_RECEIPTS, BLOCKS, CHANGES, ENTRIES, HEADERS, JOBS, KEPT, LOG, META, NEXT, OBJECTS, QUEUE,
    RECEIPT_INDEX, STAGED, STAGED_KEPT, SUBMISSION_KEYS, SUBMISSIONS,
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
    path: PathBuf,
    failures: Failures,
    pending: Mutex<receipts::Pending>,
    unmerged: Mutex<entries::Unmerged>,
}

impl Store {
    /// Opens or makes the file, and checks that it is of this version and chain.
    pub fn open(path: &Path, chain: &ChainId) -> Result<Self, StoreError> {
        // redb trusts a file that was closed in order; where such a file is damaged it may panic
        // instead of failing.
        let opened = panics::caught(|| {
            let (disk, failures) = disk::open(path)?;
            Ok((Database::builder().set_cache_size(CACHE_LEN).create_with_backend(disk)?, failures))
        });
        let (db, failures) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => return Err(StoreError::of_open(path, error)),
            Err(panic) => return Err(StoreError::of_panic(path, &panic)),
        };
        let checked = panics::caught(|| Self::of_database(db, path, failures.clone(), chain));
        checked.unwrap_or_else(|panic| Err(StoreError::of_panic(path, &panic))).map_err(|error| {
            // A full disk is told by its own name.
            failures.borrow().clone().map_or(error, StoreError::Write)
        })
    }

    /// Checks what a database has, and makes the tables that it does not have.
    fn of_database(
        db: Database,
        path: &Path,
        failures: Failures,
        chain: &ChainId,
    ) -> Result<Self, StoreError> {
        let path = path.to_path_buf();
        let store =
            Self { db, path, failures, pending: Mutex::default(), unmerged: Mutex::default() };
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
        write.open_table(SUBMISSIONS)?;
        write.open_table(SUBMISSION_KEYS)?;
        write.commit()?;
        if let Some(head) = store.head_height()? {
            let read = store.read()?;
            let receipts = read.open_table(BLOCK_RECEIPTS)?;
            *store.pending() = receipts::Pending::load(&receipts, store.lowest_block()?, head)?;
            *store.unmerged() = entries::Unmerged::load(&read.open_table(CHANGES)?, head)?;
        }
        Ok(store)
    }

    /// The first write that the disk refuses: after it the store takes no other.
    pub fn failures(&self) -> Failures {
        self.failures.clone()
    }

    /// Bytes that the file system of the store has left for this user; nothing where the system
    /// does not say.
    pub fn free_bytes(&self) -> Option<u64> {
        #[cfg(unix)]
        {
            let found = nix::sys::statvfs::statvfs(&self.path).ok()?;
            Some(found.blocks_available().saturating_mul(found.fragment_size()))
        }
        #[cfg(not(unix))]
        None
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn read(&self) -> Result<ReadTransaction, StoreError> {
        Ok(self.db.begin_read()?)
    }

    /// A transaction that is on disk once it has committed.
    fn write(&self) -> Result<WriteTransaction, StoreError> {
        let mut write = self.db.begin_write()?;
        write
            .set_durability(Durability::Immediate)
            .map_err(|_| StoreError::Damaged("the durability"))?;
        Ok(write)
    }
}

/// Checks that a store is of this version and chain, or says what older version it is of. An empty
/// one becomes of this version.
fn check(write: &WriteTransaction, chain: &ChainId) -> Result<Option<u32>, StoreError> {
    let mut meta = write.open_table(META)?;
    let found = meta
        .get(tables::VERSION_KEY)?
        .map(|v| <[u8; 4]>::try_from(v.value()).map(u32::from_le_bytes));
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
