//! The persistent store of a node: one redb file with the chain, the state entries, the consensus
//! WAL, jobs and objects.
//!
//! A final block, its certificate, the entries it changes and the new head go to disk in one
//! transaction, so after a crash the chain has all of a block or none of it. Refused: stores of
//! newer versions or of other chains, and a state whose root differs from the one in the head's
//! header.

mod chain;
mod consensus_wal;
mod database;
mod disk;
mod error;
mod jobs;
mod meta;
mod objects;
mod outbox_entry;
mod receipt_index;
mod receipts;
mod snapshot;
mod state_table;
mod submissions;
mod tables;
mod unmerged_changes;
mod upgrade;
mod write_outbox;

pub use chain::{FinalBlock, Head};
pub use database::{FILE_NAME, Store};
pub use disk::{Failures, WriteFailure};
pub use error::StoreError;
pub use objects::ReadError;
pub use outbox_entry::{ClientWrite, OutboxEntry, WriteStage};
pub use snapshot::SnapshotProgress;
pub use submissions::{
    ABOUT_LEN_MAX, IdempotencyKey, KEY_LEN_MAX, KeyedSubmission, SUBMISSION_AGE_MS_MAX,
    SUBMISSIONS_MAX, Submission,
};
pub use tables::VERSION;
pub use write_outbox::{Enqueued, OPEN_MAX, OutboxError, SETTLED_MAX};

#[cfg(test)]
mod tests;
