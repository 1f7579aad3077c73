//! The light client: follows final headers from a checkpoint and reads proved entries of the state.
//!
//! The client stores one header, one committee (and the one before, to detect a fork at an epoch's
//! end) and the chain's id, whatever the length of the chain. It enters later epochs by their
//! committee handovers, see [`handover`]. It refuses headers without a quorum's certificate of the
//! known committee. It refuses headers that do not match their certificate, or whose proposer did
//! not lead by their seed. It refuses entries whose proof does not lead to such a header. Two
//! certified headers of one height prove a fork, and the client halts: more than a third of the
//! weight has signed both. Only headers inside the trust period count, so that old keys cannot halt
//! a client.
//!
//! The client is not a [`Machine`](crate::machine::Machine), because it has nothing to send, to
//! store or to wait for. A host calls it with one answer of a peer and gets the verdict back, so it
//! knows which peer sent invalid data and which request is served. Valid parts of an answer count
//! even if a later part is refused.

mod client;
pub mod contribution;
mod error;
pub mod handover;

pub use client::{ForkEvidence, LightClient, Progress, SAVED_LEN_MAX};
pub use error::{HandoverError, LightError};

#[cfg(test)]
mod tests;
