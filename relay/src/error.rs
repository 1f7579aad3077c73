//! Errors at the start of a relay. Each names the file or address to check.

use std::{io, path::PathBuf};
use tequio_core::ledger::genesis;
use tequio_host::{LockError, keystore::KeystoreFileError};
use tequio_p2p::{ListenError, Multiaddr, SpawnError};

/// The reason why a relay does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A file or directory cannot be used.
    #[error("cannot {action} {path}")]
    File {
        /// The failed action: "read", "write", ...
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The directory cannot be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The keystore cannot be opened.
    #[error("keystore {path}")]
    Keystore {
        /// The keystore file.
        path: PathBuf,
        /// The cause.
        source: KeystoreFileError,
    },
    /// The keystore opens, but does not contain a relay's keys.
    #[error("keystore {path} does not hold a relay's keys: {cause}")]
    Secrets {
        /// The keystore file.
        path: PathBuf,
        /// The cause.
        cause: String,
    },
    /// No randomness is available, or no certificate can be generated.
    #[error("cannot make keys: {0}")]
    Generate(String),
    /// The TLS files are unusable.
    #[error("TLS file {path}: {cause}")]
    Tls {
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: String,
    },
    /// The checkpoint is unusable.
    #[error("checkpoint {path}")]
    Checkpoint {
        /// The checkpoint file.
        path: PathBuf,
        /// The cause.
        source: genesis::BootstrapError,
    },
    /// The page's directory has no index.html.
    #[error("{0} has no index.html: build the page first, or leave out --page")]
    Page(PathBuf),
    /// A node's address lacks the node id.
    #[error("node address {0} does not end in /p2p/<id> with an Ed25519 key")]
    Node(Multiaddr),
    /// The TURN server cannot listen.
    #[error("TURN cannot listen on {addr}")]
    Turn {
        /// The address.
        addr: std::net::SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// The TURN server has no address to announce.
    #[error(
        "--turn {0} needs --turn-external with the one address, of the same family, by which this \
         machine is reached"
    )]
    TurnExternal(std::net::SocketAddr),
    /// The network does not start.
    #[error("the network cannot start")]
    Network(#[from] SpawnError),
    /// An address cannot be listened on.
    #[error(
        "cannot listen on {addr}: {}. See that no other program has the port and that this machine \
         has the address, or choose another with --listen",
        error.reason()
    )]
    Listen {
        /// The address.
        addr: Multiaddr,
        /// The cause.
        error: ListenError,
    },
    /// The web server cannot listen.
    #[error("cannot listen on http://{addr}")]
    Http {
        /// The address.
        addr: std::net::SocketAddr,
        /// The system's error.
        source: io::Error,
    },
}

impl StartError {
    /// Adds the action and the path to an I/O error.
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}
