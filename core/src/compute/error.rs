//! The reason why a computation is refused. Inputs that passed [`super::params::Plan`] and the
//! checks of their types never cause these errors; data from a peer can cause all of them.

use super::{kernel::ShapeError, limits::ParamsError, state::StateError};

/// A computation that is impossible as requested, or a result of the wrong form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ComputeError {
    #[error(transparent)]
    Params(#[from] ParamsError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Shape(#[from] ShapeError),
    #[error("{what} {value} is outside the job: it has {count}")]
    Position { what: &'static str, value: u32, count: u32 },
    #[error("the job is in the other mode")]
    Mode,
    #[error("{what}: {found} where {expected} are needed")]
    Count { what: &'static str, found: usize, expected: usize },
    #[error("{what}: number {index} is out of range")]
    Range { what: &'static str, index: usize },
    #[error("the digest of the {0} is not that of its contents")]
    Digest(&'static str),
    #[error("{missing} of {count} parts of the round are missing")]
    Incomplete { missing: u32, count: u32 },
}

pub(super) fn check_count(
    what: &'static str,
    found: usize,
    expected: usize,
) -> Result<(), ComputeError> {
    if found == expected { Ok(()) } else { Err(ComputeError::Count { what, found, expected }) }
}

pub(super) fn check_position(
    what: &'static str,
    value: u32,
    count: u32,
) -> Result<(), ComputeError> {
    if value < count { Ok(()) } else { Err(ComputeError::Position { what, value, count }) }
}
