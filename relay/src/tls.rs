//! The operator's TLS certificate, read once from PEM for both uses: web server and WebSocket.
//!
//! Refused: files without a certificate or key, and a key that does not fit the certificate.

use crate::{StartError, TlsFiles};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{path::Path, sync::Arc};
use tequio_p2p::TlsIdentity;
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

/// Reads the files.
pub fn load(files: &TlsFiles) -> Result<(TlsIdentity, TlsAcceptor), StartError> {
    // Two providers are compiled in (see tequio-p2p), so one must be chosen; if the program has chosen, that stands.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let bad = |path: &Path, cause: String| StartError::Tls { path: path.to_owned(), cause };
    let cert = |cause| bad(&files.cert, cause);
    let chain = CertificateDer::pem_file_iter(&files.cert).map_err(|e| cert(e.to_string()))?;
    let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(|e| cert(e.to_string()))?;
    if chain.is_empty() {
        return Err(cert("no certificate in it".into()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| bad(&files.key, e.to_string()))?;
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
