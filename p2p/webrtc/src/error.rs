//! The errors of the transport. The type shows the responsible side.
//!
//! [`Closed`] is the ordinary end of a connection, [`Violation`] is an error of the remote, and the
//! rest are local errors or errors of the caller.

use crate::signal::BadSignal;
use libp2p_identity::PeerId;

/// Errors of the transport and its connections.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection is gone.
    #[error("connection closed: {0}")]
    Closed(#[from] Closed),
    /// The remote broke the protocol.
    #[error("protocol violation: {0}")]
    Violation(#[from] Violation),
    /// The remote's signalling of a browser-to-browser connection is invalid.
    #[error("signalling: {0}")]
    Signal(#[from] BadSignal),
    /// Noise authentication failed.
    #[error("noise: {0}")]
    Noise(#[from] libp2p_noise::Error),
    /// The peer that answered is not the one that the address names.
    #[error("another peer answered: {0}")]
    WrongPeer(PeerId),
    /// The handshake took too long.
    #[error("handshake timed out")]
    Timeout,
    /// ICE has found no path to the remote.
    #[error("no path to the remote; a TURN server may help")]
    NoPath,
    /// The socket failed.
    #[error("socket: {0}")]
    Io(#[from] std::io::Error),
    /// The WebRTC engine (the browser, or str0m) refused an operation.
    #[error("WebRTC engine: {0}")]
    Engine(String),
}

/// The reason why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Closed {
    /// This side closed it.
    #[error("by this side")]
    Locally,
    /// The remote closed it.
    #[error("by the remote")]
    ByRemote,
    /// The remote was silent for too long.
    #[error("the remote sent nothing before the idle timeout")]
    TimedOut,
    /// The listener, and with it the socket, was removed.
    #[error("the listener was removed")]
    ListenerRemoved,
    /// It ended before it was authenticated.
    #[error("before the handshake ended")]
    InHandshake,
    /// The reason was already returned to an earlier caller.
    #[error("lost")]
    Lost,
}

/// A protocol violation of the remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// The first STUN message does not prove knowledge of the password it names.
    #[error("STUN message failed its integrity check")]
    Stun,
    /// DTLS ended without a SHA-256 fingerprint of the remote's certificate.
    #[error("no usable DTLS fingerprint")]
    Fingerprint,
    /// The session description lacks a required attribute, or has a bad one.
    #[error("session description without a usable {0}")]
    Sdp(&'static str),
}
