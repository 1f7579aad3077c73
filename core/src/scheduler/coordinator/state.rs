//! The state of a coordinator, its start from the first round, and the queries that all handlers
//! use.

use super::{
    accounting::{Accounting, RecordPoint},
    config::Config,
    error::StartError,
    output::Output,
    waiting_request::WaitingRequest,
    work_unit::{LeaseHolder, WorkUnit},
    worker_table::WorkerTable,
    workload::{JobInput, Workload},
};
use crate::{
    codec::BoundedVec,
    compute::local_steps::WorkUnitId,
    ledger::job::{FailReason, JobId, JobSpec},
    scheduler::common::{outbox::Outbox, seeded_rng::SeededRng},
    types::{NodeId, TimeMs},
    wire::{
        progress::{ActiveWorkers, JobProgress, JobState, TOP_CONTRIBUTORS_MAX, WaitingFor},
        work::{Answer, LeaseEvent, Refusal, Response},
    },
};
use alloc::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};

/// Coordinates one job. See the module documentation.
#[derive(Debug)]
pub struct Coordinator {
    pub(super) job: JobId,
    pub(super) spec: JobSpec,
    pub(super) workload: Workload,
    pub(super) config: Config,
    pub(super) rng: SeededRng,
    pub(super) status: Status,
    /// Completed rounds, which is also the number of the present round.
    pub(super) round: u32,
    pub(super) round_since: TimeMs,
    pub(super) work_units: Vec<WorkUnit>,
    /// From lease numbers to work units of this round.
    pub(super) leases: BTreeMap<u64, u32>,
    /// Events of accepted units that wait until their round is on disk.
    pub(super) unwritten_events: Vec<(LeaseHolder, LeaseEvent)>,
    pub(super) worker_table: WorkerTable,
    pub(super) waiting: VecDeque<WaitingRequest>,
    pub(super) accounting: Accounting,
    pub(super) activity: Activity,
    pub(super) next_compute_id: u64,
    pub(super) outbox: Outbox<Output>,
    pub(super) wake: Option<TimeMs>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
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
                self.accounting.top_contributors(TOP_CONTRIBUTORS_MAX),
            ),
            rejected: self.accounting.rejected(),
        }
    }

    pub(super) fn work_unit_id(&self, unit: u32) -> WorkUnitId {
        WorkUnitId { job: self.job, round: self.round, unit }
    }

    pub(super) fn work_unit(&mut self, unit: u32) -> Option<&mut WorkUnit> {
        self.work_units.get_mut(unit as usize)
    }

    pub(super) fn reply(&mut self, id: u64, node: &NodeId, answer: Answer) {
        let events = match self.worker_table.get_mut(node) {
            Some(worker) => BoundedVec::truncated(worker.take_events()),
            None => BoundedVec::new(),
        };
        self.outbox.push(Output::Reply { id, response: Response { answer, events } });
    }

    /// Refuses all waiting requests.
    pub(super) fn refuse_waiting(&mut self) {
        self.work_units.clear();
        self.leases.clear();
        while let Some(request) = self.waiting.pop_front() {
            self.reply(request.id, &request.node, Answer::Refused(Refusal::NotRunning));
        }
    }
}

/// The last computed activity.
#[derive(Debug, Default)]
pub(super) struct Activity {
    pub(super) workers: ActiveWorkers,
    pub(super) waiting: Option<WaitingFor>,
    /// When to compute it again.
    pub(super) next: TimeMs,
}
