//! Jobs: submission of a data set, progress, cancellation, and the proof of a result.

use super::{
    error::ApiError,
    guard::Authorized,
    reading::reading,
    submission::{ClientKey, JobsApi, PreparedJob, submit},
    view,
    writes::{WriteResult, write},
};
use crate::{
    data,
    node::{
        chain::proofs,
        chain_view::ChainView,
        jobs::progress::{JobsView, proof_keys},
    },
};
use axum::{
    Json,
    body::Bytes,
    extract::{Path, Query, State},
    http::header,
    response::{
        IntoResponse, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures::stream;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tequio_core::{
    codec::{self, BoundedString, BoundedVec},
    compute::{
        dataset::{CsvOptions, DatasetError, Label, Scaling, prepare, read_batch},
        limits::DATASET_BYTES_MAX,
        params::JobParams,
    },
    content::object,
    ledger::{
        Action,
        job::{InferenceTask, JOB_NAME_LEN_MAX, JobId, JobSpec, JobStatus, JobTask, TrainingTask},
    },
    objects::model::Model,
    scheduler::coordinator::FULL_SHARE,
    wire::light::Response,
};

/// Idle time on an event stream after which a comment keeps it alive. Clients time out after three
/// times this.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// How long other nodes are queried for a model that is missing here.
const MODEL_WITHIN: Duration = Duration::from_secs(5);

/// Options of a training, as query parameters.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Train {
    label: String,
    #[serde(default = "default_true")]
    header: bool,
    separator: Option<char>,
    scale: Option<String>,
    layers: String,
    rounds: Option<u32>,
    #[serde(default)]
    seed: u32,
    #[serde(default)]
    name: String,
    mode: Option<String>,
}

/// Options of an inference, as query parameters.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Infer {
    #[serde(default = "default_true")]
    header: bool,
    separator: Option<char>,
    #[serde(default)]
    name: String,
}

const fn default_true() -> bool {
    true
}

pub async fn list(State(api): State<Arc<JobsApi>>) -> Result<Json<Value>, ApiError> {
    let views = |api: &Arc<JobsApi>| {
        let listed = api.jobs.progress_of_all();
        listed.iter().map(|progress| view::in_list(&api.chain, progress)).collect::<Vec<_>>()
    };
    let jobs = reading(&api, views).await?;
    Ok(Json(json!({"jobs": jobs})))
}

/// Prepares the data, stores it as an object and submits the job. Responds when the job is in the
/// ledger, or its write is queued.
pub async fn train(
    _: Authorized,
    State(api): State<Arc<JobsApi>>,
    key: Result<ClientKey, ApiError>,
    Query(options): Query<Train>,
    body: Bytes,
) -> Result<impl IntoResponse, ApiError> {
    let (key, body) = key?.of_content("train", &options, body).await?;
    if let Some(answer) = key.known(&api).await? {
        return Ok(answer);
    }
    submit(&api, key, reading(&(), move |()| prepare_training(&options, body.to_vec())).await??)
        .await
}

/// Prepares rows for the model of a final training, stores them as an object and submits the job.
pub async fn infer(
    _: Authorized,
    State(api): State<Arc<JobsApi>>,
    Path(trained): Path<String>,
    key: Result<ClientKey, ApiError>,
    Query(options): Query<Infer>,
    body: Bytes,
) -> Result<impl IntoResponse, ApiError> {
    let (id, job) = known(&api.chain, &trained)?;
    let (key, body) = key?.of_content(&format!("infer {id}"), &options, body).await?;
    if let Some(answer) = key.known(&api).await? {
        return Ok(answer);
    }
    let (JobStatus::Final { result, .. }, Some(task)) = (&job.status, job.spec.training()) else {
        let why = view::no_result(&job.status).map_or(String::new(), |why| format!(": {why}"));
        return Err(ApiError::conflict(format!("job {id} has not trained a model{why}")));
    };
    let cid = result.output.cid();
    let block = tokio::time::timeout(MODEL_WITHIN, api.objects.fetch(cid, job.coordinator)).await;
    let missing = |_| {
        ApiError::busy(format!(
            "the model {cid} is not here yet, and no peer has sent it: try again"
        ))
    };
    let block = block.map_err(missing)?.map_err(ApiError::internal)?;
    let model = Model::from_block(block).map_err(ApiError::internal)?;
    let architecture = task.params.architecture.clone();
    let task = InferenceTask { training_job: id, model: cid, architecture, rows: 0 };
    let specified =
        reading(&(), move |()| prepare_inference(&options, task, &model, body.to_vec())).await??;
    submit(&api, key, specified).await
}

fn prepare_inference(
    options: &Infer,
    task: InferenceTask,
    model: &Model,
    body: Vec<u8>,
) -> Result<PreparedJob, ApiError> {
    let csv = data::unpack(body).map_err(ApiError::bad)?;
    let rows =
        read_batch(&csv, options.header, options.separator, &model.columns, model.normalizer());
    let rows = rows.map_err(ApiError::bad)?;
    let bytes = codec::encode(&rows);
    if bytes.len() > DATASET_BYTES_MAX {
        return Err(ApiError::bad(DatasetError::DataTooLarge { found: bytes.len() }));
    }
    let blocks = object::split(&bytes).map_err(ApiError::bad)?;
    let dataset = blocks.first().ok_or_else(|| ApiError::internal("no block of the rows"))?.cid;
    let task = InferenceTask { rows: rows.rows(), ..task };
    let name = if options.name.is_empty() { &model.label } else { &options.name };
    let spec = JobSpec { name: job_name(name)?, dataset, task: JobTask::Infer(task) };
    let work = spec.work().ok_or_else(|| {
        ApiError::bad("the batch is too large for this model: send fewer rows at once")
    })?;
    let about = json!({
        "name": spec.name.to_string(), "dataset_cid": dataset.to_string(), "rows": rows.rows(),
        "features": rows.features(), "units_total": work.units,
    });
    Ok((spec, blocks, about))
}

fn job_name(name: &str) -> Result<BoundedString<JOB_NAME_LEN_MAX>, ApiError> {
    if name.chars().any(char::is_control) {
        return Err(ApiError::bad(format!(
            "the name {name:?} has control characters: leave them out"
        )));
    }
    name.try_into().map_err(|_| {
        ApiError::bad(format!("the name {name:?} is longer than {JOB_NAME_LEN_MAX} bytes"))
    })
}

fn prepare_training(options: &Train, body: Vec<u8>) -> Result<PreparedJob, ApiError> {
    let csv = data::unpack(body).map_err(ApiError::bad)?;
    let mut reading = CsvOptions::new(Label::Name(&options.label));
    reading.header = options.header;
    reading.separator = options.separator;
    reading.seed = options.seed;
    reading.scaling = match options.scale.as_deref() {
        None => None,
        Some("column") => Some(Scaling::PerColumn),
        Some("global") => Some(Scaling::Global),
        Some(other) => {
            return Err(ApiError::bad(format!("scale is {other}, but must be column or global")));
        }
    };
    let dataset = prepare(&csv, &reading).map_err(ApiError::bad)?;
    let hidden = layers(&options.layers)?;
    let mut params =
        JobParams::for_dataset(&dataset, &hidden, options.seed).map_err(ApiError::bad)?;
    match options.mode.as_deref() {
        None | Some("local") => {}
        Some("exact") => params = params.exact(),
        Some(other) => {
            return Err(ApiError::bad(format!("mode is {other}, but must be local or exact")));
        }
    }
    if let Some(rounds) = options.rounds {
        params.rounds = rounds;
    }
    let plan = params.clone().validate().map_err(ApiError::bad)?;
    let blocks = object::split(&codec::encode(&dataset)).map_err(ApiError::bad)?;
    let cid = blocks.first().ok_or_else(|| ApiError::internal("no block of the data set"))?.cid;
    let name = if options.name.is_empty() { dataset.label() } else { &options.name };
    let task = TrainingTask {
        params,
        training_rows: dataset.train().rows(),
        spot_check_share: FULL_SHARE,
    };
    let spec = JobSpec { name: job_name(name)?, dataset: cid, task: JobTask::Train(task) };
    let about = json!({
        "name": spec.name.to_string(), "dataset_cid": cid.to_string(),
        "features": dataset.features(),
        "classes": dataset.classes().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "training_rows": dataset.train().rows(), "test_rows": dataset.test().rows(),
        "rounds": plan.rounds(),
        "units_total": u64::from(plan.rounds()) * u64::from(plan.units_per_round()),
    });
    Ok((spec, blocks, about))
}

/// Parses widths such as `64,32`. Empty for none.
fn layers(text: &str) -> Result<Vec<u32>, ApiError> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let width = |part: &str| {
        part.trim().parse::<u32>().map_err(|_| {
            ApiError::bad(format!("layers: {part:?} is no width; write for example 64,32"))
        })
    };
    text.split(',').map(width).collect()
}

fn known(chain: &ChainView, id: &str) -> Result<(JobId, tequio_core::ledger::job::Job), ApiError> {
    let id: JobId = id.parse().map_err(ApiError::bad)?;
    chain.job(&id).map(|job| (id, job)).ok_or_else(|| ApiError::no_job(id))
}

pub async fn show(
    State(api): State<Arc<JobsApi>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let (id, job) = known(&api.chain, &id)?;
    Ok(Json(reading(&api, move |api| view::job(&api.jobs, &id, &job)).await?))
}

pub async fn cancel(
    _: Authorized,
    State(api): State<Arc<JobsApi>>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, ApiError> {
    let (id, _) = known(&api.chain, &id)?;
    let (status, done) = write(&api.outbox, Action::CancelJob { job: id }).await?;
    let view = match done {
        WriteResult::Applied { transaction, height } => {
            json!({"id": id.to_string(), "transaction": transaction.to_string(), "height": height})
        }
        WriteResult::Queued(number) => {
            let reduced = api.chain.is_reduced();
            json!({"id": id.to_string(), "queued": number, "final": false, "reduced": reduced})
        }
    };
    Ok((status, Json(view)))
}

/// The newest proof of a job and its ref, with the header that proves them, in the protocol's own
/// encoding.
pub async fn proof(
    State(api): State<Arc<JobsApi>>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, ApiError> {
    let (id, job) = known(&api.chain, &id)?;
    let keys = proof_keys(&id, job.spec.kind())
        .ok_or_else(|| ApiError::internal("a job's name is too long"))?;
    let (header, entries) = proofs::prove(&api.chain, &keys);
    let response = Response::Proved { header, entries: BoundedVec::truncated(entries) };
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], codec::encode(&response)))
}

/// Streams the progress of a job at each change, until the job is over.
pub async fn events(
    State(api): State<Arc<JobsApi>>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, ApiError> {
    let (id, _) = known(&api.chain, &id)?;
    let watch = JobStream {
        chain: api.chain.clone(),
        jobs: api.jobs.clone(),
        id,
        last: Value::Null,
        over: false,
    };
    Ok(Sse::new(stream::unfold(watch, JobStream::next))
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

struct JobStream {
    chain: ChainView,
    jobs: JobsView,
    id: JobId,
    last: Value,
    over: bool,
}

impl JobStream {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        let mut tips = self.chain.watch_tip();
        let mut reports = self.jobs.reports.watch();
        while !self.over {
            let job = self.chain.job(&self.id)?;
            let (jobs, id) = (self.jobs.clone(), self.id);
            self.over = matches!(job.status, JobStatus::Final { .. } | JobStatus::Failed { .. });
            let view =
                tokio::task::spawn_blocking(move || view::job(&jobs, &id, &job)).await.ok()?;
            if view != self.last {
                self.last = view;
                let event = Event::default().event("job").data(self.last.to_string());
                return Some((Ok(event), self));
            }
            tokio::select! {
                changed = tips.changed() => changed.ok()?,
                changed = reports.changed() => changed.ok()?,
            }
        }
        None
    }
}
