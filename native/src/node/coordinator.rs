//! Coordinates this node's jobs: a machine and a thread for each, restored from the store after a
//! restart. When the last round is done, model and record become objects and the result goes to the
//! ledger.

use super::{
    audit,
    context::Context,
    jobs,
    machine::{self, Inbox, Performer, now_ms},
    objects,
    transactor::{self, TransactError},
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
        ComputeFailed, Concluded, Config, Coordinator, Error, Event, Input, Material, Outcome,
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

/// Between tries to start a coordinator, or to send a result to the ledger.
const AGAIN: Duration = Duration::from_secs(2);
/// Longest pause between tries to start a coordinator.
const START_PAUSE_MAX: Duration = Duration::from_secs(60);

/// Who waits for an answer.
#[derive(Debug)]
enum Asker {
    Peer(Reply),
    /// This node's own worker, by the number of its request.
    Own(Inbox<tequio_core::scheduler::worker::Input>, u64),
}

impl Asker {
    fn answer(self, response: Response) {
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
pub struct Coordinators(Mutex<BTreeMap<JobId, Arc<Desk>>>);

/// The way to one coordinator's thread.
#[derive(Debug)]
struct Desk {
    inbox: Inbox<Input>,
    askers: Mutex<BTreeMap<u64, Asker>>,
    next: AtomicU64,
}

impl Desk {
    fn ask(&self, from: Peer, request: Request, asker: Asker) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.askers.lock().unwrap_or_else(PoisonError::into_inner).insert(id, asker);
        self.inbox.send(Input::Request { id, from, request });
    }

    fn take(&self, id: u64) -> Option<Asker> {
        self.askers.lock().unwrap_or_else(PoisonError::into_inner).remove(&id)
    }
}

impl Coordinators {
    fn desk(&self, job: &JobId) -> Option<Arc<Desk>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(job).cloned()
    }

    /// Jobs that are coordinated here now.
    pub fn jobs(&self) -> Vec<JobId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// A worker's connection is lost.
    pub fn gone(&self, worker: NodeId) {
        for desk in self.0.lock().unwrap_or_else(PoisonError::into_inner).values() {
            desk.inbox.send(Input::Gone(worker));
        }
    }

    /// Ends a coordinator's thread; its records stay.
    pub fn stop(&self, job: &JobId) {
        if let Some(desk) = self.desk(job) {
            desk.inbox.stop();
        }
    }

    /// Gives a job up, after the ledger has.
    fn cancel(&self, job: &JobId) {
        if let Some(desk) = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(job) {
            desk.inbox.send(Input::Cancel);
            desk.inbox.stop();
        }
    }
}

/// Requests from this length on are decoded beside the network's events, which they would hold up.
const LONG: usize = 64 * 1024;

/// A worker elsewhere asks. Whoever asks for a job that is not coordinated here costs no decoding:
/// anybody can.
pub fn receive(context: &Arc<Context>, from: NodeId, body: Vec<u8>, reply: Reply) {
    let Some(job) = Request::job_of(&body) else {
        return reply.send(codec::encode(&Response::refused(Refusal::Malformed)));
    };
    let Some(desk) = context.coordinators.desk(&job) else {
        return reply.send(codec::encode(&Response::refused(Refusal::UnknownJob)));
    };
    let (peer, is_long) = (peer(context, from), body.len() >= LONG);
    let take = move || match codec::decode::<Request>(&body, REQUEST_LEN_MAX) {
        Ok(request) => desk.ask(peer, request, Asker::Peer(reply)),
        Err(_) => reply.send(codec::encode(&Response::refused(Refusal::Malformed))),
    };
    // The network bounds the requests that wait for an answer, and so these tasks.
    if is_long { drop(tokio::task::spawn_blocking(take)) } else { take() }
}

/// This node's own worker asks.
pub fn receive_own(
    context: &Context,
    worker: &Inbox<tequio_core::scheduler::worker::Input>,
    id: u64,
    request: Request,
) {
    let asker = Asker::Own(worker.clone(), id);
    match context.coordinators.desk(&request.job()) {
        Some(desk) => desk.ask(peer(context, context.id), request, asker),
        None => asker.answer(Response::refused(Refusal::UnknownJob)),
    }
}

/// What is known of a worker.
fn peer(context: &Context, node: NodeId) -> Peer {
    let info = context.network.peer(node);
    let full = |agent: &String| agent.starts_with(super::context::AGENT_PREFIX);
    Peer {
        node,
        guest: node != context.id
            && !info.as_ref().and_then(|i| i.agent.as_ref()).is_some_and(full),
        rtt_ms: info.and_then(|i| i.rtt).map(|rtt| rtt.as_millis().try_into().unwrap_or(u32::MAX)),
        reputation: context.tip().state.account(&node).map_or(0, |a| a.reputation),
    }
}

/// Starts and resumes this node's jobs as the ledger has them, until the node stops.
pub async fn run(context: Arc<Context>) {
    let (mut started, mut ended) = (BTreeSet::new(), BTreeSet::new());
    let mut tips = context.watch_tip();
    // An account has few running jobs (a quota of the ledger), and so has this set tasks.
    let mut starting = JoinSet::new();
    loop {
        while starting.try_join_next().is_some() {}
        for (id, job) in context.jobs().into_iter().filter(|(_, job)| job.coordinator == context.id)
        {
            match job.status {
                JobStatus::Running if started.insert(id) => {
                    starting.spawn(start_until_it_runs(context.clone(), id, job));
                }
                JobStatus::Final { .. } | JobStatus::Failed { .. } if ended.insert(id) => {
                    context.coordinators.cancel(&id);
                    if let Err(error) = forget(&context, id).await {
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

/// Starts a job's coordinator; where its data are not to be had yet, tries again, less and less
/// often, until the job is over.
async fn start_until_it_runs(context: Arc<Context>, id: JobId, job: Job) {
    let over = || context.job(&id).is_none_or(|job| JobState::from(&job.status).is_over());
    let mut pause = AGAIN;
    while let Err(error) = start(&context, id, &job).await {
        tracing::error!(job = %id, error = format!("{error:#}"), "cannot coordinate the job yet");
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(START_PAUSE_MAX);
        if over() {
            return;
        }
    }
    // The job may have ended meanwhile.
    if over() {
        context.coordinators.cancel(&id);
    }
}

/// A job that is over needs no records of its rounds.
async fn forget(context: &Arc<Context>, id: JobId) -> anyhow::Result<()> {
    let context = context.clone();
    let done =
        tokio::task::spawn_blocking(move || match context.store.job_records(&id)?.is_empty() {
            true => Ok(()),
            false => context.store.job_forget(&id),
        });
    Ok(done.await??)
}

/// Fetches what a job is about.
async fn material(context: &Arc<Context>, job: &Job) -> anyhow::Result<Material> {
    let bytes = objects::fetch_contents(context, job.spec.dataset, context.id)
        .await
        .context("the job's data")?;
    match &job.spec.task {
        JobTask::Train(_) => Ok(Material::Training(
            codec::decode(&bytes, DATASET_BYTES_MAX).context("the job's data set")?,
        )),
        JobTask::Infer(task) => {
            let rows = codec::decode(&bytes, DATASET_BYTES_MAX).context("the job's rows")?;
            let block =
                objects::fetch(context, task.model, context.id).await.context("the job's model")?;
            let classifier = Model::from_block(block)?.classifier().clone();
            Ok(Material::Inference { classifier, rows })
        }
    }
}

async fn start(context: &Arc<Context>, id: JobId, job: &Job) -> anyhow::Result<()> {
    let material = material(context, job).await?;
    let config = Config::new(context.id, *tequio_host::random()?);
    let decode = |bytes: Vec<u8>| codec::decode::<Record>(&bytes, RECORD_LEN_MAX);
    let records =
        context.store.job_records(&id)?.into_iter().map(decode).collect::<Result<Vec<_>, _>>()?;
    let resumed = !records.is_empty();
    let coordinator =
        Coordinator::restore(now_ms(), id, job.spec.clone(), material.clone(), config, records)?;
    tracing::info!(job = %id, round = coordinator.progress().round, resumed, "coordinating");
    jobs::take_report(context, coordinator.progress());
    let (inbox, mail) = machine::inbox();
    let desk = Arc::new(Desk { inbox, askers: Mutex::default(), next: AtomicU64::new(0) });
    let performer = Coordinating {
        context: context.clone(),
        desk: desk.clone(),
        job: (id, job.clone()),
        material: Arc::new(material),
        runtime: Handle::current(),
    };
    context.coordinators.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, desk);
    let owner = context.clone();
    machine::spawn(
        format!("job {}", &id.to_string()[..8]),
        coordinator,
        mail,
        performer,
        move |ended| {
            if let Err(error) = ended {
                tracing::error!(job = %id, error = format!("{error:#}"), "the coordinator has stopped");
                owner.coordinators.cancel(&id);
            }
        },
    )?;
    Ok(())
}

struct Coordinating {
    context: Arc<Context>,
    desk: Arc<Desk>,
    job: (JobId, Job),
    material: Arc<Material>,
    runtime: Handle,
}

impl Performer<Coordinator> for Coordinating {
    fn tick() -> Input {
        Input::Tick
    }

    fn perform(
        &mut self,
        coordinator: &Coordinator,
        output: Output,
    ) -> anyhow::Result<Option<Input>> {
        match output {
            Output::Reply { id, response } => {
                if let Some(asker) = self.desk.take(id) {
                    asker.answer(response);
                }
            }
            Output::Persist(record) => {
                let begins_round = record.ends_round();
                self.context.store.job_append(
                    &self.job.0,
                    begins_round,
                    &codec::encode(&record),
                )?;
                return Ok(Some(Input::Persisted));
            }
            Output::Compute { unit, task } => {
                let inbox = self.desk.inbox.clone();
                self.runtime.spawn_blocking(move || {
                    let product = task.run().map_err(|_| ComputeFailed);
                    inbox.send(Input::Computed { unit, product });
                });
            }
            Output::Event(event) => self.tell(coordinator, event),
            Output::Finished(outcome) => {
                jobs::take_report(&self.context, coordinator.progress());
                let (context, job, material) =
                    (self.context.clone(), self.job.clone(), self.material.clone());
                self.runtime.spawn(async move {
                    commit(&context, job.0, &job.1, &material, *outcome).await
                });
            }
        }
        Ok(None)
    }

    fn refused(&mut self, error: Error) -> anyhow::Result<()> {
        tracing::debug!(%error, "coordinator refused an input");
        Ok(())
    }
}

impl Coordinating {
    fn tell(&self, coordinator: &Coordinator, event: Event) {
        let job = self.job.0;
        match event {
            Event::Accepted { round, lane, worker, checker, guest, .. } => {
                self.context.metrics.lanes_accepted.inc();
                let checker = checker.map(|c| c.short());
                tracing::debug!(job = ?job, round, lane, worker = %worker.short(), ?checker, guest, "lane accepted");
            }
            Event::Rejected(rejection) => {
                let (round, lane, worker) = (rejection.round, rejection.lane, rejection.worker);
                let (kind, reason) = (rejection.reason.kind(), rejection.reason);
                if kind == RejectionKind::Late {
                    tracing::info!(job = ?job, round, lane, worker = %worker.short(), %reason, "result late");
                } else {
                    self.context.metrics.results_rejected.inc();
                    tracing::warn!(job = ?job, round, lane, worker = %worker.short(), %reason, "result refused");
                }
                let reason = super::light::shortened(&reason.to_string());
                self.context.events.push(light::Event::Rejected {
                    job,
                    round,
                    lane,
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
        jobs::take_report(&self.context, coordinator.progress());
    }
}

/// Makes objects of an outcome and sends the result, until the ledger has it.
async fn commit(
    context: &Arc<Context>,
    id: JobId,
    job: &Job,
    material: &Material,
    outcome: Outcome,
) {
    let result = match publish(context, id, job, material, &outcome).await {
        Ok(result) => result,
        Err(error) => {
            tracing::error!(job = %id, error = format!("{error:#}"), "cannot publish the result");
            return;
        }
    };
    while context.job(&id).is_some_and(|job| job.status == JobStatus::Running) {
        let action = Action::JobResult { job: id, result: result.clone() };
        match transactor::perform(context, action).await {
            Ok((_, height)) => tracing::info!(job = %id, height, "the result is in the ledger"),
            Err(TransactError::Stopping) => return,
            Err(error) => {
                tracing::warn!(job = %id, %error, "the result is not in the ledger yet");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

async fn publish(
    context: &Arc<Context>,
    id: JobId,
    job: &Job,
    material: &Material,
    outcome: &Outcome,
) -> anyhow::Result<JobResult> {
    let (output, blocks) = match (&outcome.concluded, material) {
        (Concluded::Trained(trained), Material::Training(dataset)) => {
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
        (Concluded::Answered(classes), _) => {
            let answers = audit::answers_block(id, job, classes.clone())?;
            (JobOutput::Answers(answers.cid), vec![answers])
        }
        (Concluded::Trained(_), Material::Inference { .. }) => {
            anyhow::bail!("an inference trains nothing")
        }
    };
    objects::keep(context, blocks).await?;
    Ok(outcome.result(output))
}
