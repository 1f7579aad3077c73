//! `/tequio/sync/3`: serves final blocks and states, fetches what is missing here, and keeps a node
//! without a seat at the head, which nobody tells it of.

use super::{context::Context, machine::Inbox, snapshot};
use std::{sync::Arc, time::Duration};
use tequio_core::{
    codec::{self, BoundedVec},
    consensus::Input,
    types::{Height, NodeId},
    wire::{
        light, packed,
        sync::{
            BLOCKS_MAX, Blocks, REQUEST_LEN_MAX, RESPONSE_LEN_MAX, Request, Response, Snapshots,
        },
    },
};
use tequio_p2p::{Protocol, Reply};

const FETCH_TIMEOUT: Duration = Duration::from_secs(20);
/// Between looks for somebody to ask, and after a peer that had nothing to give.
pub const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Between looks of a member whether it has heard nothing for long.
const LOOK_WHETHER_REDUCED: Duration = Duration::from_secs(2);
/// Blocks in one answer.
const BLOCKS_AT_ONCE: u16 = 128;
/// A block that would exceed the cap together with those before it waits for the next question.
const ANSWER_LEN_MAX: usize = RESPONSE_LEN_MAX - 1024;

/// Answers a question.
pub async fn serve(context: Arc<Context>, body: Vec<u8>, reply: Reply) {
    let Ok(request) = codec::decode::<Request>(&body, REQUEST_LEN_MAX) else { return };
    let answer = tokio::task::spawn_blocking(move || packed::encode(&answer(&context, request)));
    if let Ok(body) = answer.await {
        reply.send(body);
    }
}

fn answer(context: &Context, request: Request) -> Response {
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

fn blocks(context: &Context, from: Height, count: u16) -> BoundedVec<Block, BLOCKS_MAX> {
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

/// Asks a peer for blocks and hands them to the replica, which believes nothing of them. Where the
/// peer has them no longer, or is very far ahead, a whole state is fetched instead. Says whether
/// anything came.
pub async fn fetch(
    context: &Arc<Context>,
    inbox: &Inbox<Input>,
    peer: NodeId,
    from: Height,
) -> bool {
    let body = codec::encode(&Request::Blocks { from, count: BLOCKS_AT_ONCE });
    let response = match context.network.request(peer, Protocol::Sync, body, FETCH_TIMEOUT).await {
        Ok(body) => packed::decode::<Response>(&body, RESPONSE_LEN_MAX).ok(),
        Err(error) => {
            tracing::debug!(peer = %peer.short(), %error, "no blocks");
            None
        }
    };
    let Some(Response::Blocks(Blocks { head, lowest, blocks })) = response else { return false };
    let behind = head.saturating_sub(from);
    // What the peer says of itself decides only whether a state is looked for; what is found is
    // proved.
    if head >= from
        && (lowest > from || behind > context.snapshot_when_behind)
        && snapshot::run(context, inbox).await
    {
        return true;
    }
    if blocks.is_empty() {
        return false;
    }
    if behind > Height::from(BLOCKS_AT_ONCE) {
        tracing::info!(peer = %peer.short(), from, behind, "catching up on blocks");
    } else {
        tracing::debug!(peer = %peer.short(), from, count = blocks.len(), "blocks from a peer");
    }
    context.sync.name(head);
    inbox.send(Input::Synced { from: peer, blocks: blocks.into_vec() });
    true
}

/// Follows the head by asking one connected full node after the other, holding the question open
/// for the next block. Members are told of what they miss, by those whom they know as members: they
/// ask only once nothing has come for long.
pub async fn follow(context: Arc<Context>, inbox: Inbox<Input>) {
    let mut turn = 0usize;
    loop {
        if context.seat().is_some() && !context.is_reduced() {
            let mut tip = context.watch_tip();
            let _ = tokio::time::timeout(LOOK_WHETHER_REDUCED, tip.changed()).await;
            continue;
        }
        let peers = context.full_nodes();
        let Some(peer) = peers.get(turn % peers.len().max(1)).copied() else {
            tokio::time::sleep(LOOK_AGAIN).await;
            continue;
        };
        let after = context.tip().height();
        if !is_ahead(&context, peer, after).await {
            turn = turn.wrapping_add(1);
            tokio::time::sleep(LOOK_AGAIN).await;
            continue;
        }
        let mut tip = context.watch_tip();
        if fetch(&context, &inbox, peer, after + 1).await {
            // Bad blocks move nothing: then somebody else is asked.
            let advanced =
                tokio::time::timeout(FETCH_TIMEOUT, tip.wait_for(|tip| tip.height() > after)).await;
            if advanced.is_ok() {
                continue;
            }
        }
        // Who says that it is ahead and has nothing to show for it is not asked again at once.
        turn = turn.wrapping_add(1);
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn is_ahead(context: &Context, peer: NodeId, after: Height) -> bool {
    let request = light::Request::Head { after, wait_ms: light::HEAD_WAIT_MS_MAX };
    let wait = Duration::from_millis(light::HEAD_WAIT_MS_MAX.into()) + Duration::from_secs(5);
    let response =
        context.network.request(peer, Protocol::Light, codec::encode(&request), wait).await;
    let response =
        response.ok().and_then(|body| codec::decode(&body, light::RESPONSE_LEN_MAX).ok());
    matches!(response, Some(light::Response::Header(header)) if header.header.height > after)
}
