//! The reason why a transaction was not applied, in its receipt.

use crate::{
    ledger::{evidence::EvidenceError, transaction::VALIDITY_BLOCKS_MAX},
    types::Height,
};
use borsh::{BorshDeserialize, BorshSerialize};

/// The reason why a transaction was not applied. The sender is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, BorshSerialize, BorshDeserialize)]
#[allow(missing_docs)]
pub enum TransactionError {
    #[error("the sender has no account: register first")]
    UnknownSender,
    #[error("nonce {found}, expected {expected}")]
    WrongNonce { found: u64, expected: u64 },
    #[error("expired at height {0}")]
    Expired(Height),
    #[error("expires more than {VALIDITY_BLOCKS_MAX} blocks ahead")]
    ExpiresTooLate,
    #[error("already registered")]
    AlreadyRegistered,
    #[error("the admission puzzle is not solved for a recent block")]
    InvalidAdmission,
    #[error("this block has reached its limit of new accounts")]
    TooManyRegistrations,
    #[error("the balance is {0}")]
    InsufficientBalance(u64),
    #[error("the sender has not proved that it holds the keys")]
    InvalidPossession,
    #[error("one of the keys was used before: generate new keys")]
    KeyUsed,
    #[error("no such job")]
    UnknownJob,
    #[error("a job of this size is not accepted: {0} multiply-accumulates")]
    JobTooLarge(u64),
    #[error("the job's parameters are not valid")]
    InvalidJobParams,
    #[error("only the job's coordinator may do this")]
    NotCoordinator,
    #[error("the job is in another state")]
    WrongJobStatus,
    #[error("not drawn as an auditor of this result")]
    NotAuditor,
    #[error("has audited this result already")]
    AlreadyAudited,
    #[error("the quota of {0} is used up: end one of them first, or wait until one ends")]
    QuotaExceeded(u32),
    #[error("the result contradicts itself")]
    BadResult,
    #[error("the name is not in a name space of the sender")]
    NotOwner,
    #[error("the ref has sequence {found}, expected {expected}")]
    WrongRefSequence { found: u64, expected: u64 },
    #[error("the job that should have trained the model is not final, or its model is another")]
    WrongModel,
    #[error("the accused was already convicted at height {0}")]
    AlreadyConvicted(Height),
    #[error("{0}")]
    Evidence(EvidenceError),
    #[error("this block has reached its limit of misbehaviour reports")]
    TooManyReports,
    #[error("a convicted member cannot bond")]
    Convicted,
    #[error("is already a member, or waits for the release of its bond")]
    AlreadyMember,
    #[error("is not a member, or has requested to leave")]
    NotMember,
    #[error("a seat needs a bond of at least {0}")]
    BondTooSmall(u64),
    #[error("a seat needs a reputation of at least {0}")]
    ReputationTooLow(u64),
    #[error("other keys are already waiting for the epoch boundary")]
    KeyRotationPending,
    #[error("this block has reached its limit of key checks")]
    TooManyKeys,
    #[error("more bond is already waiting for the epoch boundary")]
    BondPending,
    #[error("the receiver has no account, and the amount is too small to open one")]
    UnknownReceiver,
}

/// The result of a transaction.
pub(super) type TransactionResult = Result<(), TransactionError>;
