//! `/tequio/sync/3`: serves final blocks and states to nodes that catch up.

use crate::{
    node::{chain::snapshot_cache::SnapshotCache, chain_view::ChainView},
    store::Store,
};
use std::sync::Arc;
use tequio_core::{
    codec::{self, BoundedVec},
    types::Height,
    wire::{
        compression,
        sync::{
            BLOCKS_MAX, Blocks, REQUEST_LEN_MAX, RESPONSE_LEN_MAX, Request, Response, Snapshots,
        },
    },
};
use tequio_p2p::Reply;

/// Cap of an answer. A block that would exceed it is left to the next request.
const ANSWER_LEN_MAX: usize = RESPONSE_LEN_MAX - 1024;

type Block = (tequio_core::ledger::Block, tequio_core::ledger::Certificate);

/// Answers from the store and from the states in memory.
#[derive(Clone, Debug)]
pub struct SyncServer {
    chain: ChainView,
    store: Arc<Store>,
    snapshots: Arc<SnapshotCache>,
}

impl SyncServer {
    /// Serves these blocks and states.
    pub fn new(chain: ChainView, store: Arc<Store>, snapshots: Arc<SnapshotCache>) -> Self {
        Self { chain, store, snapshots }
    }

    /// Answers a request.
    pub async fn serve(self, body: Vec<u8>, reply: Reply) {
        let Ok(request) = codec::decode::<Request>(&body, REQUEST_LEN_MAX) else { return };
        let answer =
            tokio::task::spawn_blocking(move || compression::encode(&self.answer(request)));
        if let Ok(body) = answer.await {
            reply.send(body);
        }
    }

    fn answer(&self, request: Request) -> Response {
        let head = self.chain.tip().height();
        let lowest = self.store.lowest_block().unwrap_or(Height::MAX);
        match request {
            Request::Blocks { from, count } => {
                Response::Blocks(Blocks { head, lowest, blocks: self.blocks(from, count) })
            }
            Request::Snapshots => {
                let headers = BoundedVec::truncated(self.snapshots.headers());
                Response::Snapshots(Snapshots { head, lowest, headers })
            }
            Request::Chunk { height, from } => {
                let chunk = self.snapshots.get(height).and_then(|tip| tip.state.chunk(&from));
                chunk.map_or(Response::Gone, Response::Chunk)
            }
        }
    }

    fn blocks(&self, from: Height, count: u16) -> BoundedVec<Block, BLOCKS_MAX> {
        let mut blocks = Vec::new();
        let mut len = 0;
        for height in (from..=Height::MAX).take(usize::from(count).min(BLOCKS_MAX)) {
            match self.store.block(height) {
                Ok(Some(item)) => {
                    len += codec::encode(&item).len();
                    if len > ANSWER_LEN_MAX {
                        break;
                    }
                    blocks.push(item);
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::error!(height, %error, "cannot read a block");
                    break;
                }
            }
        }
        BoundedVec::truncated(blocks)
    }
}
