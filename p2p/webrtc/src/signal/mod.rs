//! Signalling of browser-to-browser `/webrtc` (libp2p's `webrtc/webrtc.md`), without a browser and
//! without I/O of its own.
//!
//! Two peers that are connected through a relay's circuit exchange an offer, an answer and ICE
//! candidates over a stream on it. The circuit is authenticated, and the descriptions contain the
//! certificates' hashes. So the descriptions authenticate the new connection, and no Noise
//! handshake follows on it. These few messages are therefore part of the authentication: a message
//! that is not exactly as expected is refused with a [`BadSignal`].
//!
//! - [`message`]: the encoding;
//! - [`description`]: the required content of a session description, and the added window;
//! - [`exchange`]: the order of the messages, and their limits.

pub mod description;
pub mod exchange;
pub mod message;

use std::time::Duration;

/// The libp2p protocol name.
pub const SIGNALLING_PROTOCOL: &str = "/webrtc-signaling/0.0.1";
/// Time limit from the first byte of signalling to a connection.
pub const SIGNALLING_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest session description in bytes. Chromium's has some 500; with 32 candidates of usual
/// length inside, some 4,000.
pub const SDP_LEN_MAX: usize = 8 * 1024;
/// Longest candidate in bytes; usual ones have 200.
pub const CANDIDATE_LEN_MAX: usize = 1024;
/// Candidates of one side, including those inside its description.
pub const CANDIDATES_MAX: usize = 32;

/// The role of one side in the signalling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Opened the stream; sends the offer.
    Dialer,
    /// Sends the answer.
    Listener,
}

/// An error in the remote's signalling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadSignal {
    /// A message is longer than any valid one.
    #[error("a message of {0} bytes; at most {max}", max = message::MESSAGE_LEN_MAX)]
    Long(u64),
    /// The bytes are not the protobuf of a message.
    #[error("a message that is not the protobuf of the specification")]
    Encoding,
    /// A message has no type, or an unknown one.
    #[error("a message without a known type")]
    Type,
    /// A message arrived out of order.
    #[error("{got} where {expected} was expected")]
    Order {
        /// The received message.
        got: &'static str,
        /// The expected message.
        expected: &'static str,
    },
    /// The stream ended before the description came.
    #[error("the stream ended before {0} came")]
    Ended(&'static str),
    /// A session description exceeds `SDP_LEN_MAX`.
    #[error("a session description of {0} bytes; at most {SDP_LEN_MAX}")]
    LongDescription(usize),
    /// A session description contains something else than one data channel transport with one
    /// certificate.
    #[error("a session description with {0}")]
    Description(&'static str),
    /// A candidate exceeds `CANDIDATE_LEN_MAX`.
    #[error("a candidate of {0} bytes; at most {CANDIDATE_LEN_MAX}")]
    LongCandidate(usize),
    /// There are more candidates than `CANDIDATES_MAX`.
    #[error("more than {CANDIDATES_MAX} candidates")]
    ManyCandidates,
    /// A candidate is not the JSON of an `RTCIceCandidate`.
    #[error("a candidate that no browser writes")]
    Candidate,
}
