//! The operator's TLS certificate, read from PEM for the web server and for WebSocket. The relay
//! loads a renewed certificate while it runs, for new connections.
//!
//! Rejected: files without a certificate or key, and a key that does not fit the certificate. A
//! rejected renewal (for example a half-written file) changes nothing, and the next check reads it
//! again.

use crate::{StartError, TlsFiles};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::SystemTime,
};
use tequio_p2p::{ReloadableTls, TlsIdentity};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

/// Modification time and length of both files; a change shows that a file was renewed.
type Stamp = [(SystemTime, u64); 2];

/// The certificate in use, in both forms.
pub struct Certificate {
    files: TlsFiles,
    acceptor: RwLock<TlsAcceptor>,
    websocket: ReloadableTls,
    /// Stamp of the files that were last loaded.
    read: Mutex<Option<Stamp>>,
}

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// A file cannot be read, or the key does not fit the certificate.
    pub fn open(files: TlsFiles) -> Result<Self, StartError> {
        let read = stamp(&files);
        let (identity, acceptor) = load(&files)?;
        Ok(Self {
            files,
            acceptor: RwLock::new(acceptor),
            websocket: identity.into(),
            read: Mutex::new(read),
        })
    }

    /// The acceptor for a new connection to the web server.
    pub fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The certificate for the WebSocket listener.
    pub fn websocket(&self) -> ReloadableTls {
        self.websocket.clone()
    }

    /// Loads the files if they have changed since the last load. Returns whether they have.
    ///
    /// # Errors
    /// A file cannot be read, or the key does not fit the certificate. The former certificate
    /// stays.
    pub fn reload(&self) -> Result<bool, StartError> {
        // The lock is held throughout, so that two reloads cannot leave different certificates in
        // the two forms.
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let found = stamp(&self.files);
        if found.is_some() && *read == found {
            return Ok(false);
        }
        let (identity, acceptor) = load(&self.files)?;
        *self.acceptor.write().unwrap_or_else(PoisonError::into_inner) = acceptor;
        self.websocket.replace(identity);
        *read = found;
        Ok(true)
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").field("files", &self.files).finish_non_exhaustive()
    }
}

fn stamp(files: &TlsFiles) -> Option<Stamp> {
    let of =
        |path: &Path| fs::metadata(path).and_then(|data| Ok((data.modified()?, data.len()))).ok();
    Some([of(&files.cert)?, of(&files.key)?])
}

fn load(files: &TlsFiles) -> Result<(TlsIdentity, TlsAcceptor), StartError> {
    // Two providers are compiled in (see tequio-p2p), so one must be chosen. A choice by the
    // program takes precedence.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let bad = |path: &Path, cause: String| StartError::Tls { path: path.to_owned(), cause };
    let cert = |cause| bad(&files.cert, cause);
    let chain = CertificateDer::pem_file_iter(&files.cert).map_err(|e| cert(e.to_string()))?;
    let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(|e| cert(e.to_string()))?;
    if chain.is_empty() {
        return Err(cert("no certificate in it".into()));
    }
    let key =
        PrivateKeyDer::from_pem_file(&files.key).map_err(|e| bad(&files.key, e.to_string()))?;
    let identity = TlsIdentity {
        key_der: Zeroizing::new(key.secret_der().to_vec()),
        chain_der: chain.iter().map(|c| c.to_vec()).collect(),
    };
    let mut server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| bad(&files.key, e.to_string()))?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((identity, TlsAcceptor::from(Arc::new(server))))
}
