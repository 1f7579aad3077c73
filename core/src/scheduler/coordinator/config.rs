//! The settings of a coordinator. None of them changes the resulting weights.

use crate::types::NodeId;

/// The whole, for shares in 1/65536.
pub const FULL_SHARE: u32 = 1 << 16;

/// How long a lease request is held back while no work unit is free, milliseconds.
pub(super) const LONG_POLL_MS: u64 = 4_000;
/// Longest lease, milliseconds.
pub(super) const LEASE_MS_MAX: u64 = 120_000;
/// How long a worker has to reveal its committed result, in addition to the upload time,
/// milliseconds.
pub(super) const REVEAL_TIMEOUT_MS: u64 = 3_000;
/// How long a worker has to send a disputed state, milliseconds.
pub(super) const STATE_TIMEOUT_MS: u64 = 10_000;
/// How long a result waits for a checker before this host recomputes it, milliseconds.
pub(super) const CHECKER_TIMEOUT_MS: u64 = 3_000;
/// Grace period for the leases of a worker whose connection is lost, milliseconds.
pub(super) const DISCONNECT_GRACE_MS: u64 = 1_500;
/// Age of a lease before its unit may get a backup, milliseconds. A committed unit gets none.
pub(super) const BACKUP_MS_MIN: u64 = 1_000;
/// A worker counts as active for this long after its last request, milliseconds.
pub(super) const ACTIVE_MS: u64 = 3_000;
/// Most work units leased to one worker at once.
pub(super) const LEASES_PER_WORKER_MAX: u32 = 4;
/// How long work units stay reserved for browsers at most, from the start of a round, milliseconds.
pub(super) const BROWSER_WAIT_MS: u64 = 1_500;

/// How a coordinator treats its workers.
#[derive(Clone, Debug)]
pub struct Config {
    /// This host: it is credited for what it recomputes.
    pub local: NodeId,
    /// Secret, and fresh from the operating system at every start, so that no worker can predict
    /// its checker.
    pub seed: [u8; 32],
    /// Shortest lease, milliseconds.
    pub lease_ms_min: u64,
    /// Share of work units that this host also recomputes, to detect workers with identical wrong
    /// results, in 1/65536.
    pub spot_check: u32,
    /// Share of each round's work units that is reserved for browsers while any is active, in
    /// 1/65536.
    pub browser_share: u32,
    /// Accepted work units after which a worker has a history. Before that, all its results are
    /// checked.
    pub history_min: u32,
    /// Rounds below this are written as a whole rather than unit by unit, and their units are
    /// acknowledged together, multiply-accumulates.
    pub unit_records_macs_min: u64,
}

/// Default of [`Config::unit_records_macs_min`]: what a core computes in some milliseconds. A
/// unit's record costs a synchronous write, a millisecond on a good disk, ten on a slow one, during
/// which the coordinator answers no request. Eight of them cost more than recomputing all units of
/// such a round, which is what a crash may cost.
pub const UNIT_RECORDS_MACS_MIN: u64 = 1 << 22;

impl Config {
    /// The defaults.
    pub const fn new(local: NodeId, seed: [u8; 32]) -> Self {
        Self {
            local,
            seed,
            lease_ms_min: 3_000,
            spot_check: FULL_SHARE / 32,
            browser_share: FULL_SHARE / 8 * 3,
            history_min: 20,
            unit_records_macs_min: UNIT_RECORDS_MACS_MIN,
        }
    }
}
