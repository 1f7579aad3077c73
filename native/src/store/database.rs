//! The database file: opening, its version and chain, transactions.

use super::{
    disk::{self, Failures},
    error::StoreError,
    receipt_index::UnindexedReceipts,
    tables::{
        self, BLOCK_RECEIPTS, BLOCKS, CHANGES, CONSENSUS_WAL, ENTRIES, HEADERS, JOBS, META,
        NEXT_REPLAY_BASE, OBJECTS, RECEIPT_INDEX, REPLAY_BASE, STAGED, STAGED_REPLAY_BASE,
        SUBMISSION_KEYS, SUBMISSIONS, VERSION, WRITE_OUTBOX,
    },
    unmerged_changes::UnmergedChanges,
    upgrade,
};
use crate::panics;
use redb::{
    Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, WriteTransaction,
};
use std::{
    path::{Path, PathBuf},
    sync::Mutex,
};
use tequio_core::types::ChainId;

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
    pub(super) path: PathBuf,
    failures: Failures,
    pub(super) unindexed: Mutex<UnindexedReceipts>,
    pub(super) unmerged_changes: Mutex<UnmergedChanges>,
}

impl Store {
    /// Opens or creates the file, and checks its version and chain.
    pub fn open(path: &Path, chain: &ChainId) -> Result<Self, StoreError> {
        let found = std::fs::metadata(path).ok();
        // redb would take an empty file for a new store, and the node would forget what it signed.
        if found.as_ref().is_some_and(|file| file.is_file() && file.len() == 0) {
            return Err(StoreError::of_empty(path));
        }
        let opened = Self::open_or_create(path, chain);
        if opened.is_err()
            && found.is_none()
            && std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() == 0)
        {
            // The disk refused the first write: the next start may create the file again.
            let _ = std::fs::remove_file(path);
        }
        opened
    }

    fn open_or_create(path: &Path, chain: &ChainId) -> Result<Self, StoreError> {
        // redb trusts a file that was closed in order. If such a file is damaged, redb may panic
        // instead of returning an error.
        let opened = panics::catch(|| {
            let (disk, failures) = disk::open(path)?;
            Ok((Database::builder().set_cache_size(CACHE_LEN).create_with_backend(disk)?, failures))
        });
        let (db, failures) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => return Err(StoreError::of_open(path, error)),
            Err(panic) => return Err(StoreError::of_panic(path, &panic)),
        };
        let checked = panics::catch(|| Self::of_database(db, path, failures.clone(), chain));
        checked.unwrap_or_else(|panic| Err(StoreError::of_panic(path, &panic))).map_err(|error| {
            // The recorded write failure names a full disk.
            failures.borrow().clone().map_or(error, StoreError::Write)
        })
    }

    /// Checks the contents of a database, and creates missing tables.
    fn of_database(
        db: Database,
        path: &Path,
        failures: Failures,
        chain: &ChainId,
    ) -> Result<Self, StoreError> {
        let path = path.to_path_buf();
        let store = Self {
            db,
            path,
            failures,
            unindexed: Mutex::default(),
            unmerged_changes: Mutex::default(),
        };
        let write = store.write()?;
        if let Some(version) = check(&write, chain)? {
            upgrade::upgrade(&write, version)?;
        }
        // Reads need existing tables.
        for by_height in [HEADERS, BLOCKS, BLOCK_RECEIPTS, CHANGES, WRITE_OUTBOX] {
            write.open_table(by_height)?;
        }
        for entries in [ENTRIES, STAGED, STAGED_REPLAY_BASE, REPLAY_BASE, NEXT_REPLAY_BASE] {
            write.open_table(entries)?;
        }
        write.open_table(RECEIPT_INDEX)?;
        write.open_table(CONSENSUS_WAL)?;
        write.open_table(JOBS)?;
        write.open_table(OBJECTS)?;
        write.open_table(SUBMISSIONS)?;
        write.open_table(SUBMISSION_KEYS)?;
        write.commit()?;
        if let Some(head) = store.head_height()? {
            let read = store.read()?;
            let receipts = read.open_table(BLOCK_RECEIPTS)?;
            *store.unindexed() = UnindexedReceipts::load(&receipts, store.lowest_block()?, head)?;
            *store.unmerged_changes() = UnmergedChanges::load(&read.open_table(CHANGES)?, head)?;
        }
        Ok(store)
    }

    /// The first write that the disk refused. The store accepts no writes after it.
    pub fn failures(&self) -> Failures {
        self.failures.clone()
    }

    /// Bytes that the file system of the store has left for this user. None if the system does not
    /// report it.
    pub fn free_bytes(&self) -> Option<u64> {
        #[cfg(unix)]
        {
            let found = nix::sys::statvfs::statvfs(&self.path).ok()?;
            Some(found.blocks_available().saturating_mul(found.fragment_size()))
        }
        #[cfg(not(unix))]
        None
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn read(&self) -> Result<ReadTransaction, StoreError> {
        Ok(self.db.begin_read()?)
    }

    /// A write transaction that is on disk once it has committed.
    pub(super) fn write(&self) -> Result<WriteTransaction, StoreError> {
        let mut write = self.db.begin_write()?;
        write
            .set_durability(Durability::Immediate)
            .map_err(|_| StoreError::Damaged("the durability"))?;
        Ok(write)
    }
}

/// Checks that a store has this version and chain, and returns an older version. An empty store
/// gets this version.
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
