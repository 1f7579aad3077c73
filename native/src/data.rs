//! Data files: CSV, plain or gzip. The size is capped before and after unpacking, so that a small
//! file cannot unpack into all memory.

use flate2::read::MultiGzDecoder;
use std::{io, path::Path};
use tequio_host::files;

/// Largest data file, packed or unpacked, bytes.
pub const DATA_LEN_MAX: usize = tequio_core::compute::limits::CSV_BYTES_MAX;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The reason why data cannot be read. The caller is at fault.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The data is larger than [`DATA_LEN_MAX`].
    #[error("the data is larger than {} MiB: train on a part of the \
             rows", DATA_LEN_MAX / 1024 / 1024)]
    TooLarge,
    /// The file cannot be read.
    #[error("cannot read the file: {0}")]
    Io(io::Error),
    /// The gzip stream is damaged.
    #[error("the gzip stream is damaged ({0}): copy or pack the file again")]
    Gzip(io::Error),
    /// The data is empty.
    #[error("the data is empty")]
    Empty,
}

/// Reads a file without unpacking it.
pub fn read_file(path: &Path) -> Result<Vec<u8>, DataError> {
    files::read_capped(path, DATA_LEN_MAX).map_err(|error| from_io(error, DataError::Io))
}

/// Unpacks gzip, detected by its first bytes; returns other bytes unchanged.
pub fn unpack(bytes: Vec<u8>) -> Result<Vec<u8>, DataError> {
    let plain = match bytes.starts_with(&GZIP_MAGIC) {
        true => files::read_stream_capped(MultiGzDecoder::new(bytes.as_slice()), DATA_LEN_MAX)
            .map_err(|error| from_io(error, DataError::Gzip))?,
        false => bytes,
    };
    if plain.iter().all(u8::is_ascii_whitespace) { Err(DataError::Empty) } else { Ok(plain) }
}

fn from_io(error: io::Error, other: fn(io::Error) -> DataError) -> DataError {
    if error.kind() == io::ErrorKind::FileTooLarge { DataError::TooLarge } else { other(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gzip_is_detected_by_its_first_bytes() {
        assert_eq!(unpack(gzip(b"a,b\n1,2\n")).unwrap(), b"a,b\n1,2\n");
        assert_eq!(unpack(b"a,b\n1,2\n".to_vec()).unwrap(), b"a,b\n1,2\n");
        assert!(matches!(unpack(b" \n".to_vec()), Err(DataError::Empty)));
        let mut torn = gzip(b"a,b\n1,2\n");
        torn.truncate(12);
        assert!(matches!(unpack(torn), Err(DataError::Gzip(_))));
    }

    #[test]
    fn a_gzip_bomb_is_refused() {
        let bomb = gzip(&vec![b'0'; DATA_LEN_MAX + 1]);
        assert!(bomb.len() < DATA_LEN_MAX / 100);
        assert!(matches!(unpack(bomb), Err(DataError::TooLarge)));
    }
}
