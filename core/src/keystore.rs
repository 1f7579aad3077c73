//! The file that stores secret keys. Argon2id (RFC 9106) derives a key from the passphrase,
//! XChaCha20-Poly1305 encrypts the secrets, and the header is authenticated with them.
//!
//! Refused: other versions, parameters outside the limits (a hostile file could demand all memory),
//! and any file whose tag does not match. The error does not distinguish a wrong passphrase from
//! damaged bytes.

use crate::{
    codec::{self, BoundedBytes},
    crypto::hash::HashContext,
};
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305,
    aead::{Aead, Payload},
};
use zeroize::Zeroizing;

/// Largest sealed content, bytes.
pub const SECRET_LEN_MAX: usize = 64 * 1024;
/// Largest file, bytes.
pub const FILE_LEN_MAX: usize = SECRET_LEN_MAX + 256;
const MAGIC: [u8; 8] = *b"TEQUIOKS";
const VERSION: u8 = 1;
/// RFC 9106 section 4, second recommended option: 64 MiB, 3 passes.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const MEMORY_KIB_MAX: u32 = 1024 * 1024;
const PASSES_MAX: u32 = 16;

#[derive(BorshSerialize, BorshDeserialize)]
struct File {
    header: Header,
    sealed: BoundedBytes<{ SECRET_LEN_MAX + 16 }>,
}

#[derive(BorshSerialize, BorshDeserialize)]
struct Header {
    magic: [u8; 8],
    version: u8,
    memory_kib: u32,
    passes: u32,
    salt: [u8; 16],
    nonce: [u8; 24],
}

/// The reason why a keystore could not be written or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeystoreError {
    /// Not a keystore file.
    #[error("this is not a Tequio keystore")]
    NotAKeystore,
    /// Written by a newer version of Tequio.
    #[error("the keystore has version {0}; this Tequio reads version 1: upgrade it")]
    Version(u8),
    /// The Argon2 parameters are outside the limits.
    #[error("the keystore asks for unreasonable Argon2 parameters")]
    Parameters,
    /// The authentication tag does not match.
    #[error("wrong passphrase, or the keystore is damaged")]
    WrongPassphrase,
    /// More than [`SECRET_LEN_MAX`].
    #[error("too much to keep in a keystore")]
    TooLarge,
}

/// Seals `secret`. `salt` and `nonce` must be fresh from the operating system each time.
pub fn seal(
    secret: &[u8],
    passphrase: &[u8],
    salt: [u8; 16],
    nonce: [u8; 24],
) -> Result<Vec<u8>, KeystoreError> {
    if secret.len() > SECRET_LEN_MAX {
        return Err(KeystoreError::TooLarge);
    }
    let header = Header {
        magic: MAGIC,
        version: VERSION,
        memory_kib: MEMORY_KIB,
        passes: PASSES,
        salt,
        nonce,
    };
    let cipher = cipher(&header, passphrase)?;
    let aad = associated_data(&header);
    let sealed = cipher
        .encrypt(&nonce.into(), Payload { msg: secret, aad: &aad })
        .map_err(|_| KeystoreError::TooLarge)?;
    Ok(codec::encode(&File {
        header,
        sealed: sealed.try_into().map_err(|_| KeystoreError::TooLarge)?,
    }))
}

/// Opens a keystore made by [`seal`].
pub fn open(file: &[u8], passphrase: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeystoreError> {
    if !file.starts_with(&MAGIC) {
        return Err(KeystoreError::NotAKeystore);
    }
    match file.get(MAGIC.len()) {
        Some(&VERSION) => {}
        Some(other) => return Err(KeystoreError::Version(*other)),
        None => return Err(KeystoreError::NotAKeystore),
    }
    let File { header, sealed } =
        codec::decode(file, FILE_LEN_MAX).map_err(|_| KeystoreError::NotAKeystore)?;
    let aad = associated_data(&header);
    cipher(&header, passphrase)?
        .decrypt(&header.nonce.into(), Payload { msg: &sealed, aad: &aad })
        .map(Zeroizing::new)
        .map_err(|_| KeystoreError::WrongPassphrase)
}

fn associated_data(header: &Header) -> Vec<u8> {
    codec::encode(&(HashContext::Keystore.name(), header))
}

fn cipher(header: &Header, passphrase: &[u8]) -> Result<XChaCha20Poly1305, KeystoreError> {
    if header.memory_kib > MEMORY_KIB_MAX || header.passes > PASSES_MAX {
        return Err(KeystoreError::Parameters);
    }
    let params = argon2::Params::new(header.memory_kib, header.passes, 1, Some(32))
        .map_err(|_| KeystoreError::Parameters)?;
    let mut key = Zeroizing::new([0; 32]);
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into(passphrase, &header.salt, key.as_mut())
        .map_err(|_| KeystoreError::Parameters)?;
    Ok(XChaCha20Poly1305::new((&*key).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_with_the_passphrase_and_unchanged() {
        let file = seal(b"secret", b"pass", [1; 16], [2; 24]).unwrap();
        assert!(!file.windows(6).any(|w| w == b"secret"));
        assert_eq!(*open(&file, b"pass").unwrap(), b"secret");
        assert_eq!(open(&file, b"Pass"), Err(KeystoreError::WrongPassphrase));
        // Salt, nonce and sealed bytes are all authenticated.
        for at in [17, 40, file.len() - 1] {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert_eq!(open(&changed, b"pass"), Err(KeystoreError::WrongPassphrase), "byte {at}");
        }
        let mut newer = file.clone();
        newer[8] = 2;
        assert_eq!(open(&newer, b"pass"), Err(KeystoreError::Version(2)));
        let mut greedy = file.clone();
        greedy[9..13].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(open(&greedy, b"pass"), Err(KeystoreError::Parameters));
        assert_eq!(open(&file[..20], b"pass"), Err(KeystoreError::NotAKeystore));
        assert_eq!(open(b"", b"pass"), Err(KeystoreError::NotAKeystore));
    }
}
