//! From accepted lanes to the next round's weights, and from records on disk back to a coordinator.

use super::{
    Config, Coordinator, Error, Output, StartError, Status,
    book::{AcceptedLane, AcceptedUnit, Book, ExactSnapshot, RecordPoint, Snapshot},
    lane::{Party, Phase, Slot},
    output::{Event, Outcome, Record},
};
use crate::{
    compute::{
        ComputeError,
        aggregate::{LaneRound, UnitRound},
        dataset::Dataset,
        exact::UnitResult,
        lane::{LaneId, LaneResult},
        params::{Mode, Plan},
        predict::{Accuracy, Classifier},
        state::LaneState,
    },
    ledger::job::{CONTRIBUTORS_MAX, JobId, JobSpec},
    types::{NodeId, TimeMs},
    wire::work::{CURVE_LEN_MAX, LeaseId, NOTICES_MAX, Notice},
};
use alloc::boxed::Box;

/// What counts of a lane or a unit.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Lane(LaneResult),
    Unit(UnitResult),
}

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

/// The parts of a round that count so far.
#[derive(Clone, Debug)]
pub(super) enum Sum {
    Lanes(LaneRound),
    Units(UnitRound),
}

impl Sum {
    pub(super) fn new(plan: &Plan, round: u32) -> Result<Self, ComputeError> {
        match plan.params().mode {
            Mode::Local { .. } => LaneRound::new(plan, round).map(Self::Lanes),
            Mode::Exact { .. } => UnitRound::new(plan, round).map(Self::Units),
        }
    }

    fn add(&mut self, plan: &Plan, lane: u32, part: &Part) -> Result<(), ComputeError> {
        match (self, part) {
            (Self::Lanes(round), Part::Lane(result)) => round.add(lane, result).map(drop),
            (Self::Units(round), Part::Unit(result)) => round.add(plan, lane, result).map(drop),
            _ => Err(ComputeError::Mode),
        }
    }

    fn is_complete(&self) -> bool {
        match self {
            Self::Lanes(round) => round.is_complete(),
            Self::Units(round) => round.is_complete(),
        }
    }

    fn finish(self, plan: &Plan, state: &mut LaneState) -> Result<(), ComputeError> {
        match self {
            Self::Lanes(round) => {
                let mut weights = state.weights().clone();
                round.finish(&mut weights)?;
                *state = LaneState::at_rest(weights);
                Ok(())
            }
            Self::Units(round) => round.finish(plan, state),
        }
    }
}

impl Coordinator {
    /// Goes on from what is on disk: the same round, with the lanes that were accepted. Leases that were out are
    /// forgotten. Without records it is a new job.
    pub fn restore(
        now: TimeMs,
        job: JobId,
        spec: JobSpec,
        dataset: Dataset,
        config: Config,
        records: impl IntoIterator<Item = Record>,
    ) -> Result<Self, StartError> {
        let mut coordinator = Self::new(now, job, spec, dataset, config)?;
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
                Record::Rejected(rejection) => coordinator.book.reject(rejection),
            }
        }
        if coordinator.round == coordinator.plan.rounds() {
            coordinator.finish();
        } else if coordinator.sum.is_complete() {
            return Err(StartError::Corrupt("a complete round was not closed"));
        }
        coordinator.schedule(now);
        Ok(coordinator)
    }

    fn restore_round(&mut self, round: u32, state: LaneState, book: Book) -> Result<(), StartError> {
        if round > self.plan.rounds() || state.check(self.plan.topology()).is_err() {
            return Err(StartError::Corrupt("a snapshot is of another job"));
        }
        (self.round, self.state, self.book) = (round, state, book);
        if round < self.plan.rounds() {
            self.sum = Sum::new(&self.plan, round)?;
            self.slots = alloc::vec![Slot::open(); self.plan.lanes() as usize];
        }
        Ok(())
    }

    fn restore_lane(&mut self, lane: AcceptedLane) -> Result<(), StartError> {
        let AcceptedLane { round, lane, worker, guest, checker, result } = lane;
        let id = LaneId { job: self.job, round, lane };
        if round != self.round || result.check_form(&self.plan, &id, self.weights()).is_err() {
            return Err(StartError::Corrupt("a lane is not of the round under way"));
        }
        let checker = checker.map(|node| Party { number: 0, node, guest: false });
        self.restore_part(lane, Part::Lane(result), (worker, guest), checker.map_or(Check::None, Check::By))
    }

    fn restore_unit(&mut self, unit: AcceptedUnit) -> Result<(), StartError> {
        let AcceptedUnit { round, unit, worker, guest, result } = unit;
        if round != self.round || result.check_form(&self.plan).is_err() {
            return Err(StartError::Corrupt("a unit is not of the round under way"));
        }
        self.restore_part(unit, Part::Unit(result), (worker, guest), Check::Products)
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
        self.sum.add(&self.plan, lane, &part)?;
        self.credit(worker, guest, check);
        Ok(())
    }

    /// Whether each lane is written when it is accepted, rather than all with their round: see
    /// [`Config::lanes_written_macs_min`]. What a worker is told of a whole round must fit one answer.
    fn writes_lanes(&self) -> bool {
        let macs = self.plan.macs_per_lane().saturating_mul(u64::from(self.plan.lanes()));
        macs >= self.config.lanes_written_macs_min || self.plan.lanes() as usize > NOTICES_MAX
    }

    /// Counts a lane or unit, and closes the round with the last one. Nobody hears of it before it is on disk.
    pub(super) fn accept(&mut self, now: TimeMs, lane: u32, by: Party, part: Part, check: Check) -> Result<(), Error> {
        self.supersede(lane);
        self.sum.add(&self.plan, lane, &part)?;
        let macs = self.plan.macs_per_lane();
        if let Some(slot) = self.slot(lane) {
            slot.phase = Phase::Accepted { guest: by.guest };
        }
        let checker = check.party();
        let (round, worker, guest) = (self.round, by.node, by.guest);
        let event = Event::Accepted { round, lane, worker, checker: checker.map(|c| c.node), guest, macs };
        self.credit(worker, guest, check);
        for party in [Some(by), checker].into_iter().flatten() {
            self.roster.praise(&party.node);
            let lease = LeaseId { job: self.job, number: party.number };
            self.unwritten.push((party, Notice::Accepted { lease, macs }));
        }
        if self.sum.is_complete() {
            // The snapshot holds the last lane too: one write instead of two.
            return self.close_round(now, event);
        }
        if self.writes_lanes() {
            let checker = checker.map(|c| c.node);
            self.write(match part {
                Part::Lane(result) => Record::Lane(AcceptedLane { round, lane, worker, guest, checker, result }),
                Part::Unit(result) => Record::Unit(AcceptedUnit { round, unit: lane, worker, guest, result }),
            });
        }
        self.outbox.push(Output::Event(event));
        Ok(())
    }

    /// Writes a record; every answer from here on stands behind it, and may tell what was accepted before.
    fn write(&mut self, record: Record) {
        self.outbox.push(Output::Persist(record));
        for (party, notice) in core::mem::take(&mut self.unwritten) {
            self.roster.tell(&party, notice);
        }
    }

    fn credit(&mut self, worker: NodeId, guest: bool, check: Check) {
        let macs = self.plan.macs_per_lane();
        self.book.credit(worker, guest, macs);
        if !matches!(check, Check::None) {
            self.book.credit_check(check.party().map(|c| c.node), macs);
        }
    }

    fn close_round(&mut self, now: TimeMs, last_lane: Event) -> Result<(), Error> {
        let done = self.round + 1;
        let more = done < self.plan.rounds();
        let next = if more { Sum::new(&self.plan, done)? } else { self.sum.clone() };
        core::mem::replace(&mut self.sum, next).finish(&self.plan, &mut self.state)?;
        self.round = done;
        self.round_since = now;
        self.secrets = None;
        self.leases.clear();
        self.slots = alloc::vec![Slot::open(); self.plan.lanes() as usize];
        let point = self.measure()?;
        self.write(self.snapshot());
        self.outbox.push(Output::Event(last_lane));
        if let Some(point) = point {
            self.outbox.push(Output::Event(Event::Round(point.curve_point())));
        }
        if !more {
            self.finish();
        }
        Ok(())
    }

    fn snapshot(&self) -> Record {
        let (round, book) = (self.round, self.book.clone());
        match self.plan.params().mode {
            Mode::Local { .. } => Record::Round(Snapshot { round, weights: self.weights().clone(), book }),
            Mode::Exact { .. } => Record::ExactRound(ExactSnapshot { round, state: self.state.clone(), book }),
        }
    }

    /// Measures the weights on the test rows: after every round, or after every few where there are many.
    fn measure(&mut self) -> Result<Option<RecordPoint>, Error> {
        let stride = self.plan.rounds().div_ceil(CURVE_LEN_MAX as u32 - 1);
        if !self.round.is_multiple_of(stride) && self.round != self.plan.rounds() {
            return Ok(None);
        }
        let topology = self.plan.topology();
        let published = self.weights().publish(topology).map_err(ComputeError::from)?;
        let classifier = Classifier::new(topology.architecture().clone(), published)?;
        let Accuracy { correct, total } = classifier.accuracy(self.dataset.test())?;
        let point = RecordPoint { round: self.round, correct, total, weights: self.weights().hash() };
        self.book.measure(point);
        Ok(Some(point))
    }

    fn finish(&mut self) {
        self.status = Status::Finished;
        let book = &self.book;
        self.outbox.push(Output::Finished(Box::new(Outcome {
            weights: self.weights().clone(),
            accuracy: book.accuracy(),
            contributors: book.top(CONTRIBUTORS_MAX),
            curve: book.curve().to_vec(),
            rejections: book.rejections().to_vec(),
            rejected: book.rejected(),
            units: book.units(),
            checks: book.checks(),
            units_guest: book.units_guest(),
        })));
        self.dismiss();
    }
}
