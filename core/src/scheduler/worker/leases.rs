//! Leases that the worker holds: accepted if they match the request, kept until their inputs
//! arrive, settled by the events of their coordinator.

use super::{
    input_cache::CacheError,
    lease::{Stage, WorkerLease},
    output::{Event, Output},
    state::{AwaitingInputs, PendingRequest, RequestPurpose, Worker},
};
use crate::{
    ledger::job::JobId,
    types::{NodeId, TimeMs},
    wire::work::{Assignment, Lease, LeaseEvent, LeaseId, LocalStepsAssignment, Task},
};

/// Most results kept until they are settled; the oldest are dropped first.
pub const LEASES_MAX: usize = 64;
/// Most leases that wait for weights or rows in transit, and the longest wait, milliseconds.
const AWAITING_MAX: usize = 16;
const AWAIT_MS_MAX: u64 = 10_000;

impl Worker {
    /// Accepts a lease if it matches the request.
    pub(super) fn accept_lease(
        &mut self,
        now: TimeMs,
        job: JobId,
        coordinator: NodeId,
        lease: Lease,
    ) -> bool {
        let Lease { id, assignment, deadline_ms } = lease;
        let is_awaited = self.awaiting_inputs.iter().any(|a| a.lease == id);
        if id.job != job
            || assignment.id().job != job
            || self.leases.contains_key(&id)
            || is_awaited
        {
            return false;
        }
        let until = now.saturating_add(u64::from(deadline_ms));
        match assignment {
            Assignment::Task(Task::State { .. } | Task::LocalSteps(_)) => false,
            Assignment::Task(task) => self.add_lease(id, coordinator, task, until),
            Assignment::LocalSteps(mut assignment) => {
                if self.input_cache.insert(&mut assignment).is_err() {
                    return false;
                }
                let taken = match self.input_cache.task(&assignment) {
                    Ok(task) => self.add_lease(id, coordinator, task, until),
                    Err(CacheError::Missing) if self.awaiting_inputs.len() < AWAITING_MAX => {
                        let deadline = until;
                        let until = deadline.min(now.saturating_add(AWAIT_MS_MAX));
                        self.awaiting_inputs.push(AwaitingInputs {
                            lease: id,
                            coordinator,
                            assignment,
                            until,
                            deadline,
                        });
                        true
                    }
                    Err(_) => false,
                };
                self.add_ready_leases();
                taken
            }
        }
    }

    pub(super) fn add_lease(
        &mut self,
        id: LeaseId,
        coordinator: NodeId,
        task: Task,
        until: TimeMs,
    ) -> bool {
        if self.leases.len() >= LEASES_MAX {
            let oldest = self
                .leases
                .values()
                .filter(|h| h.stage == Stage::AwaitingVerdict)
                .min_by_key(|h| h.order);
            let Some(oldest) = oldest.map(|h| h.lease) else { return false };
            self.leases.remove(&oldest);
        }
        let order = self.allocate_id();
        let salt = self.rng.next_bytes();
        self.leases.insert(id, WorkerLease::new(id, coordinator, task, salt, order, until));
        true
    }

    /// Adds leases whose inputs have arrived.
    pub(super) fn add_ready_leases(&mut self) {
        for awaiting in core::mem::take(&mut self.awaiting_inputs) {
            let is_added = match self.input_cache.task(&awaiting.assignment) {
                Ok(task) => {
                    self.add_lease(awaiting.lease, awaiting.coordinator, task, awaiting.deadline)
                }
                Err(CacheError::Missing) => {
                    self.awaiting_inputs.push(awaiting);
                    continue;
                }
                Err(CacheError::Malformed) => false,
            };
            if !is_added {
                self.outbox.push(lost_event(&awaiting.assignment));
            }
        }
    }

    /// Handles an event of an earlier lease. Only the lease's own coordinator may send it.
    pub(super) fn on_lease_event(&mut self, event: LeaseEvent, request: &PendingRequest) {
        let from_job = match request.purpose {
            RequestPurpose::RequestLease { job, .. } => job,
            RequestPurpose::Lease(lease) => lease.job,
        };
        let (LeaseEvent::Accepted { lease, .. }
        | LeaseEvent::Rejected { lease, .. }
        | LeaseEvent::Superseded { lease }
        | LeaseEvent::StateRequested { lease, .. }) = event;
        if lease.job != from_job {
            return;
        }
        let Some(lease_state) = self.leases.get_mut(&lease) else { return };
        let (job, round, unit) = (lease.job, lease_state.id().round, lease_state.id().unit);
        match event {
            LeaseEvent::Accepted { macs, .. } => {
                self.totals.units += 1;
                self.totals.macs = self.totals.macs.saturating_add(macs);
                self.leases.remove(&lease);
                self.outbox.push(Output::Event(Event::Accepted { job, round, unit, macs }));
            }
            LeaseEvent::Rejected { reason, .. } => {
                self.leases.remove(&lease);
                self.outbox.push(Output::Event(Event::Rejected { job, round, unit, reason }));
            }
            LeaseEvent::Superseded { .. } => self.lose_lease(lease),
            LeaseEvent::StateRequested { step, .. } => {
                if lease_state.stage == Stage::AwaitingVerdict
                    && matches!(lease_state.task, Task::LocalSteps(_))
                {
                    lease_state.stage = Stage::StateRequested { step };
                }
            }
        }
    }

    /// Reports a lost lease. A running computation cannot be stopped: its slot is free when it
    /// ends.
    pub(super) fn lose_lease(&mut self, lease: LeaseId) {
        let Some(lease_state) = self.leases.get_mut(&lease) else { return };
        let (job, round, unit) = (lease.job, lease_state.id().round, lease_state.id().unit);
        match lease_state.stage.compute_id() {
            Some(compute_id) => lease_state.stage = Stage::Abandoned { compute_id },
            None => {
                self.leases.remove(&lease);
            }
        }
        self.outbox.push(Output::Event(Event::Lost { job, round, unit }));
    }
}

/// The event for a lease whose inputs did not arrive.
pub(super) fn lost_event(assignment: &LocalStepsAssignment) -> Output {
    let (job, round, unit) = (assignment.id.job, assignment.id.round, assignment.id.unit);
    Output::Event(Event::Lost { job, round, unit })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compute::{
            dataset::Samples,
            local_steps::WorkUnitId,
            params::{Architecture, JobParams, Mode, Rounding},
            state::Weights,
        },
        scheduler::worker::input::Config,
        types::Digest,
        wire::work::{LeaseRows, LeaseWeights},
    };
    use alloc::vec;

    const JOB: JobId = Digest([1; 32]);

    fn lease(
        number: u64,
        deadline_ms: u32,
        weights: impl FnOnce(Weights) -> LeaseWeights,
    ) -> Lease {
        let params = JobParams {
            architecture: Architecture {
                dims: vec![2, 2].try_into().unwrap(),
                input_exponent: 6,
                hidden_exponent: 5,
            },
            rows_per_step: 8,
            mode: Mode::Local { units: 2, steps: 1 },
            learning_rate: 6554,
            momentum: 230,
            rounds: 1,
            seed: 0,
            rounding: Rounding::Stochastic,
        };
        let initial = Weights::initial(&params.clone().validate().unwrap());
        let id = WorkUnitId { job: JOB, round: 0, unit: number as u32 };
        let rows = LeaseRows::Unit(Samples::new(2, vec![0; 16], vec![0; 8]).unwrap());
        let weights_hash = initial.hash();
        let assignment =
            LocalStepsAssignment { params, id, weights_hash, weights: weights(initial), rows };
        Lease {
            id: LeaseId { job: JOB, number },
            assignment: Assignment::LocalSteps(assignment),
            deadline_ms,
        }
    }

    #[test]
    fn a_work_unit_that_waited_for_its_weights_keeps_its_deadline() {
        let coordinator = NodeId([2; 32]);
        let mut worker = Worker::new(Config { slots: 1, ..Config::new(NodeId([3; 32]), [4; 32]) });
        assert!(worker.accept_lease(
            0,
            JOB,
            coordinator,
            lease(0, 60_000, |_| LeaseWeights::Cached)
        ));
        assert_eq!((worker.awaiting_inputs.len(), worker.leases.len()), (1, 0));
        assert!(worker.accept_lease(
            1_000,
            JOB,
            coordinator,
            lease(1, 60_000, LeaseWeights::Inline)
        ));
        assert_eq!((worker.awaiting_inputs.len(), worker.leases.len()), (0, 2));
        let until: Vec<TimeMs> = worker.leases.values().map(|lease| lease.until).collect();
        assert_eq!(until, [60_000, 61_000]);
    }
}
