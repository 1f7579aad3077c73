//! Files: read with a cap, replaced as a whole, and a directory held by one process only.

use crate::StartError;
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    path::Path,
};

/// Reads a file of at most `len_max` bytes.
pub fn read_capped(path: &Path, len_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(len_max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > len_max {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("larger than {len_max} bytes"),
        ));
    }
    Ok(bytes)
}

/// Writes a new file, readable by its owner only: after a crash it is there as a whole or not at
/// all.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension(format!("{}.new", std::process::id()));
    let written = (|| {
        let open = || private().create_new(true).open(&temporary);
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
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Holds a directory; the system lets go of it however the process ends.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Makes the directory if it is missing, and takes its lock without waiting.
    pub fn take(dir: &Path) -> Result<Self, StartError> {
        fs::create_dir_all(dir).map_err(StartError::file("make directory", dir))?;
        let path = dir.join("lock");
        let file = private()
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(StartError::file("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StartError::InUse(dir.to_owned())),
            Err(TryLockError::Error(source)) => Err(StartError::file("lock", path)(source)),
        }
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_and_locks_hold() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write_private(&path, b"1234").unwrap();
        assert_eq!(read_capped(&path, 4).unwrap(), b"1234");
        assert!(read_capped(&path, 3).is_err());
        let held = DirectoryLock::take(dir.path()).unwrap();
        assert!(matches!(DirectoryLock::take(dir.path()), Err(StartError::InUse(_))));
        drop(held);
        DirectoryLock::take(dir.path()).unwrap();
    }
}
