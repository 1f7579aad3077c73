//! Fetches missing blocks, and keeps a node without a seat at the head, because it receives no
//! proposals. Peers answer by `/tequio/sync/3`, see `serve::sync`.

use super::{state_sync::StateSync, sync_status::SyncStatus};
use crate::node::{chain_view::ChainView, machine::Inbox, peers::agent::full_nodes};
use std::{sync::Arc, time::Duration};
use tequio_core::{
    codec,
    consensus::Input,
    types::{Height, NodeId},
    wire::{
        compression, light,
        sync::{Blocks, RESPONSE_LEN_MAX, Request, Response},
    },
};
use tequio_p2p::{Network, Protocol};

const FETCH_TIMEOUT: Duration = Duration::from_secs(20);
/// Pause before another search for a peer, and after a peer that had nothing to supply.
pub const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// Interval at which a member checks whether it is in reduced mode.
const REDUCED_CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// Most blocks in one request.
const BLOCKS_PER_REQUEST: u16 = 128;

/// Fetches blocks for the replica.
#[derive(Clone, Debug)]
pub struct BlockSync {
    /// The head.
    pub chain: ChainView,
    /// The peers that get requests.
    pub network: Network,
    /// Fetches a whole state if the blocks are too many or gone.
    pub state_sync: StateSync,
    /// Progress, for people.
    pub status: Arc<SyncStatus>,
    /// The consensus replica.
    pub replica: Inbox<Input>,
}

impl BlockSync {
    /// Requests blocks from a peer and passes them to the replica, which verifies them. If the peer
    /// no longer has them, or is far ahead, a whole state is fetched instead. Returns whether
    /// blocks or a state arrived.
    pub async fn fetch(&self, peer: NodeId, from: Height) -> bool {
        let body = codec::encode(&Request::Blocks { from, count: BLOCKS_PER_REQUEST });
        let response = match self.network.request(peer, Protocol::Sync, body, FETCH_TIMEOUT).await {
            Ok(body) => compression::decode::<Response>(&body, RESPONSE_LEN_MAX).ok(),
            Err(error) => {
                tracing::debug!(peer = %peer.short(), %error, "no blocks");
                None
            }
        };
        let Some(Response::Blocks(Blocks { head, lowest, blocks })) = response else {
            return false;
        };
        let behind = head.saturating_sub(from);
        // The reported head only decides whether to look for a state; a state is proved.
        if head >= from
            && (lowest > from || behind > self.state_sync.when_behind)
            && self.state_sync.run().await
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
        self.status.set_reported_head(head);
        self.replica.send(Input::Synced { from: peer, blocks: blocks.into_vec() });
        true
    }

    /// Follows the head by asking one connected full node after the other; each request stays open
    /// until the next block. Members receive missing blocks from other members, so they send
    /// requests only after a long time without a new block.
    pub async fn follow(self) {
        let mut turn = 0usize;
        loop {
            if self.chain.seat().is_some() && !self.chain.is_reduced() {
                let mut tip = self.chain.watch_tip();
                let _ = tokio::time::timeout(REDUCED_CHECK_INTERVAL, tip.changed()).await;
                continue;
            }
            let peers = full_nodes(&self.network);
            let Some(peer) = peers.get(turn % peers.len().max(1)).copied() else {
                tokio::time::sleep(RETRY_INTERVAL).await;
                continue;
            };
            let after = self.chain.tip().height();
            if !self.is_ahead(peer, after).await {
                turn = turn.wrapping_add(1);
                tokio::time::sleep(RETRY_INTERVAL).await;
                continue;
            }
            let mut tip = self.chain.watch_tip();
            if self.fetch(peer, after + 1).await {
                // Invalid blocks do not advance the head; then the request goes to another peer.
                let advanced =
                    tokio::time::timeout(FETCH_TIMEOUT, tip.wait_for(|tip| tip.height() > after))
                        .await;
                if advanced.is_ok() {
                    continue;
                }
            }
            // A peer that reports a higher head but supplies nothing gets no new request at once.
            turn = turn.wrapping_add(1);
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    async fn is_ahead(&self, peer: NodeId, after: Height) -> bool {
        let request = light::Request::Head { after, wait_ms: light::HEAD_WAIT_MS_MAX };
        let wait = Duration::from_millis(light::HEAD_WAIT_MS_MAX.into()) + Duration::from_secs(5);
        let response =
            self.network.request(peer, Protocol::Light, codec::encode(&request), wait).await;
        let response =
            response.ok().and_then(|body| codec::decode(&body, light::RESPONSE_LEN_MAX).ok());
        matches!(response, Some(light::Response::Header(header)) if header.header.height > after)
    }
}
