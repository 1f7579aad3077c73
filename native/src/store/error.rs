//! Why the store fails. All of these are ours: the node stops rather than go on without its memory.

use super::VERSION;

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Made by a newer tequio.
    #[error(
        "the store has version {found}, this tequio reads version {VERSION}: run the tequio that made it, or a newer one"
    )]
    Version {
        /// Of the file.
        found: u32,
    },
    /// Made for another genesis.
    #[error("the store belongs to another chain than genesis.bin")]
    OtherChain,
    /// Contents that do not fit together.
    #[error("the store is damaged: {0} cannot be read; remove store.redb to fetch the chain again from peers")]
    Damaged(&'static str),
    /// The state does not have the root that the head's header commits to.
    #[error("the store is damaged: the state does not belong to its head; remove store.redb to fetch the chain again")]
    WrongRoot,
    /// A block that does not follow the head.
    #[error("block {found} does not follow the head {head}")]
    NotNext {
        /// Final height of the store.
        head: u64,
        /// Height of the block.
        found: u64,
    },
    /// The database or the disk.
    #[error("the store fails: {0}")]
    Database(Box<redb::Error>),
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

from_redb!(redb::DatabaseError, redb::TransactionError, redb::TableError, redb::StorageError, redb::CommitError);
