//! Rounds: from accepted work units to the next weights or the end of the job. Also restores a
//! coordinator from its records.

use super::{
    accounting::{
        AcceptedExactStep, AcceptedInferencePart, AcceptedLocalSteps, Accounting, ExactSnapshot,
        RecordPoint, Snapshot,
    },
    config::Config,
    error::{Error, StartError},
    output::{Completion, Event, Outcome, Output, Record, Trained},
    state::{Coordinator, Status},
    training::Training,
    work_unit::{LeaseHolder, Phase, WorkUnit, WorkUnitResult},
    workload::{JobInput, Workload},
};
use crate::{
    compute::{
        ComputeError, array::Array, local_steps::WorkUnitId, params::Mode, predict::Accuracy,
        state::TrainingState,
    },
    ledger::job::{CONTRIBUTORS_MAX, JobId, JobSpec},
    types::{NodeId, TimeMs},
    wire::work::{CURVE_LEN_MAX, LEASE_EVENTS_MAX, LeaseEvent, LeaseId},
};
use alloc::boxed::Box;

/// How an accepted result was verified.
#[derive(Clone, Copy, Debug)]
pub(super) enum Verification {
    /// Not checked by another worker: the job permits that, or this host has computed it.
    Unchecked,
    /// Another worker has computed the same result.
    Recomputed(LeaseHolder),
    /// Freivalds' check found no wrong product.
    Freivalds,
}

impl Verification {
    const fn checker(self) -> Option<LeaseHolder> {
        match self {
            Self::Recomputed(holder) => Some(holder),
            Self::Unchecked | Self::Freivalds => None,
        }
    }
}

impl Coordinator {
    /// Continues from the records on disk: the same round, with its accepted units. Earlier leases
    /// are void. Without records the job starts anew.
    pub fn restore(
        now: TimeMs,
        job: JobId,
        spec: JobSpec,
        input: impl Into<JobInput>,
        config: Config,
        records: impl IntoIterator<Item = Record>,
    ) -> Result<Self, StartError> {
        let mut coordinator = Self::new(now, job, spec, input, config)?;
        for record in records {
            match record {
                Record::Round(Snapshot { round, weights, accounting }) => {
                    coordinator.restore_round(
                        round,
                        TrainingState::without_momentum(weights),
                        accounting,
                    )?;
                }
                Record::ExactRound(ExactSnapshot { round, state, accounting }) => {
                    coordinator.restore_round(round, state, accounting)?;
                }
                Record::LocalSteps(unit) => coordinator.restore_local_steps(unit)?,
                Record::ExactStep(unit) => coordinator.restore_exact_step(unit)?,
                Record::InferencePart(answers) => coordinator.restore_inference_part(answers)?,
                Record::Rejected(rejection) => coordinator.accounting.reject(rejection),
            }
        }
        if coordinator.round < coordinator.workload.rounds() && coordinator.workload.is_complete() {
            match coordinator.workload {
                Workload::Training(_) => {
                    return Err(StartError::Corrupt("a complete round was not closed"));
                }
                // The last part of the batch was on disk, but the batch was not finished.
                Workload::Batch(_) => coordinator.round += 1,
            }
        }
        if coordinator.round == coordinator.workload.rounds() {
            coordinator.finish();
        }
        coordinator.compute_activity(now);
        coordinator.schedule(now);
        Ok(coordinator)
    }

    fn restore_round(
        &mut self,
        round: u32,
        state: TrainingState,
        accounting: Accounting,
    ) -> Result<(), StartError> {
        let wrong_job = |_| StartError::Corrupt("a snapshot is of another job");
        self.workload.training_mut().map_err(wrong_job)?.restore(round, state)?;
        (self.round, self.accounting) = (round, accounting);
        if round < self.workload.rounds() {
            self.work_units =
                alloc::vec![WorkUnit::pending(); self.workload.units_per_round() as usize];
        }
        Ok(())
    }

    fn restore_local_steps(&mut self, unit: AcceptedLocalSteps) -> Result<(), StartError> {
        let AcceptedLocalSteps { round, unit, worker, is_browser, checker, result } = unit;
        let id = WorkUnitId { job: self.job, round, unit };
        let fits = |t: &Training| result.check_form(&t.plan, &id, t.weights()).is_ok();
        if round != self.round || !self.workload.training().is_ok_and(fits) {
            return Err(StartError::Corrupt("a work unit is not of the present round"));
        }
        let checker = checker.map(|node| LeaseHolder { lease_number: 0, node, is_browser: false });
        self.restore_result(
            unit,
            WorkUnitResult::LocalSteps(result),
            (worker, is_browser),
            checker.map_or(Verification::Unchecked, Verification::Recomputed),
        )
    }

    fn restore_exact_step(&mut self, unit: AcceptedExactStep) -> Result<(), StartError> {
        let AcceptedExactStep { round, unit, worker, is_browser, result } = unit;
        let fits = |t: &Training| result.check_form(&t.plan).is_ok();
        if round != self.round || !self.workload.training().is_ok_and(fits) {
            return Err(StartError::Corrupt("a unit is not of the round under way"));
        }
        self.restore_result(
            unit,
            WorkUnitResult::ExactStep(result),
            (worker, is_browser),
            Verification::Freivalds,
        )
    }

    fn restore_inference_part(&mut self, answers: AcceptedInferencePart) -> Result<(), StartError> {
        let AcceptedInferencePart { unit, worker, is_browser, classes } = answers;
        self.restore_result(
            unit,
            WorkUnitResult::InferencePart(classes.to_vec()),
            (worker, is_browser),
            Verification::Freivalds,
        )
    }

    fn restore_result(
        &mut self,
        unit: u32,
        result: WorkUnitResult,
        (worker, is_browser): (NodeId, bool),
        verification: Verification,
    ) -> Result<(), StartError> {
        let Some(work_unit) = self.work_units.get_mut(unit as usize) else {
            return Err(StartError::Corrupt("a work unit is beyond the last"));
        };
        if matches!(work_unit.phase, Phase::Accepted { .. }) {
            return Err(StartError::Corrupt("a work unit is stored twice"));
        }
        work_unit.phase = Phase::Accepted { is_browser };
        self.workload.add(unit, &result)?;
        self.credit(unit, worker, is_browser, verification);
        Ok(())
    }

    /// Whether each unit is written when it is accepted, rather than all at the end of the round:
    /// see [`Config::unit_records_macs_min`]. The events of a whole round must fit one response.
    fn writes_unit_records(&self) -> bool {
        let units = self.workload.units_per_round();
        let macs =
            || (0..units).fold(0u64, |sum, unit| sum.saturating_add(self.workload.macs(unit)));
        units as usize > LEASE_EVENTS_MAX || macs() >= self.config.unit_records_macs_min
    }

    /// Accepts a result, and closes the round with the last one. No worker is notified before it is
    /// on disk.
    pub(super) fn accept(
        &mut self,
        now: TimeMs,
        unit: u32,
        holder: LeaseHolder,
        result: WorkUnitResult,
        verification: Verification,
    ) -> Result<(), Error> {
        self.workload.add(unit, &result)?;
        self.supersede_leases(unit);
        let macs = self.workload.macs(unit);
        if let Some(work_unit) = self.work_unit(unit) {
            work_unit.phase = Phase::Accepted { is_browser: holder.is_browser };
        }
        let checker = verification.checker();
        let (round, worker, is_browser) = (self.round, holder.node, holder.is_browser);
        let event = Event::Accepted {
            round,
            unit,
            worker,
            checker: checker.map(|c| c.node),
            is_browser,
            macs,
        };
        self.credit(unit, worker, is_browser, verification);
        for holder in [Some(holder), checker].into_iter().flatten() {
            self.worker_table.record_accept(&holder.node);
            let lease = LeaseId { job: self.job, number: holder.lease_number };
            self.unwritten_events.push((holder, LeaseEvent::Accepted { lease, macs }));
        }
        let complete = self.workload.is_complete();
        let checker = checker.map(|c| c.node);
        let record = match result {
            // The snapshot includes the last unit: one write instead of two.
            WorkUnitResult::LocalSteps(_) | WorkUnitResult::ExactStep(_) if complete => {
                return self.close_round(now, event);
            }
            WorkUnitResult::LocalSteps(_) | WorkUnitResult::ExactStep(_)
                if !self.writes_unit_records() =>
            {
                None
            }
            WorkUnitResult::LocalSteps(result) => Some(Record::LocalSteps(AcceptedLocalSteps {
                round,
                unit,
                worker,
                is_browser,
                checker,
                result,
            })),
            WorkUnitResult::ExactStep(result) => Some(Record::ExactStep(AcceptedExactStep {
                round,
                unit,
                worker,
                is_browser,
                result,
            })),
            // Snapshots do not include inference parts.
            WorkUnitResult::InferencePart(classes) => {
                let classes = Array::new(classes).unwrap_or_default();
                Some(Record::InferencePart(AcceptedInferencePart {
                    unit,
                    worker,
                    is_browser,
                    classes,
                }))
            }
        };
        if let Some(record) = record {
            self.write(record);
        }
        self.outbox.push(Output::Event(event));
        if complete {
            self.round += 1;
            self.finish();
        }
        Ok(())
    }

    /// Writes a record. All later responses wait for it, so they may carry the events before it.
    fn write(&mut self, record: Record) {
        self.outbox.push(Output::Persist(record));
        for (holder, event) in core::mem::take(&mut self.unwritten_events) {
            self.worker_table.queue_event(&holder, event);
        }
    }

    fn credit(&mut self, unit: u32, worker: NodeId, is_browser: bool, verification: Verification) {
        let macs = self.workload.macs(unit);
        self.accounting.credit(worker, is_browser, macs);
        if !matches!(verification, Verification::Unchecked) {
            self.accounting.credit_check(verification.checker().map(|c| c.node), macs);
        }
    }

    fn close_round(&mut self, now: TimeMs, last_unit: Event) -> Result<(), Error> {
        let done = self.round + 1;
        self.workload.training_mut()?.close_round(done)?;
        self.round = done;
        self.round_since = now;
        self.leases.clear();
        self.work_units =
            alloc::vec![WorkUnit::pending(); self.workload.units_per_round() as usize];
        let point = self.measure_accuracy()?;
        let snapshot = self.snapshot()?;
        self.write(snapshot);
        self.outbox.push(Output::Event(last_unit));
        if let Some(point) = point {
            self.outbox.push(Output::Event(Event::Round(point.curve_point())));
        }
        if done == self.workload.rounds() {
            self.finish();
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<Record, ComputeError> {
        let (round, accounting, training) =
            (self.round, self.accounting.clone(), self.workload.training()?);
        Ok(match training.plan.params().mode {
            Mode::Local { .. } => {
                Record::Round(Snapshot { round, weights: training.weights().clone(), accounting })
            }
            Mode::Exact { .. } => Record::ExactRound(ExactSnapshot {
                round,
                state: training.state.clone(),
                accounting,
            }),
        })
    }

    /// Measures the accuracy on the test rows: after every round, or after every few of many
    /// rounds.
    fn measure_accuracy(&mut self) -> Result<Option<RecordPoint>, Error> {
        let training = self.workload.training()?;
        let stride = training.plan.rounds().div_ceil(CURVE_LEN_MAX as u32 - 1);
        if !self.round.is_multiple_of(stride) && self.round != training.plan.rounds() {
            return Ok(None);
        }
        let Accuracy { correct, total } = training.accuracy()?;
        let point =
            RecordPoint { round: self.round, correct, total, weights: training.weights().hash() };
        self.accounting.record_accuracy(point);
        Ok(Some(point))
    }

    fn finish(&mut self) {
        self.status = Status::Finished;
        let accounting = &self.accounting;
        let completion = match &self.workload {
            Workload::Training(training) => Completion::Trained(Trained {
                weights: training.weights().clone(),
                accuracy: accounting.accuracy(),
                curve: accounting.curve().to_vec(),
            }),
            Workload::Batch(batch) => Completion::Inferred(batch.classes()),
        };
        self.outbox.push(Output::Finished(Box::new(Outcome {
            completion,
            contributors: accounting.top_contributors(CONTRIBUTORS_MAX),
            rejections: accounting.rejections().to_vec(),
            rejected: accounting.rejected(),
            units: accounting.units(),
            checks: accounting.checks(),
            browser_units: accounting.browser_units(),
        })));
        self.refuse_waiting();
    }
}
