//! Writes of this node's clients that wait for a quorum. They are on disk before they are
//! acknowledged, and stay until their outcome is known. They are bounded in number and size.

use super::{
    Store, StoreError,
    outbox_entry::{ClientWrite, OutboxEntry, WriteStage},
    submissions::{self, KeyedSubmission, Submission},
    tables::WRITE_OUTBOX,
};
use redb::{ReadableTable, WriteTransaction};
use tequio_core::{codec, ledger::transaction::TRANSACTION_LEN_MAX, types::TimeMs};

/// Most writes without a known outcome.
pub const OPEN_MAX: usize = 256;
/// Finished writes whose outcome can still be queried.
pub const SETTLED_MAX: usize = 1024;
const RECORD_LEN_MAX: usize = 2 * TRANSACTION_LEN_MAX + 4096;

/// The reason why a write is not queued.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The outbox is full; the client may try again later.
    #[error(
        "{OPEN_MAX} writes already wait for a quorum; send this one again when some of them are \
         final or refused"
    )]
    Full,
    /// The key belongs to another submission.
    #[error(
        "the key {0:?} was used for another submission: repeat that one as it was, or choose \
         another key"
    )]
    KeyReused(String),
    /// A failure of the store.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// The result of enqueuing a write under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enqueued {
    /// The write is queued under this number.
    New(u64),
    /// The write was queued before; nothing was done now.
    Known(Submission),
}

impl Store {
    /// Enqueues a write under a new number. It is on disk when the call returns.
    pub fn enqueue(&self, write: ClientWrite, now_ms: TimeMs) -> Result<u64, OutboxError> {
        let transaction = self.write()?;
        let number = enqueue(&transaction, write, now_ms)?;
        transaction.commit().map_err(StoreError::from)?;
        Ok(number)
    }

    /// Enqueues a write with its key. A write with a known key is not enqueued again.
    pub fn enqueue_keyed(
        &self,
        write: ClientWrite,
        keyed: &KeyedSubmission,
        now_ms: TimeMs,
    ) -> Result<Enqueued, OutboxError> {
        let transaction = self.write()?;
        if let Some(known) = submissions::find(&transaction, &keyed.key, now_ms)? {
            return match known.content == keyed.content {
                true => Ok(Enqueued::Known(known)),
                false => Err(OutboxError::KeyReused(keyed.key.as_str().to_owned())),
            };
        }
        let number = enqueue(&transaction, write, now_ms)?;
        submissions::insert(&transaction, keyed, number, now_ms)?;
        transaction.commit().map_err(StoreError::from)?;
        Ok(Enqueued::New(number))
    }

    /// Stores the progress of a write.
    pub fn update_outbox_entry(&self, number: u64, queued: &OutboxEntry) -> Result<(), StoreError> {
        let write = self.write()?;
        write.open_table(WRITE_OUTBOX)?.insert(number, codec::encode(queued).as_slice())?;
        submissions::record_outcome(&write, number, queued)?;
        Ok(write.commit()?)
    }

    /// A write, if its number is known.
    pub fn outbox_entry(&self, number: u64) -> Result<Option<OutboxEntry>, StoreError> {
        let read = self.read()?;
        let table = read.open_table(WRITE_OUTBOX)?;
        let found = table.get(number)?;
        found.map(|bytes| decode(bytes.value())).transpose()
    }

    /// All known writes, in the order in which they were enqueued.
    pub fn outbox_entries(&self) -> Result<Vec<(u64, OutboxEntry)>, StoreError> {
        let read = self.read()?;
        let table = read.open_table(WRITE_OUTBOX)?;
        let mut all = Vec::new();
        for item in table.iter()? {
            let (number, bytes) = item?;
            all.push((number.value(), decode(bytes.value())?));
        }
        Ok(all)
    }
}

/// Appends a write to the outbox, and evicts the oldest finished ones.
fn enqueue(
    transaction: &WriteTransaction,
    write: ClientWrite,
    now_ms: TimeMs,
) -> Result<u64, OutboxError> {
    let mut table = transaction.open_table(WRITE_OUTBOX).map_err(StoreError::from)?;
    let (mut settled, mut open, mut last) = (Vec::new(), 0, None);
    for item in table.iter().map_err(StoreError::from)? {
        let (number, bytes) = item.map_err(StoreError::from)?;
        last = Some(number.value());
        match decode(bytes.value())?.stage.is_settled() {
            true => settled.push(number.value()),
            false => open += 1,
        }
    }
    if open >= OPEN_MAX {
        return Err(OutboxError::Full);
    }
    for number in settled.iter().take(settled.len().saturating_sub(SETTLED_MAX)) {
        table.remove(number).map_err(StoreError::from)?;
    }
    let number = last.map_or(1, |last| last + 1);
    let queued = OutboxEntry { queued_ms: now_ms, write: Some(write), stage: WriteStage::Waiting };
    table.insert(number, codec::encode(&queued).as_slice()).map_err(StoreError::from)?;
    Ok(number)
}

fn decode(bytes: &[u8]) -> Result<OutboxEntry, StoreError> {
    codec::decode(bytes, RECORD_LEN_MAX).map_err(|_| StoreError::Damaged("a queued write"))
}
