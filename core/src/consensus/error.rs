//! Errors by fault: [`Error`] is the host's or this node's own, [`Offence`] is the peer's.

use super::{output::Offence, validate::BlockError};
use crate::{ledger::committee::CertificateError, types::Height};
use alloc::boxed::Box;

/// Why an input is refused. The state does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The host is at fault: no write is pending.
    #[error("nothing was to be persisted")]
    NothingToPersist,
    /// Harmless: the view of the request to the mempool is over.
    #[error("no block is being built for this height and view")]
    NotRequested,
    /// The disk lags behind. Drop the message: its sender retransmits it.
    #[error("too much waits for the disk")]
    Overloaded,
    /// Fatal, and this node's fault: a quorum certified a block that executes differently here. The
    /// replica halts.
    #[error(
        "the final block {height} executes differently on this node: its software or its store is broken"
    )]
    Diverged {
        /// Height of the block.
        height: Height,
    },
}

/// Why a replica cannot start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The vote key is not the registered one, so every vote would be invalid.
    #[error("the vote key is not the one of this node's seat")]
    WrongVoteKey,
    /// The VRF key is not the registered one, so no proposal at the end of a term would get a vote.
    #[error("the VRF key is not the one of this node's seat")]
    WrongVrfKey,
    /// The store has lost blocks for which the log holds votes. New votes could contradict them.
    #[error("the log has votes of height {height}, but the store ends before the block below it")]
    StoreBehindLog {
        /// Height of the log records.
        height: Height,
    },
    /// The log contradicts itself or the state.
    #[error("the log of votes is damaged")]
    Damaged,
    /// The state has no parameters.
    #[error("the state is not one of this version")]
    NoParams,
}

/// Why a replica cannot continue from a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// A part was lost or changed after it had been proved: this host's disk is at fault.
    #[error("the state is not the one that the final header commits to")]
    WrongState,
    /// The state is of another version.
    #[error("the state lacks the committee or the parameters of the next block")]
    Incomplete,
}

/// The failure of a message handler.
pub(super) enum HandlerError {
    /// The peer is at fault.
    Peer(Box<Offence>),
    /// The host or this node is at fault.
    Local(Error),
}

impl From<Error> for HandlerError {
    fn from(error: Error) -> Self {
        Self::Local(error)
    }
}

impl From<Offence> for HandlerError {
    fn from(offence: Offence) -> Self {
        Self::Peer(Box::new(offence))
    }
}

impl From<CertificateError> for HandlerError {
    fn from(error: CertificateError) -> Self {
        Self::Peer(Box::new(error.into()))
    }
}

impl From<BlockError> for HandlerError {
    fn from(error: BlockError) -> Self {
        Self::Peer(Box::new(error.into()))
    }
}
