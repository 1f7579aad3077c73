//! Errors of the store. All of them are local faults: the node stops, because it cannot run without
//! its store.

use super::{disk::WriteFailure, tables::VERSION};
use redb::{DatabaseError, StorageError};
use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// What the operator can do about a damaged store.
pub(super) const REMEDY_DAMAGED: &str = "Move store.redb out of the node's directory and start \
                                         the node again: it fetches the chain from its peers. A \
                                         validator waits some minutes before it starts \
                                         (docs/operating.md, Backup)";

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Made by a newer version of Tequio.
    #[error(
        "the store has version {found}, this tequio reads version {VERSION}: run the tequio that \
         made it, or a newer one"
    )]
    Version {
        /// Version of the file.
        found: u32,
    },
    /// Made for another genesis.
    #[error(
        "the store belongs to another chain than genesis.bin: check that --dir is the directory \
         of this network's node, and put the genesis.bin back with which its store was made"
    )]
    OtherChain,
    /// The tables contradict each other.
    #[error("the store is damaged: {0} cannot be read. {REMEDY_DAMAGED}")]
    Damaged(&'static str),
    /// The state does not have the root that the head's header commits to.
    #[error("the store is damaged: the state does not belong to its head. {REMEDY_DAMAGED}")]
    WrongRoot,
    /// The file cannot be opened.
    #[error("cannot open the store {}: {reason}. {remedy}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The cause.
        reason: String,
        /// The remedy.
        remedy: &'static str,
    },
    /// The disk refused a write.
    #[error("{0}")]
    Write(WriteFailure),
    /// The process ends, so the call was not executed.
    #[error("the node is stopping")]
    Stopping,
    /// The block does not follow the head.
    #[error("block {found} does not follow the head {head}")]
    NotNext {
        /// Final height of the store.
        head: u64,
        /// Height of the block.
        found: u64,
    },
    /// An error of the database or the disk.
    #[error("the store fails: {0}")]
    Database(Box<redb::Error>),
}

impl StoreError {
    /// Adds the path of the file to the error.
    pub fn with_path(self, path: &Path) -> anyhow::Error {
        let names_it = matches!(self, Self::Open { .. } | Self::Write(_));
        let error = anyhow::Error::new(self);
        if names_it { error } else { error.context(format!("cannot use {}", path.display())) }
    }

    /// An existing file without contents, such as a copy or restore that failed leaves behind.
    pub(super) fn of_empty(path: &Path) -> Self {
        let reason = "the file is empty, so it is damaged".into();
        Self::Open { path: path.to_path_buf(), reason, remedy: REMEDY_DAMAGED }
    }

    /// A file on which the database panics.
    pub(super) fn of_panic(path: &Path, panic: &str) -> Self {
        tracing::debug!(panic, "the database panics");
        let reason = "its contents do not fit together, so the file is damaged".into();
        Self::Open { path: path.to_path_buf(), reason, remedy: REMEDY_DAMAGED }
    }

    /// The cause of a failed open, with a remedy.
    pub(super) fn of_open(path: &Path, error: DatabaseError) -> Self {
        let open = |reason: String, remedy| Self::Open { path: path.to_path_buf(), reason, remedy };
        match error {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
                open("another process has it open".into(), "End that process, or wait for it")
            }
            DatabaseError::Storage(StorageError::Io(error)) => match error.kind() {
                ErrorKind::PermissionDenied => open(
                    error.to_string(),
                    "Run as the user that owns the node's directory, or give it back to this one",
                ),
                ErrorKind::IsADirectory => open(
                    error.to_string(),
                    "Something has put a directory in the store's place: move it away",
                ),
                ErrorKind::ReadOnlyFilesystem => {
                    open(error.to_string(), "Mount the file system for writing")
                }
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => open(
                    error.to_string(),
                    "Free some space and start the node again; what was final is kept",
                ),
                ErrorKind::InvalidData | ErrorKind::UnexpectedEof => open(
                    "its contents are not those of a store, so the file is damaged".into(),
                    REMEDY_DAMAGED,
                ),
                _ => open(error.to_string(), "See the system's log for the disk's errors"),
            },
            DatabaseError::Storage(StorageError::Corrupted(_)) => open(
                "its contents do not fit together, so the file is damaged".into(),
                REMEDY_DAMAGED,
            ),
            DatabaseError::UpgradeRequired(version) => open(
                format!("it has the file format {version} of a very old tequio"),
                REMEDY_DAMAGED,
            ),
            error => open(error.to_string(), REMEDY_DAMAGED),
        }
    }
}

macro_rules! from_redb {
    ($($error:ty),*) => {$(
        impl From<$error> for StoreError {
            fn from(error: $error) -> Self {
                Self::Database(Box::new(error.into()))
            }
        }
    )*};
}

from_redb!(
    DatabaseError,
    redb::TransactionError,
    redb::TableError,
    StorageError,
    redb::CommitError
);
