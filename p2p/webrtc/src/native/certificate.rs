//! The DTLS certificate of a node, and its form on disk.
//!
//! The hash of the certificate is part of every address of a listener (`/certhash`). A listener
//! must persist its certificate to keep its addresses over restarts.

use crate::{Error, addr::Fingerprint};
use str0m::config::DtlsCert;

/// First bytes of a stored certificate: format and version.
const MAGIC: &[u8; 8] = b"tqrtcrt1";
/// Maximum length of certificate and key together; those of this module have some 500 bytes.
const STORED_MAX: usize = 16 * 1024;

/// A self-signed ECDSA P-256 certificate with its private key.
#[derive(Clone)]
pub struct Certificate {
    cert: DtlsCert,
    fingerprint: Fingerprint,
}

/// The reason why stored bytes are not a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadCertificate {
    /// The bytes have another prefix, or are too long.
    #[error("not a stored WebRTC certificate of a known version")]
    Format,
    /// The bytes have changed since they were written.
    #[error("the stored WebRTC certificate is damaged")]
    Damaged,
}

impl Certificate {
    /// Creates a certificate with a new key.
    pub fn generate() -> Result<Self, Error> {
        let cert = str0m::crypto::from_feature_flags().dtls_provider.generate_certificate();
        Ok(Self::new(cert.ok_or_else(|| Error::Engine("cannot make a certificate".into()))?))
    }

    fn new(cert: DtlsCert) -> Self {
        Self { fingerprint: Fingerprint(sha256(&cert.certificate)), cert }
    }

    /// Serializes for storage: magic, length of the certificate (4 bytes, big-endian), certificate
    /// (DER), private key (DER), SHA-256 of all before. Contains the private key: keep it secret.
    pub fn to_bytes(&self) -> Vec<u8> {
        let len = u32::try_from(self.cert.certificate.len()).unwrap_or(u32::MAX);
        let mut out =
            [&MAGIC[..], &len.to_be_bytes(), &self.cert.certificate, &self.cert.private_key]
                .concat();
        out.extend(sha256(&out));
        out
    }

    /// Inverts [`Certificate::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadCertificate> {
        let Some(rest) = bytes.strip_prefix(MAGIC).filter(|_| bytes.len() <= STORED_MAX) else {
            return Err(BadCertificate::Format);
        };
        // The digest matters: str0m treats a key that does not parse as a programming error, and
        // panics at the first handshake.
        let (body, digest) = bytes.split_last_chunk::<32>().ok_or(BadCertificate::Damaged)?;
        if sha256(body) != *digest {
            return Err(BadCertificate::Damaged);
        }
        let rest =
            rest.get(..rest.len().saturating_sub(digest.len())).ok_or(BadCertificate::Damaged)?;
        let (len, rest) = rest.split_first_chunk::<4>().ok_or(BadCertificate::Damaged)?;
        let len = u32::from_be_bytes(*len) as usize;
        let (certificate, private_key) =
            rest.split_at_checked(len).ok_or(BadCertificate::Damaged)?;
        Ok(Self::new(DtlsCert {
            certificate: certificate.to_vec(),
            private_key: private_key.to_vec(),
        }))
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    pub(super) fn dtls(&self) -> DtlsCert {
        self.cert.clone()
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate")
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    str0m::crypto::from_feature_flags().sha256_provider.sha256(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storing_keeps_the_fingerprint_and_detects_damage() {
        let certificate = Certificate::generate().unwrap();
        let bytes = certificate.to_bytes();
        assert_eq!(Certificate::from_bytes(&bytes).unwrap().fingerprint, certificate.fingerprint);
        for i in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[i] ^= 1;
            assert!(Certificate::from_bytes(&bad).is_err(), "byte {i}");
            assert!(Certificate::from_bytes(&bytes[..i]).is_err(), "cut at {i}");
        }
        assert_eq!(Certificate::from_bytes(b"").unwrap_err(), BadCertificate::Format);
        assert!(!format!("{certificate:?}").contains("key"));
    }
}
