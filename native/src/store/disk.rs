//! The storage backend of the database. It records the first write that the disk refuses, because
//! redb answers every later call with "Previous I/O error", which names neither the disk nor the
//! cause.

use redb::{BackendError, DatabaseError, StorageBackend, backends::FileBackend};
use std::{
    fs::OpenOptions,
    io::{self, ErrorKind},
    ops::Bound,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::sync::watch;

/// A write that the disk refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot write {}: {reason}. {}", path.display(), self.remedy())]
pub struct WriteFailure {
    /// The file.
    pub path: PathBuf,
    /// Kind of the I/O error.
    pub kind: ErrorKind,
    /// The system's error message.
    pub reason: String,
}

impl WriteFailure {
    fn remedy(&self) -> &'static str {
        match self.kind {
            ErrorKind::StorageFull => {
                "The disk is full: free some space, or move the node's directory to a larger \
                 disk, and start the node again; everything that was final or acknowledged is \
                 kept"
            }
            ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                "A limit of the file system or of the user is reached: raise it (quota, ulimit \
                 -f), and start the node again; everything that was final or acknowledged is kept"
            }
            ErrorKind::ReadOnlyFilesystem => {
                "The file system is read-only: see why in the system's log, mount it for writing, \
                 and start the node again"
            }
            _ => {
                "See the system's log for the disk's errors, and start the node again on a disk \
                 that works"
            }
        }
    }
}

/// The first write failure of a store.
pub type Failures = watch::Receiver<Option<WriteFailure>>;

/// A file, or in tests any other redb backend.
#[derive(Debug)]
pub(super) struct Disk<B> {
    inner: B,
    path: PathBuf,
    failure: Arc<watch::Sender<Option<WriteFailure>>>,
}

/// Opens the file, or creates it.
pub(super) fn open(path: &Path) -> Result<(Disk<FileBackend>, Failures), DatabaseError> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let file = file.map_err(|error| DatabaseError::Storage(error.into()))?;
    Ok(Disk::new(FileBackend::new(file)?, path))
}

impl<B> Disk<B> {
    pub(super) fn new(inner: B, path: &Path) -> (Self, Failures) {
        let (failure, failures) = watch::channel(None);
        (Self { inner, path: path.to_path_buf(), failure: Arc::new(failure) }, failures)
    }

    fn record_failure<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            let failure = WriteFailure {
                path: self.path.clone(),
                kind: error.kind(),
                reason: error.to_string(),
            };
            self.failure.send_if_modified(|first| {
                let is_first = first.is_none();
                if is_first {
                    tracing::error!(error = %failure, "the store fails");
                    *first = Some(failure);
                }
                is_first
            });
        }
        result
    }
}

impl<B: StorageBackend> StorageBackend for Disk<B> {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.record_failure(self.inner.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.record_failure(self.inner.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.record_failure(self.inner.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::{Database, TableDefinition, backends::InMemoryBackend};
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A disk that is full from some time on.
    #[derive(Debug)]
    struct Filling(InMemoryBackend, Arc<AtomicBool>);

    impl Filling {
        fn room(&self) -> io::Result<()> {
            if self.1.load(Ordering::Relaxed) { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
        }
    }

    impl StorageBackend for Filling {
        fn len(&self) -> io::Result<u64> {
            self.0.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.0.read(offset, out)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.room().and_then(|()| self.0.set_len(len))
        }

        fn sync_data(&self) -> io::Result<()> {
            self.0.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.room().and_then(|()| self.0.write(offset, data))
        }
    }

    #[test]
    fn the_first_failure_is_reported_whatever_fails_after_it() {
        const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("t");
        let full = Arc::<AtomicBool>::default();
        let (disk, failures) =
            Disk::new(Filling(InMemoryBackend::new(), full.clone()), Path::new("/node/store.redb"));
        let db = Database::builder().create_with_backend(disk).unwrap();
        let put = |key: u64| -> Result<(), redb::Error> {
            let write = db.begin_write()?;
            write.open_table(TABLE)?.insert(key, [0; 100_000].as_slice())?;
            Ok(write.commit()?)
        };
        put(1).unwrap();
        assert_eq!(*failures.borrow(), None);
        full.store(true, Ordering::Relaxed);
        put(2).unwrap_err();
        let again = put(3).unwrap_err().to_string();
        let failure = failures.borrow().clone().unwrap();
        assert_eq!(failure.kind, ErrorKind::StorageFull);
        let text = failure.to_string();
        for part in ["/node/store.redb", "The disk is full", "free some space", "is kept"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains(&again), "{text}");
    }
}
