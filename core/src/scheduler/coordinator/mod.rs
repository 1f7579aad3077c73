//! The coordinator of one job: leases work units, has them checked, and advances the weights round
//! by round.
//!
//! The coordinator owns the job's state and judges every result. A result counts if two identities
//! agree on it (the second drawn after the first had committed), if this host has computed the
//! same, or if the job lets this unit go unchecked. For exact steps and inference parts, a result
//! counts if Freivalds' check finds no wrong product. Protocol: part 1 of the training notes,
//! "Protocol that follows", points 1 and 2, and rule 5 of the design.
//!
//! The weights do not depend on which worker computed a unit, on the order of results, or on
//! [`Config`].

mod accounting;
mod activity;
mod batch;
mod config;
mod dispatch;
mod dispute;
mod error;
mod exact;
mod input;
mod output;
mod round;
mod submit;
mod training;
mod work_unit;
mod worker_table;
mod workload;

pub use accounting::{
    AcceptedExactStep, AcceptedInferencePart, AcceptedLocalSteps, Accounting, ExactSnapshot,
    REJECTIONS_MAX, RecordPoint, Rejection, Snapshot, TALLIES_MAX,
};
pub use config::{Config, FULL_SHARE, UNIT_RECORDS_MACS_MIN};
pub use error::{Error, StartError};
pub use input::{ComputeFailed, Input, Peer};
pub use output::{Completion, Event, Outcome, Output, RECORD_LEN_MAX, Record, Trained};
pub use worker_table::WORKERS_MAX;
pub use workload::JobInput;

use super::{outbox::Outbox, seeded_rng::SeededRng};
use crate::{
    codec::BoundedVec,
    compute::local_steps::WorkUnitId,
    ledger::job::{FailReason, JobId, JobSpec},
    machine::Machine,
    types::{NodeId, TimeMs},
    wire::work::{self, Answer, JobProgress, JobState, LeaseEvent, Refusal, Request, Response},
};
use activity::Activity;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use dispatch::WaitingRequest;
use work_unit::{LeaseHolder, WorkUnit};
use worker_table::WorkerTable;
use workload::Workload;

/// Coordinates one job. See the module documentation.
#[derive(Debug)]
pub struct Coordinator {
    job: JobId,
    spec: JobSpec,
    workload: Workload,
    config: Config,
    rng: SeededRng,
    status: Status,
    /// Completed rounds, which is also the number of the present round.
    round: u32,
    round_since: TimeMs,
    work_units: Vec<WorkUnit>,
    /// From lease numbers to work units of this round.
    leases: BTreeMap<u64, u32>,
    /// Events of accepted units that wait until their round is on disk.
    unwritten_events: Vec<(LeaseHolder, LeaseEvent)>,
    worker_table: WorkerTable,
    waiting: VecDeque<WaitingRequest>,
    accounting: Accounting,
    activity: Activity,
    next_compute_id: u64,
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
        input: impl Into<JobInput>,
        config: Config,
    ) -> Result<Self, StartError> {
        let workload = Workload::new(&spec, input.into())?;
        let mut coordinator = Self {
            job,
            rng: SeededRng::new(config.seed),
            status: Status::Running,
            round: 0,
            round_since: now,
            work_units: alloc::vec![WorkUnit::pending(); workload.units_per_round() as usize],
            leases: BTreeMap::new(),
            unwritten_events: Vec::new(),
            worker_table: WorkerTable::default(),
            waiting: VecDeque::new(),
            accounting: Accounting::default(),
            activity: Activity::default(),
            next_compute_id: 0,
            outbox: Outbox::new(),
            wake: None,
            spec,
            workload,
            config,
        };
        coordinator.compute_activity(now);
        coordinator.schedule(now);
        Ok(coordinator)
    }

    /// The job.
    pub const fn job(&self) -> JobId {
        self.job
    }

    /// The job's specification.
    pub const fn spec(&self) -> &JobSpec {
        &self.spec
    }

    /// Whether the last round is complete.
    pub fn is_finished(&self) -> bool {
        self.status == Status::Finished
    }

    /// The contributions, accuracy and rejections so far.
    pub const fn accounting(&self) -> &Accounting {
        &self.accounting
    }

    /// The job's progress, for display.
    pub fn progress(&self) -> JobProgress {
        JobProgress {
            id: self.job,
            kind: self.spec.kind(),
            name: self.spec.name.clone(),
            coordinator: self.config.local,
            dataset: self.spec.dataset,
            // The ledger holds this time: the forwarding node adds it.
            submitted_ms: None,
            state: match self.status {
                Status::Running => JobState::Running,
                Status::Finished => JobState::Pending,
                Status::Cancelled => JobState::Failed(FailReason::Cancelled),
            },
            waiting: self.activity.waiting,
            workers: self.activity.workers,
            round: self.round,
            rounds: self.workload.rounds(),
            curve: BoundedVec::truncated(
                self.accounting.curve().iter().map(RecordPoint::curve_point),
            ),
            units: self.accounting.units(),
            units_total: u64::from(self.workload.units_per_round())
                * u64::from(self.workload.rounds()),
            checks: self.accounting.checks(),
            contributors: BoundedVec::truncated(
                self.accounting.top_contributors(work::TOP_CONTRIBUTORS_MAX),
            ),
            rejected: self.accounting.rejected(),
        }
    }

    fn work_unit_id(&self, unit: u32) -> WorkUnitId {
        WorkUnitId { job: self.job, round: self.round, unit }
    }

    fn work_unit(&mut self, unit: u32) -> Option<&mut WorkUnit> {
        self.work_units.get_mut(unit as usize)
    }

    fn reply(&mut self, id: u64, node: &NodeId, answer: Answer) {
        let events = match self.worker_table.get_mut(node) {
            Some(worker) => BoundedVec::truncated(worker.take_events()),
            None => BoundedVec::new(),
        };
        self.outbox.push(Output::Reply { id, response: Response { answer, events } });
    }

    fn on_request(
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
        self.worker_table.record_seen(now, peer);
        if self.status != Status::Running {
            self.reply(id, &peer.node, Answer::Refused(Refusal::NotRunning));
            return Ok(());
        }
        let answer = match request {
            Request::RequestLease { slots, cached, .. } => {
                self.on_request_lease(now, id, peer, slots, cached);
                return Ok(());
            }
            Request::Commit { lease, commitment } => {
                self.on_commit(now, peer, lease.number, commitment)
            }
            Request::Reveal { lease, salt, output } => {
                self.on_reveal(now, peer, lease.number, &salt, output)?
            }
            Request::RevealDigest { lease, salt, digest } => {
                self.on_reveal_digest(now, peer, lease.number, &salt, digest)?
            }
            Request::State { lease, step, state } => {
                self.on_state(now, peer, lease.number, step, state)?
            }
        };
        self.reply(id, &peer.node, answer);
        Ok(())
    }

    fn cancel(&mut self) {
        if self.status == Status::Running {
            self.status = Status::Cancelled;
            self.refuse_waiting();
        }
    }

    /// Refuses all waiting requests.
    fn refuse_waiting(&mut self) {
        self.work_units.clear();
        self.leases.clear();
        while let Some(request) = self.waiting.pop_front() {
            self.reply(request.id, &request.node, Answer::Refused(Refusal::NotRunning));
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
            Input::Request { id, from, request } => self.on_request(now, id, &from, request),
            Input::Disconnected(node) => {
                self.on_disconnect(now, &node);
                Ok(())
            }
            Input::Computed { compute_id, output } => self.on_computed(now, compute_id, output),
            Input::Persisted => {
                self.outbox.confirm_barrier();
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
