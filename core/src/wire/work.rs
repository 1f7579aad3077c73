//! `/tequio/work/2`: how a worker gets lanes from a job's coordinator and hands in what they come
//! to.
//!
//! The worker asks, always: it is leased a task, commits to the result's digest under a salt, and
//! opens the commitment when told to. Whether it computes a lane for the first time, checks
//! another's, or backs up a slow one, the messages are the same, so that it cannot treat a check
//! differently. News of its earlier leases ([`Notice`]) ride on whatever answer goes to it next.
//!
//! Also here: [`Task`] and [`Product`], the bytes that go to and come from the thread or Web Worker
//! that computes.

use super::compact;
pub use super::progress::{
    CURVE_LEN_MAX, CurvePoint, JobProgress, JobState, TOP_CONTRIBUTORS_MAX, Waiting, WaitingFor,
    WorkersNow,
};
use crate::{
    codec::{self, BoundedVec, DecodeError},
    compute::{
        ComputeError,
        dataset::Samples,
        exact::{TRACE_VALUES_MAX, UnitTrace, run_unit},
        infer::{Inference, infer},
        lane::{
            LANE_INPUT_BYTES_MAX, LANE_RESULT_BYTES_MAX, LaneId, LaneInput, LaneResult,
            lane_state_at,
        },
        params::{Architecture, JobParams, PARAMETERS_MAX},
        predict::Classifier,
        state::{LaneState, Published, Weights},
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
/// Training rows are sent all at once, to be held, if they take at most so many bytes.
pub const ROWS_HELD_LEN_MAX: usize = 256 * 1024;
/// Most notices in one response.
pub const NOTICES_MAX: usize = 32;
/// Largest encoded [`Task`], bytes.
pub const TASK_LEN_MAX: usize = LANE_INPUT_BYTES_MAX + 64;
/// Largest encoded [`Product`], bytes: that of a trace, larger than that of a result or a state.
pub const PRODUCT_LEN_MAX: usize = 4 * (2 * TRACE_VALUES_MAX + PARAMETERS_MAX) + 1024;
const _: () = assert!(
    PRODUCT_LEN_MAX >= LANE_RESULT_BYTES_MAX + 64 && PRODUCT_LEN_MAX >= 8 * PARAMETERS_MAX + 64
);

/// Names a lease. The number is random, so that one from before a coordinator's restart is never
/// taken for a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct LeaseId {
    /// Of which job.
    pub job: JobId,
    /// Which of its leases.
    pub number: u64,
}

/// What a worker says.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[allow(clippy::large_enum_variant)]
pub enum Request {
    /// May I have a lane? The answer may be held back while there is none.
    Ask {
        /// Of which job.
        job: JobId,
        /// How many the worker computes side by side; 0 asks for notices only.
        lanes: u8,
        /// What the worker need not be sent again.
        holds: Holds,
    },
    /// The lane is done; the commitment is
    /// [`lane_commitment`](crate::compute::lane::lane_commitment).
    Commit {
        /// Which lease.
        lease: LeaseId,
        /// Binds [`Product::digest`], worker and salt.
        commitment: Digest,
    },
    /// Opens the commitment.
    Open {
        /// Which lease.
        lease: LeaseId,
        /// The salt of the commitment.
        salt: [u8; 32],
        /// What the task came to.
        #[borsh(serialize_with = "write_product", deserialize_with = "read_product")]
        product: Product,
    },
    /// Opens the commitment by the digest alone, where the coordinator wants no more at first.
    OpenDigest {
        /// Which lease.
        lease: LeaseId,
        /// The salt of the commitment.
        salt: [u8; 32],
        /// The digest of what the task came to.
        digest: Digest,
    },
    /// Answers [`Notice::NeedState`].
    State {
        /// Which lease.
        lease: LeaseId,
        /// Before which step, from 0.
        step: u32,
        /// The state; none if the worker no longer has what it takes to compute it, by which it
        /// loses.
        #[borsh(
            serialize_with = "compact::write_optional_state",
            deserialize_with = "compact::read_optional_state"
        )]
        state: Option<LaneState>,
    },
}

impl Request {
    /// Which job it is about.
    pub fn job(&self) -> JobId {
        match self {
            Self::Ask { job, .. } => *job,
            Self::Commit { lease, .. }
            | Self::Open { lease, .. }
            | Self::OpenDigest { lease, .. }
            | Self::State { lease, .. } => lease.job,
        }
    }

    /// The job of an encoded request, without decoding the rest: in all of them it stands first.
    pub fn job_of(encoded: &[u8]) -> Option<JobId> {
        let job = encoded.get(1..1 + size_of::<JobId>())?;
        job.try_into().ok().map(Digest)
    }
}

/// What a worker holds of a job of lanes, so that leases need not carry it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Holds {
    /// The weights at the start of this round.
    pub weights_of: Option<u32>,
    /// All training rows.
    pub rows: bool,
}

/// What the coordinator answers.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Response {
    /// To the request.
    pub answer: Answer,
    /// What else has happened since.
    pub notices: BoundedVec<Notice, NOTICES_MAX>,
}

impl Response {
    /// An answer without news.
    pub fn of(answer: Answer) -> Self {
        Self { answer, notices: BoundedVec::new() }
    }

    /// A refusal without news.
    pub fn refused(refusal: Refusal) -> Self {
        Self::of(Answer::Refused(refusal))
    }
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Answer {
    /// To [`Request::Ask`].
    Lease(Box<Lease>),
    /// To [`Request::Ask`]: nothing to do at present.
    Idle {
        /// When to ask again.
        retry_ms: u32,
    },
    /// To [`Request::Commit`], and to [`Request::OpenDigest`] where the digest is not enough.
    OpenIt {
        /// Whether the product is wanted, or its digest first: what another has handed in already
        /// need not travel again.
        product: bool,
    },
    /// To [`Request::Open`] and [`Request::State`]: it will be checked, a notice follows.
    Received,
    /// Not accepted.
    Refused(Refusal),
}

/// A lane lent for a time.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Lease {
    /// Its name.
    pub id: LeaseId,
    /// What to do.
    pub assignment: Assignment,
    /// How long the worker has until it commits.
    pub deadline_ms: u32,
}

/// What a lease asks for.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[allow(clippy::large_enum_variant)]
pub enum Assignment {
    /// A task with all that it needs.
    Task(Task),
    /// A lane, without what the worker holds already.
    Lane(LaneAssignment),
}

/// A lane, without what the worker holds already.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct LaneAssignment {
    /// The job's parameters.
    pub params: JobParams,
    /// Which lane.
    pub id: LaneId,
    /// Digest of the weights at the start of the round.
    pub weights_hash: Digest,
    /// These weights.
    pub weights: SentWeights,
    /// The training rows.
    pub rows: SentRows,
}

/// The weights of a [`LaneAssignment`].
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum SentWeights {
    /// The worker holds them, or they are on their way to it.
    Held,
    /// Here they are.
    Here(
        #[borsh(
            serialize_with = "compact::write_weights",
            deserialize_with = "compact::read_weights"
        )]
        Weights,
    ),
}

/// The rows of a [`LaneAssignment`].
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum SentRows {
    /// The worker holds all training rows.
    Held,
    /// Those of the lane.
    Lane(Samples),
    /// All training rows: it is to hold them.
    All(Samples),
}

impl Assignment {
    /// Which lane or unit it is about.
    pub const fn id(&self) -> LaneId {
        match self {
            Self::Task(task) => task.id(),
            Self::Lane(lane) => lane.id,
        }
    }
}

/// News of an earlier lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Notice {
    /// Checked and counted.
    Accepted {
        /// Which lease.
        lease: LeaseId,
        /// Multiply-accumulates credited.
        macs: u64,
    },
    /// Refused.
    Rejected {
        /// Which lease.
        lease: LeaseId,
        /// Why.
        reason: Reason,
    },
    /// Somebody else was faster; nothing is held against the worker.
    Superseded {
        /// Which lease.
        lease: LeaseId,
    },
    /// Two results differ: the state before a step is wanted, as [`Request::State`].
    NeedState {
        /// Which lease.
        lease: LeaseId,
        /// Before which step, from 0.
        step: u32,
        /// How long the worker has.
        within_ms: u32,
    },
}

/// Why a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, thiserror::Error)]
pub enum Refusal {
    /// No such job here.
    #[error("no such job here")]
    UnknownJob,
    /// Over, or not begun.
    #[error("the job is not running")]
    NotRunning,
    /// Never granted to this worker, expired, or settled.
    #[error("no such lease, or it has expired")]
    UnknownLease,
    /// Not the message that this lease waits for.
    #[error("out of turn")]
    OutOfTurn,
    /// This worker's results were wrong.
    #[error("barred from this job for wrong results")]
    Banned,
    /// Too many ask.
    #[error("busy")]
    Busy,
    /// Not a request that this node understands.
    #[error("malformed request")]
    Malformed,
}

/// Why a result was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub enum Reason {
    /// This step, from 0, was computed wrongly: proved by replaying it.
    WrongStep(u32),
    /// The steps are right, but the delta is not their sum.
    WrongDelta,
    /// Result and salt are not what was committed to.
    WrongOpening,
    /// No honest result has this form.
    Malformed,
    /// Committed, but did not open in time.
    NotOpened,
    /// Did not show the state before the disputed step in time.
    StateWithheld,
    /// Showed a state that is not the one committed to.
    WrongState,
    /// A product of matrices is wrong: found by Freivalds' check.
    WrongProduct,
}

/// What a rejection says of the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub enum RejectionKind {
    /// The result did not come in time: a frozen tab, a slow line. Nothing was found wrong.
    Late,
    /// The worker did not show what a dispute asked for. Nothing was found wrong.
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
    /// What this reason says of the worker.
    pub const fn kind(self) -> RejectionKind {
        match self {
            Self::NotOpened => RejectionKind::Late,
            Self::StateWithheld => RejectionKind::Withheld,
            Self::WrongStep(_)
            | Self::WrongDelta
            | Self::WrongOpening
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
            Self::WrongOpening => f.write_str("what was opened is not what was committed to"),
            Self::Malformed => f.write_str("the result has not the form of one"),
            Self::NotOpened => f.write_str("the commitment was not opened in time"),
            Self::StateWithheld => f.write_str("the disputed state was not shown in time"),
            Self::WrongProduct => f.write_str("a matrix product is wrong"),
            Self::WrongState => f.write_str("the disputed state is not the one committed to"),
        }
    }
}

/// Something to compute.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Task {
    /// A lane.
    Lane(LaneInput),
    /// The state of a lane before a step.
    State {
        /// Which lane.
        input: LaneInput,
        /// Which step, from 0.
        step: u32,
    },
    /// A unit of one step, of a job in exact mode.
    Unit(UnitInput),
    /// A part of a batch to be answered.
    Infer(InferInput),
}

/// All that a worker needs to answer a part of a batch.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct InferInput {
    /// Which part, as a lane of the only round.
    pub id: LaneId,
    /// The model's shape.
    pub architecture: Architecture,
    /// Its weights.
    pub published: Published,
    /// The rows of the part.
    pub rows: Samples,
}

/// All that a worker needs to compute a unit.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct UnitInput {
    /// The job's parameters.
    pub params: JobParams,
    /// Which unit.
    pub id: LaneId,
    /// The weights of this round.
    pub published: Published,
    /// The rows of the unit.
    pub rows: Samples,
}

/// What a task comes to.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Product {
    /// Of [`Task::Lane`].
    Lane(LaneResult),
    /// Of [`Task::State`].
    State(LaneState),
    /// Of [`Task::Unit`].
    Unit(UnitTrace),
    /// Of [`Task::Infer`].
    Answers(Inference),
}

/// Writes a product as it travels: each number in as many bits as it needs.
fn write_product<W: io::Write>(product: &Product, writer: &mut W) -> io::Result<()> {
    match product {
        Product::Lane(lane) => {
            0u8.serialize(writer)?;
            compact::write_lane(lane, writer)
        }
        Product::State(state) => {
            1u8.serialize(writer)?;
            compact::write_state(state, writer)
        }
        Product::Unit(unit) => {
            2u8.serialize(writer)?;
            compact::write_unit(unit, writer)
        }
        Product::Answers(answers) => {
            3u8.serialize(writer)?;
            compact::write_answers(answers, writer)
        }
    }
}

/// Reads a product as it travels.
fn read_product<R: io::Read>(reader: &mut R) -> io::Result<Product> {
    match u8::deserialize_reader(reader)? {
        0 => compact::read_lane(reader).map(Product::Lane),
        1 => compact::read_state(reader).map(Product::State),
        2 => compact::read_unit(reader).map(Product::Unit),
        3 => compact::read_answers(reader).map(Product::Answers),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "unknown product")),
    }
}

impl Product {
    /// What a worker commits to; states are not committed to, they answer for what was.
    pub fn digest(&self, id: &LaneId) -> Option<Digest> {
        match self {
            Self::Lane(result) => Some(result.digest),
            Self::Unit(trace) => Some(trace.digest(id)),
            Self::Answers(answers) => Some(answers.digest(&id.job, id.lane)),
            Self::State(_) => None,
        }
    }
}

/// Why an encoded task came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// Not a task.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A task that cannot be computed.
    #[error(transparent)]
    Compute(#[from] ComputeError),
}

impl Task {
    /// Which lane or unit it is about.
    pub const fn id(&self) -> LaneId {
        match self {
            Self::Lane(input) | Self::State { input, .. } => input.id,
            Self::Unit(input) => input.id,
            Self::Infer(input) => input.id,
        }
    }

    /// Computes it.
    pub fn run(&self) -> Result<Product, ComputeError> {
        match self {
            Self::Lane(input) => input.run().map(Product::Lane),
            Self::State { input, step } => {
                let plan = input.params.clone().validate()?;
                lane_state_at(&plan, &input.id, &input.weights, &input.rows, *step)
                    .map(Product::State)
            }
            Self::Unit(UnitInput { params, id, published, rows }) => {
                let plan = params.clone().validate()?;
                run_unit(&plan, id.round, id.lane, published, rows).map(Product::Unit)
            }
            Self::Infer(InferInput { architecture, published, rows, .. }) => {
                infer(&Classifier::new(architecture.clone(), published.clone())?, rows)
                    .map(Product::Answers)
            }
        }
    }
}

/// Computes an encoded [`Task`] to an encoded [`Product`]: what a Web Worker does.
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
            Request::Ask { job, lanes: 1, holds: Holds::default() },
            Request::Commit { lease, commitment: Digest([1; 32]) },
            Request::OpenDigest { lease, salt: [2; 32], digest: Digest([3; 32]) },
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
