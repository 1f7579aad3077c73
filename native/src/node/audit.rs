//! Audits: if this node is drawn for a pending result, it recomputes the whole job from its data.
//! It then submits its verdict to the ledger: whether the output equals that of the result. The
//! output is weights, model and accuracy, or the answers to a batch.

use super::{
    context::NodeContext,
    objects,
    transaction_submitter::{self, SubmitError},
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

/// Pause between attempts while an object or a quorum is missing.
const RETRY_INTERVAL: Duration = Duration::from_secs(3);

/// Audits the results for which this node is drawn, until the node stops.
pub async fn run(context: Arc<NodeContext>) {
    let busy: Arc<Mutex<BTreeSet<JobId>>> = Arc::default();
    let mut tips = context.watch_tip();
    loop {
        let drawn = context.tip().state.pending_jobs().to_vec();
        for id in drawn {
            let Some(job) = context.job(&id).filter(|job| is_due(job, &context)) else { continue };
            if busy.lock().unwrap_or_else(PoisonError::into_inner).insert(id) {
                let (context, busy) = (context.clone(), busy.clone());
                tokio::spawn(async move {
                    audit_and_submit(&context, id, &job).await;
                    busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                });
            }
        }
        if tips.changed().await.is_err() {
            return;
        }
    }
}

/// Whether this node is drawn and has not submitted its verdict.
fn is_due(job: &Job, context: &NodeContext) -> bool {
    match &job.status {
        JobStatus::Pending { auditors, verdicts, .. } => {
            auditors.contains(&context.id) && !verdicts.iter().any(|(node, _)| *node == context.id)
        }
        _ => false,
    }
}

async fn audit_and_submit(context: &Arc<NodeContext>, id: JobId, job: &Job) {
    let JobStatus::Pending { result, .. } = &job.status else { return };
    let verdict = loop {
        if !context.job(&id).is_some_and(|job| is_due(&job, context)) {
            return;
        }
        match recompute(context, id, job, result).await {
            Ok(verdict) => break verdict,
            Err(error) => {
                tracing::warn!(job = %id, error = format!("{error:#}"), "cannot audit yet");
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
        }
    };
    context.metrics.audits.inc();
    tracing::info!(job = %id, ?verdict, "audited");
    while context.job(&id).is_some_and(|job| is_due(&job, context)) {
        match transaction_submitter::submit_and_wait(context, Action::Audit { job: id, verdict })
            .await
        {
            Ok(_) | Err(SubmitError::Stopping | SubmitError::NotApplied(_)) => return,
            Err(error) => {
                tracing::warn!(job = %id, %error, "the audit is not in the ledger yet");
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
        }
    }
}

/// Recomputes the job from its beginning and compares. An error means that something is missing
/// locally, not a verdict.
async fn recompute(
    context: &Arc<NodeContext>,
    id: JobId,
    job: &Job,
    result: &JobResult,
) -> anyhow::Result<Verdict> {
    let bytes = objects::fetch_contents(context, job.spec.dataset, job.coordinator)
        .await
        .context("the data")?;
    let blocks = match result.output {
        JobOutput::Model(expected) => {
            // An unavailable record gives no verdict. A record of another job makes the result
            // wrong.
            let record = objects::fetch(context, expected.record, job.coordinator)
                .await
                .context("the record")?;
            if !TrainingRecord::from_block(record).is_ok_and(|r| r.job == id) {
                return Ok(Verdict::Disagree);
            }
            let job = job.clone();
            let computed =
                tokio::task::spawn_blocking(move || recompute_training(id, &job, &bytes)).await?;
            computed.ok().filter(|(found, _)| found.is(&expected)).map(|(_, blocks)| blocks)
        }
        JobOutput::Answers(expected) => {
            let JobTask::Infer(task) = &job.spec.task else { return Ok(Verdict::Disagree) };
            let model =
                objects::fetch(context, task.model, job.coordinator).await.context("the model")?;
            let job = job.clone();
            let computed =
                tokio::task::spawn_blocking(move || recompute_answers(id, &job, model, &bytes))
                    .await?;
            computed.ok().filter(|block| block.cid == expected).map(|block| vec![block])
        }
    };
    let Some(blocks) = blocks else { return Ok(Verdict::Disagree) };
    objects::store_blocks(context, blocks).await?;
    Ok(Verdict::Agree)
}

/// The output of an honest computation of a training.
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
pub fn recompute_training(
    id: JobId,
    job: &Job,
    dataset: &[u8],
) -> anyhow::Result<(Recomputed, Vec<Block>)> {
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
        Classifier::new(plan.params().architecture.clone(), weights.quantise(plan.topology())?)?;
    let accuracy = classifier.accuracy(dataset.test())?;
    let (model, blocks) = Model::build(id, job.spec.dataset, &dataset, &plan, &weights, accuracy)?;
    let cid = blocks.first().context("a model is a block")?.cid;
    let (correct, tested) = (accuracy.correct, accuracy.total);
    Ok((Recomputed { weights: model.weights_digest, model: cid, correct, tested }, blocks))
}

/// Computes the answers to a batch alone, from the model and the rows.
fn recompute_answers(
    id: JobId,
    job: &Job,
    model: Verified<Block>,
    rows: &[u8],
) -> anyhow::Result<Block> {
    let rows: Samples = codec::decode(rows, DATASET_BYTES_MAX)?;
    answers_block(id, job, Model::from_block(model)?.classifier().classes(&rows)?)
}

/// The object of a batch's answers.
pub fn answers_block(id: JobId, job: &Job, classes: Vec<u8>) -> anyhow::Result<Block> {
    let JobTask::Infer(task) = &job.spec.task else { anyhow::bail!("the job is no inference") };
    anyhow::ensure!(classes.len() == task.rows as usize, "another number of rows");
    Ok(Answers { job: id, model: task.model, batch: job.spec.dataset, classes }.to_block()?)
}
