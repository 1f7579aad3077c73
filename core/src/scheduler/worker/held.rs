//! A lease from the worker's side: queued → computing → committing → opening → settling, where a
//! dispute may ask for a state: asked → showing → settling.

use crate::{
    compute::lane::LaneId,
    types::{NodeId, TimeMs},
    wire::work::{LeaseId, Product, Task},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Waits for a slot.
    Queued,
    Computing {
        unit: u64,
    },
    Committing,
    Opening,
    /// Handed in; input and result are kept in case of a dispute.
    Settling,
    /// The state before a step is wanted; waits for a slot.
    Asked {
        step: u32,
    },
    /// That state is being computed.
    Showing {
        unit: u64,
        step: u32,
    },
    /// Nobody wants the result any more, but the slot is taken until it is there.
    Abandoned {
        unit: u64,
    },
}

impl Stage {
    pub(super) const fn waits_for_compute(self) -> bool {
        matches!(self, Self::Queued | Self::Asked { .. })
    }

    pub(super) const fn computes(self) -> bool {
        self.unit().is_some()
    }

    pub(super) const fn unit(self) -> Option<u64> {
        match self {
            Self::Computing { unit } | Self::Showing { unit, .. } | Self::Abandoned { unit } => {
                Some(unit)
            }
            _ => None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Held {
    pub(super) lease: LeaseId,
    pub(super) coordinator: NodeId,
    pub(super) task: Task,
    pub(super) product: Option<Product>,
    pub(super) salt: [u8; 32],
    /// Whether the coordinator wants the product itself, not its digest first.
    pub(super) opens_product: bool,
    /// Grows with each lease that comes.
    pub(super) order: u64,
    pub(super) stage: Stage,
    /// Until when it is of use.
    pub(super) until: TimeMs,
    pub(super) tries: u32,
    pub(super) retry_at: Option<TimeMs>,
}

impl Held {
    pub(super) const fn new(
        lease: LeaseId,
        coordinator: NodeId,
        task: Task,
        salt: [u8; 32],
        order: u64,
        until: TimeMs,
    ) -> Self {
        let stage = Stage::Queued;
        let (opens_product, tries, retry_at) = (true, 0, None);
        Self {
            lease,
            coordinator,
            task,
            product: None,
            salt,
            opens_product,
            order,
            stage,
            until,
            tries,
            retry_at,
        }
    }

    pub(super) const fn id(&self) -> LaneId {
        self.task.id()
    }

    /// Disputes first, then by age.
    pub(super) const fn urgency(&self) -> (bool, u64) {
        (matches!(self.stage, Stage::Queued), self.order)
    }

    /// Takes a slot.
    pub(super) fn start(&mut self, unit: u64) -> Task {
        match (self.stage, self.task.clone()) {
            (Stage::Asked { step }, Task::Lane(input)) => {
                self.stage = Stage::Showing { unit, step };
                Task::State { input, step }
            }
            (_, task) => {
                self.stage = Stage::Computing { unit };
                task
            }
        }
    }
}
