//! Objects that full nodes replicate: the data of every running job, and the output of every
//! finished one: model and record, or answers. They are fetched from the job's coordinator or any
//! other full node. Bytes that do not match the CID are refused.

use super::{blocking::blocking, chain_view::ChainView, peers::agent::full_nodes};
use crate::store::{ReadError, Store, StoreError};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tequio_core::{
    codec,
    content::{
        Cid, CidCodec,
        object::{Block, Contents, contents},
    },
    ledger::job::{Job, JobStatus},
    objects::model::Model,
    types::{NodeId, Unverified, Verified},
    wire::light::{RESPONSE_LEN_MAX, Request, Response},
};
use tequio_p2p::{Network, Protocol};

const FETCH_TIMEOUT: Duration = Duration::from_secs(15);
/// Pause between attempts to fetch an object that no peer had.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// The reason why an object is missing.
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

/// The objects of this node: those in its store, and those that its peers have.
#[derive(Clone, Debug)]
pub struct Objects {
    chain: ChainView,
    store: Arc<Store>,
    network: Network,
}

impl Objects {
    /// Keeps objects in this store.
    pub fn new(chain: ChainView, store: Arc<Store>, network: Network) -> Self {
        Self { chain, store, network }
    }

    /// Stores blocks that this node made.
    pub async fn store_blocks(&self, blocks: Vec<Block>) -> Result<(), FetchError> {
        let verify = |b: Block| Unverified::new(b).verify();
        let blocks = blocks
            .into_iter()
            .map(verify)
            .collect::<Result<Vec<_>, _>>()
            .map_err(ReadError::from)?;
        self.put(blocks).await
    }

    async fn put(&self, blocks: Vec<Verified<Block>>) -> Result<(), FetchError> {
        Ok(blocking(&self.store, move |store| store.put_objects(&blocks)).await?)
    }

    /// The contents under a CID, from the store or from peers. Fetched contents are stored.
    pub async fn fetch_contents(&self, cid: Cid, first: NodeId) -> Result<Vec<u8>, FetchError> {
        let reader = self.store.clone();
        let read = move || reader.contents(&cid);
        if let Ok(Ok(bytes)) = tokio::task::spawn_blocking(read.clone()).await {
            return Ok(bytes);
        }
        let head = self.fetch(cid, first).await?;
        let mut blocks = vec![head.clone()];
        if let Contents::Parts { parts, .. } = contents(head).map_err(ReadError::from)? {
            for part in parts {
                blocks.push(self.fetch(part, first).await?);
            }
        }
        // In one write: if the first block is stored, the others are too.
        self.put(blocks).await?;
        Ok(tokio::task::spawn_blocking(read).await.map_err(|_| FetchError::NotFound(cid))??)
    }

    /// A single block, from the store or from peers. It is not stored.
    pub async fn fetch(&self, cid: Cid, first: NodeId) -> Result<Verified<Block>, FetchError> {
        if let Some(bytes) = self.store.object(&cid)? {
            return Ok(Unverified::new(Block { cid, bytes }).verify().map_err(ReadError::from)?);
        }
        let others = full_nodes(&self.network);
        for peer in std::iter::once(first)
            .chain(others.into_iter().filter(|p| *p != first))
            .filter(|p| *p != self.chain.node)
        {
            let body = codec::encode(&Request::Object { cid });
            let Ok(body) = self.network.request(peer, Protocol::Light, body, FETCH_TIMEOUT).await
            else {
                continue;
            };
            let Ok(Response::Object(bytes)) = codec::decode(&body, RESPONSE_LEN_MAX) else {
                continue;
            };
            match Unverified::new(Block { cid, bytes: bytes.into_vec() }).verify() {
                Ok(block) => return Ok(block),
                Err(error) => {
                    tracing::warn!(peer = %peer.short(), %error, "a peer sent wrong bytes")
                }
            }
        }
        Err(FetchError::NotFound(cid))
    }

    /// Fetches the objects that the ledger's jobs name, until the node stops.
    pub async fn replicate(self) {
        let mut held = BTreeSet::new();
        let mut tips = self.chain.watch_tip();
        loop {
            let mut missing = false;
            for (_, job) in self.chain.jobs() {
                missing |= !self.replicate_job(&job, &mut held).await;
            }
            if missing {
                tokio::time::sleep(RETRY_INTERVAL).await;
            } else if tips.changed().await.is_err() {
                return;
            }
        }
    }

    /// Fetches the missing objects of a job. Returns whether all are stored.
    async fn replicate_job(&self, job: &Job, held: &mut BTreeSet<Cid>) -> bool {
        let first = job.coordinator;
        let mut all = match job.status {
            JobStatus::Running | JobStatus::Pending { .. } => {
                self.ensure_contents(job.spec.dataset, first, held).await
            }
            JobStatus::Final { .. } | JobStatus::Failed { .. } => true,
        };
        if let JobStatus::Pending { result, .. } | JobStatus::Final { result, .. } = &job.status {
            all &= self.ensure_block(result.output.cid(), first, held).await;
            if let Some(trained) = result.output.model() {
                all &= self.ensure_block(trained.record, first, held).await;
                if let Some(weights) = self.weights_of(trained.model) {
                    all &= self.ensure_contents(weights, first, held).await;
                }
            }
        }
        all
    }

    async fn ensure_block(&self, cid: Cid, first: NodeId, held: &mut BTreeSet<Cid>) -> bool {
        if held.contains(&cid) || self.store.has_object(&cid).unwrap_or(false) {
            held.insert(cid);
            return true;
        }
        match self.fetch(cid, first).await {
            Ok(block) => self.put(vec![block]).await.is_ok(),
            Err(error) => {
                tracing::debug!(%cid, %error, "object not found yet");
                false
            }
        }
    }

    async fn ensure_contents(&self, cid: Cid, first: NodeId, held: &mut BTreeSet<Cid>) -> bool {
        if held.contains(&cid) {
            return true;
        }
        match self.fetch_contents(cid, first).await {
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
    fn weights_of(&self, model: Cid) -> Option<Cid> {
        if model.codec != CidCodec::DagCbor {
            return None;
        }
        let bytes = self.store.object(&model).ok()??;
        let block = Unverified::new(Block { cid: model, bytes }).verify().ok()?;
        Some(Model::from_block(block).ok()?.weights)
    }
}
