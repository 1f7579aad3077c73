//! The reason why a result is rejected, and what that implies about its worker.

use borsh::{BorshDeserialize, BorshSerialize};
use core::fmt;

/// The reason why a result was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub enum Reason {
    /// This step, from 0, is wrong: proved by replaying it.
    WrongStep(u32),
    /// The steps are right, but the delta is not their sum.
    WrongDelta,
    /// Result and salt do not match the commitment.
    WrongReveal,
    /// The form of the result is invalid.
    Malformed,
    /// The worker committed, but did not reveal in time.
    NotRevealed,
    /// The worker did not send the state before the disputed step in time.
    StateWithheld,
    /// The worker sent a state that does not match its commitment.
    WrongState,
    /// A matrix product is wrong: found by Freivalds' check.
    WrongProduct,
}

/// What a rejection implies about the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub enum RejectionKind {
    /// The result was late, for example because of a frozen tab or a slow connection. Nothing was
    /// found wrong.
    Late,
    /// The worker did not send what a dispute required. Nothing was found wrong.
    Withheld,
    /// The result was found wrong.
    Wrong,
}

impl RejectionKind {
    /// A word for programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Withheld => "withheld",
            Self::Wrong => "wrong",
        }
    }
}

impl Reason {
    /// What this reason implies about the worker.
    pub const fn kind(self) -> RejectionKind {
        match self {
            Self::NotRevealed => RejectionKind::Late,
            Self::StateWithheld => RejectionKind::Withheld,
            Self::WrongStep(_)
            | Self::WrongDelta
            | Self::WrongReveal
            | Self::Malformed
            | Self::WrongState
            | Self::WrongProduct => RejectionKind::Wrong,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongStep(step) => write!(f, "step {step} is computed wrongly"),
            Self::WrongDelta => f.write_str("the delta is not that of its steps"),
            Self::WrongReveal => f.write_str("the revealed result is not the committed one"),
            Self::Malformed => f.write_str("the result has not the form of one"),
            Self::NotRevealed => f.write_str("the commitment was not opened in time"),
            Self::StateWithheld => f.write_str("the disputed state was not shown in time"),
            Self::WrongProduct => f.write_str("a matrix product is wrong"),
            Self::WrongState => f.write_str("the disputed state is not the one committed to"),
        }
    }
}
