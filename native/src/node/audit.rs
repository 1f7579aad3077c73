//! Audits: when this node is drawn for a pending result, it recomputes the whole job from its data
//! and says in the ledger whether the output is that of the result: weights, model and accuracy, or
//! the answers to a batch.

use super::{
    context::Context,
    objects,
    transactor::{self, TransactError},
};
use anyhow::Context as _;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tequio_core::{
    codec,
    compute::{
        dataset::{DATASET_BYTES_MAX, Dataset, Samples},
        predict::Classifier,
        train::train,
    },
    knowledge::{answers::Answers, model::Model, object::Block, record::TrainingRecord},
    ledger::{
        Action,
        job::{Job, JobId, JobOutput, JobResult, JobStatus, JobTask, TrainedModel, Verdict},
    },
    types::Verified,
};

/// Between tries, where an object or a quorum is missing.
const AGAIN: Duration = Duration::from_secs(3);

/// Watches for draws of this node, until it stops.
pub async fn run(context: Arc<Context>) {
    let busy: Arc<Mutex<BTreeSet<JobId>>> = Arc::default();
    let mut tips = context.watch_tip();
    loop {
        let drawn = context.tip().state.pending_jobs().to_vec();
        for id in drawn {
            let Some(job) = context.job(&id).filter(|job| is_due(job, &context)) else { continue };
            if busy.lock().unwrap_or_else(PoisonError::into_inner).insert(id) {
                let (context, busy) = (context.clone(), busy.clone());
                tokio::spawn(async move {
                    settle(&context, id, &job).await;
                    busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                });
            }
        }
        if tips.changed().await.is_err() {
            return;
        }
    }
}

/// Whether this node is drawn and has not spoken.
fn is_due(job: &Job, context: &Context) -> bool {
    match &job.status {
        JobStatus::Pending { auditors, verdicts, .. } => {
            auditors.contains(&context.id) && !verdicts.iter().any(|(node, _)| *node == context.id)
        }
        _ => false,
    }
}

async fn settle(context: &Arc<Context>, id: JobId, job: &Job) {
    let JobStatus::Pending { result, .. } = &job.status else { return };
    let verdict = loop {
        if !context.job(&id).is_some_and(|job| is_due(&job, context)) {
            return;
        }
        match recompute(context, id, job, result).await {
            Ok(verdict) => break verdict,
            Err(error) => {
                tracing::warn!(job = %id, error = format!("{error:#}"), "cannot audit yet");
                tokio::time::sleep(AGAIN).await;
            }
        }
    };
    context.metrics.audits.inc();
    tracing::info!(job = %id, ?verdict, "audited");
    while context.job(&id).is_some_and(|job| is_due(&job, context)) {
        match transactor::perform(context, Action::Audit { job: id, verdict }).await {
            Ok(_) | Err(TransactError::Stopping | TransactError::NotApplied(_)) => return,
            Err(error) => {
                tracing::warn!(job = %id, %error, "the audit is not in the ledger yet");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// Computes the job from its beginning and compares. An error means that something is missing here,
/// not a verdict.
async fn recompute(
    context: &Arc<Context>,
    id: JobId,
    job: &Job,
    result: &JobResult,
) -> anyhow::Result<Verdict> {
    let bytes = objects::fetch_contents(context, job.spec.dataset, job.coordinator)
        .await
        .context("the data")?;
    let blocks = match result.output {
        JobOutput::Model(expected) => {
            // A record that nobody can read is no result; one that is not a record of this job is a
            // wrong one.
            let record = objects::fetch(context, expected.record, job.coordinator)
                .await
                .context("the record")?;
            if !TrainingRecord::from_block(record).is_ok_and(|r| r.job == id) {
                return Ok(Verdict::Disagree);
            }
            let job = job.clone();
            let computed = tokio::task::spawn_blocking(move || compute(id, &job, &bytes)).await?;
            computed.ok().filter(|(found, _)| found.is(&expected)).map(|(_, blocks)| blocks)
        }
        JobOutput::Answers(expected) => {
            let JobTask::Infer(task) = &job.spec.task else { return Ok(Verdict::Disagree) };
            let model =
                objects::fetch(context, task.model, job.coordinator).await.context("the model")?;
            let job = job.clone();
            let computed =
                tokio::task::spawn_blocking(move || answer(id, &job, model, &bytes)).await?;
            computed.ok().filter(|block| block.cid == expected).map(|block| vec![block])
        }
    };
    let Some(blocks) = blocks else { return Ok(Verdict::Disagree) };
    objects::keep(context, blocks).await?;
    Ok(Verdict::Agree)
}

/// What an honest computation of a training gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recomputed {
    /// Digest of the final weights.
    pub weights: tequio_core::types::Digest,
    /// Name of the model.
    pub model: tequio_core::knowledge::Cid,
    /// Test rows classified correctly.
    pub correct: u32,
    /// Test rows.
    pub tested: u32,
}

impl Recomputed {
    fn is(&self, claimed: &TrainedModel) -> bool {
        let TrainedModel { weights, model, correct, tested, .. } = *claimed;
        *self == Self { weights, model, correct, tested }
    }
}

/// Trains alone, from the data set.
pub fn compute(id: JobId, job: &Job, dataset: &[u8]) -> anyhow::Result<(Recomputed, Vec<Block>)> {
    let task = job.spec.training().context("the job is no training")?;
    let dataset: Dataset = codec::decode(dataset, DATASET_BYTES_MAX)?;
    let plan = task.params.clone().validate()?;
    plan.check_data(dataset.train())?;
    anyhow::ensure!(
        dataset.train().rows() == task.training_rows,
        "another number of training rows"
    );
    let weights = train(&plan, dataset.train(), |_, _| {})?;
    let classifier =
        Classifier::new(plan.params().architecture.clone(), weights.publish(plan.topology())?)?;
    let accuracy = classifier.accuracy(dataset.test())?;
    let (model, blocks) = Model::build(id, job.spec.dataset, &dataset, &plan, &weights, accuracy)?;
    let cid = blocks.first().context("a model is a block")?.cid;
    let (correct, tested) = (accuracy.correct, accuracy.total);
    Ok((Recomputed { weights: model.weights_digest, model: cid, correct, tested }, blocks))
}

/// Answers a batch alone, from the model and the rows.
fn answer(id: JobId, job: &Job, model: Verified<Block>, rows: &[u8]) -> anyhow::Result<Block> {
    let rows: Samples = codec::decode(rows, DATASET_BYTES_MAX)?;
    answers_block(id, job, Model::from_block(model)?.classifier().classes(&rows)?)
}

/// The object of a batch's answers.
pub fn answers_block(id: JobId, job: &Job, classes: Vec<u8>) -> anyhow::Result<Block> {
    let JobTask::Infer(task) = &job.spec.task else { anyhow::bail!("the job is no inference") };
    anyhow::ensure!(classes.len() == task.rows as usize, "another number of rows");
    Ok(Answers { job: id, model: task.model, batch: job.spec.dataset, classes }.to_block()?)
}
