//! Idempotency keys that clients choose for their submissions: a request that is repeated under its
//! key enqueues nothing and gets the first answer.
//!
//! A key is written in the transaction that enqueues its write. So two requests with one key have
//! one write, whichever comes first, and a crash leaves both or neither. The job's id is added to
//! the record in the transaction that records the write's outcome. If the ledger refuses the write,
//! its key is free again, because nothing was done under it. Keys are bounded in number, length and
//! age.

use super::{
    Store, StoreError,
    outbox_entry::{OutboxEntry, WriteStage},
    tables::{SUBMISSION_KEYS, SUBMISSIONS},
};
use borsh::{BorshDeserialize, BorshSerialize};
use redb::{ReadableTable, ReadableTableMetadata, WriteTransaction};
use tequio_core::{
    codec::{self, BoundedVec},
    ledger::TransactionId,
    types::{Height, TimeMs},
};

/// Most stored submissions; the oldest is evicted first.
pub const SUBMISSIONS_MAX: usize = 4096;
/// How long a submission is stored, milliseconds: 7 days.
pub const SUBMISSION_AGE_MS_MAX: TimeMs = 7 * 24 * 60 * 60 * 1000;
/// Longest key, bytes.
pub const KEY_LEN_MAX: usize = 128;
/// Largest description of a submission, bytes: room for the names of all classes of a data set.
pub const ABOUT_LEN_MAX: usize = 256 * 1024;
const RECORD_LEN_MAX: usize = ABOUT_LEN_MAX + 256;

/// A key that a client has chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Takes 1 to [`KEY_LEN_MAX`] visible ASCII characters, without quotation marks.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |b: u8| b.is_ascii_graphic() && b != b'"';
        let fits = (1..=KEY_LEN_MAX).contains(&text.len()) && text.bytes().all(plain);
        fits.then(|| Self(text.to_owned()))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A client's submission under a key.
#[derive(Clone, Debug)]
pub struct KeyedSubmission {
    /// The key.
    pub key: IdempotencyKey,
    /// BLAKE3 of the client's whole request.
    pub content: [u8; 32],
    /// Contents of the answer besides the job's id.
    pub about: BoundedVec<u8, ABOUT_LEN_MAX>,
}

/// A stored submission under a key.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Submission {
    /// BLAKE3 of the client's whole request.
    pub content: [u8; 32],
    /// Time of the request.
    pub made_ms: TimeMs,
    /// Number of its write in the outbox.
    pub number: u64,
    /// The transaction and its height, once it is final.
    pub applied: Option<(TransactionId, Height)>,
    /// Contents of the answer besides the job's id.
    pub about: BoundedVec<u8, ABOUT_LEN_MAX>,
}

impl Submission {
    /// Whether it may be evicted. A submission in flight never may.
    fn is_expired(&self, now_ms: TimeMs) -> bool {
        self.applied.is_some() && now_ms.saturating_sub(self.made_ms) > SUBMISSION_AGE_MS_MAX
    }
}

impl Store {
    /// The submission under a key, if any.
    pub fn submission(
        &self,
        key: &IdempotencyKey,
        now_ms: TimeMs,
    ) -> Result<Option<Submission>, StoreError> {
        let read = self.read()?;
        let table = read.open_table(SUBMISSIONS)?;
        let found = table.get(key.as_str())?;
        let found = found.map(|bytes| decode(bytes.value())).transpose()?;
        Ok(found.filter(|submission| !submission.is_expired(now_ms)))
    }

    /// Number of stored submissions.
    pub fn submission_count(&self) -> Result<u64, StoreError> {
        Ok(self.read()?.open_table(SUBMISSIONS)?.len()?)
    }
}

/// The submission under a key, read within a write transaction.
pub(super) fn find(
    write: &WriteTransaction,
    key: &IdempotencyKey,
    now_ms: TimeMs,
) -> Result<Option<Submission>, StoreError> {
    let table = write.open_table(SUBMISSIONS)?;
    let found = table.get(key.as_str())?.map(|bytes| decode(bytes.value())).transpose()?;
    Ok(found.filter(|submission| !submission.is_expired(now_ms)))
}

/// Stores a submission, and evicts those that are too old or too many.
pub(super) fn insert(
    write: &WriteTransaction,
    keyed: &KeyedSubmission,
    number: u64,
    now_ms: TimeMs,
) -> Result<(), StoreError> {
    evict_expired(write, now_ms)?;
    let KeyedSubmission { key, content, about } = keyed;
    let submission = Submission {
        content: *content,
        made_ms: now_ms,
        number,
        applied: None,
        about: about.clone(),
    };
    let (mut submissions, mut keys) =
        (write.open_table(SUBMISSIONS)?, write.open_table(SUBMISSION_KEYS)?);
    // An expired submission may still be stored if the clock was set back since. Its number must
    // not replace the new one.
    let old = submissions.insert(key.as_str(), codec::encode(&submission).as_slice())?;
    if let Some(old) = old.map(|bytes| decode(bytes.value())).transpose()? {
        keys.remove(old.number)?;
    }
    keys.insert(number, key.as_str())?;
    Ok(())
}

/// Evicts finished submissions, oldest first, until all are young enough and one more fits.
fn evict_expired(write: &WriteTransaction, now_ms: TimeMs) -> Result<(), StoreError> {
    let (mut submissions, mut keys) =
        (write.open_table(SUBMISSIONS)?, write.open_table(SUBMISSION_KEYS)?);
    let mut left = keys.len()? as usize;
    let mut gone = Vec::new();
    for item in keys.iter()? {
        let (number, key) = item?;
        let found = submissions.get(key.value())?.map(|bytes| decode(bytes.value())).transpose()?;
        let found = found.ok_or(StoreError::Damaged("a submission"))?;
        // A submission in flight is never evicted; the outbox bounds their number.
        if found.applied.is_none() {
            continue;
        }
        if !found.is_expired(now_ms) && left < SUBMISSIONS_MAX {
            break;
        }
        gone.push((number.value(), key.value().to_owned()));
        left -= 1;
    }
    for (number, key) in gone {
        keys.remove(number)?;
        submissions.remove(key.as_str())?;
    }
    Ok(())
}

/// Records the outcome of a write that may have a key.
pub(super) fn record_outcome(
    write: &WriteTransaction,
    number: u64,
    queued: &OutboxEntry,
) -> Result<(), StoreError> {
    if !queued.stage.is_settled() {
        return Ok(());
    }
    let mut keys = write.open_table(SUBMISSION_KEYS)?;
    let Some(key) = keys.get(number)?.map(|key| key.value().to_owned()) else { return Ok(()) };
    let mut submissions = write.open_table(SUBMISSIONS)?;
    if let WriteStage::Applied { transaction, height } = &queued.stage {
        let found =
            submissions.get(key.as_str())?.map(|bytes| decode(bytes.value())).transpose()?;
        let found = found.ok_or(StoreError::Damaged("a submission"))?;
        let submission = Submission { applied: Some((*transaction, *height)), ..found };
        submissions.insert(key.as_str(), codec::encode(&submission).as_slice())?;
    } else {
        submissions.remove(key.as_str())?;
        keys.remove(number)?;
    }
    Ok(())
}

fn decode(bytes: &[u8]) -> Result<Submission, StoreError> {
    codec::decode(bytes, RECORD_LEN_MAX).map_err(|_| StoreError::Damaged("a submission"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{ClientWrite, Enqueued, FILE_NAME, OutboxError, tests::start};
    use std::path::Path;
    use tequio_core::{ledger::Action, types::Digest};

    fn open(dir: &Path) -> Store {
        Store::open(&dir.join(FILE_NAME), &start().chain).unwrap()
    }

    fn keyed(key: &str, content: u8) -> KeyedSubmission {
        let about = b"{}".to_vec().try_into().unwrap();
        KeyedSubmission { key: IdempotencyKey::parse(key).unwrap(), content: [content; 32], about }
    }

    fn put(store: &Store, key: &str, content: u8, now_ms: TimeMs) -> Result<Enqueued, OutboxError> {
        store.enqueue_keyed(ClientWrite::Own(Action::Leave), &keyed(key, content), now_ms)
    }

    fn set_stage(store: &Store, number: u64, stage: WriteStage) {
        let queued = store.outbox_entry(number).unwrap().unwrap();
        store.update_outbox_entry(number, &OutboxEntry { stage, write: None, ..queued }).unwrap();
    }

    const APPLIED: WriteStage = WriteStage::Applied { transaction: Digest([7; 32]), height: 9 };

    #[test]
    fn a_submission_key_is_enqueued_once_across_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        assert_eq!(put(&store, "a", 1, 5).unwrap(), Enqueued::New(1));
        assert!(matches!(
            put(&store, "a", 1, 6).unwrap(),
            Enqueued::Known(Submission { number: 1, applied: None, .. })
        ));
        assert!(matches!(put(&store, "a", 2, 6), Err(OutboxError::KeyReused(key)) if key == "a"));
        assert_eq!(put(&store, "b", 1, 6).unwrap(), Enqueued::New(2));
        drop(store);
        let store = open(dir.path());
        assert!(matches!(put(&store, "a", 1, 7).unwrap(), Enqueued::Known(_)));
        set_stage(&store, 1, APPLIED);
        drop(store);
        let store = open(dir.path());
        let known = store.submission(&keyed("a", 1).key, 8).unwrap().unwrap();
        assert_eq!(
            (known.made_ms, known.number, known.applied),
            (5, 1, Some((Digest([7; 32]), 9)))
        );
        assert_eq!(store.outbox_entries().unwrap().len(), 2, "a write was enqueued twice");
    }

    /// Regression: a read gave up its transaction before the value that it had found. A concurrent
    /// commit could free the value's page, and redb then refused every later use of the store.
    #[test]
    fn reads_keep_their_transaction_while_others_write() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        put(&store, "a", 1, 5).unwrap();
        let is_written = std::sync::atomic::AtomicBool::new(false);
        let reads = || {
            while !is_written.load(std::sync::atomic::Ordering::Relaxed) {
                assert!(store.outbox_entry(1).unwrap().is_some());
                assert!(store.submission(&keyed("a", 1).key, 8).unwrap().is_some());
                assert!(store.receipts(1).unwrap().is_empty());
            }
        };
        std::thread::scope(|scope| {
            (0..4).for_each(|_| drop(scope.spawn(reads)));
            let written = scope.spawn(|| (0..200).for_each(|_| set_stage(&store, 1, APPLIED)));
            let written = written.join();
            is_written.store(true, std::sync::atomic::Ordering::Relaxed);
            written.unwrap();
        });
    }

    #[test]
    fn a_refused_submission_frees_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        put(&store, "a", 1, 5).unwrap();
        set_stage(&store, 1, WriteStage::Refused { reason: "no".try_into().unwrap() });
        assert_eq!(store.submission_count().unwrap(), 0);
        assert_eq!(put(&store, "a", 2, 6).unwrap(), Enqueued::New(2));
    }

    #[test]
    fn old_and_excess_keys_are_evicted_unless_in_flight() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        put(&store, "open", 1, 0).unwrap();
        put(&store, "done", 1, 0).unwrap();
        set_stage(&store, 2, APPLIED);
        let old = SUBMISSION_AGE_MS_MAX + 1;
        assert!(store.submission(&keyed("done", 1).key, old).unwrap().is_none());
        assert_eq!(
            put(&store, "done", 2, old).unwrap(),
            Enqueued::New(3),
            "another content under an old key"
        );
        assert!(matches!(put(&store, "open", 1, old).unwrap(), Enqueued::Known(_)));
        // The maximum number, in one write.
        let write = store.write().unwrap();
        let queued = OutboxEntry { queued_ms: old, write: None, stage: APPLIED };
        for number in 10..10 + SUBMISSIONS_MAX as u64 + 50 {
            insert(&write, &keyed(&format!("k{number}"), 1), number, old).unwrap();
            super::record_outcome(&write, number, &queued).unwrap();
        }
        write.commit().unwrap();
        assert_eq!(store.submission_count().unwrap(), SUBMISSIONS_MAX as u64);
        assert!(store.submission(&keyed("open", 1).key, old).unwrap().is_some());
        assert!(store.submission(&keyed("k10", 1).key, old).unwrap().is_none());
    }

    #[test]
    fn after_the_clock_was_set_back_each_number_still_has_a_submission() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let later = SUBMISSION_AGE_MS_MAX + 2;
        // The first came while the clock was ahead, and hides the expired one behind it from
        // eviction.
        put(&store, "ahead", 1, 10 * later).unwrap();
        set_stage(&store, 1, APPLIED);
        put(&store, "again", 1, 0).unwrap();
        set_stage(&store, 2, APPLIED);
        assert_eq!(put(&store, "again", 2, later).unwrap(), Enqueued::New(3));
        set_stage(&store, 3, APPLIED);
        let numbers = store.read().unwrap().open_table(SUBMISSION_KEYS).unwrap().len().unwrap();
        assert_eq!((numbers, store.submission_count().unwrap()), (2, 2));
    }

    #[test]
    fn a_key_is_short_printable_text() {
        for good in
            ["a", "order-7", "8e03978e-40d5-43dd-bc93-6894a57f9324", &"k".repeat(KEY_LEN_MAX)]
        {
            assert_eq!(IdempotencyKey::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", " ", "a b", "\"a\"", "ä", "a\n", &"k".repeat(KEY_LEN_MAX + 1)] {
            assert!(IdempotencyKey::parse(bad).is_none(), "{bad:?}");
        }
    }
}
