//! Coordinates this node's jobs. Each job has a machine on its own thread, which is restored from
//! the store after a restart. After the last round, model and record become objects and the result
//! goes to the ledger.

use super::{
    audit,
    coordinators::{CoordinatorHandle, Coordinators},
    progress::JobsView,
};
use crate::{
    node::{
        bounded_text::truncated,
        chain_view::ChainView,
        machine::{self, OutputHandler, now_ms},
        objects::Objects,
        telemetry::{events::EventLog, metrics::Metrics},
        writes::submit::{SubmitError, Submitter},
    },
    store::Store,
};
use anyhow::Context as _;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tequio_core::{
    codec,
    compute::limits::DATASET_BYTES_MAX,
    ledger::{
        Action,
        job::{Job, JobId, JobOutput, JobResult, JobStatus, JobTask, TrainedModel},
    },
    objects::model::Model,
    scheduler::ComputeFailed,
    scheduler::coordinator::{
        Completion, Config, Coordinator, Error, Event, Input, JobInput, Outcome, Output,
        RECORD_LEN_MAX, Record,
    },
    wire::{
        light,
        work::{JobState, RejectionKind},
    },
};
use tokio::{runtime::Handle, task::JoinSet};

/// Pause between attempts to start a coordinator, or to submit a result to the ledger.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// Longest pause between attempts to start a coordinator.
const START_BACKOFF_MAX: Duration = Duration::from_secs(60);

/// Runs the coordinators of this node's jobs.
#[derive(Clone, Debug)]
pub struct JobRunner {
    /// The jobs of the ledger.
    pub chain: ChainView,
    /// Records of the rounds.
    pub store: Arc<Store>,
    /// Takes the progress reports.
    pub jobs: JobsView,
    /// The running coordinators.
    pub coordinators: Coordinators,
    /// Data of the jobs, and their outputs.
    pub objects: Objects,
    /// Submits results to the ledger.
    pub submitter: Submitter,
    /// Counts accepted and refused results.
    pub metrics: Arc<Metrics>,
    /// Shows refused results.
    pub events: Arc<EventLog>,
}

impl JobRunner {
    /// Starts and resumes this node's jobs from the ledger, until the node stops.
    pub async fn run(self) {
        let (mut started, mut ended) = (BTreeSet::new(), BTreeSet::new());
        let mut tips = self.chain.watch_tip();
        // A quota of the ledger bounds the running jobs of an account, and so the tasks in this
        // set.
        let mut starting = JoinSet::new();
        loop {
            while starting.try_join_next().is_some() {}
            for (id, job) in
                self.chain.jobs().into_iter().filter(|(_, job)| job.coordinator == self.chain.node)
            {
                match job.status {
                    JobStatus::Running if started.insert(id) => {
                        starting.spawn(self.clone().start_with_retries(id, job));
                    }
                    JobStatus::Final { .. } | JobStatus::Failed { .. } if ended.insert(id) => {
                        self.coordinators.cancel(&id);
                        if let Err(error) = self.delete_records(id).await {
                            tracing::error!(job = %id, error = format!("{error:#}"),
                                "cannot delete the job's records");
                        }
                    }
                    _ => {}
                }
            }
            if tips.changed().await.is_err() {
                return;
            }
        }
    }

    /// Starts a job's coordinator. If its data are not available yet, retries with growing pauses
    /// until the job is over.
    async fn start_with_retries(self, id: JobId, job: Job) {
        let over = || self.chain.job(&id).is_none_or(|job| JobState::from(&job.status).is_over());
        let mut pause = RETRY_INTERVAL;
        while let Err(error) = self.start(id, &job).await {
            tracing::error!(
                job = %id, error = format!("{error:#}"),
                "cannot coordinate the job yet"
            );
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(START_BACKOFF_MAX);
            if over() {
                return;
            }
        }
        // The job may have ended meanwhile.
        if over() {
            self.coordinators.cancel(&id);
        }
    }

    /// Deletes the round records of a job that is over.
    async fn delete_records(&self, id: JobId) -> anyhow::Result<()> {
        let store = self.store.clone();
        let done = tokio::task::spawn_blocking(move || match store.job_records(&id)?.is_empty() {
            true => Ok(()),
            false => store.delete_job_records(&id),
        });
        Ok(done.await??)
    }

    /// Fetches the input of a job.
    async fn load_input(&self, job: &Job) -> anyhow::Result<JobInput> {
        let bytes = self
            .objects
            .fetch_contents(job.spec.dataset, self.chain.node)
            .await
            .context("the job's data")?;
        match &job.spec.task {
            JobTask::Train(_) => Ok(JobInput::Training(
                codec::decode(&bytes, DATASET_BYTES_MAX).context("the job's data set")?,
            )),
            JobTask::Infer(task) => {
                let rows = codec::decode(&bytes, DATASET_BYTES_MAX).context("the job's rows")?;
                let block = self
                    .objects
                    .fetch(task.model, self.chain.node)
                    .await
                    .context("the job's model")?;
                let classifier = Model::from_block(block)?.classifier().clone();
                Ok(JobInput::Inference { classifier, rows })
            }
        }
    }

    async fn start(&self, id: JobId, job: &Job) -> anyhow::Result<()> {
        let input = self.load_input(job).await?;
        let config = Config::new(self.chain.node, *tequio_host::random()?);
        let decode = |bytes: Vec<u8>| codec::decode::<Record>(&bytes, RECORD_LEN_MAX);
        let records =
            self.store.job_records(&id)?.into_iter().map(decode).collect::<Result<Vec<_>, _>>()?;
        let resumed = !records.is_empty();
        let coordinator =
            Coordinator::restore(now_ms(), id, job.spec.clone(), input.clone(), config, records)?;
        tracing::info!(job = %id, round = coordinator.progress().round, resumed, "coordinating");
        self.jobs.store_report(coordinator.progress());
        let (inbox, receiver) = machine::inbox();
        let handle = Arc::new(CoordinatorHandle::new(inbox));
        let handler = CoordinatorOutputs {
            runner: self.clone(),
            handle: handle.clone(),
            job: (id, job.clone()),
            input: Arc::new(input),
            runtime: Handle::current(),
        };
        self.coordinators.insert(id, handle);
        let coordinators = self.coordinators.clone();
        machine::spawn(
            format!("job {}", &id.to_string()[..8]),
            coordinator,
            receiver,
            handler,
            move |ended| {
                if let Err(error) = ended {
                    tracing::error!(
                        job = %id, error = format!("{error:#}"),
                        "the coordinator has stopped"
                    );
                    coordinators.cancel(&id);
                }
            },
        )?;
        Ok(())
    }

    /// Stores the objects of an outcome and submits the result until it is in the ledger.
    async fn submit_result(&self, id: JobId, job: &Job, input: &JobInput, outcome: Outcome) {
        let result = match self.publish(id, job, input, &outcome).await {
            Ok(result) => result,
            Err(error) => {
                tracing::error!(
                    job = %id, error = format!("{error:#}"),
                    "cannot publish the result"
                );
                return;
            }
        };
        while self.chain.job(&id).is_some_and(|job| job.status == JobStatus::Running) {
            let action = Action::JobResult { job: id, result: result.clone() };
            match self.submitter.submit_and_wait(action).await {
                Ok((_, height)) => tracing::info!(job = %id, height, "the result is in the ledger"),
                Err(SubmitError::Stopping) => return,
                Err(error) => {
                    tracing::warn!(job = %id, %error, "the result is not in the ledger yet");
                    tokio::time::sleep(RETRY_INTERVAL).await;
                }
            }
        }
    }

    async fn publish(
        &self,
        id: JobId,
        job: &Job,
        input: &JobInput,
        outcome: &Outcome,
    ) -> anyhow::Result<JobResult> {
        let (output, blocks) = match (&outcome.completion, input) {
            (Completion::Trained(trained), JobInput::Training(dataset)) => {
                let record = outcome
                    .record(id, &job.spec, job.coordinator)
                    .context("the training has no record")?;
                let plan = record.task.params.clone().validate()?;
                let (accuracy, weights) = (trained.accuracy, &trained.weights);
                let (_, mut blocks) =
                    Model::build(id, job.spec.dataset, dataset, &plan, weights, accuracy)?;
                let model = blocks.first().context("the model has no block")?.cid;
                let record = record.to_block()?;
                let trained = TrainedModel {
                    weights: weights.hash(),
                    model,
                    record: record.cid,
                    correct: accuracy.correct,
                    tested: accuracy.total,
                };
                blocks.push(record);
                (JobOutput::Model(trained), blocks)
            }
            (Completion::Inferred(classes), _) => {
                let answers = audit::answers_block(id, job, classes.clone())?;
                (JobOutput::Answers(answers.cid), vec![answers])
            }
            (Completion::Trained(_), JobInput::Inference { .. }) => {
                anyhow::bail!("an inference job has no model")
            }
        };
        self.objects.store_blocks(blocks).await?;
        Ok(outcome.result(output))
    }
}

struct CoordinatorOutputs {
    runner: JobRunner,
    handle: Arc<CoordinatorHandle>,
    job: (JobId, Job),
    input: Arc<JobInput>,
    runtime: Handle,
}

impl OutputHandler<Coordinator> for CoordinatorOutputs {
    fn tick() -> Input {
        Input::Tick
    }

    fn handle_output(
        &mut self,
        coordinator: &Coordinator,
        output: Output,
    ) -> anyhow::Result<Option<Input>> {
        match output {
            Output::Reply { id, response } => {
                if let Some(responder) = self.handle.take_responder(id) {
                    responder.respond(response);
                }
            }
            Output::Persist(record) => {
                let begins_round = record.ends_round();
                self.runner.store.append_job_record(
                    &self.job.0,
                    begins_round,
                    &codec::encode(&record),
                )?;
                return Ok(Some(Input::Persisted));
            }
            Output::Compute { compute_id, task } => {
                let inbox = self.handle.inbox.clone();
                self.runtime.spawn_blocking(move || {
                    let product = task.run().map_err(|_| ComputeFailed);
                    inbox.send(Input::Computed { compute_id, output: product });
                });
            }
            Output::Event(event) => self.log_event(coordinator, event),
            Output::Finished(outcome) => {
                self.runner.jobs.store_report(coordinator.progress());
                let (runner, job, input) =
                    (self.runner.clone(), self.job.clone(), self.input.clone());
                self.runtime.spawn(async move {
                    runner.submit_result(job.0, &job.1, &input, *outcome).await
                });
            }
        }
        Ok(None)
    }

    fn handle_error(&mut self, error: Error) -> anyhow::Result<()> {
        tracing::debug!(%error, "coordinator refused an input");
        Ok(())
    }
}

impl CoordinatorOutputs {
    fn log_event(&self, coordinator: &Coordinator, event: Event) {
        let job = self.job.0;
        match event {
            Event::Accepted { round, unit, worker, checker, is_browser, .. } => {
                self.runner.metrics.units_accepted.inc();
                let checker = checker.map(|c| c.short());
                tracing::debug!(job = ?job, round, unit, worker = %worker.short(), ?checker,
                    is_browser, "unit accepted");
            }
            Event::Rejected(rejection) => {
                let (round, unit, worker) = (rejection.round, rejection.unit, rejection.worker);
                let (kind, reason) = (rejection.reason.kind(), rejection.reason);
                if kind == RejectionKind::Late {
                    tracing::info!(job = ?job, round, unit, worker = %worker.short(), %reason,
                        "result late");
                } else {
                    self.runner.metrics.results_rejected.inc();
                    tracing::warn!(job = ?job, round, unit, worker = %worker.short(), %reason,
                        "result refused");
                }
                let reason = truncated(&reason.to_string());
                self.runner.events.push(light::Event::Rejected {
                    job,
                    round,
                    unit,
                    worker,
                    kind,
                    reason,
                });
            }
            Event::Round(point) => {
                tracing::info!(job = ?job, round = point.round, correct = point.correct,
                    total = point.total, "round");
            }
            Event::Activity => {}
        }
        self.runner.jobs.store_report(coordinator.progress());
    }
}
