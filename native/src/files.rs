//! Files that must survive a crash: written beside their place, synced, then renamed; and the lock
//! that keeps two processes out of one directory.
//!
//! Refused: files above the size that the caller allows, and a directory that another process
//! holds.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// Readable by its owner only.
pub const PRIVATE: u32 = 0o600;
/// Readable by everybody.
pub const PUBLIC: u32 = 0o644;

/// Entries of a directory that [`node_directories`] looks at.
const NODE_DIRECTORIES_MAX: usize = 1024;

/// Replaces a file as a whole: after a crash there is either the old one or the new one.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = folder.join(name);
    let written = (|| {
        let open = || OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary);
        // In a container, process ids repeat: a killed process with this id may have left its file.
        let mut file = match open() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(&temporary)?;
                open()?
            }
            opened => opened?,
        };
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        // The rename itself rests in the folder.
        File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Reads a file of at most `len_max` bytes.
pub fn read_capped(path: &Path, len_max: usize) -> io::Result<Vec<u8>> {
    read_stream_capped(File::open(path)?, len_max)
}

/// Reads a stream to its end, but no more than `len_max` bytes.
pub fn read_stream_capped(stream: impl Read, len_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.take(len_max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > len_max {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("larger than {len_max} bytes"),
        ));
    }
    Ok(bytes)
}

/// Whether a directory can be read and has nothing in it.
pub fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}

/// The directories in `dir` that have a node's configuration, in the order of their names; at most
/// `NODE_DIRECTORIES_MAX`.
pub fn node_directories(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    let is_node = |path: &PathBuf| path.join(crate::config::FILE_NAME).is_file();
    let mut found: Vec<PathBuf> =
        entries.take(NODE_DIRECTORIES_MAX).map(|entry| entry.path()).filter(is_node).collect();
    found.sort();
    found
}

/// Tries to lock a directory, and the pause between them: [`is_held`] locks it for a moment, too.
const LOCK_TRIES: u32 = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(20);
const LOCK_FILE: &str = "lock";

/// Whether a process holds a directory; `None` if the lock file is missing or not readable.
pub fn is_held(dir: &Path) -> Option<bool> {
    match File::open(dir.join(LOCK_FILE)).ok()?.try_lock_shared() {
        Ok(()) => Some(false),
        Err(TryLockError::WouldBlock) => Some(true),
        Err(TryLockError::Error(_)) => None,
    }
}

/// Holds a directory for this process; the kernel lets go of it however the process ends.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

/// Why a directory cannot be held.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process runs on it. The same keys in two processes would sign conflicting votes.
    #[error(
        "{0} is in use by another tequio process: end that one, or wait for it; two would sign with the same keys"
    )]
    InUse(PathBuf),
    /// The file system refuses.
    #[error(
        "cannot lock {0}: {1}. The directory must exist, and this user must be allowed to write in it"
    )]
    Io(PathBuf, io::Error),
}

impl DirectoryLock {
    /// Takes the lock of `dir`. Fails within 100 ms if another process holds it.
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
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn replaces_as_a_whole_and_keeps_the_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        write_atomic(&path, b"one", PRIVATE).unwrap();
        write_atomic(&path, b"two", PRIVATE).unwrap();
        assert_eq!(read_capped(&path, 3).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, PRIVATE);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
        assert_eq!(read_capped(&path, 2).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_file_that_a_killed_process_of_the_same_id_left_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.json");
        fs::write(dir.path().join(format!("run.json.{}.new", std::process::id())), b"half")
            .unwrap();
        write_atomic(&path, b"whole", PUBLIC).unwrap();
        assert_eq!(read_capped(&path, 5).unwrap(), b"whole");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

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
