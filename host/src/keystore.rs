//! Keystore files: secrets sealed under a passphrase (`tequio_core::keystore`). A keystore file is
//! replaced atomically, and only its owner can read it.

use crate::{
    files,
    random::{RandomError, random},
};
use std::{io, path::Path};
use tequio_core::keystore::{self, KeystoreError};
use zeroize::Zeroizing;

/// The reason why a keystore file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreFileError {
    /// The file system fails.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The contents are not a keystore, or the passphrase is wrong.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// No nonce can be generated.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// Seals `secrets` under a passphrase and replaces the file at `path` atomically.
pub fn seal_file(path: &Path, secrets: &[u8], passphrase: &str) -> Result<(), KeystoreFileError> {
    let (salt, nonce) = (random::<16>()?, random::<24>()?);
    let sealed = keystore::seal(secrets, passphrase.as_bytes(), *salt, *nonce)?;
    Ok(files::write_atomic(path, &sealed, files::PRIVATE)?)
}

/// Reads the file at `path` and opens it with a passphrase.
pub fn open_file(path: &Path, passphrase: &str) -> Result<Zeroizing<Vec<u8>>, KeystoreFileError> {
    let file = files::read_capped(path, keystore::FILE_LEN_MAX)?;
    Ok(keystore::open(&file, passphrase.as_bytes())?)
}
