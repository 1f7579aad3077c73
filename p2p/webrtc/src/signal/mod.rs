//! Signalling of browser-to-browser `/webrtc` (libp2p's `webrtc/webrtc.md`), without a browser and
//! without I/O of its own.
//!
//! Two peers that are connected through a relay's circuit exchange an offer, an answer and ICE
//! candidates over a stream of it. The circuit is authenticated, and the descriptions name the
//! certificates: so they vouch for the new connection, and no Noise handshake follows on it. That
//! makes these few messages part of the authentication: what is not exactly as expected is refused
//! with a [`BadSignal`].
//!
//! - [`message`]: the bytes;
//! - [`description`]: what a session description must say, and the window that is added to it;
//! - [`exchange`]: the order of the messages, and how many there may be.

pub mod description;
pub mod exchange;
pub mod message;

use std::time::Duration;

/// The libp2p protocol name.
pub const SIGNALLING_PROTOCOL: &str = "/webrtc-signaling/0.0.1";
/// From the first byte of signalling to a connection.
pub const SIGNALLING_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest session description, bytes. Chromium's has some 500, with 32 candidates of usual length
/// inside some 4,000.
pub const SDP_LEN_MAX: usize = 8 * 1024;
/// Longest candidate, bytes; usual ones have 200.
pub const CANDIDATE_LEN_MAX: usize = 1024;
/// Candidates of one side, those inside its description included.
pub const CANDIDATES_MAX: usize = 32;

/// Which side of the signalling one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Opened the stream: makes the offer.
    Dialer,
    /// Makes the answer.
    Listener,
}

/// What is wrong with the remote's signalling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadSignal {
    /// Longer than any good message.
    #[error("a message of {0} bytes; at most {max}", max = message::MESSAGE_LEN_MAX)]
    Long(u64),
    /// Not the protobuf of a message.
    #[error("a message that is not the protobuf of the specification")]
    Encoding,
    /// A message of no type, or of an unknown one.
    #[error("a message without a known type")]
    Type,
    /// Another message than the one whose turn it is.
    #[error("{got} where {expected} was expected")]
    Order {
        /// What came.
        got: &'static str,
        /// What should have come.
        expected: &'static str,
    },
    /// The stream ended before the description came.
    #[error("the stream ended before {0} came")]
    Ended(&'static str),
    /// A session description above `SDP_LEN_MAX`.
    #[error("a session description of {0} bytes; at most {SDP_LEN_MAX}")]
    LongDescription(usize),
    /// A session description that says something else than one data channel transport with one
    /// certificate.
    #[error("a session description with {0}")]
    Description(&'static str),
    /// A candidate above `CANDIDATE_LEN_MAX`.
    #[error("a candidate of {0} bytes; at most {CANDIDATE_LEN_MAX}")]
    LongCandidate(usize),
    /// More candidates than `CANDIDATES_MAX`.
    #[error("more than {CANDIDATES_MAX} candidates")]
    ManyCandidates,
    /// A candidate that is not the JSON of an `RTCIceCandidate`.
    #[error("a candidate that no browser writes")]
    Candidate,
}
