//! From accepted lanes to the next round's weights, and from records on disk back to a coordinator.

use super::{
    Config, Coordinator, Error, Output, StartError, Status,
    book::{AcceptedLane, RecordPoint, Snapshot},
    lane::{Party, Phase, Slot, Submission},
    output::{Event, Outcome, Record},
};
use crate::{
    compute::{
        aggregate::LaneRound,
        dataset::Dataset,
        lane::LaneId,
        predict::{Accuracy, Classifier},
    },
    ledger::job::{CONTRIBUTORS_MAX, JobId, JobSpec},
    types::TimeMs,
    wire::work::{CURVE_LEN_MAX, LeaseId, Notice},
};
use alloc::boxed::Box;

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
                Record::Round(snapshot) => coordinator.restore_round(snapshot)?,
                Record::Lane(lane) => coordinator.restore_lane(lane)?,
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

    fn restore_round(&mut self, snapshot: Snapshot) -> Result<(), StartError> {
        let Snapshot { round, weights, book } = snapshot;
        if round > self.plan.rounds() || weights.check(self.plan.topology()).is_err() {
            return Err(StartError::Corrupt("a snapshot is of another job"));
        }
        (self.round, self.weights, self.book) = (round, weights, book);
        if round < self.plan.rounds() {
            self.sum = LaneRound::new(&self.plan, round)?;
            self.slots = alloc::vec![Slot::open(); self.plan.lanes() as usize];
        }
        Ok(())
    }

    fn restore_lane(&mut self, lane: AcceptedLane) -> Result<(), StartError> {
        let id = LaneId { job: self.job, round: lane.round, lane: lane.lane };
        if lane.round != self.round || lane.result.check_form(&self.plan, &id, &self.weights).is_err() {
            return Err(StartError::Corrupt("a lane is not of the round under way"));
        }
        let Some(slot) = self.slots.get_mut(lane.lane as usize) else {
            return Err(StartError::Corrupt("a lane is beyond the last"));
        };
        if matches!(slot.phase, Phase::Accepted { .. }) {
            return Err(StartError::Corrupt("a lane is there twice"));
        }
        slot.phase = Phase::Accepted { guest: lane.guest };
        self.sum.add(lane.lane, &lane.result)?;
        self.book.credit(&lane);
        Ok(())
    }

    /// Counts a lane. `checker` has come to the same digest, unless the job lets this lane go unchecked.
    pub(super) fn accept(
        &mut self,
        now: TimeMs,
        lane: u32,
        by: Submission,
        checker: Option<Party>,
    ) -> Result<(), Error> {
        self.supersede(lane);
        let Submission { party, result } = by;
        self.sum.add(lane, &result)?;
        let macs = result.macs;
        if let Some(slot) = self.slot(lane) {
            slot.phase = Phase::Accepted { guest: party.guest };
        }
        let (worker, guest, checker_id) = (party.node, party.guest, checker.map(|c| c.node));
        let accepted = AcceptedLane { round: self.round, lane, worker, guest, checker: checker_id, result };
        let event = Event::Accepted { round: self.round, lane, worker, checker: checker_id, guest, macs };
        self.book.credit(&accepted);
        for party in [Some(party), checker].into_iter().flatten() {
            self.roster.praise(&party.node);
            let lease = LeaseId { job: self.job, number: party.number };
            self.roster.tell(&party, Notice::Accepted { lease, macs });
        }
        if self.sum.is_complete() {
            // The snapshot holds the last lane too: one write instead of two.
            return self.close_round(now, event);
        }
        self.outbox.push(Output::Persist(Record::Lane(accepted)));
        self.outbox.push(Output::Event(event));
        Ok(())
    }

    fn close_round(&mut self, now: TimeMs, last_lane: Event) -> Result<(), Error> {
        let done = self.round + 1;
        let more = done < self.plan.rounds();
        let next = if more { LaneRound::new(&self.plan, done)? } else { self.sum.clone() };
        core::mem::replace(&mut self.sum, next).finish(&mut self.weights)?;
        self.round = done;
        self.round_since = now;
        self.leases.clear();
        self.slots = alloc::vec![Slot::open(); self.plan.lanes() as usize];
        let point = self.measure()?;
        let snapshot = Snapshot { round: done, weights: self.weights.clone(), book: self.book.clone() };
        self.outbox.push(Output::Persist(Record::Round(snapshot)));
        self.outbox.push(Output::Event(last_lane));
        if let Some(point) = point {
            self.outbox.push(Output::Event(Event::Round(point.curve_point())));
        }
        if !more {
            self.finish();
        }
        Ok(())
    }

    /// Measures the weights on the test rows: after every round, or after every few where there are many.
    fn measure(&mut self) -> Result<Option<RecordPoint>, Error> {
        let stride = self.plan.rounds().div_ceil(CURVE_LEN_MAX as u32 - 1);
        if !self.round.is_multiple_of(stride) && self.round != self.plan.rounds() {
            return Ok(None);
        }
        let topology = self.plan.topology();
        let published = self.weights.publish(topology).map_err(crate::compute::ComputeError::from)?;
        let classifier = Classifier::new(topology.architecture().clone(), published)?;
        let Accuracy { correct, total } = classifier.accuracy(self.dataset.test())?;
        let point = RecordPoint { round: self.round, correct, total, weights: self.weights.hash() };
        self.book.measure(point);
        Ok(Some(point))
    }

    fn finish(&mut self) {
        self.status = Status::Finished;
        let book = &self.book;
        self.outbox.push(Output::Finished(Box::new(Outcome {
            weights: self.weights.clone(),
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
