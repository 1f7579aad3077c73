//! Files that must survive a crash: a temporary file is written, synced, and renamed.
//!
//! Rejected: files above the caller's size limit.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Mode of a file that only its owner can read.
pub const PRIVATE: u32 = 0o600;
/// Mode of a file that all users can read.
pub const PUBLIC: u32 = 0o644;

/// Replaces a file atomically: after a crash either the old or the new file exists.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = folder.join(name);
    let written = (|| {
        let open = || OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary);
        // Process ids repeat in a container: a killed process with the same id may have left its
        // file.
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
        // The rename is stored in the folder, so the folder is synced too.
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

/// Whether a directory is readable and empty.
pub fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
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
}
