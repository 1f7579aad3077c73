//! What this node knows of jobs: where the ledger has them, how far their coordinators say they are, and, for jobs
//! that are over, what their records say.

use super::context::Context;
use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock},
    time::Duration,
};
use tequio_core::{
    codec::{self, BoundedVec},
    knowledge::{
        object::Block,
        record::{Point, TrainingRecord},
    },
    ledger::{
        Key,
        job::{Contributor, Job, JobId, JobKind, JobResult, JobStatus, JobTask},
    },
    types::{NodeId, Unverified},
    wire::{
        light,
        work::{CurvePoint, JobProgress, JobState},
    },
};
use tequio_p2p::Protocol;
use tokio::sync::watch;

/// How often the coordinators of running jobs are asked how far they are.
const ASK_INTERVAL: Duration = Duration::from_secs(1);
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// Reports that are kept. Which one goes does not matter: what counts is in the ledger.
const REPORTS_MAX: usize = 256;

/// What coordinators say of their jobs. Advice.
#[derive(Debug, Default)]
pub struct Reports {
    reports: RwLock<BTreeMap<JobId, JobProgress>>,
    changes: watch::Sender<u64>,
}

impl Reports {
    /// Takes a report.
    pub fn put(&self, report: JobProgress) {
        let mut reports = self.reports.write().unwrap_or_else(PoisonError::into_inner);
        if reports.get(&report.id) == Some(&report) {
            return;
        }
        reports.insert(report.id, report);
        while reports.len() > REPORTS_MAX {
            reports.pop_first();
        }
        drop(reports);
        self.changes.send_modify(|count| *count += 1);
    }

    /// Tells when a report has changed.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn of(&self, id: &JobId) -> Option<JobProgress> {
        self.reports.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }
}

/// What proves a job's output: its ref and the job itself, in this order.
pub fn proof_keys(id: &JobId, kind: JobKind) -> Option<[Key; 2]> {
    Some([Key::Ref(kind.output_ref(id)?), Key::Job(*id)])
}

/// All jobs, newest first.
pub fn progress_of_all(context: &Context) -> Vec<JobProgress> {
    let mut jobs = context.jobs();
    jobs.sort_by_key(|(id, job)| std::cmp::Reverse((job.submitted, *id)));
    jobs.truncate(light::LIST_MAX);
    jobs.iter().map(|(id, job)| progress(context, id, job)).collect()
}

/// How far a job is. The ledger's word counts for its state and result.
pub fn progress(context: &Context, id: &JobId, job: &Job) -> JobProgress {
    let work = job.spec.work();
    let empty = JobProgress {
        id: *id,
        kind: job.spec.kind(),
        name: job.spec.name.clone(),
        coordinator: job.coordinator,
        state: JobState::Running,
        round: 0,
        rounds: job.spec.rounds(),
        curve: BoundedVec::new(),
        units: 0,
        units_total: work.map_or(0, |w| w.units),
        checks: 0,
        contributors: BoundedVec::new(),
        rejected: 0,
    };
    let report = context.reports.of(id).filter(|r| r.coordinator == job.coordinator);
    let (state, result) = match &job.status {
        JobStatus::Running => (JobState::Running, None),
        JobStatus::Pending { result, .. } => (JobState::Pending, Some(result)),
        JobStatus::Final { result, .. } => (JobState::Final, Some(result)),
        JobStatus::Failed { .. } => (JobState::Failed, None),
    };
    let Some(result) = result else { return JobProgress { state, ..report.unwrap_or(empty) } };
    let sum = |f: fn(&Contributor) -> u32| result.contributors.iter().map(|c| u64::from(f(c))).sum();
    let units = sum(|c| c.units);
    let record = record(context, result);
    let checks = match (&job.spec.task, &record) {
        (_, Some(record)) => record.checks,
        (JobTask::Train(_), None) => sum(|c| c.checks),
        // Each part counts by its products alone.
        (JobTask::Infer(_), None) => units,
    };
    let curve = match report {
        Some(report) if report.round == empty.rounds => report.curve,
        _ => BoundedVec::truncated(record.iter().flat_map(|r| &r.curve).map(curve_point)),
    };
    JobProgress {
        state,
        round: empty.rounds,
        curve,
        units,
        checks,
        contributors: BoundedVec::truncated(result.contributors.iter().cloned()),
        rejected: result.rejected,
        ..empty
    }
}

/// The training record of a result, if it is here.
pub fn record(context: &Context, result: &JobResult) -> Option<TrainingRecord> {
    let cid = result.output.model()?.record;
    let bytes = context.store.object(&cid).ok()??;
    let block = Unverified::new(Block { cid, bytes }).verify().ok()?;
    TrainingRecord::from_block(block).ok()
}

fn curve_point(point: &Point) -> CurvePoint {
    CurvePoint { round: point.round, correct: point.correct, total: point.total }
}

/// Asks the coordinators of running jobs how far they are, so that any node can tell.
pub async fn ask(context: std::sync::Arc<Context>) {
    let mut interval = tokio::time::interval(ASK_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let running = context.jobs().into_iter().filter(|(_, job)| job.status == JobStatus::Running);
        let mut coordinators: Vec<NodeId> = running.map(|(_, job)| job.coordinator).collect();
        coordinators.sort_unstable();
        coordinators.dedup();
        for coordinator in coordinators.into_iter().filter(|c| *c != context.id) {
            let body = codec::encode(&light::Request::Jobs);
            let Ok(body) = context.network.request(coordinator, Protocol::Light, body, ASK_TIMEOUT).await else {
                continue;
            };
            let Ok(light::Response::Jobs(jobs)) = codec::decode(&body, light::RESPONSE_LEN_MAX) else { continue };
            // A node speaks for its own jobs only, and only for those in the ledger.
            let of_its_own = |r: &JobProgress| context.job(&r.id).is_some_and(|j| j.coordinator == coordinator);
            for report in jobs.into_vec().into_iter().filter(|r| r.coordinator == coordinator && of_its_own(r)) {
                context.reports.put(report);
            }
        }
    }
}
