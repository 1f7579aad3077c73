//! Audits: if this node is drawn for a pending result, it recomputes the whole job from its data.
//! It then submits its verdict to the ledger: whether the output equals that of the result. The
//! output is weights, model and accuracy, or the answers to a batch.

use crate::node::{
    chain_view::ChainView,
    objects::Objects,
    telemetry::metrics::Metrics,
    writes::submit::{SubmitError, Submitter},
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
        dataset::{Dataset, Samples},
        limits::DATASET_BYTES_MAX,
        predict::Classifier,
        train::train,
    },
    content::object::Block,
    ledger::{
        Action,
        job::{Job, JobId, JobOutput, JobResult, JobStatus, JobTask, TrainedModel, Verdict},
    },
    objects::{answers::Answers, model::Model, record::TrainingRecord},
    types::Verified,
};

/// Pause between attempts while an object or a quorum is missing.
const RETRY_INTERVAL: Duration = Duration::from_secs(3);

/// Audits the results for which this node is drawn.
#[derive(Clone, Debug)]
pub struct Auditor {
    chain: ChainView,
    objects: Objects,
    submitter: Submitter,
    metrics: Arc<Metrics>,
}

impl Auditor {
    /// An auditor that submits its verdicts to the ledger.
    pub fn new(
        chain: ChainView,
        objects: Objects,
        submitter: Submitter,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { chain, objects, submitter, metrics }
    }

    /// Audits the results for which this node is drawn, until the node stops.
    pub async fn run(self) {
        let busy: Arc<Mutex<BTreeSet<JobId>>> = Arc::default();
        let mut tips = self.chain.watch_tip();
        loop {
            let drawn = self.chain.tip().state.pending_jobs().to_vec();
            for id in drawn {
                let Some(job) = self.chain.job(&id).filter(|job| self.is_due(job)) else {
                    continue;
                };
                if busy.lock().unwrap_or_else(PoisonError::into_inner).insert(id) {
                    let (auditor, busy) = (self.clone(), busy.clone());
                    tokio::spawn(async move {
                        auditor.audit_and_submit(id, &job).await;
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
    fn is_due(&self, job: &Job) -> bool {
        match &job.status {
            JobStatus::Pending { auditors, verdicts, .. } => {
                auditors.contains(&self.chain.node)
                    && !verdicts.iter().any(|(node, _)| *node == self.chain.node)
            }
            _ => false,
        }
    }

    async fn audit_and_submit(&self, id: JobId, job: &Job) {
        let JobStatus::Pending { result, .. } = &job.status else { return };
        let verdict = loop {
            if !self.chain.job(&id).is_some_and(|job| self.is_due(&job)) {
                return;
            }
            match self.recompute(id, job, result).await {
                Ok(verdict) => break verdict,
                Err(error) => {
                    tracing::warn!(job = %id, error = format!("{error:#}"), "cannot audit yet");
                    tokio::time::sleep(RETRY_INTERVAL).await;
                }
            }
        };
        self.metrics.audits.inc();
        tracing::info!(job = %id, ?verdict, "audited");
        while self.chain.job(&id).is_some_and(|job| self.is_due(&job)) {
            match self.submitter.submit_and_wait(Action::Audit { job: id, verdict }).await {
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
    async fn recompute(&self, id: JobId, job: &Job, result: &JobResult) -> anyhow::Result<Verdict> {
        let bytes = self
            .objects
            .fetch_contents(job.spec.dataset, job.coordinator)
            .await
            .context("the data")?;
        let blocks = match result.output {
            JobOutput::Model(expected) => {
                // An unavailable record gives no verdict. A record of another job makes the result
                // wrong.
                let record = self
                    .objects
                    .fetch(expected.record, job.coordinator)
                    .await
                    .context("the record")?;
                if !TrainingRecord::from_block(record).is_ok_and(|r| r.job == id) {
                    return Ok(Verdict::Disagree);
                }
                let job = job.clone();
                let computed =
                    tokio::task::spawn_blocking(move || recompute_training(id, &job, &bytes))
                        .await?;
                computed.ok().filter(|(found, _)| found.is(&expected)).map(|(_, blocks)| blocks)
            }
            JobOutput::Answers(expected) => {
                let JobTask::Infer(task) = &job.spec.task else { return Ok(Verdict::Disagree) };
                let model =
                    self.objects.fetch(task.model, job.coordinator).await.context("the model")?;
                let job = job.clone();
                let computed =
                    tokio::task::spawn_blocking(move || recompute_answers(id, &job, model, &bytes))
                        .await?;
                computed.ok().filter(|block| block.cid == expected).map(|block| vec![block])
            }
        };
        let Some(blocks) = blocks else { return Ok(Verdict::Disagree) };
        self.objects.store_blocks(blocks).await?;
        Ok(Verdict::Agree)
    }
}

/// The output of an honest computation of a training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recomputed {
    /// Digest of the final weights.
    pub weights: tequio_core::types::Digest,
    /// Name of the model.
    pub model: tequio_core::content::Cid,
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
    let task = job.spec.training().context("the job is not a training")?;
    let dataset: Dataset = codec::decode(dataset, DATASET_BYTES_MAX)?;
    let plan = task.params.clone().validate()?;
    plan.check_data(dataset.train())?;
    anyhow::ensure!(
        dataset.train().rows() == task.training_rows,
        "the job names another number of training rows"
    );
    let weights = train(&plan, dataset.train(), |_, _| {})?;
    let classifier =
        Classifier::new(plan.params().architecture.clone(), weights.quantise(plan.topology())?)?;
    let accuracy = classifier.accuracy(dataset.test())?;
    let (model, blocks) = Model::build(id, job.spec.dataset, &dataset, &plan, &weights, accuracy)?;
    let cid = blocks.first().context("the model has no block")?.cid;
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
    let JobTask::Infer(task) = &job.spec.task else { anyhow::bail!("the job is not an inference") };
    anyhow::ensure!(classes.len() == task.rows as usize, "the job names another number of rows");
    Ok(Answers { job: id, model: task.model, batch: job.spec.dataset, classes }.to_block()?)
}
