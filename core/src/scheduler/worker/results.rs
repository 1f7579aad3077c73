//! Results: computed in the slots, committed to, and revealed on request. In a dispute the worker
//! also computes a state.

use super::{
    lease::Stage,
    limits::BACKOFF_MS,
    output::Output,
    state::{RequestPurpose, Worker},
};
use crate::{
    compute::local_steps::result_commitment,
    scheduler::common::error::ComputeFailed,
    types::TimeMs,
    wire::work::{Answer, LeaseId, Request, TaskOutput},
};

/// How long a result is kept for a silent coordinator, milliseconds.
const VERDICT_WAIT_MS_MAX: u64 = 120_000;
/// Most attempts to send a commitment or a reveal before the lease is lost.
const TRIES_MAX: u32 = 5;

impl Worker {
    /// Starts computations in free slots: states for disputes first, then work units in order of
    /// arrival.
    pub(super) fn start_computations(&mut self) {
        let mut free = usize::from(self.config.slots.max(1))
            .saturating_sub(self.leases.values().filter(|h| h.stage.computes()).count());
        while free > 0 {
            let next = self
                .leases
                .values()
                .filter(|h| h.stage.waits_for_compute())
                .min_by_key(|h| h.urgency());
            let Some(lease) = next.map(|h| h.lease) else { return };
            let compute_id = self.allocate_id();
            let Some(worker_lease) = self.leases.get_mut(&lease) else { return };
            let task = worker_lease.start(compute_id);
            self.outbox.push(Output::Compute { compute_id, task });
            free -= 1;
        }
    }

    pub(super) fn on_computed(
        &mut self,
        now: TimeMs,
        compute_id: u64,
        output: Result<TaskOutput, ComputeFailed>,
    ) {
        let Some(lease_state) =
            self.leases.values_mut().find(|h| h.stage.compute_id() == Some(compute_id))
        else {
            return;
        };
        let (lease, to) = (lease_state.lease, lease_state.coordinator);
        match (lease_state.stage, output) {
            (
                Stage::Computing { .. },
                Ok(
                    output @ (TaskOutput::LocalSteps(_)
                    | TaskOutput::ExactStep(_)
                    | TaskOutput::InferencePart(_)),
                ),
            ) => {
                lease_state.stage = Stage::Committing;
                lease_state.output = Some(output);
                self.submit(now, lease);
            }
            (Stage::Computing { .. }, _) => self.lose_lease(lease),
            (Stage::ComputingState { step, .. }, output) => {
                lease_state.stage = Stage::AwaitingVerdict;
                let state = match output {
                    Ok(TaskOutput::State(state)) => Some(state),
                    _ => None,
                };
                self.send(
                    now,
                    to,
                    RequestPurpose::Lease(lease),
                    Request::State { lease, step, state },
                );
            }
            _ => {}
        }
    }

    /// Sends the commitment or the reveal.
    pub(super) fn submit(&mut self, now: TimeMs, lease: LeaseId) {
        let local = self.config.local;
        let Some(lease_state) = self.leases.get_mut(&lease) else { return };
        let Some(output) = &lease_state.output else { return };
        let Some(digest) = output.digest(&lease_state.id()) else { return };
        let request = match lease_state.stage {
            Stage::Committing => Request::Commit {
                lease,
                commitment: result_commitment(&digest, &local, &lease_state.salt),
            },
            Stage::Revealing if !lease_state.reveals_output => {
                Request::RevealDigest { lease, salt: lease_state.salt, digest }
            }
            Stage::Revealing => {
                Request::Reveal { lease, salt: lease_state.salt, output: output.clone() }
            }
            _ => return,
        };
        lease_state.tries += 1;
        lease_state.retry_at = None;
        let to = lease_state.coordinator;
        self.send(now, to, RequestPurpose::Lease(lease), request);
    }

    /// Handles an answer to a commitment, a reveal or a state.
    pub(super) fn on_submission_response(
        &mut self,
        now: TimeMs,
        lease: LeaseId,
        answer: Option<Answer>,
    ) {
        let Some(lease_state) = self.leases.get_mut(&lease) else { return };
        match (lease_state.stage, answer) {
            (Stage::Committing, Some(Answer::RevealRequested { full_output })) => {
                (lease_state.stage, lease_state.tries, lease_state.reveals_output) =
                    (Stage::Revealing, 0, full_output);
                self.submit(now, lease);
            }
            (Stage::Revealing, Some(Answer::RevealRequested { full_output: true }))
                if !lease_state.reveals_output =>
            {
                (lease_state.tries, lease_state.reveals_output) = (0, true);
                self.submit(now, lease);
            }
            (Stage::Revealing, Some(Answer::Received)) => {
                lease_state.stage = Stage::AwaitingVerdict;
                lease_state.until = now.saturating_add(VERDICT_WAIT_MS_MAX);
            }
            (Stage::Committing | Stage::Revealing, None) if lease_state.tries < TRIES_MAX => {
                lease_state.retry_at =
                    Some(now.saturating_add(BACKOFF_MS.0 << lease_state.tries.min(6)));
            }
            (Stage::Committing | Stage::Revealing, _) => self.lose_lease(lease),
            _ => {}
        }
    }
}
