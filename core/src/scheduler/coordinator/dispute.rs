//! Disputes. Two results of one unit agree, or one disputed step is replayed, or this host's own
//! result decides. A result proved wrong is rejected. The remaining one is checked again, because
//! both workers may be Byzantine.

use super::{
    accounting::Rejection,
    config::STATE_TIMEOUT_MS,
    error::Error,
    output::{Event, Output, Record},
    round::Verification,
    state::Coordinator,
    work_unit::{LeaseHolder, Phase, Submission, WorkUnitResult},
};
use crate::{
    compute::{
        local_steps::{Dispute, Verdict, resolve_dispute},
        state::TrainingState,
    },
    scheduler::common::error::ComputeFailed,
    types::TimeMs,
    wire::work::{LeaseEvent, LeaseId, Reason, RejectionKind, TaskOutput},
};

/// Time after which this host is requested again to compute a unit.
const RECOMPUTE_RETRY_MS: u64 = 120_000;

impl Coordinator {
    pub(super) fn compare(
        &mut self,
        now: TimeMs,
        unit: u32,
        first: Submission,
        second: Submission,
    ) -> Result<(), Error> {
        let Some(dispute) = Dispute::between(&first.result, &second.result) else {
            // Two workers may collude: this host recomputes some of the agreed results.
            if self.is_spot_check(&first.result.digest) {
                self.set_phase(unit, Phase::Checking { first, since: now });
                return self.recompute(now, unit, Some(second));
            }
            let checker = second.holder;
            return self.accept(
                now,
                unit,
                first.holder,
                WorkUnitResult::LocalSteps(first.result),
                Verification::Recomputed(checker),
            );
        };
        let step = dispute.step(&self.workload.training()?.plan);
        let holder = first.holder;
        let until = now.saturating_add(STATE_TIMEOUT_MS);
        self.set_phase(unit, Phase::Disputed { first, second, step, until });
        if step == 0 {
            // The state before the first step is known.
            let start =
                TrainingState::without_momentum(self.workload.training()?.weights().clone());
            return self.resolve_dispute(now, unit, &start);
        }
        let lease = LeaseId { job: self.job, number: holder.lease_number };
        let within_ms = STATE_TIMEOUT_MS.min(u64::from(u32::MAX)) as u32;
        self.worker_table
            .queue_event(&holder, LeaseEvent::StateRequested { lease, step, within_ms });
        Ok(())
    }

    /// Replays the disputed step from the state that the first worker sent.
    pub(super) fn resolve_dispute(
        &mut self,
        now: TimeMs,
        unit: u32,
        before: &TrainingState,
    ) -> Result<(), Error> {
        let id = self.work_unit_id(unit);
        let input = self.workload.training_mut()?.unit_input(id)?;
        let Some((first, second, _)) = self.take_dispute(unit) else { return Ok(()) };
        let results = (&first.result, &second.result);
        let dispute = Dispute::between(results.0, results.1);
        let training = self.workload.training()?;
        let verdict = if before.check(training.plan.topology()).is_err() {
            Some(Verdict::WrongState)
        } else {
            resolve_dispute(
                &training.plan,
                &input.id,
                training.weights(),
                &input.rows,
                before,
                results,
            )?
        };
        let reason = dispute.map_or(Reason::WrongDelta, reason_of);
        match verdict {
            None => self.set_phase(unit, Phase::Checking { first, since: now }),
            Some(Verdict::First) => {
                self.reject(unit, &second.holder, reason);
                self.set_phase(unit, Phase::Checking { first, since: now });
            }
            Some(Verdict::Second) => {
                self.reject(unit, &first.holder, reason);
                self.set_phase(unit, Phase::Checking { first: second, since: now });
            }
            Some(Verdict::Neither) => {
                self.reject(unit, &first.holder, reason);
                self.reject(unit, &second.holder, reason);
            }
            Some(Verdict::WrongState) => {
                self.reject(unit, &first.holder, Reason::WrongState);
                self.set_phase(unit, Phase::Checking { first: second, since: now });
            }
        }
        Ok(())
    }

    /// The first worker does not send the state: it loses, and another worker checks the second
    /// result.
    pub(super) fn on_state_withheld(&mut self, now: TimeMs, unit: u32) {
        if let Some((first, second, _)) = self.take_dispute(unit) {
            self.reject(unit, &first.holder, Reason::StateWithheld);
            self.set_phase(unit, Phase::Checking { first: second, since: now });
        }
    }

    pub(super) fn expire_dispute(&mut self, now: TimeMs, unit: u32) {
        if let Some(Phase::Disputed { until, .. }) =
            self.work_units.get(unit as usize).map(|s| &s.phase)
            && *until <= now
        {
            self.on_state_withheld(now, unit);
        }
    }

    fn take_dispute(&mut self, unit: u32) -> Option<(Submission, Submission, u32)> {
        let work_unit = self.work_unit(unit)?;
        match core::mem::replace(&mut work_unit.phase, Phase::Pending) {
            Phase::Disputed { first, second, step, .. } => Some((first, second, step)),
            other => {
                work_unit.phase = other;
                None
            }
        }
    }

    fn set_phase(&mut self, unit: u32, phase: Phase) {
        if let Some(work_unit) = self.work_unit(unit) {
            work_unit.phase = phase;
        }
    }

    /// Lets this host compute a unit in phase `Pending` or `Checking`; `second` agrees with the
    /// first result.
    pub(super) fn recompute(
        &mut self,
        now: TimeMs,
        unit: u32,
        second: Option<Submission>,
    ) -> Result<(), Error> {
        let (compute_id, retry_at) = (self.next_compute_id, now.saturating_add(RECOMPUTE_RETRY_MS));
        let Some(work_unit) = self.work_unit(unit) else { return Ok(()) };
        work_unit.phase = match core::mem::replace(&mut work_unit.phase, Phase::Pending) {
            Phase::Checking { first, .. } => {
                Phase::Recomputing { first: Some(first), second, compute_id, retry_at }
            }
            Phase::Pending => Phase::Recomputing { first: None, second, compute_id, retry_at },
            other => {
                work_unit.phase = other;
                return Ok(());
            }
        };
        self.next_compute_id += 1;
        let task = self.task(unit)?;
        self.outbox.push(Output::Compute { compute_id, task });
        Ok(())
    }

    pub(super) fn retry_recompute(&mut self, now: TimeMs, unit: u32) -> Result<(), Error> {
        let task = self.task(unit)?;
        if let Some(Phase::Recomputing { compute_id, retry_at, .. }) =
            self.work_unit(unit).map(|s| &mut s.phase)
        {
            *retry_at = now.saturating_add(RECOMPUTE_RETRY_MS);
            let compute_id = *compute_id;
            self.outbox.push(Output::Compute { compute_id, task });
        }
        Ok(())
    }

    /// Handles this host's own result, which decides.
    pub(super) fn on_computed(
        &mut self,
        now: TimeMs,
        requested: u64,
        output: Result<TaskOutput, ComputeFailed>,
    ) -> Result<(), Error> {
        let is_requested = |phase: &Phase| match phase {
            Phase::Recomputing { compute_id, .. } => *compute_id == requested,
            _ => false,
        };
        let Some(unit) =
            self.work_units.iter().position(|s| is_requested(&s.phase)).map(|unit| unit as u32)
        else {
            return Err(Error::UnknownComputeId(requested));
        };
        let local = LeaseHolder { lease_number: 0, node: self.config.local, is_browser: false };
        let own = match output {
            Ok(TaskOutput::LocalSteps(own)) => own,
            // Exact steps and inference parts are recomputed only if no worker submits them.
            Ok(output) => match self.workload.verified_result(output) {
                Some(result) => {
                    return self.accept(now, unit, local, result, Verification::Unchecked);
                }
                None => return Err(Error::HostFailed { unit }),
            },
            Err(ComputeFailed) => return Err(Error::HostFailed { unit }),
        };
        let training = self.workload.training()?;
        own.check_form(&training.plan, &self.work_unit_id(unit), training.weights())?;
        let Some(work_unit) = self.work_unit(unit) else { return Ok(()) };
        let Phase::Recomputing { first, second, .. } =
            core::mem::replace(&mut work_unit.phase, Phase::Pending)
        else {
            return Ok(());
        };
        let dispute = first.as_ref().and_then(|first| Dispute::between(&first.result, &own));
        match (first, dispute) {
            (Some(first), None) => {
                let checker = second.map_or(local, |s| s.holder);
                self.accept(
                    now,
                    unit,
                    first.holder,
                    WorkUnitResult::LocalSteps(first.result),
                    Verification::Recomputed(checker),
                )
            }
            (None, _) => self.accept(
                now,
                unit,
                local,
                WorkUnitResult::LocalSteps(own),
                Verification::Unchecked,
            ),
            (Some(first), Some(dispute)) => {
                for loser in [Some(first), second].into_iter().flatten() {
                    self.reject(unit, &loser.holder, reason_of(dispute));
                }
                self.accept(
                    now,
                    unit,
                    local,
                    WorkUnitResult::LocalSteps(own),
                    Verification::Unchecked,
                )
            }
        }
    }

    /// Records a rejected result and penalises its worker. The caller sets the unit's phase.
    pub(super) fn reject(&mut self, unit: u32, holder: &LeaseHolder, reason: Reason) {
        let rejection = Rejection { round: self.round, unit, worker: holder.node, reason };
        // A late result was not examined, so it stays out of the accounting and the record.
        let late = reason.kind() == RejectionKind::Late;
        if !late {
            self.accounting.reject(rejection);
        }
        self.worker_table.record_reject(&holder.node, reason);
        let lease = LeaseId { job: self.job, number: holder.lease_number };
        self.worker_table.queue_event(holder, LeaseEvent::Rejected { lease, reason });
        if !late {
            self.workload.reset_secrets();
            self.outbox.push(Output::Persist(Record::Rejected(rejection)));
        }
        self.outbox.push(Output::Event(Event::Rejected(rejection)));
        if self.worker_table.is_banned(&holder.node) {
            self.revoke_leases(holder);
        }
    }

    /// Revokes all leases of a banned worker.
    fn revoke_leases(&mut self, holder: &LeaseHolder) {
        let leases = &mut self.leases;
        for work_unit in &mut self.work_units {
            work_unit.leases.retain(|lease| {
                let keep = lease.holder.node != holder.node;
                if !keep {
                    leases.remove(&lease.holder.lease_number);
                }
                keep
            });
        }
    }
}

const fn reason_of(dispute: Dispute) -> Reason {
    match dispute {
        Dispute::Step(step) => Reason::WrongStep(step),
        Dispute::Delta => Reason::WrongDelta,
    }
}
