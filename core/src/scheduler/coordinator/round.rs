//! From accepted lanes to the next round's weights or the end, and from records on disk back to a
//! coordinator.

use super::{
    Config, Coordinator, Error, Output, StartError, Status,
    book::{
        AcceptedAnswers, AcceptedLane, AcceptedUnit, Book, ExactSnapshot, RecordPoint, Snapshot,
    },
    course::{Course, Material, Part},
    lane::{Party, Phase, Slot},
    output::{Concluded, Event, Outcome, Record, Trained},
    training::Training,
};
use crate::{
    compute::{
        ComputeError, array::Array, lane::LaneId, params::Mode, predict::Accuracy, state::LaneState,
    },
    ledger::job::{CONTRIBUTORS_MAX, JobId, JobSpec},
    types::{NodeId, TimeMs},
    wire::work::{CURVE_LEN_MAX, LeaseId, NOTICES_MAX, Notice},
};
use alloc::boxed::Box;

/// Why it counts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Check {
    /// The job lets it go unchecked, or this host has computed it.
    None,
    /// Another has come to the same.
    By(Party),
    /// Its products hold.
    Products,
}

impl Check {
    const fn party(self) -> Option<Party> {
        match self {
            Self::By(party) => Some(party),
            Self::None | Self::Products => None,
        }
    }
}

impl Coordinator {
    /// Goes on from what is on disk: the same round, with the lanes that were accepted. Leases that
    /// were out are forgotten. Without records it is a new job.
    pub fn restore(
        now: TimeMs,
        job: JobId,
        spec: JobSpec,
        material: impl Into<Material>,
        config: Config,
        records: impl IntoIterator<Item = Record>,
    ) -> Result<Self, StartError> {
        let mut coordinator = Self::new(now, job, spec, material, config)?;
        for record in records {
            match record {
                Record::Round(Snapshot { round, weights, book }) => {
                    coordinator.restore_round(round, LaneState::at_rest(weights), book)?;
                }
                Record::ExactRound(ExactSnapshot { round, state, book }) => {
                    coordinator.restore_round(round, state, book)?;
                }
                Record::Lane(lane) => coordinator.restore_lane(lane)?,
                Record::Unit(unit) => coordinator.restore_unit(unit)?,
                Record::Answers(answers) => coordinator.restore_answers(answers)?,
                Record::Rejected(rejection) => coordinator.book.reject(rejection),
            }
        }
        if coordinator.round < coordinator.course.rounds() && coordinator.course.is_complete() {
            match coordinator.course {
                Course::Training(_) => {
                    return Err(StartError::Corrupt("a complete round was not closed"));
                }
                // The last answers of a batch were on disk, but its end was not said.
                Course::Batch(_) => coordinator.round += 1,
            }
        }
        if coordinator.round == coordinator.course.rounds() {
            coordinator.finish();
        }
        coordinator.compute_activity(now);
        coordinator.schedule(now);
        Ok(coordinator)
    }

    fn restore_round(
        &mut self,
        round: u32,
        state: LaneState,
        book: Book,
    ) -> Result<(), StartError> {
        let other = |_| StartError::Corrupt("a snapshot is of another job");
        self.course.training_mut().map_err(other)?.restore(round, state)?;
        (self.round, self.book) = (round, book);
        if round < self.course.rounds() {
            self.slots = alloc::vec![Slot::open(); self.course.lanes() as usize];
        }
        Ok(())
    }

    fn restore_lane(&mut self, lane: AcceptedLane) -> Result<(), StartError> {
        let AcceptedLane { round, lane, worker, guest, checker, result } = lane;
        let id = LaneId { job: self.job, round, lane };
        let fits = |t: &Training| result.check_form(&t.plan, &id, t.weights()).is_ok();
        if round != self.round || !self.course.training().is_ok_and(fits) {
            return Err(StartError::Corrupt("a lane is not of the round under way"));
        }
        let checker = checker.map(|node| Party { number: 0, node, guest: false });
        self.restore_part(
            lane,
            Part::Lane(result),
            (worker, guest),
            checker.map_or(Check::None, Check::By),
        )
    }

    fn restore_unit(&mut self, unit: AcceptedUnit) -> Result<(), StartError> {
        let AcceptedUnit { round, unit, worker, guest, result } = unit;
        let fits = |t: &Training| result.check_form(&t.plan).is_ok();
        if round != self.round || !self.course.training().is_ok_and(fits) {
            return Err(StartError::Corrupt("a unit is not of the round under way"));
        }
        self.restore_part(unit, Part::Unit(result), (worker, guest), Check::Products)
    }

    fn restore_answers(&mut self, answers: AcceptedAnswers) -> Result<(), StartError> {
        let AcceptedAnswers { part, worker, guest, classes } = answers;
        self.restore_part(part, Part::Answers(classes.to_vec()), (worker, guest), Check::Products)
    }

    fn restore_part(
        &mut self,
        lane: u32,
        part: Part,
        (worker, guest): (NodeId, bool),
        check: Check,
    ) -> Result<(), StartError> {
        let Some(slot) = self.slots.get_mut(lane as usize) else {
            return Err(StartError::Corrupt("a lane is beyond the last"));
        };
        if matches!(slot.phase, Phase::Accepted { .. }) {
            return Err(StartError::Corrupt("a lane is there twice"));
        }
        slot.phase = Phase::Accepted { guest };
        self.course.add(lane, &part)?;
        self.credit(lane, worker, guest, check);
        Ok(())
    }

    /// Whether each lane is written when it is accepted, rather than all with their round: see
    /// [`Config::lanes_written_macs_min`]. What a worker is told of a whole round must fit one
    /// answer.
    fn writes_lanes(&self) -> bool {
        let lanes = self.course.lanes();
        let macs = || (0..lanes).fold(0u64, |sum, lane| sum.saturating_add(self.course.macs(lane)));
        lanes as usize > NOTICES_MAX || macs() >= self.config.lanes_written_macs_min
    }

    /// Counts a lane, a unit or a part, and closes the round with the last one. Nobody hears of it
    /// before it is on disk.
    pub(super) fn accept(
        &mut self,
        now: TimeMs,
        lane: u32,
        by: Party,
        part: Part,
        check: Check,
    ) -> Result<(), Error> {
        self.course.add(lane, &part)?;
        self.supersede(lane);
        let macs = self.course.macs(lane);
        if let Some(slot) = self.slot(lane) {
            slot.phase = Phase::Accepted { guest: by.guest };
        }
        let checker = check.party();
        let (round, worker, guest) = (self.round, by.node, by.guest);
        let event =
            Event::Accepted { round, lane, worker, checker: checker.map(|c| c.node), guest, macs };
        self.credit(lane, worker, guest, check);
        for party in [Some(by), checker].into_iter().flatten() {
            self.roster.praise(&party.node);
            let lease = LeaseId { job: self.job, number: party.number };
            self.unwritten.push((party, Notice::Accepted { lease, macs }));
        }
        let complete = self.course.is_complete();
        let checker = checker.map(|c| c.node);
        let record = match part {
            // The snapshot holds the last lane too: one write instead of two.
            Part::Lane(_) | Part::Unit(_) if complete => return self.close_round(now, event),
            Part::Lane(_) | Part::Unit(_) if !self.writes_lanes() => None,
            Part::Lane(result) => {
                Some(Record::Lane(AcceptedLane { round, lane, worker, guest, checker, result }))
            }
            Part::Unit(result) => {
                Some(Record::Unit(AcceptedUnit { round, unit: lane, worker, guest, result }))
            }
            // No snapshot holds these.
            Part::Answers(classes) => {
                let classes = Array::new(classes).unwrap_or_default();
                Some(Record::Answers(AcceptedAnswers { part: lane, worker, guest, classes }))
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

    /// Writes a record; every answer from here on stands behind it, and may tell what was accepted
    /// before.
    fn write(&mut self, record: Record) {
        self.outbox.push(Output::Persist(record));
        for (party, notice) in core::mem::take(&mut self.unwritten) {
            self.roster.tell(&party, notice);
        }
    }

    fn credit(&mut self, lane: u32, worker: NodeId, guest: bool, check: Check) {
        let macs = self.course.macs(lane);
        self.book.credit(worker, guest, macs);
        if !matches!(check, Check::None) {
            self.book.credit_check(check.party().map(|c| c.node), macs);
        }
    }

    fn close_round(&mut self, now: TimeMs, last_lane: Event) -> Result<(), Error> {
        let done = self.round + 1;
        self.course.training_mut()?.close_round(done)?;
        self.round = done;
        self.round_since = now;
        self.leases.clear();
        self.slots = alloc::vec![Slot::open(); self.course.lanes() as usize];
        let point = self.measure()?;
        let snapshot = self.snapshot()?;
        self.write(snapshot);
        self.outbox.push(Output::Event(last_lane));
        if let Some(point) = point {
            self.outbox.push(Output::Event(Event::Round(point.curve_point())));
        }
        if done == self.course.rounds() {
            self.finish();
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<Record, ComputeError> {
        let (round, book, training) = (self.round, self.book.clone(), self.course.training()?);
        Ok(match training.plan.params().mode {
            Mode::Local { .. } => {
                Record::Round(Snapshot { round, weights: training.weights().clone(), book })
            }
            Mode::Exact { .. } => {
                Record::ExactRound(ExactSnapshot { round, state: training.state.clone(), book })
            }
        })
    }

    /// Measures the weights on the test rows: after every round, or after every few where there are
    /// many.
    fn measure(&mut self) -> Result<Option<RecordPoint>, Error> {
        let training = self.course.training()?;
        let stride = training.plan.rounds().div_ceil(CURVE_LEN_MAX as u32 - 1);
        if !self.round.is_multiple_of(stride) && self.round != training.plan.rounds() {
            return Ok(None);
        }
        let Accuracy { correct, total } = training.accuracy()?;
        let point =
            RecordPoint { round: self.round, correct, total, weights: training.weights().hash() };
        self.book.measure(point);
        Ok(Some(point))
    }

    fn finish(&mut self) {
        self.status = Status::Finished;
        let book = &self.book;
        let concluded = match &self.course {
            Course::Training(training) => Concluded::Trained(Trained {
                weights: training.weights().clone(),
                accuracy: book.accuracy(),
                curve: book.curve().to_vec(),
            }),
            Course::Batch(batch) => Concluded::Answered(batch.classes()),
        };
        self.outbox.push(Output::Finished(Box::new(Outcome {
            concluded,
            contributors: book.top(CONTRIBUTORS_MAX),
            rejections: book.rejections().to_vec(),
            rejected: book.rejected(),
            units: book.units(),
            checks: book.checks(),
            units_guest: book.units_guest(),
        })));
        self.dismiss();
    }
}
