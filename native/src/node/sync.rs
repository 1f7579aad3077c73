//! `/tequio/sync/1`: serves final blocks, fetches those that are missing here, and keeps a node without a seat at the
//! head, which nobody tells it of.

use super::{context::Context, machine::Inbox};
use std::{sync::Arc, time::Duration};
use tequio_core::{
    codec::{self, BoundedVec},
    consensus::Input,
    types::{Height, NodeId},
    wire::{
        light,
        sync::{BLOCKS_MAX, REQUEST_LEN_MAX, RESPONSE_LEN_MAX, Request, Response},
    },
};
use tequio_p2p::{Protocol, Reply};

const FETCH_TIMEOUT: Duration = Duration::from_secs(20);
/// Between looks for somebody to ask.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Blocks in one answer.
const BLOCKS_AT_ONCE: u16 = 128;
/// A block that would exceed the cap together with those before it waits for the next question.
const ANSWER_LEN_MAX: usize = RESPONSE_LEN_MAX - 1024;

/// Answers a request for blocks.
pub async fn serve(context: Arc<Context>, body: Vec<u8>, reply: Reply) {
    let Ok(request) = codec::decode::<Request>(&body, REQUEST_LEN_MAX) else { return };
    let answer = tokio::task::spawn_blocking(move || answer(&context, request));
    if let Ok(body) = answer.await {
        reply.send(body);
    }
}

fn answer(context: &Context, request: Request) -> Vec<u8> {
    let mut blocks = Vec::new();
    let mut len = 0;
    for height in (request.from..).take(usize::from(request.count).min(BLOCKS_MAX)) {
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
    codec::encode(&Response { head: context.tip().height(), blocks: BoundedVec::truncated(blocks) })
}

/// Asks a peer for blocks and hands them to the replica, which believes nothing of them. Says whether there were any.
pub async fn fetch(context: &Context, inbox: &Inbox<Input>, peer: NodeId, from: Height) -> bool {
    let body = codec::encode(&Request { from, count: BLOCKS_AT_ONCE });
    let response = match context.network.request(peer, Protocol::Sync, body, FETCH_TIMEOUT).await {
        Ok(body) => codec::decode::<Response>(&body, RESPONSE_LEN_MAX).ok(),
        Err(error) => {
            tracing::debug!(peer = %peer.short(), %error, "no blocks");
            None
        }
    };
    let blocks = response.map(|r| r.blocks.into_vec()).unwrap_or_default();
    let some = !blocks.is_empty();
    if some {
        tracing::debug!(peer = %peer.short(), from, count = blocks.len(), "blocks from a peer");
        inbox.send(Input::Synced { from: peer, blocks });
    }
    some
}

/// Follows the head by asking one connected full node after the other, holding the question open for the next block.
pub async fn follow(context: Arc<Context>, inbox: Inbox<Input>) {
    let mut turn = 0usize;
    loop {
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
            let advanced = tokio::time::timeout(FETCH_TIMEOUT, tip.wait_for(|tip| tip.height() > after)).await;
            if advanced.is_ok() {
                continue;
            }
        }
        turn = turn.wrapping_add(1);
    }
}

async fn is_ahead(context: &Context, peer: NodeId, after: Height) -> bool {
    let request = light::Request::Head { after, wait_ms: light::HEAD_WAIT_MS_MAX };
    let wait = Duration::from_millis(light::HEAD_WAIT_MS_MAX.into()) + Duration::from_secs(5);
    let response = context.network.request(peer, Protocol::Light, codec::encode(&request), wait).await;
    let response = response.ok().and_then(|body| codec::decode(&body, light::RESPONSE_LEN_MAX).ok());
    matches!(response, Some(light::Response::Header(header)) if header.header.height > after)
}
