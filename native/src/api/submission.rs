//! Submissions and the keys that make them safe to repeat: the header `Idempotency-Key` of a
//! request that creates a job (draft-ietf-httpapi-idempotency-key-header). A request that is
//! repeated under its key gets the first answer, with the header `Idempotent-Replayed`. A key that
//! comes with other content is refused.

use super::{
    error::ApiError,
    reading::reading,
    writes::{WriteResult, outcome},
};
use crate::{
    node::{
        chain_view::ChainView, jobs::progress::JobsView, machine::now_ms, objects::Objects,
        writes::outbox::WriteOutbox,
    },
    store::{
        ClientWrite, Enqueued, IdempotencyKey, KEY_LEN_MAX, KeyedSubmission, OutboxError, Store,
        Submission,
    },
};
use axum::{
    Json,
    body::Bytes,
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;
use tequio_core::{
    codec::BoundedVec,
    content::{Cid, CidCodec, object},
    ledger::{Action, job::JobSpec},
};

/// The header with the client's key.
pub const KEY_HEADER: &str = "idempotency-key";
/// Free bytes of the disk below which no submission is accepted: blocks and votes need them.
pub const FREE_BYTES_MIN: u64 = 64 << 20;
/// The header that marks a repeated answer.
const REPLAYED_HEADER: &str = "idempotent-replayed";

/// The parts of the node that the handlers of jobs use.
pub struct JobsApi {
    pub chain: ChainView,
    pub store: Arc<Store>,
    pub jobs: JobsView,
    pub objects: Objects,
    pub outbox: WriteOutbox,
}

/// A job, its data, and its description in the answer.
pub type PreparedJob = (JobSpec, Vec<object::Block>, Value);

/// The key of a request, if it has one. Handlers extract it as a `Result` and refuse a bad key
/// after the body has been read: a response before that closes the connection under a client that
/// still sends, which then sees a lost connection instead.
pub struct ClientKey(Option<IdempotencyKey>);

impl<S: Send + Sync> FromRequestParts<S> for ClientKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Some(header) = parts.headers.get(KEY_HEADER) else { return Ok(Self(None)) };
        let text = header.to_str().unwrap_or_default().trim();
        // The draft puts the key in quotation marks; most clients omit them.
        let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        IdempotencyKey::parse(bare).map(|key| Self(Some(key))).ok_or_else(|| {
            ApiError::bad(format!(
                "Idempotency-Key must have 1 to {KEY_LEN_MAX} visible ASCII characters, without \
                 quotation marks inside"
            ))
        })
    }
}

/// A key and the digest of the submission's content.
pub struct ContentKey(Option<(IdempotencyKey, [u8; 32])>);

impl ClientKey {
    /// Binds the key to everything that determines the submission. Returns the body.
    pub async fn of_content(
        self,
        kind: &str,
        options: &impl Serialize,
        body: Bytes,
    ) -> Result<(ContentKey, Bytes), ApiError> {
        let Some(key) = self.0 else { return Ok((ContentKey(None), body)) };
        let options = json!([kind, options]).to_string();
        reading(&(), move |()| {
            let mut content = Cid::of(CidCodec::Raw, &body).digest.to_vec();
            content.extend_from_slice(options.as_bytes());
            (ContentKey(Some((key, Cid::of(CidCodec::Raw, &content).digest))), body)
        })
        .await
    }
}

impl ContentKey {
    /// The answer to the earlier submission under this key, if there is one.
    pub async fn known(&self, api: &JobsApi) -> Result<Option<Response>, ApiError> {
        let Some((key, content)) = self.0.clone() else { return Ok(None) };
        let wanted = key.clone();
        let found = reading(&api.store, move |store| store.submission(&wanted, now_ms())).await?;
        match found.map_err(ApiError::internal)? {
            None => Ok(None),
            Some(known) if known.content == content => replay(api, known).await.map(Some),
            Some(_) => Err(OutboxError::KeyReused(key.as_str().to_owned()).into()),
        }
    }
}

/// Stores a job's data, and submits the job to the ledger once for each key.
pub async fn submit(
    api: &JobsApi,
    ContentKey(key): ContentKey,
    (spec, blocks, about): PreparedJob,
) -> Result<Response, ApiError> {
    let len: usize = blocks.iter().map(|block| block.bytes.len()).sum();
    check_room(api, len as u64).await?;
    api.objects.store_blocks(blocks).await.map_err(ApiError::internal)?;
    let write = ClientWrite::Own(Action::SubmitJob(spec));
    let number = match key {
        None => api.outbox.submit(write).await?,
        Some((key, content)) => {
            let about =
                BoundedVec::try_from(about.to_string().into_bytes()).map_err(ApiError::internal)?;
            match api.outbox.submit_keyed(write, KeyedSubmission { key, content, about }).await? {
                Enqueued::New(number) => number,
                Enqueued::Known(known) => return replay(api, known).await,
            }
        }
    };
    let (_, done) = outcome(&api.outbox, number).await?;
    Ok(answer(api, done, about))
}

/// Refuses a submission if the disk lacks room for it, so that blocks keep theirs.
async fn check_room(api: &JobsApi, len: u64) -> Result<(), ApiError> {
    let needed = FREE_BYTES_MIN + 2 * len;
    let (free, path) =
        reading(&api.store, |store| (store.free_bytes(), store.path().to_path_buf())).await?;
    match free {
        Some(free) if free < needed => Err(ApiError::storage(format!(
            "the disk of {} has {} MiB left, and this submission needs {}: free some space and \
             send it again",
            path.display(),
            free >> 20,
            needed.div_ceil(1 << 20)
        ))),
        _ => Ok(()),
    }
}

/// Repeats the first answer.
async fn replay(api: &JobsApi, known: Submission) -> Result<Response, ApiError> {
    let about: Value = serde_json::from_slice(&known.about).map_err(ApiError::internal)?;
    let done = match known.applied {
        Some((transaction, height)) => WriteResult::Applied { transaction, height },
        None => outcome(&api.outbox, known.number).await?.1,
    };
    let mut response = answer(api, done, about);
    response.headers_mut().insert(REPLAYED_HEADER, axum::http::HeaderValue::from_static("true"));
    Ok(response)
}

fn answer(api: &JobsApi, done: WriteResult, about: Value) -> Response {
    let mut view = about;
    let status = match done {
        WriteResult::Applied { transaction, height } => {
            view["id"] = json!(transaction.to_string());
            view["submitted"] = json!(height);
            StatusCode::CREATED
        }
        WriteResult::Queued(number) => {
            view["queued"] = json!(number);
            view["final"] = json!(false);
            view["reduced"] = json!(api.chain.is_reduced());
            StatusCode::ACCEPTED
        }
    };
    (status, Json(view)).into_response()
}
