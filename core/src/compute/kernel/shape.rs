//! Sizes of operands, and the error of those that do not fit one another.

/// Operands whose sizes do not fit one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("matrix sizes do not fit: {found} where {expected} was needed")]
pub struct ShapeError {
    /// Size given.
    pub found: usize,
    /// Size needed.
    pub expected: usize,
}

pub(crate) fn fits(found: usize, expected: usize) -> Result<(), ShapeError> {
    if found == expected { Ok(()) } else { Err(ShapeError { found, expected }) }
}
