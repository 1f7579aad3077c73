//! The lifecycle of a lease on the worker: queued → computing → committing → revealing → awaiting
//! verdict. A dispute may request a state: state requested → computing state → awaiting verdict.

use crate::{
    compute::local_steps::WorkUnitId,
    types::{NodeId, TimeMs},
    wire::work::{LeaseId, Task, TaskOutput},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Waits for a slot.
    Queued,
    Computing {
        compute_id: u64,
    },
    Committing,
    Revealing,
    /// Submitted; input and result are kept for a possible dispute.
    AwaitingVerdict,
    /// The state before a step is requested; waits for a slot.
    StateRequested {
        step: u32,
    },
    /// The requested state is being computed.
    ComputingState {
        compute_id: u64,
        step: u32,
    },
    /// The result is no longer needed, but occupies the slot until the computation ends.
    Abandoned {
        compute_id: u64,
    },
}

impl Stage {
    pub(super) const fn waits_for_compute(self) -> bool {
        matches!(self, Self::Queued | Self::StateRequested { .. })
    }

    pub(super) const fn computes(self) -> bool {
        self.compute_id().is_some()
    }

    pub(super) const fn compute_id(self) -> Option<u64> {
        match self {
            Self::Computing { compute_id }
            | Self::ComputingState { compute_id, .. }
            | Self::Abandoned { compute_id } => Some(compute_id),
            _ => None,
        }
    }
}

#[derive(Debug)]
pub(super) struct WorkerLease {
    pub(super) lease: LeaseId,
    pub(super) coordinator: NodeId,
    pub(super) task: Task,
    pub(super) output: Option<TaskOutput>,
    pub(super) salt: [u8; 32],
    /// Whether the coordinator requests the full output rather than its digest.
    pub(super) reveals_output: bool,
    /// Ascending number of the lease.
    pub(super) order: u64,
    pub(super) stage: Stage,
    /// When the lease expires.
    pub(super) until: TimeMs,
    pub(super) tries: u32,
    pub(super) retry_at: Option<TimeMs>,
}

impl WorkerLease {
    pub(super) const fn new(
        lease: LeaseId,
        coordinator: NodeId,
        task: Task,
        salt: [u8; 32],
        order: u64,
        until: TimeMs,
    ) -> Self {
        let stage = Stage::Queued;
        let (reveals_output, tries, retry_at) = (true, 0, None);
        Self {
            lease,
            coordinator,
            task,
            output: None,
            salt,
            reveals_output,
            order,
            stage,
            until,
            tries,
            retry_at,
        }
    }

    pub(super) const fn id(&self) -> WorkUnitId {
        self.task.id()
    }

    /// Sort key: disputes first, then by age.
    pub(super) const fn urgency(&self) -> (bool, u64) {
        (matches!(self.stage, Stage::Queued), self.order)
    }

    /// Starts the computation in a slot.
    pub(super) fn start(&mut self, compute_id: u64) -> Task {
        match (self.stage, self.task.clone()) {
            (Stage::StateRequested { step }, Task::LocalSteps(input)) => {
                self.stage = Stage::ComputingState { compute_id, step };
                Task::State { input, step }
            }
            (_, task) => {
                self.stage = Stage::Computing { compute_id };
                task
            }
        }
    }
}
