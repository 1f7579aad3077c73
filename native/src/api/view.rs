//! JSON views of the ledger's values. Identities and digests are hexadecimal, shares are 0 to 1.

use crate::{
    node::{chain_view::ChainView, jobs::progress::JobsView},
    store::{OutboxEntry, WriteStage},
};
use serde_json::{Value, json};
use tequio_core::{
    compute::params::{JobParams, Mode, Rounding},
    ledger::{
        Header, Receipt,
        job::{Contributor, FailReason, Job, JobId, JobOutput, JobStatus, JobTask},
        state::{Account, Ref},
    },
    types::Height,
    wire::{light::Event, work::JobProgress},
};

/// A job: its entry in the ledger, and the progress that its coordinator reports.
pub fn job(jobs: &JobsView, id: &JobId, job: &Job) -> Value {
    let progress = jobs.progress(id, job);
    let mut view = progress_view(&progress);
    view["submitted"] = json!(job.submitted);
    view["params"] = params_of(job);
    match &job.spec.task {
        JobTask::Train(task) => {
            view["layers"] = json!(task.params.architecture.dims.to_vec());
            view["seed"] = json!(task.params.seed);
            view["mode"] = view["params"]["mode"].clone();
        }
        JobTask::Infer(task) => {
            view["layers"] = json!(task.architecture.dims.to_vec());
            view["rows"] = json!(task.rows);
            view["trained_by"] = json!(task.training_job.to_string());
            view["model_cid"] = json!(task.model.to_string());
        }
    }
    match &job.status {
        JobStatus::Running => {}
        JobStatus::Pending { result, since, auditors, verdicts } => {
            add_result(&mut view, result);
            view["pending_since"] = json!(since);
            view["auditors"] = json!(auditors.iter().map(ToString::to_string).collect::<Vec<_>>());
            view["verdicts"] = verdicts
                .iter()
                .map(|(n, v)| {
                    json!({"id": n.to_string(),
                "verdict": format!("{v:?}").to_lowercase()})
                })
                .collect();
        }
        JobStatus::Final { result, at, minted } => {
            add_result(&mut view, result);
            view["height"] = json!(at);
            view["minted"] = json!(minted);
        }
        JobStatus::Failed { at, .. } => view["height"] = json!(at),
    }
    view
}

/// The parameters of a job, without its data.
fn params_of(job: &Job) -> Value {
    match &job.spec.task {
        JobTask::Train(task) => params(&task.params),
        JobTask::Infer(task) => {
            json!({"layers": task.architecture.dims.to_vec(), "rows": task.rows})
        }
    }
}

fn params(params: &JobParams) -> Value {
    let mut view = json!({
        "layers": params.architecture.dims.to_vec(),
        "rounds": params.rounds,
        "seed": params.seed,
        "unit_rows": params.rows_per_step,
        "learning_rate": f64::from(params.learning_rate) / 65536.0,
        "momentum": f64::from(params.momentum) / 256.0,
        "rounding": match params.rounding {
            Rounding::Stochastic => "stochastic",
            Rounding::Nearest => "nearest",
        },
    });
    match params.mode {
        Mode::Local { units, steps } => {
            view["mode"] = json!("local");
            view["units"] = json!(units);
            view["steps"] = json!(steps);
        }
        Mode::Exact { units } => {
            view["mode"] = json!("exact");
            view["units"] = json!(units);
        }
    }
    view
}

fn add_result(view: &mut Value, result: &tequio_core::ledger::job::JobResult) {
    match &result.output {
        JobOutput::Model(trained) => {
            view["accuracy"] = json!(share(trained.correct, trained.tested));
            view["model_cid"] = json!(trained.model.to_string());
            view["record_cid"] = json!(trained.record.to_string());
            view["weights"] = json!(trained.weights.to_string());
        }
        JobOutput::Answers(answers) => view["answers_cid"] = json!(answers.to_string()),
    }
    view["contributors"] = result.contributors.iter().map(contributor).collect();
}

/// Why a job that is not final has no result, for people. None for a final job.
pub fn no_result(status: &JobStatus) -> Option<String> {
    match status {
        JobStatus::Running | JobStatus::Pending { .. } => Some("the job is not final yet".into()),
        JobStatus::Final { .. } => None,
        JobStatus::Failed { at, reason } => {
            let why = match reason {
                FailReason::Cancelled => "was cancelled by its coordinator",
                FailReason::Refuted => "has failed: its auditors found that the result is wrong",
                FailReason::Unaudited => "has failed: too few auditors answered in time",
            };
            Some(format!("the job {why}, at height {at}: it has no result"))
        }
    }
}

/// A job in a list: its progress and its parameters.
pub fn in_list(chain: &ChainView, progress: &JobProgress) -> Value {
    let mut view = progress_view(progress);
    view["params"] = chain.job(&progress.id).as_ref().map_or(Value::Null, params_of);
    view
}

/// The progress of a job.
fn progress_view(progress: &JobProgress) -> Value {
    let point = |p: &tequio_core::wire::work::CurvePoint| {
        json!({"round": p.round,
    "accuracy": share(p.correct, p.total)})
    };
    json!({
        "id": progress.id.to_string(),
        "kind": progress.kind.as_str(),
        "name": progress.name.to_string(),
        "coordinator": progress.coordinator.to_string(),
        "dataset_cid": progress.dataset.to_string(),
        "submitted_ms": progress.submitted_ms,
        "state": progress.state.as_str(),
        "reason": progress.state.reason(),
        "waiting_for": progress.waiting.map(|w| w.reason.as_str()),
        "waiting_text": progress.waiting.map(|w| w.reason.to_string()),
        "waiting_since_ms": progress.waiting.map(|w| w.since_ms),
        "workers_now": {"full": progress.workers.full, "browsers": progress.workers.browsers},
        "round": progress.round,
        "rounds": progress.rounds,
        "accuracy": progress.curve.last().and_then(|p| share(p.correct, p.total)),
        "best_accuracy": progress.best().and_then(|p| share(p.correct, p.total)),
        "curve": progress.curve.iter().map(point).collect::<Vec<_>>(),
        "units": progress.units,
        "units_total": progress.units_total,
        "checked": progress.checks,
        "rejected": progress.rejected,
        "contributors": progress.contributors.iter().map(contributor).collect::<Vec<_>>(),
    })
}

fn contributor(c: &Contributor) -> Value {
    json!({"id": c.node.to_string(), "units": c.units, "checks": c.checks, "macs": c.macs})
}

/// A part as a fraction of 1. None without a whole: a model without test rows has no accuracy.
fn share(part: u32, whole: u32) -> Option<f64> {
    (whole > 0).then(|| f64::from(part) / f64::from(whole))
}

/// A member.
pub fn account(a: &Account) -> Value {
    json!({
        "id": a.node.to_string(), "registered": a.registered, "nonce": a.nonce,
        "balance": a.balance, "bond": a.bond,
        "reputation": a.reputation, "units": a.units, "checks": a.checks, "macs": a.macs,
        "refs": a.refs, "jobs": a.jobs,
    })
}

/// A named pointer.
pub fn reference(r: &Ref) -> Value {
    json!({
        "name": r.name.to_string(), "owner": r.owner.map(|o| o.to_string()), "sequence": r.sequence,
        "cid": r.cid.to_string(), "height": r.height,
    })
}

/// A header.
pub fn header(h: &Header) -> Value {
    json!({
        "height": h.height, "view": h.view, "epoch": h.epoch, "hash": h.digest().to_string(),
        "parent": h.parent.to_string(),
        "time_ms": h.time_ms, "proposer": h.proposer.to_string(), "state": h.state.to_string(),
    })
}

/// The receipt of a transaction.
pub fn receipt(height: Height, r: &Receipt) -> Value {
    let error = r.result.as_ref().err().map(ToString::to_string);
    json!({"id": r.transaction.to_string(), "height": height, "applied": error.is_none(),
    "error": error})
}

/// A write in the outbox.
pub fn queued(number: u64, queued: &OutboxEntry) -> Value {
    let mut view = json!({"number": number, "queued_ms": queued.queued_ms});
    view["state"] = json!(match &queued.stage {
        WriteStage::Waiting => "waiting",
        WriteStage::Sent { .. } => "sent",
        WriteStage::Applied { .. } => "applied",
        WriteStage::Refused { .. } => "refused",
    });
    match &queued.stage {
        WriteStage::Waiting => {}
        WriteStage::Sent { transaction, .. } => {
            view["transaction"] = json!(transaction.id().to_string())
        }
        WriteStage::Applied { transaction, height } => {
            view["transaction"] = json!(transaction.to_string());
            view["height"] = json!(height);
        }
        WriteStage::Refused { reason } => view["error"] = json!(reason.to_string()),
    }
    view
}

/// An event of the node's event log.
pub fn event(number: u64, time_ms: u64, event: &Event) -> Value {
    match event {
        Event::Rejected { job, round, unit, worker, kind, reason } => json!({
            "number": number, "time_ms": time_ms, "event": "rejected", "job": job.to_string(),
            "round": round,
            "unit": unit, "worker": worker.to_string(), "kind": kind.as_str(),
            "reason": reason.to_string(),
        }),
    }
}
