//! The state of jobs as this node shows it: from the ledger, from the progress reports of
//! coordinators and, for ended jobs, from their records.

use crate::{
    node::{chain_view::ChainView, machine::now_ms},
    store::Store,
};
use std::{
    cmp::Reverse,
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};
use tequio_core::{
    codec::BoundedVec,
    content::object::Block,
    ledger::{
        Key,
        job::{Contributor, Job, JobId, JobKind, JobResult, JobStatus, JobTask},
    },
    objects::record::{Point, TrainingRecord},
    types::{Height, NodeId, TimeMs, Unverified},
    wire::{
        light,
        work::{ActiveWorkers, CurvePoint, JobProgress, JobState, WaitReason, WaitingFor},
    },
};
use tokio::sync::watch;

/// Most reports that are kept. Reports of ended jobs are evicted first, then the oldest ones.
const REPORTS_MAX: usize = 256;
/// A remote coordinator is polled every second. After this time without an answer it counts as
/// silent, milliseconds.
const SILENT_AFTER_MS: TimeMs = 15_000;
/// A coordinator without a report counts as missing once its job has been in the ledger this long,
/// milliseconds.
const FIRST_REPORT_WITHIN_MS: TimeMs = 5_000;

/// Progress reports of coordinators. They are unproved.
#[derive(Debug, Default)]
pub struct Reports {
    reports: RwLock<BTreeMap<JobId, Report>>,
    changes: watch::Sender<u64>,
}

/// A report with its time of arrival.
#[derive(Clone, Debug)]
struct Report {
    received_ms: TimeMs,
    progress: JobProgress,
}

impl Reports {
    /// Stores a report; `over` returns whether a job is over.
    pub fn put(&self, now: TimeMs, progress: JobProgress, over: impl Fn(&JobId) -> bool) {
        let mut reports = self.reports.write().unwrap_or_else(PoisonError::into_inner);
        let (id, report) = (progress.id, Report { received_ms: now, progress });
        let before = reports.insert(id, report.clone());
        while reports.len() > REPORTS_MAX {
            let first = reports
                .iter()
                .min_by_key(|(id, r)| (!over(id), r.received_ms, **id))
                .map(|(id, _)| *id);
            first.and_then(|id| reports.remove(&id));
        }
        drop(reports);
        if before.is_none_or(|before| before.progress != report.progress) {
            self.changes.send_modify(|count| *count += 1);
        }
    }

    /// Notifies of changed reports.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn of(&self, id: &JobId) -> Option<Report> {
        self.reports.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }
}

/// The jobs of the ledger with their progress.
#[derive(Clone, Debug)]
pub struct JobsView {
    chain: ChainView,
    store: Arc<Store>,
    /// The progress reports of coordinators.
    pub reports: Arc<Reports>,
}

impl JobsView {
    /// A view without any reports.
    pub fn new(chain: ChainView, store: Arc<Store>) -> Self {
        Self { chain, store, reports: Arc::default() }
    }

    /// Stores a coordinator's report.
    pub fn store_report(&self, report: JobProgress) {
        let over =
            |id: &JobId| self.chain.job(id).is_none_or(|job| JobState::from(&job.status).is_over());
        self.reports.put(now_ms(), report, over);
    }

    /// The jobs that this node lists: running and pending ones first, then by age, newest first.
    pub fn progress_of_all(&self) -> Vec<JobProgress> {
        let is_reporting = |id: &JobId, job: &Job| {
            job.coordinator == self.chain.node
                || self.reports.of(id).is_some_and(|report| !is_silent(&report))
        };
        listed(self.chain.jobs(), is_reporting)
            .iter()
            .map(|(id, job)| self.progress(id, job))
            .collect()
    }

    /// The progress of a job. State and result come from the ledger.
    pub fn progress(&self, id: &JobId, job: &Job) -> JobProgress {
        let work = job.spec.work();
        let report = self.reports.of(id).filter(|r| r.progress.coordinator == job.coordinator);
        let submitted_ms = self.block_time_ms(job.submitted);
        let state = JobState::from(&job.status);
        let waiting = self.waits_for(job, report.as_ref(), submitted_ms);
        let own = job.coordinator == self.chain.node;
        let current =
            report.as_ref().filter(|r| state == JobState::Running && (own || !is_silent(r)));
        let workers = current.map_or_else(ActiveWorkers::default, |r| r.progress.workers);
        let report = report.map(|r| r.progress);
        let empty = JobProgress {
            id: *id,
            kind: job.spec.kind(),
            name: job.spec.name.clone(),
            coordinator: job.coordinator,
            dataset: job.spec.dataset,
            submitted_ms,
            state,
            waiting,
            workers,
            round: 0,
            rounds: job.spec.rounds(),
            curve: BoundedVec::new(),
            units: 0,
            units_total: work.map_or(0, |w| w.units),
            checks: 0,
            contributors: BoundedVec::new(),
            rejected: 0,
        };
        let result = match &job.status {
            JobStatus::Pending { result, .. } | JobStatus::Final { result, .. } => Some(result),
            JobStatus::Running | JobStatus::Failed { .. } => None,
        };
        let Some(result) = result else {
            // The ledger takes precedence over the coordinator's report.
            let JobProgress { kind, dataset, rounds, units_total, .. } = empty;
            let name = empty.name.clone();
            let reported = report.unwrap_or(empty);
            return JobProgress {
                kind,
                name,
                dataset,
                rounds,
                units_total,
                state,
                submitted_ms,
                waiting,
                workers,
                ..reported
            };
        };
        let sum =
            |f: fn(&Contributor) -> u32| result.contributors.iter().map(|c| u64::from(f(c))).sum();
        let units = sum(|c| c.units);
        let record = self.record(result);
        let checks = match (&job.spec.task, &record) {
            (_, Some(record)) => record.checks,
            (JobTask::Train(_), None) => sum(|c| c.checks),
            // Each part is checked by its matrix products alone.
            (JobTask::Infer(_), None) => units,
        };
        let curve = match report {
            Some(report) if report.round == empty.rounds => report.curve,
            _ => match &record {
                Some(record) => BoundedVec::truncated(record.curve.iter().map(curve_point)),
                None => BoundedVec::truncated(result.output.model().map(|m| CurvePoint {
                    round: empty.rounds,
                    correct: m.correct,
                    total: m.tested,
                })),
            },
        };
        JobProgress {
            round: empty.rounds,
            curve,
            units,
            checks,
            contributors: BoundedVec::truncated(result.contributors.iter().cloned()),
            rejected: result.rejected,
            ..empty
        }
    }

    /// What delays a job, as far as this node knows.
    fn waits_for(
        &self,
        job: &Job,
        report: Option<&Report>,
        submitted: Option<TimeMs>,
    ) -> Option<WaitingFor> {
        let since = |what, since_ms| Some(WaitingFor { reason: what, since_ms });
        let own = job.coordinator == self.chain.node;
        match (&job.status, report) {
            (JobStatus::Final { .. } | JobStatus::Failed { .. }, _) => None,
            (JobStatus::Pending { .. }, _) if self.chain.is_reduced() => {
                since(WaitReason::Quorum, self.head_ms())
            }
            (JobStatus::Pending { since: height, .. }, _) => since(
                WaitReason::Auditors,
                self.block_time_ms(*height).unwrap_or_else(|| self.head_ms()),
            ),
            (JobStatus::Running, Some(report)) => match report.progress.waiting {
                _ if !own && is_silent(report) => {
                    since(WaitReason::Coordinator, report.received_ms)
                }
                Some(WaitingFor { reason: WaitReason::Ledger, .. }) if self.chain.is_reduced() => {
                    since(WaitReason::Quorum, self.head_ms())
                }
                other => other,
            },
            (JobStatus::Running, None) => {
                let submitted = submitted.unwrap_or_else(|| self.head_ms());
                match own {
                    true => since(WaitReason::Data, submitted),
                    false if now_ms().saturating_sub(submitted) < FIRST_REPORT_WITHIN_MS => None,
                    false => since(WaitReason::Coordinator, submitted),
                }
            }
        }
    }

    /// Time of a block, if its header is stored.
    fn block_time_ms(&self, height: Height) -> Option<TimeMs> {
        self.store.final_header(height).ok().flatten().map(|header| header.header.time_ms)
    }

    fn head_ms(&self) -> TimeMs {
        self.chain.tip().header.header.time_ms
    }

    /// The training record of a result, if it is stored.
    pub fn record(&self, result: &JobResult) -> Option<TrainingRecord> {
        let cid = result.output.model()?.record;
        let bytes = self.store.object(&cid).ok()??;
        let block = Unverified::new(Block { cid, bytes }).verify().ok()?;
        TrainingRecord::from_block(block).ok()
    }
}

/// Keys of the entries that prove a job's output: its ref and the job itself, in this order.
pub fn proof_keys(id: &JobId, kind: JobKind) -> Option<[Key; 2]> {
    Some([Key::Ref(kind.output_ref(id)?), Key::Job(*id)])
}

/// Chooses the jobs of a list, in order: running ones, then pending ones, then ended ones. Browsers
/// find work by this list, so a few accounts must not fill it. Running jobs whose coordinators
/// report come first, and each coordinator has one before any has a second.
fn listed(
    mut jobs: Vec<(JobId, Job)>,
    is_reporting: impl Fn(&JobId, &Job) -> bool,
) -> Vec<(JobId, Job)> {
    let rank = |status: &JobStatus| match status {
        JobStatus::Running => 0,
        JobStatus::Pending { .. } => 1,
        JobStatus::Final { .. } | JobStatus::Failed { .. } => 2,
    };
    jobs.sort_by_key(|(id, job)| (rank(&job.status), Reverse((job.submitted, *id))));
    let mut of_coordinator: BTreeMap<NodeId, u32> = BTreeMap::new();
    let mut rank_of = |(id, job): &(JobId, Job)| match &job.status {
        JobStatus::Running => {
            let number = of_coordinator.entry(job.coordinator).or_default();
            *number += 1;
            (0, !is_reporting(id, job), *number)
        }
        status => (rank(status), false, 0),
    };
    let mut ranked: Vec<_> = jobs.into_iter().map(|job| (rank_of(&job), job)).collect();
    // The sort is stable: jobs of equal rank stay in the order of their age.
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, job)| job).take(light::LIST_MAX).collect()
}

fn is_silent(report: &Report) -> bool {
    now_ms().saturating_sub(report.received_ms) > SILENT_AFTER_MS
}

fn curve_point(point: &Point) -> CurvePoint {
    CurvePoint { round: point.round, correct: point.correct, total: point.total }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tequio_core::{
        compute::params::Architecture,
        content::{Cid, CidCodec},
        ledger::job::{FailReason, InferenceTask, JobSpec},
        types::Digest,
    };

    fn job(submitted: Height, status: JobStatus) -> Job {
        let task = InferenceTask {
            training_job: Digest([1; 32]),
            model: Cid::of(CidCodec::DagCbor, b"model"),
            architecture: Architecture {
                dims: vec![1, 2].try_into().unwrap(),
                input_exponent: 4,
                hidden_exponent: 4,
            },
            rows: 1,
        };
        let dataset = Cid::of(CidCodec::Raw, b"rows");
        let spec = JobSpec { name: "job".try_into().unwrap(), dataset, task: JobTask::Infer(task) };
        Job { spec, coordinator: NodeId([2; 32]), submitted, status }
    }

    fn id(number: u64) -> JobId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        Digest(id)
    }

    fn report(number: u64, units: u64) -> JobProgress {
        let job = job(number, JobStatus::Running);
        JobProgress {
            id: id(number),
            kind: job.spec.kind(),
            name: job.spec.name.clone(),
            coordinator: job.coordinator,
            dataset: job.spec.dataset,
            submitted_ms: None,
            state: JobState::Running,
            waiting: None,
            workers: ActiveWorkers::default(),
            round: 0,
            rounds: 1,
            curve: BoundedVec::new(),
            units,
            units_total: 1,
            checks: 0,
            contributors: BoundedVec::new(),
            rejected: 0,
        }
    }

    #[test]
    fn a_running_job_is_listed_before_any_number_of_newer_ended_ones() {
        let ended = |at| JobStatus::Failed { at, reason: FailReason::Cancelled };
        let mut jobs: Vec<(JobId, Job)> = (10..200).map(|n| (id(n), job(n, ended(n)))).collect();
        jobs.push((id(1), job(1, JobStatus::Running)));
        jobs.push((id(2), job(2, JobStatus::Running)));
        let listed: Vec<Height> =
            listed(jobs, |_, _| true).iter().map(|(_, job)| job.submitted).collect();
        assert_eq!(listed.len(), light::LIST_MAX);
        assert_eq!(listed[..4], [2, 1, 199, 198]);
    }

    #[test]
    fn neither_one_coordinator_nor_silent_ones_fill_the_list() {
        let of = |byte, submitted| Job {
            coordinator: NodeId([byte; 32]),
            ..job(submitted, JobStatus::Running)
        };
        // The honest job is the oldest. Many newer ones belong to one coordinator, or to silent
        // ones.
        let mut jobs = vec![(id(1), of(1, 1))];
        jobs.extend((10..80).map(|n| (id(n), of(2, n))));
        jobs.extend((100..200).map(|n| (id(n), of(n as u8, n))));
        let listed = listed(jobs, |_, job| job.coordinator.0[0] < 3);
        let first: Vec<Height> = listed.iter().take(3).map(|(_, job)| job.submitted).collect();
        assert_eq!((first, listed.len()), (vec![79, 1, 78], light::LIST_MAX));
    }

    #[test]
    fn reports_of_ended_jobs_make_room_first_and_the_oldest_next() {
        let reports = Reports::default();
        let over = |job: &JobId| *job == id(5);
        let max = REPORTS_MAX as u64;
        for number in 0..max {
            reports.put(number, report(number, 0), over);
        }
        // The oldest report is renewed without a change.
        let mut changes = reports.watch();
        changes.borrow_and_update();
        reports.put(max, report(0, 0), over);
        assert!(!changes.has_changed().unwrap());
        reports.put(max + 1, report(max + 1, 0), over);
        assert!(changes.has_changed().unwrap());
        assert!(reports.of(&id(5)).is_none(), "its job is over");
        reports.put(max + 2, report(max + 2, 0), over);
        assert!(reports.of(&id(1)).is_none(), "the oldest");
        assert!(reports.of(&id(0)).is_some() && reports.of(&id(max + 2)).is_some());
    }
}
