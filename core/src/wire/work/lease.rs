//! Leases of work units: what a lease carries, and the events after it.

use super::{rejection::Reason, task::Task};
use crate::{
    compute::{dataset::Samples, local_steps::WorkUnitId, params::JobParams, state::Weights},
    ledger::job::JobId,
    types::Digest,
    wire::compact,
};
use borsh::{BorshDeserialize, BorshSerialize};

/// All training rows are sent at once, to be cached, if they take at most this many bytes.
pub const CACHED_ROWS_LEN_MAX: usize = 256 * 1024;
/// Most lease events in one response.
pub const LEASE_EVENTS_MAX: usize = 32;

/// Identifies a lease. The number is random, so a lease from before a coordinator's restart never
/// matches a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct LeaseId {
    /// The job.
    pub job: JobId,
    /// The number of the lease within the job.
    pub number: u64,
}

/// Inputs of a job that a worker has cached, so that leases need not carry them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct CachedInputs {
    /// The round whose start weights are cached.
    pub weights_round: Option<u32>,
    /// Whether all training rows are cached.
    pub rows: bool,
}

/// A work unit leased for a time.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Lease {
    /// The lease.
    pub id: LeaseId,
    /// The work.
    pub assignment: Assignment,
    /// Time until the worker must commit, milliseconds.
    pub deadline_ms: u32,
}

/// The work of a lease.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[allow(clippy::large_enum_variant)]
pub enum Assignment {
    /// A task with all its inputs.
    Task(Task),
    /// A work unit of local steps, without the inputs that the worker has cached.
    LocalSteps(LocalStepsAssignment),
}

/// A work unit of local steps, without the inputs that the worker has cached.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct LocalStepsAssignment {
    /// The job's parameters.
    pub params: JobParams,
    /// The work unit.
    pub id: WorkUnitId,
    /// Digest of the weights at the start of the round.
    pub weights_hash: Digest,
    /// The weights with that digest.
    pub weights: LeaseWeights,
    /// The training rows.
    pub rows: LeaseRows,
}

/// The weights of a [`LocalStepsAssignment`].
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum LeaseWeights {
    /// The worker has cached them, or an earlier lease carries them.
    Cached,
    /// The weights themselves.
    Inline(
        #[borsh(
            serialize_with = "compact::write_weights",
            deserialize_with = "compact::read_weights"
        )]
        Weights,
    ),
}

/// The rows of a [`LocalStepsAssignment`].
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum LeaseRows {
    /// The worker has cached all training rows.
    Cached,
    /// The rows of the work unit.
    Unit(Samples),
    /// All training rows, which the worker caches.
    All(Samples),
}

impl Assignment {
    /// The work unit.
    pub const fn id(&self) -> WorkUnitId {
        match self {
            Self::Task(task) => task.id(),
            Self::LocalSteps(assignment) => assignment.id,
        }
    }
}

/// An event of an earlier lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum LeaseEvent {
    /// The result was checked and counts.
    Accepted {
        /// The lease.
        lease: LeaseId,
        /// Multiply-accumulates credited.
        macs: u64,
    },
    /// The result was rejected.
    Rejected {
        /// The lease.
        lease: LeaseId,
        /// The reason why the result was rejected.
        reason: Reason,
    },
    /// Another worker was faster. The worker is not penalised.
    Superseded {
        /// The lease.
        lease: LeaseId,
    },
    /// Two results differ: the coordinator requests the state before a step, see
    /// [`Request::State`](super::Request::State).
    StateRequested {
        /// The lease.
        lease: LeaseId,
        /// The step, from 0.
        step: u32,
        /// Time until the answer must arrive, milliseconds.
        within_ms: u32,
    },
}
