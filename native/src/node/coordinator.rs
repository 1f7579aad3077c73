//! Coordinates this node's jobs. Each job has a machine on its own thread, which is restored from
//! the store after a restart. After the last round, model and record become objects and the result
//! goes to the ledger.

use super::{
    audit,
    context::NodeContext,
    jobs,
    machine::{self, Inbox, OutputHandler, now_ms},
    objects,
    transaction_submitter::{self, SubmitError},
};
use anyhow::Context as _;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tequio_core::{
    codec,
    compute::dataset::DATASET_BYTES_MAX,
    knowledge::model::Model,
    ledger::{
        Action,
        job::{Job, JobId, JobOutput, JobResult, JobStatus, JobTask, TrainedModel},
    },
    scheduler::coordinator::{
        Completion, ComputeFailed, Config, Coordinator, Error, Event, Input, JobInput, Outcome,
        Output, Peer, RECORD_LEN_MAX, Record,
    },
    types::NodeId,
    wire::{
        light,
        work::{JobState, REQUEST_LEN_MAX, Refusal, RejectionKind, Request, Response},
    },
};
use tequio_p2p::Reply;
use tokio::{runtime::Handle, task::JoinSet};

/// Pause between attempts to start a coordinator, or to submit a result to the ledger.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// Longest pause between attempts to start a coordinator.
const START_BACKOFF_MAX: Duration = Duration::from_secs(60);

/// Destination of a response.
#[derive(Debug)]
enum Responder {
    Peer(Reply),
    /// This node's own worker, with the id of its request.
    Own(Inbox<tequio_core::scheduler::worker::Input>, u64),
}

impl Responder {
    fn respond(self, response: Response) {
        match self {
            Self::Peer(reply) => reply.send(codec::encode(&response)),
            Self::Own(worker, id) => {
                worker.send(tequio_core::scheduler::worker::Input::Response {
                    id,
                    outcome: Ok(response),
                });
            }
        }
    }
}

/// The coordinators of this node's jobs.
#[derive(Debug, Default)]
pub struct Coordinators(Mutex<BTreeMap<JobId, Arc<CoordinatorHandle>>>);

/// Access to one coordinator's thread.
#[derive(Debug)]
struct CoordinatorHandle {
    inbox: Inbox<Input>,
    responders: Mutex<BTreeMap<u64, Responder>>,
    next: AtomicU64,
}

impl CoordinatorHandle {
    fn send_request(&self, from: Peer, request: Request, responder: Responder) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.responders.lock().unwrap_or_else(PoisonError::into_inner).insert(id, responder);
        self.inbox.send(Input::Request { id, from, request });
    }

    fn take_responder(&self, id: u64) -> Option<Responder> {
        self.responders.lock().unwrap_or_else(PoisonError::into_inner).remove(&id)
    }
}

impl Coordinators {
    fn handle(&self, job: &JobId) -> Option<Arc<CoordinatorHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(job).cloned()
    }

    /// Jobs that this node coordinates now.
    pub fn jobs(&self) -> Vec<JobId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// Reports a lost connection of a worker.
    pub fn worker_disconnected(&self, worker: NodeId) {
        for handle in self.0.lock().unwrap_or_else(PoisonError::into_inner).values() {
            handle.inbox.send(Input::Disconnected(worker));
        }
    }

    /// Ends a coordinator's thread. Its records stay.
    pub fn stop(&self, job: &JobId) {
        if let Some(handle) = self.handle(job) {
            handle.inbox.stop();
        }
    }

    /// Cancels a job that has ended in the ledger.
    fn cancel(&self, job: &JobId) {
        if let Some(handle) = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(job) {
            handle.inbox.send(Input::Cancel);
            handle.inbox.stop();
        }
    }
}

/// Requests of at least this length are decoded on another thread, because they would delay network
/// events.
const LARGE_REQUEST_LEN: usize = 64 * 1024;

/// Handles the request of a remote worker. A request for a job that is not coordinated here costs
/// no decoding, because any peer can send one.
pub fn receive(context: &Arc<NodeContext>, from: NodeId, body: Vec<u8>, reply: Reply) {
    let Some(job) = Request::job_of(&body) else {
        return reply.send(codec::encode(&Response::refused(Refusal::Malformed)));
    };
    let Some(handle) = context.coordinators.handle(&job) else {
        return reply.send(codec::encode(&Response::refused(Refusal::UnknownJob)));
    };
    let (peer, is_long) = (peer(context, from), body.len() >= LARGE_REQUEST_LEN);
    let take = move || match codec::decode::<Request>(&body, REQUEST_LEN_MAX) {
        Ok(request) => handle.send_request(peer, request, Responder::Peer(reply)),
        Err(_) => reply.send(codec::encode(&Response::refused(Refusal::Malformed))),
    };
    // The network bounds the number of unanswered requests, and so the number of these tasks.
    if is_long { drop(tokio::task::spawn_blocking(take)) } else { take() }
}

/// Handles the request of this node's own worker.
pub fn receive_own(
    context: &NodeContext,
    worker: &Inbox<tequio_core::scheduler::worker::Input>,
    id: u64,
    request: Request,
) {
    let responder = Responder::Own(worker.clone(), id);
    match context.coordinators.handle(&request.job()) {
        Some(handle) => handle.send_request(peer(context, context.id), request, responder),
        None => responder.respond(Response::refused(Refusal::UnknownJob)),
    }
}

/// Properties of a worker.
fn peer(context: &NodeContext, node: NodeId) -> Peer {
    let info = context.network.peer(node);
    let full = |agent: &String| agent.starts_with(super::context::AGENT_PREFIX);
    Peer {
        node,
        is_browser: node != context.id
            && !info.as_ref().and_then(|i| i.agent.as_ref()).is_some_and(full),
        rtt_ms: info.and_then(|i| i.rtt).map(|rtt| rtt.as_millis().try_into().unwrap_or(u32::MAX)),
        reputation: context.tip().state.account(&node).map_or(0, |a| a.reputation),
    }
}

/// Starts and resumes this node's jobs from the ledger, until the node stops.
pub async fn run(context: Arc<NodeContext>) {
    let (mut started, mut ended) = (BTreeSet::new(), BTreeSet::new());
    let mut tips = context.watch_tip();
    // A quota of the ledger bounds the running jobs of an account, and so the tasks in this set.
    let mut starting = JoinSet::new();
    loop {
        while starting.try_join_next().is_some() {}
        for (id, job) in context.jobs().into_iter().filter(|(_, job)| job.coordinator == context.id)
        {
            match job.status {
                JobStatus::Running if started.insert(id) => {
                    starting.spawn(start_with_retries(context.clone(), id, job));
                }
                JobStatus::Final { .. } | JobStatus::Failed { .. } if ended.insert(id) => {
                    context.coordinators.cancel(&id);
                    if let Err(error) = delete_records(&context, id).await {
                        tracing::error!(job = %id, error = format!("{error:#}"), "cannot forget the job's records");
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

/// Starts a job's coordinator. If its data are not available yet, retries with growing pauses until
/// the job is over.
async fn start_with_retries(context: Arc<NodeContext>, id: JobId, job: Job) {
    let over = || context.job(&id).is_none_or(|job| JobState::from(&job.status).is_over());
    let mut pause = RETRY_INTERVAL;
    while let Err(error) = start(&context, id, &job).await {
        tracing::error!(job = %id, error = format!("{error:#}"), "cannot coordinate the job yet");
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(START_BACKOFF_MAX);
        if over() {
            return;
        }
    }
    // The job may have ended meanwhile.
    if over() {
        context.coordinators.cancel(&id);
    }
}

/// Deletes the round records of a job that is over.
async fn delete_records(context: &Arc<NodeContext>, id: JobId) -> anyhow::Result<()> {
    let context = context.clone();
    let done =
        tokio::task::spawn_blocking(move || match context.store.job_records(&id)?.is_empty() {
            true => Ok(()),
            false => context.store.delete_job_records(&id),
        });
    Ok(done.await??)
}

/// Fetches the input of a job.
async fn load_input(context: &Arc<NodeContext>, job: &Job) -> anyhow::Result<JobInput> {
    let bytes = objects::fetch_contents(context, job.spec.dataset, context.id)
        .await
        .context("the job's data")?;
    match &job.spec.task {
        JobTask::Train(_) => Ok(JobInput::Training(
            codec::decode(&bytes, DATASET_BYTES_MAX).context("the job's data set")?,
        )),
        JobTask::Infer(task) => {
            let rows = codec::decode(&bytes, DATASET_BYTES_MAX).context("the job's rows")?;
            let block =
                objects::fetch(context, task.model, context.id).await.context("the job's model")?;
            let classifier = Model::from_block(block)?.classifier().clone();
            Ok(JobInput::Inference { classifier, rows })
        }
    }
}

async fn start(context: &Arc<NodeContext>, id: JobId, job: &Job) -> anyhow::Result<()> {
    let input = load_input(context, job).await?;
    let config = Config::new(context.id, *tequio_host::random()?);
    let decode = |bytes: Vec<u8>| codec::decode::<Record>(&bytes, RECORD_LEN_MAX);
    let records =
        context.store.job_records(&id)?.into_iter().map(decode).collect::<Result<Vec<_>, _>>()?;
    let resumed = !records.is_empty();
    let coordinator =
        Coordinator::restore(now_ms(), id, job.spec.clone(), input.clone(), config, records)?;
    tracing::info!(job = %id, round = coordinator.progress().round, resumed, "coordinating");
    jobs::store_report(context, coordinator.progress());
    let (inbox, receiver) = machine::inbox();
    let handle = Arc::new(CoordinatorHandle {
        inbox,
        responders: Mutex::default(),
        next: AtomicU64::new(0),
    });
    let handler = CoordinatorOutputs {
        context: context.clone(),
        handle: handle.clone(),
        job: (id, job.clone()),
        input: Arc::new(input),
        runtime: Handle::current(),
    };
    context.coordinators.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, handle);
    let owner = context.clone();
    machine::spawn(
        format!("job {}", &id.to_string()[..8]),
        coordinator,
        receiver,
        handler,
        move |ended| {
            if let Err(error) = ended {
                tracing::error!(job = %id, error = format!("{error:#}"), "the coordinator has stopped");
                owner.coordinators.cancel(&id);
            }
        },
    )?;
    Ok(())
}

struct CoordinatorOutputs {
    context: Arc<NodeContext>,
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
                self.context.store.append_job_record(
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
                jobs::store_report(&self.context, coordinator.progress());
                let (context, job, input) =
                    (self.context.clone(), self.job.clone(), self.input.clone());
                self.runtime.spawn(async move {
                    submit_result(&context, job.0, &job.1, &input, *outcome).await
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
                self.context.metrics.units_accepted.inc();
                let checker = checker.map(|c| c.short());
                tracing::debug!(job = ?job, round, unit, worker = %worker.short(), ?checker, is_browser, "unit accepted");
            }
            Event::Rejected(rejection) => {
                let (round, unit, worker) = (rejection.round, rejection.unit, rejection.worker);
                let (kind, reason) = (rejection.reason.kind(), rejection.reason);
                if kind == RejectionKind::Late {
                    tracing::info!(job = ?job, round, unit, worker = %worker.short(), %reason, "result late");
                } else {
                    self.context.metrics.results_rejected.inc();
                    tracing::warn!(job = ?job, round, unit, worker = %worker.short(), %reason, "result refused");
                }
                let reason = super::light::truncated(&reason.to_string());
                self.context.events.push(light::Event::Rejected {
                    job,
                    round,
                    unit,
                    worker,
                    kind,
                    reason,
                });
            }
            Event::Round(point) => {
                tracing::info!(job = ?job, round = point.round, correct = point.correct, total = point.total, "round");
            }
            Event::Activity => {}
        }
        jobs::store_report(&self.context, coordinator.progress());
    }
}

/// Stores the objects of an outcome and submits the result until it is in the ledger.
async fn submit_result(
    context: &Arc<NodeContext>,
    id: JobId,
    job: &Job,
    input: &JobInput,
    outcome: Outcome,
) {
    let result = match publish(context, id, job, input, &outcome).await {
        Ok(result) => result,
        Err(error) => {
            tracing::error!(job = %id, error = format!("{error:#}"), "cannot publish the result");
            return;
        }
    };
    while context.job(&id).is_some_and(|job| job.status == JobStatus::Running) {
        let action = Action::JobResult { job: id, result: result.clone() };
        match transaction_submitter::submit_and_wait(context, action).await {
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
    context: &Arc<NodeContext>,
    id: JobId,
    job: &Job,
    input: &JobInput,
    outcome: &Outcome,
) -> anyhow::Result<JobResult> {
    let (output, blocks) = match (&outcome.completion, input) {
        (Completion::Trained(trained), JobInput::Training(dataset)) => {
            let record = outcome
                .record(id, &job.spec, job.coordinator)
                .context("a training has a record")?;
            let plan = record.task.params.clone().validate()?;
            let (accuracy, weights) = (trained.accuracy, &trained.weights);
            let (_, mut blocks) =
                Model::build(id, job.spec.dataset, dataset, &plan, weights, accuracy)?;
            let model = blocks.first().context("a model is a block")?.cid;
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
            anyhow::bail!("an inference trains nothing")
        }
    };
    objects::store_blocks(context, blocks).await?;
    Ok(outcome.result(output))
}
