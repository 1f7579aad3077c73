//! Whose fault it is: [`Error`] is the host's or this node's own, [`Offence`] is the peer's.

use super::{output::Offence, validate::BlockError};
use crate::{ledger::committee::CertificateError, types::Height};
use alloc::boxed::Box;

/// Why an input is refused. The state is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The host's fault: nothing is being written.
    #[error("nothing was to be persisted")]
    NothingToPersist,
    /// Harmless: the view for which transactions were asked is over.
    #[error("no block is being built for this height and view")]
    NotRequested,
    /// The disk is far behind: drop the message, it will be said again.
    #[error("too much waits for the disk")]
    Overloaded,
    /// Fatal, and this node's fault: a quorum certified a block that executes differently here. It
    /// halts.
    #[error(
        "the final block {height} executes differently on this node: its software or its store is broken"
    )]
    Diverged {
        /// Of the block.
        height: Height,
    },
}

/// Why a replica cannot start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The vote key is not the one that the committee knows: with another, every vote would be a
    /// bad one.
    #[error("the vote key is not the one of this node's seat")]
    WrongVoteKey,
    /// Nor is the VRF key: no block that this node proposes at the end of a term would get a vote.
    #[error("the VRF key is not the one of this node's seat")]
    WrongVrfKey,
    /// The store has lost blocks whose votes are on record. Voting again could contradict them.
    #[error("the log has votes of height {height}, but the store ends before the block below it")]
    StoreBehindLog {
        /// Of the log.
        height: Height,
    },
    /// The log contradicts itself or the state.
    #[error("the log of votes is damaged")]
    Damaged,
    /// The state has no parameters.
    #[error("the state is not one of this version")]
    NoParams,
}

/// Why nobody can go on from a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Some of it was lost or changed after it had been proved: this host's disk is at fault.
    #[error("the state is not the one that the final header commits to")]
    WrongState,
    /// A state of another version.
    #[error("the state lacks the committee or the parameters of the next block")]
    Incomplete,
}

/// What a handler of messages can find.
pub(super) enum Fault {
    /// The peer's.
    Peer(Box<Offence>),
    /// Ours.
    Own(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Own(error)
    }
}

impl From<Offence> for Fault {
    fn from(offence: Offence) -> Self {
        Self::Peer(Box::new(offence))
    }
}

impl From<CertificateError> for Fault {
    fn from(error: CertificateError) -> Self {
        Self::Peer(Box::new(error.into()))
    }
}

impl From<BlockError> for Fault {
    fn from(error: BlockError) -> Self {
        Self::Peer(Box::new(error.into()))
    }
}
