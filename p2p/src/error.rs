//! Errors of network operations, one enum per operation. Causes from libp2p are kept as text.

use libp2p::Multiaddr;

use crate::path::without_secrets;

/// Error of [`crate::spawn`].
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The secret is not a valid Ed25519 secret.
    #[error("the node's secret key is invalid")]
    InvalidKey,
    /// There is no tokio runtime, which native hosts require.
    #[error("no tokio runtime is running here")]
    NoRuntime,
    /// The STUN and TURN servers are unusable.
    #[error(transparent)]
    IceServers(#[from] tequio_webrtc::BadIceServers),
    /// A transport could not be set up.
    #[error("transport: {0}")]
    Transport(String),
}

/// Error of [`crate::Network::listen`].
#[derive(Clone, Debug, thiserror::Error)]
pub enum ListenError {
    /// No transport of this host listens on such an address.
    #[error("no transport listens on {0}")]
    Unsupported(Multiaddr),
    /// The socket, or the reservation at the relay, failed.
    #[error("cannot listen on {addr}: {cause}")]
    Failed {
        /// The requested address.
        addr: Multiaddr,
        /// The transport's error.
        cause: String,
    },
    /// There is a reservation at this relay already. A second one would end the first, and each
    /// renewal would end the other.
    #[error("the relay of {0} has already granted a reservation")]
    Reserved(Multiaddr),
    /// Neither an address nor an error arrived in time.
    #[error("no address connected before the timeout")]
    Timeout,
    /// The network has ended.
    #[error("the network is closed")]
    Closed,
}

impl ListenError {
    /// The cause without the address, for a message that names the address already.
    pub fn reason(&self) -> String {
        match self {
            Self::Failed { cause, .. } => cause.clone(),
            other => other.to_string(),
        }
    }
}

/// Error of a dial.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The address names this node.
    #[error("the address is our own")]
    OwnAddress,
    /// The circuit address names no relay or no target.
    #[error("the address is incomplete: {0}")]
    Incomplete(Multiaddr),
    /// No transport of this host dials such an address.
    #[error("no transport dials {0}")]
    Unsupported(Multiaddr),
    /// The peer that answered is not the one that the address names.
    #[error("another peer answered: {0}")]
    WrongPeer(libp2p::PeerId),
    /// The connection is denied by the limits, the peer's penalty, or its kind of key.
    #[error("refused locally: {0}")]
    Denied(String),
    /// The transport failed.
    #[error("{0}")]
    Failed(String),
    /// All addresses of a peer failed.
    #[error("no address answers: {}", causes(.0))]
    NoneAnswers(Vec<(Multiaddr, DialError)>),
    /// Too many dials are in progress.
    #[error("too many dials are in progress")]
    QueueFull,
    /// The network has ended.
    #[error("the network is closed")]
    Closed,
}

/// Lists each address with its error.
fn causes(failures: &[(Multiaddr, DialError)]) -> String {
    let each =
        failures.iter().map(|(addr, error)| format!("{}: {error}", without_secrets(addr.clone())));
    each.collect::<Vec<_>>().join("; ")
}

/// Error of a request. `Busy`, `Throttled` and `Refused` are responses of the peer: the connection
/// is still good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// There is no connection to the peer.
    #[error("not connected")]
    NotConnected,
    /// The peer does not serve this protocol.
    #[error("the peer does not support this protocol")]
    Unsupported,
    /// The peer's application declined to answer.
    #[error("refused")]
    Refused,
    /// The peer's queue is full.
    #[error("the peer is busy")]
    Busy,
    /// The local request queue is full, in number or in bytes.
    #[error("too many requests are waiting here")]
    QueueFull,
    /// The request exceeds the rate that the peer grants.
    #[error("the peer's rate limit is exceeded")]
    Throttled,
    /// The request exceeds the protocol's cap. It was not sent, or the peer refused it unread.
    #[error("request of {len} bytes, at most {max} allowed")]
    RequestTooLarge {
        /// Length of the body in bytes.
        len: usize,
        /// The cap in bytes.
        max: usize,
    },
    /// The response exceeds the protocol's cap; it was not read.
    #[error("response above {max} bytes")]
    ResponseTooLarge {
        /// The cap in bytes.
        max: usize,
    },
    /// No response in time.
    #[error("no response in time")]
    Timeout,
    /// The connection or the stream ended early.
    #[error("connection lost")]
    ConnectionLost,
    /// The peer's response breaks the framing.
    #[error("malformed response")]
    Malformed,
    /// The network has ended.
    #[error("the network is closed")]
    Closed,
}

/// Returns the innermost error of a chain: the outer ones only name the layer.
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}
