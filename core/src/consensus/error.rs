//! Errors by fault: [`Error`] is the host's or this node's own, [`Offence`] is the peer's.

use crate::{
    ledger::{
        Evidence, block::BLOCK_LEN_MAX, committee::CertificateError,
        transaction::InvalidTransaction,
    },
    types::{Height, View},
    wire::consensus::{SignedProposalHeader, SignedViewChange, SignedVote},
};
use alloc::boxed::Box;

/// The reason why an input is refused. The state does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The host is at fault: no write is pending.
    #[error("no write was pending")]
    NothingToPersist,
    /// Harmless: the view of the request to the mempool is over.
    #[error("no block is being built for this height and view")]
    NotRequested,
    /// The disk lags behind. Drop the message: its sender retransmits it.
    #[error("too many writes are waiting for the disk")]
    Overloaded,
    /// Fatal, and this node's fault: a quorum certified a block that executes differently here. The
    /// replica halts.
    #[error(
        "the final block {height} executes differently on this node: its software or its store is \
         broken"
    )]
    Diverged {
        /// Height of the block.
        height: Height,
    },
}

/// The reason why a replica cannot start.
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

/// The reason why a replica cannot continue from a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// A part was lost or changed after it had been proved: this host's disk is at fault.
    #[error("the state is not the one that the final header commits to")]
    WrongState,
    /// The state is of another version.
    #[error("the state lacks the committee or the parameters of the next block")]
    Incomplete,
}

/// An offence of a peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Offence {
    /// Two votes in one phase of one view, both validly signed.
    #[error("voted twice in one phase of a view")]
    DoubleVote(SignedVote, SignedVote),
    /// Two blocks in one view, both validly signed.
    #[error("proposed two blocks in one view")]
    DoubleProposal(SignedProposalHeader, SignedProposalHeader),
    /// Two different view changes to one view, both validly signed.
    #[error("sent two different view changes for one view")]
    DoubleViewChange(Box<SignedViewChange>, Box<SignedViewChange>),
    /// A commit vote, and a later view change that does not show the lock of that vote, both
    /// validly signed.
    #[error("omits from a view change a block that it voted to commit")]
    HiddenLock(SignedVote, Box<SignedViewChange>),
    /// A vote with an invalid signature, which broke an aggregate.
    #[error("sent a vote whose signature is not valid")]
    BadVote(SignedVote),
    /// A message of another chain or epoch.
    #[error("sent a message of another chain or epoch")]
    WrongChainOrEpoch,
    /// A message of a node without a seat.
    #[error("has no seat in the committee")]
    NotSeated,
    /// An Ed25519 signature does not verify.
    #[error("sent a message whose signature is not valid")]
    BadSignature,
    /// A proposal of a node that does not lead the view.
    #[error("proposed out of turn")]
    NotLeader,
    /// A certificate of a node that does not collect the votes of the view.
    #[error("sent a vote certificate without being the collector")]
    NotCollector,
    /// The proposal's justification is invalid.
    #[error("justified a new view wrongly")]
    BadJustification,
    /// The view change contradicts itself.
    #[error("sent a view change that contradicts itself")]
    BadViewChange,
    /// A certificate is invalid.
    #[error("sent a bad certificate: {0}")]
    BadCertificate(#[from] CertificateError),
    /// A proposed or synced block is invalid.
    #[error("sent a bad block: {0}")]
    BadBlock(#[from] BlockError),
    /// Synced blocks with a gap, or with certificates of other blocks.
    #[error("sent blocks that do not follow each other")]
    NonContiguousBlocks,
}

impl Offence {
    /// Evidence that convicts the peer in the ledger, if the offence proves itself. Any other
    /// offence only lowers a local score.
    pub fn evidence(&self) -> Option<Evidence> {
        let evidence = match self {
            Self::DoubleVote(first, second) => Some(Evidence::Votes(*first, *second)),
            Self::DoubleProposal(first, second) => Some(Evidence::Proposals(*first, *second)),
            Self::DoubleViewChange(first, second) => {
                Some(Evidence::ViewChanges((**first).clone(), (**second).clone()))
            }
            Self::HiddenLock(commit, change) => {
                Some(Evidence::HiddenLock(*commit, (**change).clone()))
            }
            _ => None,
        };
        evidence.filter(Evidence::is_contradiction)
    }
}

/// The reason why a block gets no vote. The proposer is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum BlockError {
    #[error("of another chain")]
    Chain,
    #[error("of another epoch")]
    Epoch,
    #[error("does not follow the final block")]
    Parent,
    #[error("its proposer was not the leader of the view in its header")]
    Proposer,
    #[error("of view {found}, expected {expected}")]
    View { found: View, expected: View },
    #[error("not later than its parent by the shortest interval")]
    TooSoon,
    #[error("{0} ms ahead of this node's clock")]
    TimeAhead(u64),
    #[error("{0} ms behind this node's clock")]
    TimeBehind(u64),
    #[error("larger than {BLOCK_LEN_MAX} bytes")]
    TooLarge,
    #[error("its transactions do not match its header")]
    TransactionsRoot,
    #[error("{0}")]
    Transaction(#[from] InvalidTransaction),
    #[error("executes to another state")]
    StateRoot,
    #[error("not the block that the view changes bind the leader to")]
    NotPrepared,
    #[error("names another committee for the next block")]
    NextCommittee,
    #[error("its seed is not the seed of its leader term")]
    Seed,
    #[error("its VRF proof is missing, invalid or not expected at this height")]
    SeedProof,
}

impl BlockError {
    /// Whether the proposer is at fault. A delay is not the proposer's fault.
    pub(super) fn is_misbehaviour(&self) -> bool {
        !matches!(self, Self::TimeBehind(_))
    }
}

/// The reason why a certified block is refused. The sender is at fault.
#[derive(Debug)]
pub(super) enum CertifiedError {
    Certificate(CertificateError),
    Block(BlockError),
}

impl From<CertificateError> for CertifiedError {
    fn from(error: CertificateError) -> Self {
        Self::Certificate(error)
    }
}

impl From<BlockError> for CertifiedError {
    fn from(error: BlockError) -> Self {
        Self::Block(error)
    }
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
