//! [`Task`] and [`TaskOutput`]: the encoded input and output of the thread or Web Worker that
//! computes.

use crate::{
    codec::{self, DecodeError},
    compute::{
        ComputeError,
        dataset::Samples,
        exact::{ExactStepTrace, run_exact_step},
        infer::{Inference, infer},
        limits::{PARAMETERS_MAX, TRACE_VALUES_MAX},
        local_steps::{
            LOCAL_STEPS_INPUT_BYTES_MAX, LOCAL_STEPS_RESULT_BYTES_MAX, LocalStepsInput,
            LocalStepsResult, WorkUnitId, state_before_step,
        },
        params::{Architecture, JobParams},
        predict::Classifier,
        state::{QuantisedWeights, TrainingState},
    },
    types::Digest,
    wire::compact,
};
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize, io};

/// Largest encoded [`Task`], bytes.
pub const TASK_LEN_MAX: usize = LOCAL_STEPS_INPUT_BYTES_MAX + 64;
/// Largest encoded [`TaskOutput`], bytes: that of a trace, which is larger than a result or a
/// state.
pub const TASK_OUTPUT_LEN_MAX: usize = 4 * (2 * TRACE_VALUES_MAX + PARAMETERS_MAX) + 1024;
const _: () = assert!(
    TASK_OUTPUT_LEN_MAX >= LOCAL_STEPS_RESULT_BYTES_MAX + 64
        && TASK_OUTPUT_LEN_MAX >= 8 * PARAMETERS_MAX + 64
);

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
    /// Output of [`Task::LocalSteps`].
    LocalSteps(LocalStepsResult),
    /// Output of [`Task::State`].
    State(TrainingState),
    /// Output of [`Task::ExactStep`].
    ExactStep(ExactStepTrace),
    /// Output of [`Task::InferencePart`].
    InferencePart(Inference),
}

/// Writes a task output, each number in as many bits as it needs.
pub(super) fn write_task_output<W: io::Write>(
    output: &TaskOutput,
    writer: &mut W,
) -> io::Result<()> {
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
pub(super) fn read_task_output<R: io::Read>(reader: &mut R) -> io::Result<TaskOutput> {
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

/// The reason why an encoded task has no output.
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
