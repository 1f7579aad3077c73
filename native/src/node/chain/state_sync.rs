//! Fetches the whole state of a final block, if replaying the blocks up to it would take too long
//! or no peer has them any more.
//!
//! A peer's header is verified only by the light client's rules, from the checkpoint or from this
//! node's own head, whichever is newer. Each chunk is proved against the header's state root before
//! it is stored. It is on disk, with the key of the next chunk, before the next request, so a crash
//! costs one chunk. Requests rotate among the peers. A peer that sends invalid data is banned.

use super::{handovers, sync_status::SyncStatus};
use crate::{
    node::{
        blocking::blocking,
        chain_view::ChainView,
        machine::{Inbox, now_ms},
        peers::agent::full_nodes,
        telemetry::metrics::Metrics,
    },
    store::{Store, StoreError},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tequio_core::{
    codec,
    consensus::{Head, Input, SnapshotError},
    ledger::{Checkpoint, genesis::BootstrapError, state::ChunkError},
    light::{LightClient, LightError},
    types::{Digest, Epoch, Height, NodeId, Unverified, Verified},
    wire::{
        compression,
        light::FinalHeader,
        sync::{REQUEST_LEN_MAX, RESPONSE_LEN_MAX, Request, Response, Snapshots},
    },
};
use tequio_p2p::{Network, Protocol};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const CHUNK_TIMEOUT: Duration = Duration::from_secs(30);
/// Most peers that get a request for offers.
const PEERS_MAX: usize = 16;
/// Consecutive failures, over all peers, after which another state is chosen.
const FAILURES_MAX: usize = 8;
/// Committee handovers in one request. Verifying them takes about 0.1 s.
const HANDOVERS_AT_ONCE: Epoch = 128;
/// Chunks between two log lines.
const LOG_EVERY: u64 = 64;

/// The reason why no state was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No peer gets a request without a trusted start.
    #[error("{0}; put a newer checkpoint.bin into the node's directory")]
    Trust(#[from] BootstrapError),
    /// No peer offers a newer state now.
    #[error("no connected node offers a newer state than the local one")]
    NotOffered,
    /// A peer has the blocks, and they are not too many.
    #[error("the missing blocks are available, so no state is fetched")]
    NotNeeded,
    /// The peers that offered the state no longer supply it.
    #[error("the nodes that offered the state of height {0} no longer serve it")]
    Lost(Height),
    /// A failure of the store.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A local fault, or the software is too old.
    #[error("{0}")]
    Snapshot(#[from] SnapshotError),
    /// The node stops.
    #[error("the node is stopping")]
    Stopping,
}

/// Invalid data from a peer.
#[derive(Debug, thiserror::Error)]
enum InvalidData {
    #[error("offered a state whose header is not final: {0}")]
    Header(LightError),
    #[error("sent an invalid committee handover: {0}")]
    Handover(LightError),
    #[error("sent a bad chunk of the state: {0}")]
    Chunk(ChunkError),
}

type SnapshotOffer = (Verified<FinalHeader>, Vec<NodeId>);

enum Answer {
    Chunk(tequio_core::ledger::state::StateChunk),
    Gone,
    Nothing,
}

/// Fetches states.
#[derive(Clone, Debug)]
pub struct StateSync {
    /// The head, from which offers are verified.
    pub chain: ChainView,
    /// Received chunks.
    pub store: Arc<Store>,
    /// The peers that get requests.
    pub network: Network,
    /// Counts peers that send invalid data.
    pub metrics: Arc<Metrics>,
    /// Progress, for people.
    pub status: Arc<SyncStatus>,
    /// The checkpoint file from which light nodes start.
    pub checkpoint: Arc<[u8]>,
    /// Number of blocks behind the head from which a whole state is fetched instead.
    pub when_behind: Height,
    /// The consensus replica.
    pub replica: Inbox<Input>,
}

impl StateSync {
    /// Fetches a state that is newer than the head, and passes it to the replica. Returns false if
    /// it fails, and at once if another call is in progress.
    pub async fn run(&self) -> bool {
        let Ok(mut banned_peers) = self.status.banned_peers.try_lock() else { return false };
        let fetched = self.fetch(&mut banned_peers).await;
        self.status.clear_fetch_progress();
        match fetched {
            Ok(height) => {
                tracing::info!(height, "continuing from a fetched state");
                true
            }
            Err(error @ (FetchError::NotNeeded | FetchError::NotOffered)) => {
                tracing::debug!(%error, "cannot fetch a state");
                false
            }
            Err(error) => {
                tracing::warn!(%error, "cannot fetch a state");
                false
            }
        }
    }

    async fn fetch(&self, banned_peers: &mut BTreeSet<NodeId>) -> Result<Height, FetchError> {
        let light = self.trusted_head()?;
        let (mut offers, has_blocks) = self.collect_offers(light, banned_peers).await;
        // These headers are verified as final, so they show how far behind this node is.
        let newest = offers
            .last_key_value()
            .map(|((height, _), _)| *height)
            .ok_or(FetchError::NotOffered)?;
        if has_blocks && newest.saturating_sub(self.chain.tip().height()) <= self.when_behind {
            return Err(FetchError::NotNeeded);
        }
        let staged = blocking(&self.store, |store| store.staged()).await?;
        let resumable = staged.and_then(|staged| {
            let offer =
                offers.remove(&(staged.header.header.height, staged.header.header.digest()))?;
            Some((staged, offer))
        });
        let (mut progress, (header, mut peers)) = match resumable {
            Some(resumed) => resumed,
            None => {
                let (_, offer) = offers.pop_last().ok_or(FetchError::NotOffered)?;
                let header = FinalHeader::clone(&offer.0);
                (blocking(&self.store, move |store| store.stage_begin(&header)).await?, offer)
            }
        };
        let height = header.header.height;
        tracing::info!(height, peers = peers.len(), entries = progress.entries, "fetching a state");
        let (mut turn, mut failures, mut chunks) = (0usize, 0usize, 0u64);
        while let Some(from) = progress.next {
            self.status.set_fetch_progress(&progress, peers.len());
            let Some(peer) = peers.get(turn % peers.len().max(1)).copied() else {
                return Err(FetchError::Lost(height));
            };
            match self.chunk(peer, height, from).await {
                Answer::Chunk(response) => match response.verify(&header.header.state, &from) {
                    Ok((entries, next)) => {
                        let at = progress;
                        progress =
                            blocking(&self.store, move |store| store.stage(at, &entries, next))
                                .await?;
                        failures = 0;
                        chunks += 1;
                        if chunks.is_multiple_of(LOG_EVERY) {
                            tracing::info!(height, entries = progress.entries, "fetching a state");
                        }
                    }
                    Err(error) => {
                        self.ban_peer(peer, &InvalidData::Chunk(error), banned_peers).await;
                        peers.retain(|p| *p != peer);
                    }
                },
                Answer::Gone => peers.retain(|p| *p != peer),
                Answer::Nothing => failures += 1,
            }
            if failures >= FAILURES_MAX {
                return Err(FetchError::Lost(height));
            }
            turn = turn.wrapping_add(1);
        }
        self.status.set_fetch_progress(&progress, peers.len());
        let state = blocking(&self.store, |store| store.staged_state()).await?;
        let head = match Head::of_snapshot(header, state) {
            Ok(head) => head,
            Err(error) => {
                // The chunks were proved on arrival. So the disk has changed them, or this version
                // cannot use them: start over.
                blocking(&self.store, |store| store.unstage()).await?;
                return Err(error.into());
            }
        };
        let mut tips = self.chain.watch_tip();
        self.replica.send(Input::Snapshot(Box::new(head)));
        tips.wait_for(|tip| tip.height() >= height).await.map_err(|_| FetchError::Stopping)?;
        Ok(height)
    }

    /// The newest header that is already trusted.
    fn trusted_head(&self) -> Result<LightClient, BootstrapError> {
        let tip = self.chain.tip();
        let FinalHeader { header, certificate } = tip.header.clone();
        let own = Checkpoint::new(
            header,
            certificate,
            self.chain.committee(),
            self.chain.params.trust_period_ms,
        )
        .encode();
        let now_ms = now_ms();
        let own = LightClient::start(&own, None, now_ms);
        let given = LightClient::start(&self.checkpoint, None, now_ms);
        match (own, given) {
            (Ok(own), Ok(given)) if given.head().height > own.head().height => Ok(given),
            (Ok(own), _) => Ok(own),
            (Err(_), given) => given,
        }
    }

    /// Offers of the connected full nodes above the tip, by height, each with its peers. Also
    /// returns whether one of them claims to have the blocks.
    async fn collect_offers(
        &self,
        mut light: LightClient,
        banned_peers: &mut BTreeSet<NodeId>,
    ) -> (BTreeMap<(Height, Digest), SnapshotOffer>, bool) {
        let peers: Vec<NodeId> = full_nodes(&self.network)
            .into_iter()
            .filter(|p| !banned_peers.contains(p))
            .take(PEERS_MAX)
            .collect();
        let queries =
            peers.into_iter().map(|peer| async move { (peer, self.snapshots(peer).await) });
        let (mut offers, mut offered): (BTreeMap<(Height, Digest), SnapshotOffer>, Vec<_>) =
            (BTreeMap::new(), Vec::new());
        let (tip, mut has_blocks) = (self.chain.tip().height(), false);
        for (peer, answer) in futures::future::join_all(queries).await {
            has_blocks |= answer.as_ref().is_some_and(|a| a.head > tip && a.lowest <= tip + 1);
            let headers = answer.into_iter().flat_map(|snapshots| snapshots.headers.into_vec());
            offered.extend(
                headers.filter(|header| header.header.height > tip).map(|header| (peer, header)),
            );
        }
        // Epoch by epoch, because the light client has only the current committee and the one
        // before.
        offered.sort_by_key(|(_, header)| header.header.epoch);
        for (peer, header) in offered {
            let key = (header.header.height, header.header.digest());
            if let Some((_, peers)) = offers.get_mut(&key).filter(|(known, _)| **known == header) {
                peers.push(peer);
                continue;
            }
            if banned_peers.contains(&peer) {
                continue;
            }
            let epoch = header.header.epoch;
            self.follow_handovers(peer, &mut light, epoch, banned_peers).await;
            match light.verify(Unverified::new(header)) {
                Ok(header) => {
                    offers.entry(key).or_insert_with(|| (header, Vec::new())).1.push(peer);
                }
                // The header lacks the handovers to its epoch, which need not be the peer's fault.
                Err(LightError::LaterEpoch { .. } | LightError::PastEpoch(_)) => {}
                Err(error) => self.ban_peer(peer, &InvalidData::Header(error), banned_peers).await,
            }
        }
        (offers, has_blocks)
    }

    /// Verifies the committee handovers of a peer up to an epoch, one certificate each.
    async fn follow_handovers(
        &self,
        peer: NodeId,
        light: &mut LightClient,
        epoch: Epoch,
        banned_peers: &mut BTreeSet<NodeId>,
    ) {
        while light.committee().epoch() < epoch {
            let from = light.committee().epoch();
            let count = (epoch - from).min(HANDOVERS_AT_ONCE);
            let Some(handovers) = handovers::request(&self.network, peer, from, count as u16).await
            else {
                return;
            };
            match light.follow_handovers(count as usize, handovers, now_ms()) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => {
                    return self.ban_peer(peer, &InvalidData::Handover(error), banned_peers).await;
                }
            }
        }
    }

    async fn snapshots(&self, peer: NodeId) -> Option<Snapshots> {
        match self.send_request(peer, &Request::Snapshots, REQUEST_TIMEOUT).await? {
            Response::Snapshots(snapshots) => Some(snapshots),
            _ => None,
        }
    }

    async fn chunk(&self, peer: NodeId, height: Height, from: Digest) -> Answer {
        match self.send_request(peer, &Request::Chunk { height, from }, CHUNK_TIMEOUT).await {
            Some(Response::Chunk(chunk)) => Answer::Chunk(chunk),
            Some(Response::Gone) => Answer::Gone,
            _ => Answer::Nothing,
        }
    }

    async fn send_request(
        &self,
        peer: NodeId,
        request: &Request,
        timeout: Duration,
    ) -> Option<Response> {
        let body = codec::encode(request);
        debug_assert!(body.len() <= REQUEST_LEN_MAX);
        match self.network.request(peer, Protocol::Sync, body, timeout).await {
            Ok(body) => compression::decode(&body, RESPONSE_LEN_MAX).ok(),
            Err(error) => {
                tracing::debug!(
                    peer = %peer.short(), %error,
                    "the peer did not answer which states it offers"
                );
                None
            }
        }
    }

    async fn ban_peer(
        &self,
        peer: NodeId,
        error: &InvalidData,
        banned_peers: &mut BTreeSet<NodeId>,
    ) {
        tracing::warn!(peer = %peer.short(), %error, "misbehaviour");
        self.metrics.misbehaviour.inc();
        banned_peers.insert(peer);
        self.network.disconnect(peer).await;
    }
}
