//! `/tequio/sync/3`: serves final blocks and states, fetches missing ones, and keeps a node without
//! a seat at the head, because it receives no proposals.

use super::{context::NodeContext, machine::Inbox, state_sync};
use std::{sync::Arc, time::Duration};
use tequio_core::{
    codec::{self, BoundedVec},
    consensus::Input,
    types::{Height, NodeId},
    wire::{
        compression, light,
        sync::{
            BLOCKS_MAX, Blocks, REQUEST_LEN_MAX, RESPONSE_LEN_MAX, Request, Response, Snapshots,
        },
    },
};
use tequio_p2p::{Protocol, Reply};

const FETCH_TIMEOUT: Duration = Duration::from_secs(20);
/// Pause before another search for a peer, and after a peer that had nothing to supply.
pub const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// Interval at which a member checks whether it is in reduced mode.
const REDUCED_CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// Most blocks in one request.
const BLOCKS_PER_REQUEST: u16 = 128;
/// Cap of an answer. A block that would exceed it is left to the next request.
const ANSWER_LEN_MAX: usize = RESPONSE_LEN_MAX - 1024;

/// Answers a request.
pub async fn serve(context: Arc<NodeContext>, body: Vec<u8>, reply: Reply) {
    let Ok(request) = codec::decode::<Request>(&body, REQUEST_LEN_MAX) else { return };
    let answer =
        tokio::task::spawn_blocking(move || compression::encode(&answer(&context, request)));
    if let Ok(body) = answer.await {
        reply.send(body);
    }
}

fn answer(context: &NodeContext, request: Request) -> Response {
    let head = context.tip().height();
    let lowest = context.store.lowest_block().unwrap_or(Height::MAX);
    match request {
        Request::Blocks { from, count } => {
            Response::Blocks(Blocks { head, lowest, blocks: blocks(context, from, count) })
        }
        Request::Snapshots => {
            let headers = BoundedVec::truncated(context.snapshots.headers());
            Response::Snapshots(Snapshots { head, lowest, headers })
        }
        Request::Chunk { height, from } => {
            let chunk = context.snapshots.get(height).and_then(|tip| tip.state.chunk(&from));
            chunk.map_or(Response::Gone, Response::Chunk)
        }
    }
}

fn blocks(context: &NodeContext, from: Height, count: u16) -> BoundedVec<Block, BLOCKS_MAX> {
    let mut blocks = Vec::new();
    let mut len = 0;
    for height in (from..=Height::MAX).take(usize::from(count).min(BLOCKS_MAX)) {
        match context.store.block(height) {
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

type Block = (tequio_core::ledger::Block, tequio_core::ledger::Certificate);

/// Requests blocks from a peer and passes them to the replica, which verifies them. If the peer no
/// longer has them, or is far ahead, a whole state is fetched instead. Returns whether blocks or a
/// state arrived.
pub async fn fetch(
    context: &Arc<NodeContext>,
    inbox: &Inbox<Input>,
    peer: NodeId,
    from: Height,
) -> bool {
    let body = codec::encode(&Request::Blocks { from, count: BLOCKS_PER_REQUEST });
    let response = match context.network.request(peer, Protocol::Sync, body, FETCH_TIMEOUT).await {
        Ok(body) => compression::decode::<Response>(&body, RESPONSE_LEN_MAX).ok(),
        Err(error) => {
            tracing::debug!(peer = %peer.short(), %error, "no blocks");
            None
        }
    };
    let Some(Response::Blocks(Blocks { head, lowest, blocks })) = response else { return false };
    let behind = head.saturating_sub(from);
    // The reported head only decides whether to look for a state; a state is proved.
    if head >= from
        && (lowest > from || behind > context.snapshot_when_behind)
        && state_sync::run(context, inbox).await
    {
        return true;
    }
    if blocks.is_empty() {
        return false;
    }
    if behind > Height::from(BLOCKS_PER_REQUEST) {
        tracing::info!(peer = %peer.short(), from, behind, "catching up on blocks");
    } else {
        tracing::debug!(peer = %peer.short(), from, count = blocks.len(), "blocks from a peer");
    }
    context.sync_status.set_reported_head(head);
    inbox.send(Input::Synced { from: peer, blocks: blocks.into_vec() });
    true
}

/// Follows the head by asking one connected full node after the other; each request stays open
/// until the next block. Members receive missing blocks from other members, so they ask only after
/// a long time without a new block.
pub async fn follow(context: Arc<NodeContext>, inbox: Inbox<Input>) {
    let mut turn = 0usize;
    loop {
        if context.seat().is_some() && !context.is_reduced() {
            let mut tip = context.watch_tip();
            let _ = tokio::time::timeout(REDUCED_CHECK_INTERVAL, tip.changed()).await;
            continue;
        }
        let peers = context.full_nodes();
        let Some(peer) = peers.get(turn % peers.len().max(1)).copied() else {
            tokio::time::sleep(RETRY_INTERVAL).await;
            continue;
        };
        let after = context.tip().height();
        if !is_ahead(&context, peer, after).await {
            turn = turn.wrapping_add(1);
            tokio::time::sleep(RETRY_INTERVAL).await;
            continue;
        }
        let mut tip = context.watch_tip();
        if fetch(&context, &inbox, peer, after + 1).await {
            // Invalid blocks do not advance the head; then another peer is asked.
            let advanced =
                tokio::time::timeout(FETCH_TIMEOUT, tip.wait_for(|tip| tip.height() > after)).await;
            if advanced.is_ok() {
                continue;
            }
        }
        // A peer that reports a higher head but supplies nothing is not asked again at once.
        turn = turn.wrapping_add(1);
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

async fn is_ahead(context: &NodeContext, peer: NodeId, after: Height) -> bool {
    let request = light::Request::Head { after, wait_ms: light::HEAD_WAIT_MS_MAX };
    let wait = Duration::from_millis(light::HEAD_WAIT_MS_MAX.into()) + Duration::from_secs(5);
    let response =
        context.network.request(peer, Protocol::Light, codec::encode(&request), wait).await;
    let response =
        response.ok().and_then(|body| codec::decode(&body, light::RESPONSE_LEN_MAX).ok());
    matches!(response, Some(light::Response::Header(header)) if header.header.height > after)
}
