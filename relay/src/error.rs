//! Why a relay does not start: each says what to look at.

use std::{io, path::PathBuf};
use tequio_core::ledger::genesis;
use tequio_host::{LockError, keystore::KeystoreFileError};
use tequio_p2p::{ListenError, Multiaddr, SpawnError};

/// See the variants' texts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A file or directory fails us.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried: "read", "write", ...
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The directory cannot be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The keystore does not open.
    #[error("keystore {path}")]
    Keystore {
        /// Where.
        path: PathBuf,
        /// Why.
        source: KeystoreFileError,
    },
    /// The keystore opens, but its contents are not a relay's.
    #[error("keystore {path} does not hold a relay's keys: {cause}")]
    Secrets {
        /// Where.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// No randomness, or no certificate could be made.
    #[error("cannot make keys: {0}")]
    Generate(String),
    /// The TLS files are unusable.
    #[error("TLS file {path}: {cause}")]
    Tls {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// The checkpoint is unusable.
    #[error("checkpoint {path}")]
    Checkpoint {
        /// Where.
        path: PathBuf,
        /// Why.
        source: genesis::StartError,
    },
    /// The page is not there.
    #[error("{0} has no index.html: build the page first, or leave out --page")]
    Page(PathBuf),
    /// A node's address without its id.
    #[error("node address {0} does not end in /p2p/<id> with an Ed25519 key")]
    Node(Multiaddr),
    /// The TURN server's socket.
    #[error("TURN cannot listen on {addr}")]
    Turn {
        /// Where.
        addr: std::net::SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody could be told where the TURN server is.
    #[error(
        "--turn {0} needs --turn-external with the one address, of the same family, by which this machine is reached"
    )]
    TurnExternal(std::net::SocketAddr),
    /// The network does not start.
    #[error("the network does not start")]
    Network(#[from] SpawnError),
    /// An address cannot be listened on.
    #[error("cannot listen on {addr}")]
    Listen {
        /// Which.
        addr: Multiaddr,
        /// Why.
        source: ListenError,
    },
    /// The web server's address is taken.
    #[error("cannot listen on http://{addr}")]
    Http {
        /// Which.
        addr: std::net::SocketAddr,
        /// Why.
        source: io::Error,
    },
}

impl StartError {
    /// Adds what was tried, and where, to an error of the system.
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}
