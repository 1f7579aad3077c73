//! The settings of a coordinator. None of them changes the resulting weights.

use crate::types::NodeId;

/// The whole, for shares in 1/65536.
pub const FULL_SHARE: u32 = 1 << 16;

/// How a coordinator treats its workers.
#[derive(Clone, Debug)]
pub struct Config {
    /// This host: it is credited for what it recomputes.
    pub local: NodeId,
    /// Secret, and fresh from the operating system at every start, so that nobody can predict who
    /// checks whom.
    pub seed: [u8; 32],
    /// How long a lease request is held back while no work unit is free, milliseconds.
    pub long_poll_ms: u64,
    /// Shortest lease, milliseconds.
    pub lease_ms_min: u64,
    /// Longest lease, milliseconds.
    pub lease_ms_max: u64,
    /// How long a worker has to reveal its committed result, milliseconds, in addition to the
    /// upload time.
    pub reveal_timeout_ms: u64,
    /// How long a worker has to send a disputed state, milliseconds.
    pub state_timeout_ms: u64,
    /// How long a result waits for a checker before this host recomputes it, milliseconds.
    pub checker_timeout_ms: u64,
    /// Grace period for the leases of a worker whose connection is lost, milliseconds.
    pub disconnect_grace_ms: u64,
    /// Age of a lease before its unit may get a backup, milliseconds. A committed unit gets none.
    pub backup_ms_min: u64,
    /// A worker counts as active for this long after its last request, milliseconds.
    pub active_ms: u64,
    /// Most work units leased to one worker at once.
    pub leases_per_worker_max: u32,
    /// Share of work units that this host also recomputes, to detect workers with identical wrong
    /// results, in 1/65536.
    pub spot_check: u32,
    /// Share of each round's work units that is reserved for browsers while any is active, in
    /// 1/65536.
    pub browser_share: u32,
    /// How long these units stay reserved at most from the start of a round, milliseconds.
    pub browser_wait_ms: u64,
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
            long_poll_ms: 4_000,
            lease_ms_min: 3_000,
            lease_ms_max: 120_000,
            reveal_timeout_ms: 3_000,
            state_timeout_ms: 10_000,
            checker_timeout_ms: 3_000,
            disconnect_grace_ms: 1_500,
            backup_ms_min: 1_000,
            active_ms: 3_000,
            leases_per_worker_max: 4,
            spot_check: FULL_SHARE / 32,
            browser_share: FULL_SHARE / 8 * 3,
            browser_wait_ms: 1_500,
            history_min: 20,
            unit_records_macs_min: UNIT_RECORDS_MACS_MIN,
        }
    }
}
