//! The workload of a job: rounds of work units that update weights, or the parts of an inference
//! batch. The rest of the coordinator treats both alike.

use super::{
    batch::Batch,
    error::{Error, StartError},
    training::{LeaseInputs, RowsToSend, Training},
    work_unit::WorkUnitResult,
};
use crate::{
    compute::{
        ComputeError,
        dataset::{Dataset, Samples},
        local_steps::WorkUnitId,
        predict::Classifier,
    },
    ledger::job::{JobSpec, JobTask},
    scheduler::common::seeded_rng::SeededRng,
    wire::work::{Assignment, REQUEST_LEN_MAX, RESPONSE_LEN_MAX, Reason, Task, TaskOutput},
};
use alloc::boxed::Box;

/// Bytes of a message other than weights, rows and digests.
const MESSAGE_FRAME_LEN: usize = 8 * 1024;

/// The input data of a job.
#[derive(Clone, Debug)]
pub enum JobInput {
    /// The data set of a training.
    Training(Dataset),
    /// The model and the rows of an inference batch.
    Inference {
        /// The model.
        classifier: Classifier,
        /// The batch.
        rows: Samples,
    },
}

impl From<Dataset> for JobInput {
    fn from(dataset: Dataset) -> Self {
        Self::Training(dataset)
    }
}

/// The workload of a job.
#[derive(Debug)]
pub(super) enum Workload {
    Training(Box<Training>),
    Batch(Box<Batch>),
}

impl Workload {
    pub(super) fn new(spec: &JobSpec, input: JobInput) -> Result<Self, StartError> {
        let workload = match (&spec.task, input) {
            (JobTask::Train(task), JobInput::Training(data)) => {
                Self::Training(Box::new(Training::new(task, data)?))
            }
            (JobTask::Infer(task), JobInput::Inference { classifier, rows }) => {
                Self::Batch(Box::new(Batch::new(task, classifier, rows)?))
            }
            _ => return Err(StartError::WrongInput),
        };
        workload.check_messages()?;
        Ok(workload)
    }

    /// Checks that every message of the job fits the limits of the network.
    fn check_messages(&self) -> Result<(), StartError> {
        let (request, response) = match self {
            Self::Training(training) => training.message_lens(),
            Self::Batch(batch) => batch.message_lens(),
        };
        for (len, len_max) in [(request, REQUEST_LEN_MAX), (response, RESPONSE_LEN_MAX)] {
            let len = len + MESSAGE_FRAME_LEN;
            if len > len_max {
                return Err(StartError::TooLarge { len, len_max });
            }
        }
        Ok(())
    }

    pub(super) fn rounds(&self) -> u32 {
        match self {
            Self::Training(training) => training.plan.rounds(),
            Self::Batch(_) => 1,
        }
    }

    /// Work units of a round.
    pub(super) fn units_per_round(&self) -> u32 {
        match self {
            Self::Training(training) => training.plan.units_per_round(),
            Self::Batch(batch) => batch.parts.count(),
        }
    }

    /// Multiply-accumulates of a work unit.
    pub(super) fn macs(&self, unit: u32) -> u64 {
        match self {
            Self::Training(training) => training.plan.macs_per_unit(),
            Self::Batch(batch) => batch.macs(unit),
        }
    }

    /// Bytes that a worker uploads for a work unit.
    pub(super) fn upload_len(&self) -> usize {
        match self {
            Self::Training(training) => 4 * training.plan.topology().parameters(),
            Self::Batch(batch) => batch.message_lens().0,
        }
    }

    /// Bytes in memory of an unverified result or state.
    pub(super) fn unverified_len(&self) -> usize {
        match self {
            Self::Training(training) => 8 * training.plan.topology().parameters(),
            Self::Batch(batch) => batch.message_lens().0,
        }
    }

    /// The task of a work unit.
    pub(super) fn task(&mut self, id: WorkUnitId) -> Result<Task, ComputeError> {
        match self {
            Self::Training(training) => training.task(id),
            Self::Batch(batch) => Ok(batch.task(id)),
        }
    }

    /// The assignment of a work unit, for a worker that has cached some inputs.
    pub(super) fn assignment(
        &mut self,
        id: WorkUnitId,
        weights_cached: bool,
        rows: RowsToSend,
    ) -> Result<(Assignment, LeaseInputs), ComputeError> {
        match self {
            Self::Training(training) => training.assignment(id, weights_cached, rows),
            Self::Batch(batch) => Ok((Assignment::Task(batch.task(id)), LeaseInputs::default())),
        }
    }

    /// The reason to reject a result by itself. Only the form of local steps can be checked this
    /// way; exact steps and inference parts are checked fully.
    pub(super) fn rejection_reason(
        &mut self,
        id: &WorkUnitId,
        output: &TaskOutput,
        rng: &mut SeededRng,
    ) -> Result<Option<Reason>, Error> {
        match (self, output) {
            (Self::Training(training), output) => training.rejection_reason(id, output, rng),
            (Self::Batch(batch), TaskOutput::InferencePart(answers)) => {
                Ok(batch.rejection_reason(id.unit, answers, rng))
            }
            (Self::Batch(_), _) => Ok(Some(Reason::Malformed)),
        }
    }

    /// The result of a verified exact step or inference part; none for other outputs. Local steps
    /// are judged elsewhere.
    pub(super) fn verified_result(&self, output: TaskOutput) -> Option<WorkUnitResult> {
        match (self, output) {
            (Self::Training(_), TaskOutput::ExactStep(trace)) => {
                Some(WorkUnitResult::ExactStep(trace.result))
            }
            (Self::Batch(_), TaskOutput::InferencePart(answers)) => {
                Some(WorkUnitResult::InferencePart(answers.classes.to_vec()))
            }
            _ => None,
        }
    }

    /// Adds an accepted result.
    pub(super) fn add(&mut self, unit: u32, result: &WorkUnitResult) -> Result<(), ComputeError> {
        match (self, result) {
            (Self::Training(training), result) => training.sum.add(&training.plan, unit, result),
            (Self::Batch(batch), WorkUnitResult::InferencePart(classes)) => {
                batch.add(unit, classes)
            }
            (Self::Batch(_), _) => Err(ComputeError::Mode),
        }
    }

    /// Whether all work units of the round are accepted.
    pub(super) fn is_complete(&self) -> bool {
        match self {
            Self::Training(training) => training.sum.is_complete(),
            Self::Batch(batch) => batch.is_complete(),
        }
    }

    /// Replaces the secret vectors: a rejection reveals a little about them.
    pub(super) fn reset_secrets(&mut self) {
        match self {
            Self::Training(training) => training.secrets = None,
            Self::Batch(batch) => batch.reset_secrets(),
        }
    }

    /// The training, if the job is one.
    pub(super) fn training(&self) -> Result<&Training, ComputeError> {
        match self {
            Self::Training(training) => Ok(training),
            Self::Batch(_) => Err(ComputeError::Mode),
        }
    }

    /// The training for modification, if the job is one.
    pub(super) fn training_mut(&mut self) -> Result<&mut Training, ComputeError> {
        match self {
            Self::Training(training) => Ok(training),
            Self::Batch(_) => Err(ComputeError::Mode),
        }
    }
}
