//! The coordinator of one job: leases lanes, sees that they are checked, and moves the weights
//! round by round.
//!
//! It owns the job's state and the judgement of every result. It refuses what is unproved: a result
//! counts when two identities agree on it (the second drawn after the first had committed), when
//! this host has computed the same, or when the job declares that this lane may go unchecked. In
//! jobs in exact mode, and in batch inference, a unit counts when Freivalds' check finds no fault
//! in its products. Protocol: part 1 of the training notes, "Protocol that follows", points 1
//! and 2, and rule 5 of the design.
//!
//! The weights do not depend on who computed what, in which order, or on any choice in [`Config`].

mod activity;
mod batch;
mod book;
mod config;
mod course;
mod dispatch;
mod error;
mod exact;
mod input;
mod lane;
mod output;
mod roster;
mod round;
mod settle;
mod submit;
mod training;

pub use book::{
    AcceptedAnswers, AcceptedLane, AcceptedUnit, Book, ExactSnapshot, REJECTIONS_MAX, RecordPoint,
    Rejection, Snapshot, TALLIES_MAX,
};
pub use config::{ALL, Config, LANES_WRITTEN_MACS_MIN};
pub use course::Material;
pub use error::{Error, StartError};
pub use input::{ComputeFailed, Input, Peer};
pub use output::{Concluded, Event, Outcome, Output, RECORD_LEN_MAX, Record, Trained};
pub use roster::MEMBERS_MAX;

use super::{draw::Draw, outbox::Outbox};
use crate::{
    codec::BoundedVec,
    compute::lane::LaneId,
    ledger::job::{FailReason, JobId, JobSpec},
    machine::Machine,
    types::{NodeId, TimeMs},
    wire::work::{self, Answer, JobProgress, JobState, Notice, Refusal, Request, Response},
};
use activity::Activity;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use course::Course;
use dispatch::Parked;
use lane::{Party, Slot};
use roster::Roster;

/// Coordinates one job. See the module.
#[derive(Debug)]
pub struct Coordinator {
    job: JobId,
    spec: JobSpec,
    course: Course,
    config: Config,
    draw: Draw,
    status: Status,
    /// Rounds done, which is the number of the round under way.
    round: u32,
    round_since: TimeMs,
    slots: Vec<Slot>,
    /// From lease numbers to lanes, of this round.
    leases: BTreeMap<u64, u32>,
    /// Acknowledgements of lanes that are written with their round, and wait for that.
    unwritten: Vec<(Party, Notice)>,
    roster: Roster,
    parked: VecDeque<Parked>,
    book: Book,
    activity: Activity,
    unit_next: u64,
    outbox: Outbox<Output>,
    wake: Option<TimeMs>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Running,
    Finished,
    Cancelled,
}

impl Coordinator {
    /// Starts a job from its first round.
    pub fn new(
        now: TimeMs,
        job: JobId,
        spec: JobSpec,
        material: impl Into<Material>,
        config: Config,
    ) -> Result<Self, StartError> {
        let course = Course::new(&spec, material.into())?;
        let mut coordinator = Self {
            job,
            draw: Draw::new(config.seed),
            status: Status::Running,
            round: 0,
            round_since: now,
            slots: alloc::vec![Slot::open(); course.lanes() as usize],
            leases: BTreeMap::new(),
            unwritten: Vec::new(),
            roster: Roster::default(),
            parked: VecDeque::new(),
            book: Book::default(),
            activity: Activity::default(),
            unit_next: 0,
            outbox: Outbox::new(),
            wake: None,
            spec,
            course,
            config,
        };
        coordinator.compute_activity(now);
        coordinator.schedule(now);
        Ok(coordinator)
    }

    /// Which job.
    pub const fn job(&self) -> JobId {
        self.job
    }

    /// What was asked.
    pub const fn spec(&self) -> &JobSpec {
        &self.spec
    }

    /// Whether the last round is done.
    pub fn is_finished(&self) -> bool {
        self.status == Status::Finished
    }

    /// Who did what so far.
    pub const fn book(&self) -> &Book {
        &self.book
    }

    /// How far it is, for display.
    pub fn progress(&self) -> JobProgress {
        JobProgress {
            id: self.job,
            kind: self.spec.kind(),
            name: self.spec.name.clone(),
            coordinator: self.config.local,
            dataset: self.spec.dataset,
            // The ledger's affair: who passes the report on adds it.
            submitted_ms: None,
            state: match self.status {
                Status::Running => JobState::Running,
                Status::Finished => JobState::Pending,
                Status::Cancelled => JobState::Failed(FailReason::Cancelled),
            },
            waiting: self.activity.waiting,
            workers: self.activity.workers,
            round: self.round,
            rounds: self.course.rounds(),
            curve: BoundedVec::truncated(self.book.curve().iter().map(RecordPoint::curve_point)),
            units: self.book.units(),
            units_total: u64::from(self.course.lanes()) * u64::from(self.course.rounds()),
            checks: self.book.checks(),
            contributors: BoundedVec::truncated(self.book.top(work::TOP_CONTRIBUTORS_MAX)),
            rejected: self.book.rejected(),
        }
    }

    fn lane_id(&self, lane: u32) -> LaneId {
        LaneId { job: self.job, round: self.round, lane }
    }

    fn slot(&mut self, lane: u32) -> Option<&mut Slot> {
        self.slots.get_mut(lane as usize)
    }

    fn reply(&mut self, id: u64, node: &NodeId, answer: Answer) {
        let notices = match self.roster.of_mut(node) {
            Some(member) => BoundedVec::truncated(member.take_notices()),
            None => BoundedVec::new(),
        };
        self.outbox.push(Output::Reply { id, response: Response { answer, notices } });
    }

    fn request(
        &mut self,
        now: TimeMs,
        id: u64,
        peer: &Peer,
        request: Request,
    ) -> Result<(), Error> {
        if request.job() != self.job {
            self.outbox
                .push(Output::Reply { id, response: Response::refused(Refusal::UnknownJob) });
            return Ok(());
        }
        self.roster.see(now, peer);
        if self.status != Status::Running {
            self.reply(id, &peer.node, Answer::Refused(Refusal::NotRunning));
            return Ok(());
        }
        let answer = match request {
            Request::Ask { lanes, holds, .. } => {
                self.ask(now, id, peer, lanes, holds);
                return Ok(());
            }
            Request::Commit { lease, commitment } => {
                self.commit(now, peer, lease.number, commitment)
            }
            Request::Open { lease, salt, product } => {
                self.open(now, peer, lease.number, &salt, product)?
            }
            Request::OpenDigest { lease, salt, digest } => {
                self.open_digest(now, peer, lease.number, &salt, digest)?
            }
            Request::State { lease, step, state } => {
                self.state(now, peer, lease.number, step, state)?
            }
        };
        self.reply(id, &peer.node, answer);
        Ok(())
    }

    fn cancel(&mut self) {
        if self.status == Status::Running {
            self.status = Status::Cancelled;
            self.dismiss();
        }
    }

    /// Sends everybody home.
    fn dismiss(&mut self) {
        self.slots.clear();
        self.leases.clear();
        while let Some(ask) = self.parked.pop_front() {
            self.reply(ask.id, &ask.node, Answer::Refused(Refusal::NotRunning));
        }
    }
}

impl Machine for Coordinator {
    type Input = Input;
    type Output = Output;
    type Error = Error;

    fn handle(&mut self, now: TimeMs, input: Input) -> Result<(), Error> {
        self.expire(now);
        let done = match input {
            Input::Request { id, from, request } => self.request(now, id, &from, request),
            Input::Gone(node) => {
                self.gone(now, &node);
                Ok(())
            }
            Input::Computed { unit, product } => self.computed(now, unit, product),
            Input::Persisted => {
                self.outbox.release();
                Ok(())
            }
            Input::Cancel => {
                self.cancel();
                Ok(())
            }
            Input::Tick => Ok(()),
        };
        let dispatched = self.dispatch(now);
        self.update_activity(now);
        self.schedule(now);
        done.and(dispatched)
    }

    fn poll(&mut self) -> Option<Output> {
        self.outbox.poll(|output| matches!(output, Output::Persist(_)))
    }

    fn deadline(&self) -> Option<TimeMs> {
        self.wake
    }
}
