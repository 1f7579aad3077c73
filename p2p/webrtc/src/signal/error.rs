//! The errors of the remote's signalling.

use super::limits::{CANDIDATE_LEN_MAX, CANDIDATES_MAX, MESSAGE_LEN_MAX, SDP_LEN_MAX};

/// An error in the remote's signalling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadSignal {
    /// A message is longer than any valid one.
    #[error("a message of {0} bytes; at most {max}", max = MESSAGE_LEN_MAX)]
    Long(u64),
    /// The bytes are not the protobuf of a message.
    #[error("the message is not valid protobuf of the WebRTC specification")]
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
    #[error("an ICE candidate in a form that no browser sends")]
    Candidate,
}
