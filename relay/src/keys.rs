//! The relay's identity and its WebRTC certificate, in the keystore file of
//! `tequio_core::keystore`.
//!
//! Both are part of the addresses that browsers and nodes remember, so they are made once and
//! kept. The passphrase comes from a file, from the environment or from the terminal, never from
//! the command line, where every process of the machine could read it.

use crate::{StartError, files};
use borsh::{BorshDeserialize, BorshSerialize};
use std::{
    io::{self, IsTerminal},
    path::Path,
};
use tequio_core::{codec, keystore};
use tequio_p2p::WebRtcCertificate;
use zeroize::{Zeroize, Zeroizing};

/// The variable that may hold the passphrase.
pub const PASSPHRASE_ENV: &str = "TEQUIO_PASSPHRASE";
/// Name of the keystore in the relay's directory.
pub const FILE_NAME: &str = "relay.keystore";
/// Longest passphrase file, bytes.
const PASSPHRASE_LEN_MAX: usize = 4096;
const SECRETS_VERSION: u8 = 1;

/// A passphrase; erased when dropped.
pub type Passphrase = Zeroizing<String>;

/// Who this relay is.
#[derive(Debug)]
pub struct Keys {
    /// Ed25519 secret of the node identity.
    pub secret: Zeroizing<[u8; 32]>,
    /// For `/webrtc-direct`.
    pub certificate: WebRtcCertificate,
}

/// What the keystore seals.
#[derive(BorshSerialize, BorshDeserialize)]
struct Secrets {
    version: u8,
    node: [u8; 32],
    certificate: Vec<u8>,
}

impl Drop for Secrets {
    fn drop(&mut self) {
        self.node.zeroize();
        self.certificate.zeroize();
    }
}

impl Keys {
    /// Opens the keystore of a directory, or makes it.
    pub fn load_or_make(dir: &Path, passphrase: &Passphrase) -> Result<Self, StartError> {
        let path = dir.join(FILE_NAME);
        match files::read_capped(&path, keystore::FILE_LEN_MAX) {
            Ok(file) => Self::open(&path, &file, passphrase),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Self::make(&path, passphrase),
            Err(e) => Err(StartError::file("read", path)(e)),
        }
    }

    fn make(path: &Path, passphrase: &Passphrase) -> Result<Self, StartError> {
        let secret = random::<32>()?;
        let certificate =
            WebRtcCertificate::generate().map_err(|e| StartError::Generate(e.to_string()))?;
        let secrets = Secrets {
            version: SECRETS_VERSION,
            node: *secret,
            certificate: certificate.to_bytes(),
        };
        let bytes = Zeroizing::new(codec::encode(&secrets));
        let file =
            keystore::seal(&bytes, passphrase.as_bytes(), *random::<16>()?, *random::<24>()?)
                .map_err(|source| StartError::Keystore { path: path.to_owned(), source })?;
        files::write_private(path, &file).map_err(StartError::file("write", path))?;
        Ok(Self { secret, certificate })
    }

    fn open(path: &Path, file: &[u8], passphrase: &Passphrase) -> Result<Self, StartError> {
        let bytes = keystore::open(file, passphrase.as_bytes())
            .map_err(|source| StartError::Keystore { path: path.to_owned(), source })?;
        let bad = |cause: String| StartError::Secrets { path: path.to_owned(), cause };
        let secrets: Secrets =
            codec::decode(&bytes, keystore::SECRET_LEN_MAX).map_err(|e| bad(e.to_string()))?;
        if secrets.version != SECRETS_VERSION {
            return Err(bad(format!("version {}; upgrade tequio-relay", secrets.version)));
        }
        let certificate =
            WebRtcCertificate::from_bytes(&secrets.certificate).map_err(|e| bad(e.to_string()))?;
        Ok(Self { secret: Zeroizing::new(secrets.node), certificate })
    }
}

fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, StartError> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(bytes.as_mut()).map_err(|e| StartError::Generate(e.to_string()))?;
    Ok(bytes)
}

/// The passphrase: first line of `file`, else the environment, else asked for on the terminal
/// (twice if it is `new`).
pub fn passphrase(file: Option<&Path>, new: bool) -> io::Result<Passphrase> {
    let text = if let Some(path) = file {
        let bytes = Zeroizing::new(files::read_capped(path, PASSPHRASE_LEN_MAX)?);
        let text = std::str::from_utf8(&bytes).map_err(io::Error::other)?;
        Zeroizing::new(text.lines().next().unwrap_or_default().to_owned())
    } else if let Ok(text) = std::env::var(PASSPHRASE_ENV) {
        Zeroizing::new(text)
    } else if io::stdin().is_terminal() {
        let text =
            Zeroizing::new(rpassword::prompt_password("Passphrase of the relay's keystore: ")?);
        if new && Zeroizing::new(rpassword::prompt_password("The same again: ")?) != text {
            return Err(io::Error::other("the two passphrases differ"));
        }
        text
    } else {
        let cause = format!(
            "no passphrase: give --passphrase-file, set {PASSPHRASE_ENV}, or run on a terminal"
        );
        return Err(io::Error::other(cause));
    };
    if text.is_empty() { Err(io::Error::other("the passphrase is empty")) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_once_and_opened_with_the_passphrase_only() {
        let dir = tempfile::tempdir().unwrap();
        let right = Zeroizing::new("correct horse".to_owned());
        let made = Keys::load_or_make(dir.path(), &right).unwrap();
        let again = Keys::load_or_make(dir.path(), &right).unwrap();
        assert_eq!(made.secret, again.secret);
        assert_eq!(made.certificate.to_bytes(), again.certificate.to_bytes());
        let wrong =
            Keys::load_or_make(dir.path(), &Zeroizing::new("wrong".to_owned())).unwrap_err();
        assert!(matches!(wrong, StartError::Keystore { .. }), "{wrong}");
    }

    #[test]
    fn a_passphrase_file_gives_its_first_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passphrase");
        std::fs::write(&path, "first\nsecond\n").unwrap();
        assert_eq!(passphrase(Some(&path), false).unwrap().as_str(), "first");
        std::fs::write(&path, "\n").unwrap();
        assert!(passphrase(Some(&path), false).is_err());
    }
}
