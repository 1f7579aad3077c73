//! What the operator of a coordinator may choose. None of it changes the weights that come out.

use crate::types::NodeId;

/// All of something, where shares are in 1/65536.
pub const ALL: u32 = 1 << 16;

/// How a coordinator treats its workers.
#[derive(Clone, Debug)]
pub struct Config {
    /// This host: credited for what it recomputes itself.
    pub local: NodeId,
    /// Secret and fresh from the operating system at every start: nobody may foresee who checks
    /// whom.
    pub seed: [u8; 32],
    /// How long a question for work is held back while there is none, milliseconds.
    pub park_ms: u64,
    /// Shortest lease, milliseconds.
    pub lease_ms_min: u64,
    /// Longest lease, milliseconds.
    pub lease_ms_max: u64,
    /// How long a worker has to open what it committed to, milliseconds; the time to send it comes
    /// on top.
    pub open_wait_ms: u64,
    /// How long a worker has to show a disputed state, milliseconds.
    pub state_wait_ms: u64,
    /// How long a result waits for a checker before this host recomputes it, milliseconds.
    pub checker_wait_ms: u64,
    /// Grace for the leases of a worker whose connection is lost, milliseconds.
    pub gone_grace_ms: u64,
    /// No backup copy of a lane before its lease is this old, milliseconds. A committed lane gets
    /// none: it is to be opened.
    pub backup_ms_min: u64,
    /// A worker counts as active for this long after it asked, milliseconds.
    pub active_ms: u64,
    /// Most lanes leased to one worker at once.
    pub leases_per_worker_max: u32,
    /// Share of lanes that this host recomputes as well, to catch workers who lie alike, in
    /// 1/65536.
    pub canary: u32,
    /// Share of each round's lanes that waits for guests (browsers) while any is active, in
    /// 1/65536.
    pub guest_share: u32,
    /// How long those lanes wait at most from the start of a round, milliseconds.
    pub guest_wait_ms: u64,
    /// Accepted lanes after which an identity has a history: before, all that it hands in is
    /// checked.
    pub history: u32,
    /// Rounds below this are written as a whole, not lane by lane, and their lanes acknowledged
    /// together, multiply-accumulates.
    pub lanes_written_macs_min: u64,
}

/// Default of [`Config::lanes_written_macs_min`]: what a core computes in some milliseconds. A
/// record of a lane costs a synchronous write, a millisecond on a good disk, ten on a slow one,
/// during which the coordinator answers nobody; eight of them cost more than all lanes of such a
/// round computed again, which is what a crash may cost.
pub const LANES_WRITTEN_MACS_MIN: u64 = 1 << 22;

impl Config {
    /// The defaults.
    pub const fn new(local: NodeId, seed: [u8; 32]) -> Self {
        Self {
            local,
            seed,
            park_ms: 4_000,
            lease_ms_min: 3_000,
            lease_ms_max: 120_000,
            open_wait_ms: 3_000,
            state_wait_ms: 10_000,
            checker_wait_ms: 3_000,
            gone_grace_ms: 1_500,
            backup_ms_min: 1_000,
            active_ms: 3_000,
            leases_per_worker_max: 4,
            canary: ALL / 32,
            guest_share: ALL / 8 * 3,
            guest_wait_ms: 1_500,
            history: 20,
            lanes_written_macs_min: LANES_WRITTEN_MACS_MIN,
        }
    }
}
