//! Why an operation on the network failed. One enum per operation; causes from libp2p are kept as
//! text.

use libp2p::Multiaddr;

use crate::path::without_secrets;

/// The network could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The secret is no Ed25519 secret.
    #[error("the node's secret key is invalid")]
    InvalidKey,
    /// Native hosts start the network inside a tokio runtime.
    #[error("no tokio runtime is running here")]
    NoRuntime,
    /// The STUN and TURN servers are unusable.
    #[error(transparent)]
    IceServers(#[from] tequio_webrtc::BadIceServers),
    /// A transport could not be set up.
    #[error("transport: {0}")]
    Transport(String),
}

/// An address could not be listened on.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ListenError {
    /// No transport of this host listens on such an address.
    #[error("no transport listens on {0}")]
    Unsupported(Multiaddr),
    /// The socket, or the reservation at the relay, failed.
    #[error("cannot listen on {addr}: {cause}")]
    Failed {
        /// The address asked for.
        addr: Multiaddr,
        /// What the transport said.
        cause: String,
    },
    /// A second reservation at a relay would end the first, and each renewal the other one.
    #[error("the relay of {0} has given a reservation already")]
    Reserved(Multiaddr),
    /// Neither an address nor an error came in time.
    #[error("no address in time")]
    Timeout,
    /// The network has ended.
    #[error("the network is closed")]
    Closed,
}

/// A dial failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The address names ourselves.
    #[error("the address is our own")]
    OwnAddress,
    /// A circuit address that names no relay or no target.
    #[error("the address is incomplete: {0}")]
    Incomplete(Multiaddr),
    /// No transport of this host dials such an address.
    #[error("no transport dials {0}")]
    Unsupported(Multiaddr),
    /// Someone else than the address names answered.
    #[error("another peer answered: {0}")]
    WrongPeer(libp2p::PeerId),
    /// Our limits, the peer's penalty, or its kind of key forbid the connection.
    #[error("refused locally: {0}")]
    Denied(String),
    /// The transport failed.
    #[error("{0}")]
    Failed(String),
    /// None of a peer's addresses leads to it.
    #[error("no address answers: {}", causes(.0))]
    NoneAnswers(Vec<(Multiaddr, DialError)>),
    /// Too many dials are under way.
    #[error("too many dials are under way")]
    QueueFull,
    /// The network has ended.
    #[error("the network is closed")]
    Closed,
}

/// Each address and what went wrong with it.
fn causes(failures: &[(Multiaddr, DialError)]) -> String {
    let each =
        failures.iter().map(|(addr, error)| format!("{}: {error}", without_secrets(addr.clone())));
    each.collect::<Vec<_>>().join("; ")
}

/// A request failed. `Busy`, `Throttled` and `Refused` are the peer's word, the connection is still
/// good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// There is no connection to the peer.
    #[error("not connected")]
    NotConnected,
    /// The peer does not answer this protocol.
    #[error("the peer does not speak this protocol")]
    Unsupported,
    /// The peer's application declined to answer.
    #[error("refused")]
    Refused,
    /// The peer's queue is full.
    #[error("the peer is busy")]
    Busy,
    /// Our own queue of requests is full, in number or in bytes.
    #[error("too many requests are waiting here")]
    QueueFull,
    /// We are over the rate that the peer grants.
    #[error("over the peer's rate")]
    Throttled,
    /// The request is above the protocol's cap; it was not sent, or the peer refused it unread.
    #[error("request of {len} bytes, at most {max} allowed")]
    RequestTooLarge {
        /// Length of the body in bytes.
        len: usize,
        /// The cap in bytes.
        max: usize,
    },
    /// The response is above the protocol's cap; it was not read.
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
    /// The peer's answer breaks the framing.
    #[error("malformed response")]
    Malformed,
    /// The network has ended.
    #[error("the network is closed")]
    Closed,
}
