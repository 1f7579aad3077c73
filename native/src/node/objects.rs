//! Objects that full nodes replicate: the data of every running job, and the output of every
//! finished one: model and record, or answers. They are fetched from the job's coordinator or any
//! other full node. Bytes that do not match the CID are refused.

use super::{blocking::blocking, context::NodeContext};
use crate::store::{ReadError, StoreError};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tequio_core::{
    codec,
    knowledge::{
        Cid, CidCodec,
        model::Model,
        object::{Block, Contents, contents},
    },
    ledger::job::{Job, JobStatus},
    types::{NodeId, Unverified, Verified},
    wire::light::{RESPONSE_LEN_MAX, Request, Response},
};
use tequio_p2p::Protocol;

const FETCH_TIMEOUT: Duration = Duration::from_secs(15);
/// Pause between attempts to fetch an object that no peer had.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// Why an object is missing.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No connected node had it.
    #[error("no connected node has object {0}")]
    NotFound(Cid),
    /// The contents are malformed.
    #[error("{0}")]
    Read(#[from] ReadError),
}

impl From<StoreError> for FetchError {
    fn from(error: StoreError) -> Self {
        Self::Read(error.into())
    }
}

/// Stores blocks that this node made.
pub async fn store_blocks(
    context: &Arc<NodeContext>,
    blocks: Vec<Block>,
) -> Result<(), FetchError> {
    let verify = |b: Block| Unverified::new(b).verify();
    let blocks =
        blocks.into_iter().map(verify).collect::<Result<Vec<_>, _>>().map_err(ReadError::from)?;
    put(context, blocks).await
}

async fn put(context: &Arc<NodeContext>, blocks: Vec<Verified<Block>>) -> Result<(), FetchError> {
    Ok(blocking(context, move |context| context.store.put_objects(&blocks)).await?)
}

/// The contents under a CID, from the store or from peers. Fetched contents are stored.
pub async fn fetch_contents(
    context: &Arc<NodeContext>,
    cid: Cid,
    first: NodeId,
) -> Result<Vec<u8>, FetchError> {
    let reader = context.clone();
    let read = move || reader.store.contents(&cid);
    if let Ok(Ok(bytes)) = tokio::task::spawn_blocking(read.clone()).await {
        return Ok(bytes);
    }
    let head = fetch(context, cid, first).await?;
    let mut blocks = vec![head.clone()];
    if let Contents::Parts { parts, .. } = contents(head).map_err(ReadError::from)? {
        for part in parts {
            blocks.push(fetch(context, part, first).await?);
        }
    }
    // In one write: if the first block is stored, the others are too.
    put(context, blocks).await?;
    Ok(tokio::task::spawn_blocking(read).await.map_err(|_| FetchError::NotFound(cid))??)
}

/// A single block, from the store or from peers. It is not stored.
pub async fn fetch(
    context: &Arc<NodeContext>,
    cid: Cid,
    first: NodeId,
) -> Result<Verified<Block>, FetchError> {
    if let Some(bytes) = context.store.object(&cid)? {
        return Ok(Unverified::new(Block { cid, bytes }).verify().map_err(ReadError::from)?);
    }
    let others = context.full_nodes();
    for peer in std::iter::once(first)
        .chain(others.into_iter().filter(|p| *p != first))
        .filter(|p| *p != context.id)
    {
        let body = codec::encode(&Request::Object { cid });
        let Ok(body) = context.network.request(peer, Protocol::Light, body, FETCH_TIMEOUT).await
        else {
            continue;
        };
        let Ok(Response::Object(bytes)) = codec::decode(&body, RESPONSE_LEN_MAX) else { continue };
        match Unverified::new(Block { cid, bytes: bytes.into_vec() }).verify() {
            Ok(block) => return Ok(block),
            Err(error) => tracing::warn!(peer = %peer.short(), %error, "a peer sent wrong bytes"),
        }
    }
    Err(FetchError::NotFound(cid))
}

/// Fetches the objects that the ledger's jobs name, until the node stops.
pub async fn replicate(context: Arc<NodeContext>) {
    let mut held = BTreeSet::new();
    let mut tips = context.watch_tip();
    loop {
        let mut missing = false;
        for (_, job) in context.jobs() {
            missing |= !replicate_job(&context, &job, &mut held).await;
        }
        if missing {
            tokio::time::sleep(RETRY_INTERVAL).await;
        } else if tips.changed().await.is_err() {
            return;
        }
    }
}

/// Fetches the missing objects of a job. Returns whether all are stored.
async fn replicate_job(context: &Arc<NodeContext>, job: &Job, held: &mut BTreeSet<Cid>) -> bool {
    let first = job.coordinator;
    let mut all = match job.status {
        JobStatus::Running | JobStatus::Pending { .. } => {
            ensure_contents(context, job.spec.dataset, first, held).await
        }
        JobStatus::Final { .. } | JobStatus::Failed { .. } => true,
    };
    if let JobStatus::Pending { result, .. } | JobStatus::Final { result, .. } = &job.status {
        all &= ensure_block(context, result.output.cid(), first, held).await;
        if let Some(trained) = result.output.model() {
            all &= ensure_block(context, trained.record, first, held).await;
            if let Some(weights) = weights_of(context, trained.model) {
                all &= ensure_contents(context, weights, first, held).await;
            }
        }
    }
    all
}

async fn ensure_block(
    context: &Arc<NodeContext>,
    cid: Cid,
    first: NodeId,
    held: &mut BTreeSet<Cid>,
) -> bool {
    if held.contains(&cid) || context.store.has_object(&cid).unwrap_or(false) {
        held.insert(cid);
        return true;
    }
    match fetch(context, cid, first).await {
        Ok(block) => put(context, vec![block]).await.is_ok(),
        Err(error) => {
            tracing::debug!(%cid, %error, "object not found yet");
            false
        }
    }
}

async fn ensure_contents(
    context: &Arc<NodeContext>,
    cid: Cid,
    first: NodeId,
    held: &mut BTreeSet<Cid>,
) -> bool {
    if held.contains(&cid) {
        return true;
    }
    match fetch_contents(context, cid, first).await {
        Ok(_) => {
            held.insert(cid);
            true
        }
        Err(error) => {
            tracing::debug!(%cid, %error, "object not found yet");
            false
        }
    }
}

/// The CID of a model's exact weights.
fn weights_of(context: &NodeContext, model: Cid) -> Option<Cid> {
    if model.codec != CidCodec::DagCbor {
        return None;
    }
    let bytes = context.store.object(&model).ok()??;
    let block = Unverified::new(Block { cid: model, bytes }).verify().ok()?;
    Some(Model::from_block(block).ok()?.weights)
}
