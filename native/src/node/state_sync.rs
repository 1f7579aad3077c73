//! Fetches the whole state of a final block, if replaying the blocks up to it would take too long
//! or no peer has them any more.
//!
//! A peer's header is verified only by the light client's rules, from the checkpoint or from this
//! node's own head, whichever is newer. Each chunk is proved against the header's state root before
//! it is stored. It is on disk, with the key of the next chunk, before the next request, so a crash
//! costs one chunk. Requests rotate among the peers. A peer that sends invalid data is banned.

use super::{
    blocking::blocking,
    context::NodeContext,
    machine::{Inbox, now_ms},
};
use crate::store::{SnapshotProgress, StoreError};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
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
use tequio_p2p::Protocol;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const CHUNK_TIMEOUT: Duration = Duration::from_secs(30);
/// Most peers that are asked for offers.
const PEERS_MAX: usize = 16;
/// Consecutive failures, over all peers, after which another state is chosen.
const FAILURES_MAX: usize = 8;
/// Committee handovers in one request. Verifying them takes about 0.1 s.
const HANDOVERS_AT_ONCE: Epoch = 128;
/// Chunks between two log lines.
const LOG_EVERY: u64 = 64;

/// Why no state was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No peer is asked without a trusted start.
    #[error("{0}; put a newer checkpoint.bin into the node's directory")]
    Trust(#[from] BootstrapError),
    /// No peer offers a newer state now.
    #[error("no connected node offers a state that is newer than what is here")]
    NotOffered,
    /// A peer has the blocks, and they are not too many.
    #[error("the missing blocks can be had")]
    NotNeeded,
    /// The peers that offered the state no longer supply it.
    #[error("the nodes that offered the state of height {0} do not give it any more")]
    Lost(Height),
    /// A failure of the store.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A local fault, or the software is too old.
    #[error("{0}")]
    Snapshot(#[from] SnapshotError),
    /// The node stops.
    #[error("the node stops")]
    Stopping,
}

/// Invalid data from a peer.
#[derive(Debug, thiserror::Error)]
enum InvalidData {
    #[error("offered a state under a header that is not final: {0}")]
    Header(LightError),
    #[error("sent a committee handover that does not hold: {0}")]
    Handover(LightError),
    #[error("sent a bad chunk of the state: {0}")]
    Chunk(ChunkError),
}

/// Fetches a state that is newer than the head, and passes it to the replica. Returns false if it
/// fails, and at once if another call is in progress.
pub async fn run(context: &Arc<NodeContext>, inbox: &Inbox<Input>) -> bool {
    let Ok(mut banned_peers) = context.sync_status.banned_peers.try_lock() else { return false };
    let fetched = fetch(context, inbox, &mut banned_peers).await;
    context.sync_status.clear_fetch_progress();
    match fetched {
        Ok(height) => {
            tracing::info!(height, "going on from a state that was fetched whole");
            true
        }
        Err(error @ (FetchError::NotNeeded | FetchError::NotOffered)) => {
            tracing::debug!(%error, "no state was fetched");
            false
        }
        Err(error) => {
            tracing::warn!(%error, "no state was fetched");
            false
        }
    }
}

async fn fetch(
    context: &Arc<NodeContext>,
    inbox: &Inbox<Input>,
    banned_peers: &mut BTreeSet<NodeId>,
) -> Result<Height, FetchError> {
    let light = trusted_head(context)?;
    let (mut offers, has_blocks) = collect_offers(context, light, banned_peers).await;
    // These headers are verified as final, so they show how far behind this node is.
    let newest =
        offers.last_key_value().map(|((height, _), _)| *height).ok_or(FetchError::NotOffered)?;
    if has_blocks && newest.saturating_sub(context.tip().height()) <= context.snapshot_when_behind {
        return Err(FetchError::NotNeeded);
    }
    let staged = blocking(context, |c| c.store.staged()).await?;
    let resumable = staged.and_then(|staged| {
        let offer = offers.remove(&(staged.header.header.height, staged.header.header.digest()))?;
        Some((staged, offer))
    });
    let (mut progress, (header, mut peers)) = match resumable {
        Some(resumed) => resumed,
        None => {
            let (_, offer) = offers.pop_last().ok_or(FetchError::NotOffered)?;
            let header = FinalHeader::clone(&offer.0);
            (blocking(context, move |c| c.store.stage_begin(&header)).await?, offer)
        }
    };
    let height = header.header.height;
    tracing::info!(
        height,
        peers = peers.len(),
        entries = progress.entries,
        "fetching the state whole"
    );
    let (mut turn, mut failures, mut chunks) = (0usize, 0usize, 0u64);
    while let Some(from) = progress.next {
        context.sync_status.set_fetch_progress(&progress, peers.len());
        let Some(peer) = peers.get(turn % peers.len().max(1)).copied() else {
            return Err(FetchError::Lost(height));
        };
        match chunk(context, peer, height, from).await {
            Answer::Chunk(response) => match response.verify(&header.header.state, &from) {
                Ok((entries, next)) => {
                    let at = progress;
                    progress =
                        blocking(context, move |c| c.store.stage(at, &entries, next)).await?;
                    failures = 0;
                    chunks += 1;
                    if chunks.is_multiple_of(LOG_EVERY) {
                        tracing::info!(
                            height,
                            entries = progress.entries,
                            "fetching the state whole"
                        );
                    }
                }
                Err(error) => {
                    ban_peer(context, peer, &InvalidData::Chunk(error), banned_peers).await;
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
    context.sync_status.set_fetch_progress(&progress, peers.len());
    let state = blocking(context, |c| c.store.staged_state()).await?;
    let head = match Head::of_snapshot(header, state) {
        Ok(head) => head,
        Err(error) => {
            // The chunks were proved on arrival. So the disk has changed them, or this version
            // cannot use them: start over.
            blocking(context, |c| c.store.unstage()).await?;
            return Err(error.into());
        }
    };
    let mut tips = context.watch_tip();
    inbox.send(Input::Snapshot(Box::new(head)));
    tips.wait_for(|tip| tip.height() >= height).await.map_err(|_| FetchError::Stopping)?;
    Ok(height)
}

/// The newest header that is already trusted.
fn trusted_head(context: &NodeContext) -> Result<LightClient, BootstrapError> {
    let tip = context.tip();
    let FinalHeader { header, certificate } = tip.header.clone();
    let own =
        Checkpoint::new(header, certificate, context.committee(), context.params.trust_period_ms)
            .encode();
    let now_ms = now_ms();
    let own = LightClient::start(&own, None, now_ms);
    let given = LightClient::start(&context.checkpoint, None, now_ms);
    match (own, given) {
        (Ok(own), Ok(given)) if given.head().height > own.head().height => Ok(given),
        (Ok(own), _) => Ok(own),
        (Err(_), given) => given,
    }
}

type SnapshotOffer = (Verified<FinalHeader>, Vec<NodeId>);

/// Offers of the connected full nodes above the tip, by height, each with its peers. Also returns
/// whether one of them claims to have the blocks.
async fn collect_offers(
    context: &Arc<NodeContext>,
    mut light: LightClient,
    banned_peers: &mut BTreeSet<NodeId>,
) -> (BTreeMap<(Height, Digest), SnapshotOffer>, bool) {
    let peers: Vec<NodeId> = context
        .full_nodes()
        .into_iter()
        .filter(|p| !banned_peers.contains(p))
        .take(PEERS_MAX)
        .collect();
    let asked = peers.into_iter().map(|peer| async move { (peer, snapshots(context, peer).await) });
    let (mut offers, mut offered): (BTreeMap<(Height, Digest), SnapshotOffer>, Vec<_>) =
        (BTreeMap::new(), Vec::new());
    let (tip, mut has_blocks) = (context.tip().height(), false);
    for (peer, answer) in futures::future::join_all(asked).await {
        has_blocks |= answer.as_ref().is_some_and(|a| a.head > tip && a.lowest <= tip + 1);
        let headers = answer.into_iter().flat_map(|snapshots| snapshots.headers.into_vec());
        offered.extend(
            headers.filter(|header| header.header.height > tip).map(|header| (peer, header)),
        );
    }
    // Epoch by epoch, because the light client has only the current committee and the one before.
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
        follow_handovers(context, peer, &mut light, epoch, banned_peers).await;
        match light.verify(Unverified::new(header)) {
            Ok(header) => {
                offers.entry(key).or_insert_with(|| (header, Vec::new())).1.push(peer);
            }
            // The header lacks the handovers to its epoch, which need not be the peer's fault.
            Err(LightError::LaterEpoch { .. } | LightError::PastEpoch(_)) => {}
            Err(error) => ban_peer(context, peer, &InvalidData::Header(error), banned_peers).await,
        }
    }
    (offers, has_blocks)
}

/// Verifies the committee handovers of a peer up to an epoch, one certificate each.
async fn follow_handovers(
    context: &NodeContext,
    peer: NodeId,
    light: &mut LightClient,
    epoch: Epoch,
    banned_peers: &mut BTreeSet<NodeId>,
) {
    while light.committee().epoch() < epoch {
        let from = light.committee().epoch();
        let count = (epoch - from).min(HANDOVERS_AT_ONCE);
        let Some(handovers) = super::handovers::request(context, peer, from, count as u16).await
        else {
            return;
        };
        match light.follow_handovers(count as usize, handovers, now_ms()) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                return ban_peer(context, peer, &InvalidData::Handover(error), banned_peers).await;
            }
        }
    }
}

async fn snapshots(context: &NodeContext, peer: NodeId) -> Option<Snapshots> {
    match send_request(context, peer, &Request::Snapshots, REQUEST_TIMEOUT).await? {
        Response::Snapshots(snapshots) => Some(snapshots),
        _ => None,
    }
}

enum Answer {
    Chunk(tequio_core::ledger::state::StateChunk),
    Gone,
    Nothing,
}

async fn chunk(context: &NodeContext, peer: NodeId, height: Height, from: Digest) -> Answer {
    match send_request(context, peer, &Request::Chunk { height, from }, CHUNK_TIMEOUT).await {
        Some(Response::Chunk(chunk)) => Answer::Chunk(chunk),
        Some(Response::Gone) => Answer::Gone,
        _ => Answer::Nothing,
    }
}

async fn send_request(
    context: &NodeContext,
    peer: NodeId,
    request: &Request,
    timeout: Duration,
) -> Option<Response> {
    let body = codec::encode(request);
    debug_assert!(body.len() <= REQUEST_LEN_MAX);
    match context.network.request(peer, Protocol::Sync, body, timeout).await {
        Ok(body) => compression::decode(&body, RESPONSE_LEN_MAX).ok(),
        Err(error) => {
            tracing::debug!(peer = %peer.short(), %error, "no answer about snapshots");
            None
        }
    }
}

async fn ban_peer(
    context: &NodeContext,
    peer: NodeId,
    lie: &InvalidData,
    banned_peers: &mut BTreeSet<NodeId>,
) {
    tracing::warn!(peer = %peer.short(), %lie, "misbehaviour");
    context.metrics.misbehaviour.inc();
    banned_peers.insert(peer);
    context.network.disconnect(peer).await;
}

/// Status of catching up, for people.
#[derive(Debug, Default)]
pub struct SyncStatus {
    /// Peers that sent invalid data since the start of the node. Locked while a state is fetched.
    banned_peers: tokio::sync::Mutex<BTreeSet<NodeId>>,
    fetch_progress: std::sync::Mutex<Option<FetchProgress>>,
    /// The highest head that a peer has reported with its blocks.
    reported_head: AtomicU64,
}

/// Progress of a state that is being fetched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FetchProgress {
    /// Height of the state.
    pub height: Height,
    /// Entries received so far.
    pub entries: u64,
    /// Estimated share of the whole, 0 to 1.
    pub share: f64,
    /// Number of peers that supply it.
    pub peers: usize,
}

impl SyncStatus {
    /// The highest head that a peer has reported with its blocks. It is unproved.
    pub fn reported_head(&self) -> Height {
        self.reported_head.load(Ordering::Relaxed)
    }

    pub(super) fn set_reported_head(&self, head: Height) {
        self.reported_head.store(head, Ordering::Relaxed);
    }

    /// Progress of the current fetch, if any.
    pub fn fetch_progress(&self) -> Option<FetchProgress> {
        *self.fetch_progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn set_fetch_progress(&self, progress: &SnapshotProgress, peers: usize) {
        // Keys are digests, evenly spread, so the key of the next chunk shows the progress.
        let share = progress.next.map_or(1.0, |next| {
            let first = next.0.first_chunk::<4>().map_or(0, |first| u32::from_be_bytes(*first));
            f64::from(first) / f64::from(u32::MAX)
        });
        let shown = FetchProgress {
            height: progress.header.header.height,
            entries: progress.entries,
            share,
            peers,
        };
        *self.fetch_progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
            Some(shown);
    }

    fn clear_fetch_progress(&self) {
        *self.fetch_progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
    }
}
