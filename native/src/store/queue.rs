//! Writes of this node's own clients that wait for a quorum: on disk before they are acknowledged,
//! and here until it is known what became of them. Bounded in items and, because each is bounded,
//! in bytes.

use super::{
    Store, StoreError,
    submissions::{self, Keyed, Submission},
    tables::QUEUE,
};
use borsh::{BorshDeserialize, BorshSerialize};
use redb::{ReadableTable, WriteTransaction};
use tequio_core::{
    codec::{self, BoundedString},
    ledger::{Action, SignedTransaction, TransactionId, transaction::TRANSACTION_LEN_MAX},
    types::{Height, TimeMs},
};

/// Most writes of which it is not known yet what becomes of them.
pub const OPEN_MAX: usize = 256;
/// Settled writes that can still be asked after.
pub const SETTLED_MAX: usize = 1024;
const RECORD_LEN_MAX: usize = 2 * TRANSACTION_LEN_MAX + 4096;

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[allow(clippy::large_enum_variant)]
pub enum Write {
    /// In this node's name: it signs when the time comes, and again with other numbers if need be.
    Own(Action),
    /// Signed by somebody else: it cannot be changed.
    Signed(SignedTransaction),
}

/// How far a write is.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[allow(clippy::large_enum_variant)]
pub enum Stage {
    /// Nobody else has heard of it.
    Waiting,
    /// Others may have it. It stands here before they do, so that nothing is signed twice for one
    /// write.
    Sent {
        /// What they may have.
        transaction: SignedTransaction,
        /// The final height when it was signed.
        since: Height,
    },
    /// Final.
    Applied {
        /// As what.
        transaction: TransactionId,
        /// Where.
        height: Height,
    },
    /// Without effect, and never to have one.
    Refused {
        /// For people.
        reason: BoundedString<256>,
    },
}

/// A write and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Queued {
    /// When it came.
    pub queued_ms: TimeMs,
    /// What it is; dropped once it is settled.
    pub write: Option<Write>,
    /// How far it is.
    pub stage: Stage,
}

impl Stage {
    /// Whether it is known what became of the write.
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Applied { .. } | Self::Refused { .. })
    }
}

/// Why a write does not wait here.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The caller has to come back.
    #[error(
        "{OPEN_MAX} writes wait for a quorum already; send it again when some of them are settled"
    )]
    Full,
    /// The key stands for another submission.
    #[error(
        "the key {0:?} was used for another submission: repeat that one as it was, or choose another key"
    )]
    KeyReused(String),
    /// Ours.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// What became of a write that came under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enqueued {
    /// It is kept, under this number.
    New(u64),
    /// It was kept before; nothing has been done now.
    Known(Submission),
}

impl Store {
    /// Keeps a write, under a number of its own. It is on disk when the call returns.
    pub fn enqueue(&self, write: Write, now_ms: TimeMs) -> Result<u64, QueueError> {
        let transaction = self.write()?;
        let number = enqueue(&transaction, write, now_ms)?;
        transaction.commit().map_err(StoreError::from)?;
        Ok(number)
    }

    /// Keeps a write and its key; a write whose key is known is not kept again.
    pub fn enqueue_keyed(
        &self,
        write: Write,
        keyed: &Keyed,
        now_ms: TimeMs,
    ) -> Result<Enqueued, QueueError> {
        let transaction = self.write()?;
        if let Some(known) = submissions::find(&transaction, &keyed.key, now_ms)? {
            return match known.content == keyed.content {
                true => Ok(Enqueued::Known(known)),
                false => Err(QueueError::KeyReused(keyed.key.as_str().to_owned())),
            };
        }
        let number = enqueue(&transaction, write, now_ms)?;
        submissions::remember(&transaction, keyed, number, now_ms)?;
        transaction.commit().map_err(StoreError::from)?;
        Ok(Enqueued::New(number))
    }

    /// Writes down how far a write is.
    pub fn queue_set(&self, number: u64, queued: &Queued) -> Result<(), StoreError> {
        let write = self.write()?;
        write.open_table(QUEUE)?.insert(number, codec::encode(queued).as_slice())?;
        submissions::settle(&write, number, queued)?;
        Ok(write.commit()?)
    }

    /// A write, if its number is known.
    pub fn queued(&self, number: u64) -> Result<Option<Queued>, StoreError> {
        let found = self.read()?.open_table(QUEUE)?.get(number)?;
        found.map(|bytes| decode(bytes.value())).transpose()
    }

    /// All writes that are known, in the order in which they came.
    pub fn queue(&self) -> Result<Vec<(u64, Queued)>, StoreError> {
        let read = self.read()?;
        let table = read.open_table(QUEUE)?;
        let mut all = Vec::new();
        for item in table.iter()? {
            let (number, bytes) = item?;
            all.push((number.value(), decode(bytes.value())?));
        }
        Ok(all)
    }
}

/// Puts a write behind all others, and forgets the oldest of those that are settled.
fn enqueue(
    transaction: &WriteTransaction,
    write: Write,
    now_ms: TimeMs,
) -> Result<u64, QueueError> {
    let mut table = transaction.open_table(QUEUE).map_err(StoreError::from)?;
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
        return Err(QueueError::Full);
    }
    for number in settled.iter().take(settled.len().saturating_sub(SETTLED_MAX)) {
        table.remove(number).map_err(StoreError::from)?;
    }
    let number = last.map_or(1, |last| last + 1);
    let queued = Queued { queued_ms: now_ms, write: Some(write), stage: Stage::Waiting };
    table.insert(number, codec::encode(&queued).as_slice()).map_err(StoreError::from)?;
    Ok(number)
}

fn decode(bytes: &[u8]) -> Result<Queued, StoreError> {
    codec::decode(bytes, RECORD_LEN_MAX).map_err(|_| StoreError::Damaged("a queued write"))
}
