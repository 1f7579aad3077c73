//! The relay's identity and its WebRTC certificate, in a keystore file.
//!
//! Both are part of the addresses that browsers and nodes store, so they are generated once and
//! kept.

use crate::StartError;
use borsh::{BorshDeserialize, BorshSerialize};
use std::{io, path::Path};
use tequio_core::{codec, keystore};
use tequio_host::{
    Passphrase,
    keystore::{KeystoreFileError, open_file, seal_file},
    random,
};
use tequio_p2p::WebRtcCertificate;
use zeroize::{Zeroize, Zeroizing};

/// Name of the keystore in the relay's directory.
pub const FILE_NAME: &str = "relay.keystore";
const SECRETS_VERSION: u8 = 1;

/// The relay's keys.
#[derive(Debug)]
pub struct Keys {
    /// Ed25519 secret of the node identity.
    pub secret: Zeroizing<[u8; 32]>,
    /// The certificate for `/webrtc-direct`.
    pub certificate: WebRtcCertificate,
}

/// The sealed contents of the keystore.
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
    /// Opens the keystore of a directory, or creates it.
    pub fn load_or_create(dir: &Path, passphrase: &Passphrase) -> Result<Self, StartError> {
        let path = dir.join(FILE_NAME);
        match open_file(&path, passphrase) {
            Ok(secrets) => Self::from_secrets(&path, &secrets),
            Err(KeystoreFileError::Io(e)) if e.kind() == io::ErrorKind::NotFound => {
                Self::create(&path, passphrase)
            }
            Err(source) => Err(StartError::Keystore { path, source }),
        }
    }

    fn create(path: &Path, passphrase: &Passphrase) -> Result<Self, StartError> {
        let secret = random::<32>().map_err(|e| StartError::Generate(e.to_string()))?;
        let certificate =
            WebRtcCertificate::generate().map_err(|e| StartError::Generate(e.to_string()))?;
        let secrets = Secrets {
            version: SECRETS_VERSION,
            node: *secret,
            certificate: certificate.to_bytes(),
        };
        let bytes = Zeroizing::new(codec::encode(&secrets));
        seal_file(path, &bytes, passphrase)
            .map_err(|source| StartError::Keystore { path: path.to_owned(), source })?;
        Ok(Self { secret, certificate })
    }

    fn from_secrets(path: &Path, bytes: &[u8]) -> Result<Self, StartError> {
        let bad = |cause: String| StartError::Secrets { path: path.to_owned(), cause };
        let secrets: Secrets =
            codec::decode(bytes, keystore::SECRET_LEN_MAX).map_err(|e| bad(e.to_string()))?;
        if secrets.version != SECRETS_VERSION {
            return Err(bad(format!("version {}; upgrade tequio-relay", secrets.version)));
        }
        let certificate =
            WebRtcCertificate::from_bytes(&secrets.certificate).map_err(|e| bad(e.to_string()))?;
        Ok(Self { secret: Zeroizing::new(secrets.node), certificate })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_generated_once_and_open_only_with_the_passphrase() {
        let dir = tempfile::tempdir().unwrap();
        let right = Zeroizing::new("correct horse".to_owned());
        let made = Keys::load_or_create(dir.path(), &right).unwrap();
        let again = Keys::load_or_create(dir.path(), &right).unwrap();
        assert_eq!(made.secret, again.secret);
        assert_eq!(made.certificate.to_bytes(), again.certificate.to_bytes());
        let wrong =
            Keys::load_or_create(dir.path(), &Zeroizing::new("wrong".to_owned())).unwrap_err();
        assert!(matches!(wrong, StartError::Keystore { .. }), "{wrong}");
    }
}
