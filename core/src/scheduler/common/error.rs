//! The failure that a host reports to either machine.

/// The host's computation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the computation failed")]
pub struct ComputeFailed;
