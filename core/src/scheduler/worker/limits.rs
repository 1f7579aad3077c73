//! Limits and delays that several parts of the worker share.

/// Least time between two lease requests to one coordinator on one slot, milliseconds. It does not
/// apply after an answer that settled a lease: such answers are few, and the next unit should not
/// wait.
pub(super) const REQUEST_INTERVAL_MS: u64 = 250;
/// First and longest pause after failures, milliseconds.
pub(super) const BACKOFF_MS: (u64, u64) = (500, 8_000);
