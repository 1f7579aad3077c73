//! What a job consists of: rounds of lanes or units that move weights, or the parts of a batch to
//! be answered. The rest of the coordinator, which leases, waits, judges and keeps the account,
//! does not tell the two apart.

use super::{
    Error, StartError,
    batch::Batch,
    training::{RowsWanted, Sent, Training},
};
use crate::{
    compute::{
        ComputeError,
        dataset::{Dataset, Samples},
        exact::UnitResult,
        lane::{LaneId, LaneResult},
        predict::Classifier,
    },
    ledger::job::{JobSpec, JobTask},
    scheduler::draw::Draw,
    wire::work::{Assignment, Product, REQUEST_LEN_MAX, RESPONSE_LEN_MAX, Reason, Task},
};
use alloc::{boxed::Box, vec::Vec};

/// Bytes that a message takes besides weights, rows and digests.
const MESSAGE_FRAME_LEN: usize = 8 * 1024;

/// The data of a job.
#[derive(Clone, Debug)]
pub enum Material {
    /// Of a training: its data set.
    Training(Dataset),
    /// Of an inference: the model that answers, and the rows.
    Inference {
        /// The model.
        classifier: Classifier,
        /// The batch.
        rows: Samples,
    },
}

impl From<Dataset> for Material {
    fn from(dataset: Dataset) -> Self {
        Self::Training(dataset)
    }
}

/// What counts of a lane, a unit or a part.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Lane(LaneResult),
    Unit(UnitResult),
    /// The classes of the rows.
    Answers(Vec<u8>),
}

/// See the module.
#[derive(Debug)]
pub(super) enum Course {
    Training(Box<Training>),
    Batch(Box<Batch>),
}

impl Course {
    pub(super) fn new(spec: &JobSpec, material: Material) -> Result<Self, StartError> {
        let course = match (&spec.task, material) {
            (JobTask::Train(task), Material::Training(data)) => {
                Self::Training(Box::new(Training::new(task, data)?))
            }
            (JobTask::Infer(task), Material::Inference { classifier, rows }) => {
                Self::Batch(Box::new(Batch::new(task, classifier, rows)?))
            }
            _ => return Err(StartError::OtherKind),
        };
        course.check_messages()?;
        Ok(course)
    }

    /// Every message of the job must fit into what the network carries.
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

    /// Lanes of a round.
    pub(super) fn lanes(&self) -> u32 {
        match self {
            Self::Training(training) => training.plan.lanes(),
            Self::Batch(batch) => batch.parts.count(),
        }
    }

    /// Multiply-accumulates of a lane.
    pub(super) fn macs(&self, lane: u32) -> u64 {
        match self {
            Self::Training(training) => training.plan.macs_per_lane(),
            Self::Batch(batch) => batch.macs(lane),
        }
    }

    /// Bytes that a worker hands in for a lane.
    pub(super) fn upload_len(&self) -> usize {
        match self {
            Self::Training(training) => 4 * training.plan.topology().parameters(),
            Self::Batch(batch) => batch.message_lens().0,
        }
    }

    /// Bytes that a result or a state under judgement takes here.
    pub(super) fn held_len(&self) -> usize {
        match self {
            Self::Training(training) => 8 * training.plan.topology().parameters(),
            Self::Batch(batch) => batch.message_lens().0,
        }
    }

    /// What a lane's worker is to do.
    pub(super) fn task(&mut self, id: LaneId) -> Result<Task, ComputeError> {
        match self {
            Self::Training(training) => training.task(id),
            Self::Batch(batch) => Ok(batch.task(id)),
        }
    }

    /// The same as a lease carries it, to a worker that holds some of what it needs.
    pub(super) fn assignment(
        &mut self,
        id: LaneId,
        weights_held: bool,
        rows: RowsWanted,
    ) -> Result<(Assignment, Sent), ComputeError> {
        match self {
            Self::Training(training) => training.assignment(id, weights_held, rows),
            Self::Batch(batch) => Ok((Assignment::Task(batch.task(id)), Sent::default())),
        }
    }

    /// What can be said against a result by itself: of a lane only its form, of a unit or a part
    /// everything.
    pub(super) fn fault_of(
        &mut self,
        id: &LaneId,
        product: &Product,
        draw: &mut Draw,
    ) -> Result<Option<Reason>, Error> {
        match (self, product) {
            (Self::Training(training), product) => training.fault_of(id, product, draw),
            (Self::Batch(batch), Product::Answers(answers)) => {
                Ok(batch.fault_of(id.lane, answers, draw))
            }
            (Self::Batch(_), _) => Ok(Some(Reason::Malformed)),
        }
    }

    /// What a product leaves once it is found right, if its form is that of one; lanes are judged
    /// elsewhere.
    pub(super) fn part_of(&self, product: Product) -> Option<Part> {
        match (self, product) {
            (Self::Training(_), Product::Unit(trace)) => Some(Part::Unit(trace.result)),
            (Self::Batch(_), Product::Answers(answers)) => {
                Some(Part::Answers(answers.classes.to_vec()))
            }
            _ => None,
        }
    }

    /// Counts a lane.
    pub(super) fn add(&mut self, lane: u32, part: &Part) -> Result<(), ComputeError> {
        match (self, part) {
            (Self::Training(training), part) => training.sum.add(&training.plan, lane, part),
            (Self::Batch(batch), Part::Answers(classes)) => batch.add(lane, classes),
            (Self::Batch(_), _) => Err(ComputeError::Mode),
        }
    }

    /// Whether all lanes of the round count.
    pub(super) fn is_complete(&self) -> bool {
        match self {
            Self::Training(training) => training.sum.is_complete(),
            Self::Batch(batch) => batch.is_complete(),
        }
    }

    /// A rejection tells a liar a little about the secret vectors: others are drawn.
    pub(super) fn forget_secrets(&mut self) {
        match self {
            Self::Training(training) => training.secrets = None,
            Self::Batch(batch) => batch.forget_secrets(),
        }
    }

    /// The training, where it is one.
    pub(super) fn training(&self) -> Result<&Training, ComputeError> {
        match self {
            Self::Training(training) => Ok(training),
            Self::Batch(_) => Err(ComputeError::Mode),
        }
    }

    /// The same, to be changed.
    pub(super) fn training_mut(&mut self) -> Result<&mut Training, ComputeError> {
        match self {
            Self::Training(training) => Ok(training),
            Self::Batch(_) => Err(ComputeError::Mode),
        }
    }
}
