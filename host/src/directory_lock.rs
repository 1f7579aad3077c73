//! The lock that prevents two processes from using one directory.

use crate::files::PRIVATE;
use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// Attempts to lock a directory, with a pause between them: [`is_held`] holds the lock for a
/// moment, too.
const LOCK_TRIES: u32 = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(20);
const LOCK_FILE: &str = "lock";

/// Whether a process holds a directory's lock; `None` if the lock file is missing or not readable.
pub fn is_held(dir: &Path) -> Option<bool> {
    match File::open(dir.join(LOCK_FILE)).ok()?.try_lock_shared() {
        Ok(()) => Some(false),
        Err(TryLockError::WouldBlock) => Some(true),
        Err(TryLockError::Error(_)) => None,
    }
}

/// Locks a directory for this process. The kernel releases the lock whenever the process ends.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

/// The reason why a directory cannot be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process uses the directory. The same keys in two processes would sign conflicting
    /// votes.
    #[error(
        "{0} is in use by another tequio process: end that one, or wait for it; two would sign \
         with the same keys"
    )]
    InUse(PathBuf),
    /// The file system fails.
    #[error(
        "cannot lock {0}: {1}. The directory must exist, and this user must be allowed to write in \
         it"
    )]
    Io(PathBuf, io::Error),
}

impl DirectoryLock {
    /// Locks `dir`. Fails within 100 ms if another process holds the lock.
    pub fn take(dir: &Path) -> Result<Self, LockError> {
        let path = dir.join(LOCK_FILE);
        let fail = |error| LockError::Io(path.clone(), error);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(PRIVATE)
            .open(&path)
            .map_err(fail)?;
        let mut taken = file.try_lock();
        for _ in 1..LOCK_TRIES {
            if !matches!(taken, Err(TryLockError::WouldBlock)) {
                break;
            }
            thread::sleep(LOCK_PAUSE);
            taken = file.try_lock();
        }
        match taken {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LockError::InUse(dir.to_path_buf())),
            Err(TryLockError::Error(error)) => Err(fail(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_holds_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let held = DirectoryLock::take(dir.path()).unwrap();
        assert!(matches!(DirectoryLock::take(dir.path()), Err(LockError::InUse(_))));
        assert_eq!(is_held(dir.path()), Some(true));
        drop(held);
        assert_eq!(is_held(dir.path()), Some(false));
        DirectoryLock::take(dir.path()).unwrap();
        assert_eq!(is_held(&dir.path().join("missing")), None);
    }
}
