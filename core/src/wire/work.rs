//! `/tequio/work/2`: how a worker leases work units from a job's coordinator and submits the
//! results.
//!
//! The worker sends every request: it leases a task, commits to the result's digest under a salt,
//! and reveals the result on request. The messages are the same for a first computation, a check
//! and a backup, so a worker cannot treat a check differently. Events of earlier leases
//! ([`LeaseEvent`]) travel with the next response to the worker.
//!
//! This module also defines [`Task`] and [`TaskOutput`], the encoded input and output of the thread
//! or Web Worker that computes.

use super::compact;
pub use super::progress::{
    ActiveWorkers, CURVE_LEN_MAX, CurvePoint, JobProgress, JobState, TOP_CONTRIBUTORS_MAX,
    WaitReason, WaitingFor,
};
use crate::{
    codec::{self, BoundedVec, DecodeError},
    compute::{
        ComputeError,
        dataset::Samples,
        exact::{ExactStepTrace, TRACE_VALUES_MAX, run_exact_step},
        infer::{Inference, infer},
        local_steps::{
            LOCAL_STEPS_INPUT_BYTES_MAX, LOCAL_STEPS_RESULT_BYTES_MAX, LocalStepsInput,
            LocalStepsResult, WorkUnitId, state_before_step,
        },
        params::{Architecture, JobParams, PARAMETERS_MAX},
        predict::Classifier,
        state::{QuantisedWeights, TrainingState, Weights},
    },
    ledger::job::JobId,
    types::Digest,
};
use alloc::{boxed::Box, vec::Vec};
use borsh::{BorshDeserialize, BorshSerialize, io};
use core::fmt;

/// Largest encoded request, bytes. A job whose states or results are larger is not accepted.
pub const REQUEST_LEN_MAX: usize = 4 * 1024 * 1024;
/// Largest encoded response, bytes.
pub const RESPONSE_LEN_MAX: usize = 4 * 1024 * 1024;
/// All training rows are sent at once, to be cached, if they take at most this many bytes.
pub const CACHED_ROWS_LEN_MAX: usize = 256 * 1024;
/// Most lease events in one response.
pub const LEASE_EVENTS_MAX: usize = 32;
/// Largest encoded [`Task`], bytes.
pub const TASK_LEN_MAX: usize = LOCAL_STEPS_INPUT_BYTES_MAX + 64;
/// Largest encoded [`TaskOutput`], bytes: that of a trace, which is larger than a result or a
/// state.
pub const TASK_OUTPUT_LEN_MAX: usize = 4 * (2 * TRACE_VALUES_MAX + PARAMETERS_MAX) + 1024;
const _: () = assert!(
    TASK_OUTPUT_LEN_MAX >= LOCAL_STEPS_RESULT_BYTES_MAX + 64
        && TASK_OUTPUT_LEN_MAX >= 8 * PARAMETERS_MAX + 64
);

/// Identifies a lease. The number is random, so a lease from before a coordinator's restart never
/// matches a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct LeaseId {
    /// The job.
    pub job: JobId,
    /// The number of the lease within the job.
    pub number: u64,
}

/// A message of a worker.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[allow(clippy::large_enum_variant)]
pub enum Request {
    /// Requests a lease. The coordinator may hold the answer back while no work unit is free.
    RequestLease {
        /// The job.
        job: JobId,
        /// How many work units the worker computes in parallel; 0 requests lease events only.
        slots: u8,
        /// The inputs that the worker has cached.
        cached: CachedInputs,
    },
    /// Commits to a result by its
    /// [`result_commitment`](crate::compute::local_steps::result_commitment).
    Commit {
        /// The lease.
        lease: LeaseId,
        /// Commitment to [`TaskOutput::digest`], the worker and the salt.
        commitment: Digest,
    },
    /// Reveals the committed result.
    Reveal {
        /// The lease.
        lease: LeaseId,
        /// The salt of the commitment.
        salt: [u8; 32],
        /// The output of the task.
        #[borsh(serialize_with = "write_task_output", deserialize_with = "read_task_output")]
        output: TaskOutput,
    },
    /// Reveals only the digest of the result, if the coordinator requests no more at first.
    RevealDigest {
        /// The lease.
        lease: LeaseId,
        /// The salt of the commitment.
        salt: [u8; 32],
        /// The digest of the output.
        digest: Digest,
    },
    /// Answers [`LeaseEvent::StateRequested`].
    State {
        /// The lease.
        lease: LeaseId,
        /// The step whose start state is requested, from 0.
        step: u32,
        /// The state; none if the worker can no longer compute it, which loses the dispute.
        #[borsh(
            serialize_with = "compact::write_optional_state",
            deserialize_with = "compact::read_optional_state"
        )]
        state: Option<TrainingState>,
    },
}

impl Request {
    /// The job of the request.
    pub fn job(&self) -> JobId {
        match self {
            Self::RequestLease { job, .. } => *job,
            Self::Commit { lease, .. }
            | Self::Reveal { lease, .. }
            | Self::RevealDigest { lease, .. }
            | Self::State { lease, .. } => lease.job,
        }
    }

    /// The job of an encoded request, without decoding the rest: every request starts with it.
    pub fn job_of(encoded: &[u8]) -> Option<JobId> {
        let job = encoded.get(1..1 + size_of::<JobId>())?;
        job.try_into().ok().map(Digest)
    }
}

/// Inputs of a job that a worker has cached, so that leases need not carry them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct CachedInputs {
    /// The round whose start weights are cached.
    pub weights_round: Option<u32>,
    /// Whether all training rows are cached.
    pub rows: bool,
}

/// A response of the coordinator.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Response {
    /// The answer to the request.
    pub answer: Answer,
    /// Events of earlier leases.
    pub events: BoundedVec<LeaseEvent, LEASE_EVENTS_MAX>,
}

impl Response {
    /// A response without events.
    pub fn from_answer(answer: Answer) -> Self {
        Self { answer, events: BoundedVec::new() }
    }

    /// A refusal without events.
    pub fn refused(refusal: Refusal) -> Self {
        Self::from_answer(Answer::Refused(refusal))
    }
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Answer {
    /// To [`Request::RequestLease`].
    Lease(Box<Lease>),
    /// To [`Request::RequestLease`]: no work unit is free.
    Idle {
        /// When to send the next request, milliseconds.
        retry_ms: u32,
    },
    /// To [`Request::Commit`], and to [`Request::RevealDigest`] if the digest is not enough.
    RevealRequested {
        /// Whether the full output is requested, or only its digest. A digest is enough if another
        /// worker has already submitted a result to compare with.
        full_output: bool,
    },
    /// To [`Request::Reveal`] and [`Request::State`]: the coordinator checks the submission, and an
    /// event follows.
    Received,
    /// Not accepted.
    Refused(Refusal),
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
        /// Why the result was rejected.
        reason: Reason,
    },
    /// Another worker was faster. The worker is not penalised.
    Superseded {
        /// The lease.
        lease: LeaseId,
    },
    /// Two results differ: the coordinator requests the state before a step, see
    /// [`Request::State`].
    StateRequested {
        /// The lease.
        lease: LeaseId,
        /// The step, from 0.
        step: u32,
        /// Time until the answer must arrive, milliseconds.
        within_ms: u32,
    },
}

/// Why the coordinator refuses a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, thiserror::Error)]
pub enum Refusal {
    /// The node does not coordinate such a job.
    #[error("no such job here")]
    UnknownJob,
    /// The job is over or has not begun.
    #[error("the job is not running")]
    NotRunning,
    /// The lease was never granted to this worker, has expired, or is settled.
    #[error("no such lease, or it has expired")]
    UnknownLease,
    /// The lease expects another message.
    #[error("out of turn")]
    UnexpectedMessage,
    /// This worker's results were wrong.
    #[error("barred from this job for wrong results")]
    Banned,
    /// Too many requests.
    #[error("busy")]
    Busy,
    /// The node cannot decode the request.
    #[error("malformed request")]
    Malformed,
}

/// Why a result was rejected.
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
            Self::WrongReveal => f.write_str("what was opened is not what was committed to"),
            Self::Malformed => f.write_str("the result has not the form of one"),
            Self::NotRevealed => f.write_str("the commitment was not opened in time"),
            Self::StateWithheld => f.write_str("the disputed state was not shown in time"),
            Self::WrongProduct => f.write_str("a matrix product is wrong"),
            Self::WrongState => f.write_str("the disputed state is not the one committed to"),
        }
    }
}

/// A task to compute.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Task {
    /// Local steps.
    LocalSteps(LocalStepsInput),
    /// The state of local steps before a given step.
    State {
        /// The local steps.
        input: LocalStepsInput,
        /// The step, from 0.
        step: u32,
    },
    /// An exact step, of a job in exact mode.
    ExactStep(ExactStepInput),
    /// A part of an inference batch.
    InferencePart(InferencePartInput),
}

/// The complete input of an inference part.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct InferencePartInput {
    /// The work unit; the batch is a single round.
    pub id: WorkUnitId,
    /// The model's shape.
    pub architecture: Architecture,
    /// The model's weights.
    pub quantised: QuantisedWeights,
    /// The rows of the part.
    pub rows: Samples,
}

/// The complete input of an exact step.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ExactStepInput {
    /// The job's parameters.
    pub params: JobParams,
    /// The work unit.
    pub id: WorkUnitId,
    /// The weights of this round.
    pub quantised: QuantisedWeights,
    /// The rows of the work unit.
    pub rows: Samples,
}

/// The output of a task.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum TaskOutput {
    /// Of [`Task::LocalSteps`].
    LocalSteps(LocalStepsResult),
    /// Of [`Task::State`].
    State(TrainingState),
    /// Of [`Task::ExactStep`].
    ExactStep(ExactStepTrace),
    /// Of [`Task::InferencePart`].
    InferencePart(Inference),
}

/// Writes a task output, each number in as many bits as it needs.
fn write_task_output<W: io::Write>(output: &TaskOutput, writer: &mut W) -> io::Result<()> {
    match output {
        TaskOutput::LocalSteps(result) => {
            0u8.serialize(writer)?;
            compact::write_local_steps(result, writer)
        }
        TaskOutput::State(state) => {
            1u8.serialize(writer)?;
            compact::write_state(state, writer)
        }
        TaskOutput::ExactStep(trace) => {
            2u8.serialize(writer)?;
            compact::write_exact_step(trace, writer)
        }
        TaskOutput::InferencePart(answers) => {
            3u8.serialize(writer)?;
            compact::write_inference(answers, writer)
        }
    }
}

/// Reads a task output.
fn read_task_output<R: io::Read>(reader: &mut R) -> io::Result<TaskOutput> {
    match u8::deserialize_reader(reader)? {
        0 => compact::read_local_steps(reader).map(TaskOutput::LocalSteps),
        1 => compact::read_state(reader).map(TaskOutput::State),
        2 => compact::read_exact_step(reader).map(TaskOutput::ExactStep),
        3 => compact::read_inference(reader).map(TaskOutput::InferencePart),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "unknown product")),
    }
}

impl TaskOutput {
    /// The digest that a worker commits to. States have none, because a worker sends them only in
    /// disputes.
    pub fn digest(&self, id: &WorkUnitId) -> Option<Digest> {
        match self {
            Self::LocalSteps(result) => Some(result.digest),
            Self::ExactStep(trace) => Some(trace.digest(id)),
            Self::InferencePart(answers) => Some(answers.digest(&id.job, id.unit)),
            Self::State(_) => None,
        }
    }
}

/// Why an encoded task has no output.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// The bytes are not a task.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The task cannot be computed.
    #[error(transparent)]
    Compute(#[from] ComputeError),
}

impl Task {
    /// The work unit.
    pub const fn id(&self) -> WorkUnitId {
        match self {
            Self::LocalSteps(input) | Self::State { input, .. } => input.id,
            Self::ExactStep(input) => input.id,
            Self::InferencePart(input) => input.id,
        }
    }

    /// Computes the task.
    pub fn run(&self) -> Result<TaskOutput, ComputeError> {
        match self {
            Self::LocalSteps(input) => input.run().map(TaskOutput::LocalSteps),
            Self::State { input, step } => {
                let plan = input.params.clone().validate()?;
                state_before_step(&plan, &input.id, &input.weights, &input.rows, *step)
                    .map(TaskOutput::State)
            }
            Self::ExactStep(ExactStepInput { params, id, quantised, rows }) => {
                let plan = params.clone().validate()?;
                run_exact_step(&plan, id.round, id.unit, quantised, rows).map(TaskOutput::ExactStep)
            }
            Self::InferencePart(InferencePartInput { architecture, quantised, rows, .. }) => {
                infer(&Classifier::new(architecture.clone(), quantised.clone())?, rows)
                    .map(TaskOutput::InferencePart)
            }
        }
    }
}

/// Computes an encoded [`Task`] to an encoded [`TaskOutput`], in a Web Worker for example.
pub fn run_encoded(task: &[u8]) -> Result<Vec<u8>, TaskError> {
    Ok(codec::encode(&codec::decode::<Task>(task, TASK_LEN_MAX)?.run()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_job_of_a_request_is_read_without_the_rest() {
        let job = Digest([7; 32]);
        let lease = LeaseId { job, number: 1 };
        for request in [
            Request::RequestLease { job, slots: 1, cached: CachedInputs::default() },
            Request::Commit { lease, commitment: Digest([1; 32]) },
            Request::RevealDigest { lease, salt: [2; 32], digest: Digest([3; 32]) },
            Request::State { lease, step: 1, state: None },
        ] {
            assert_eq!(Request::job_of(&codec::encode(&request)), Some(job));
        }
        assert_eq!(Request::job_of(&[0; 32]), None);
    }

    proptest! {
        #[test]
        fn total_on_any_bytes(bytes: Vec<u8>) {
            if let Ok(request) = codec::decode::<Request>(&bytes, REQUEST_LEN_MAX) {
                prop_assert_eq!(codec::encode(&request), bytes.clone());
                prop_assert_eq!(Request::job_of(&bytes), Some(request.job()));
            }
            if let Ok(response) = codec::decode::<Response>(&bytes, RESPONSE_LEN_MAX) {
                prop_assert_eq!(codec::encode(&response), bytes.clone());
            }
            if let Ok(progress) = codec::decode::<JobProgress>(&bytes, RESPONSE_LEN_MAX) {
                prop_assert_eq!(codec::encode(&progress), bytes.clone());
            }
            let _ = run_encoded(&bytes);
        }
    }
}
