//! Fetches the state of a final block whole, where the blocks up to it would take too long or
//! nobody has them any more.
//!
//! A peer's header is believed by the light client's rules alone, from the checkpoint or from this
//! node's own head, whichever is newer. Each chunk is proved against the header's state root before
//! it is kept; it is on disk, with the place of the next one, before that is asked for, so a crash
//! costs one chunk. Peers are asked in turn; one that sends what does not hold is asked no more.

use super::{
    blocking::blocking,
    context::Context,
    machine::{Inbox, now_ms},
};
use crate::store::{Progress, StoreError};
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
    ledger::{Checkpoint, genesis::StartError, state::ChunkError},
    light::{LightClient, LightError},
    types::{Digest, Epoch, Height, NodeId, Unverified, Verified},
    wire::{
        light::FinalHeader,
        packed,
        sync::{REQUEST_LEN_MAX, RESPONSE_LEN_MAX, Request, Response, Snapshots},
    },
};
use tequio_p2p::Protocol;

const ASK_TIMEOUT: Duration = Duration::from_secs(10);
const CHUNK_TIMEOUT: Duration = Duration::from_secs(30);
/// Peers that are asked what they offer.
const PEERS_MAX: usize = 16;
/// Failures in a row, over all peers, after which another state is looked for.
const FAILURES_MAX: usize = 8;
/// Committee handovers in one request. Verifying them takes about 0.1 s.
const HANDOVERS_AT_ONCE: Epoch = 128;
/// Chunks between lines of the log.
const LOG_EVERY: u64 = 64;

/// Why no state was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Nobody is asked without a trusted start.
    #[error("{0}; put a newer checkpoint.bin into the node's directory")]
    Trust(#[from] StartError),
    /// Not now.
    #[error("no connected node offers a state that is newer than what is here")]
    NotOffered,
    /// Somebody has the blocks, and they are not too many.
    #[error("the missing blocks can be had")]
    NotNeeded,
    /// Those who offered it do not give it any more.
    #[error("the nodes that offered the state of height {0} do not give it any more")]
    Lost(Height),
    /// Ours.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// Ours, or the software is too old.
    #[error("{0}")]
    Snapshot(#[from] SnapshotError),
    /// The node stops.
    #[error("the node stops")]
    Stopping,
}

/// What a peer did wrong.
#[derive(Debug, thiserror::Error)]
enum Lie {
    #[error("offered a state under a header that is not final: {0}")]
    Header(LightError),
    #[error("sent a committee handover that does not hold: {0}")]
    Handover(LightError),
    #[error("sent a bad chunk of the state: {0}")]
    Chunk(ChunkError),
}

/// Fetches a state that is newer than the newest one here, and hands it to the replica. One at a
/// time: false at once where another call is at it, and where it came to nothing.
pub async fn run(context: &Arc<Context>, inbox: &Inbox<Input>) -> bool {
    let Ok(mut liars) = context.sync.liars.try_lock() else { return false };
    let fetched = fetch(context, inbox, &mut liars).await;
    context.sync.end();
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
    context: &Arc<Context>,
    inbox: &Inbox<Input>,
    liars: &mut BTreeSet<NodeId>,
) -> Result<Height, FetchError> {
    let light = anchor(context)?;
    let (mut offers, has_blocks) = offers(context, light, liars).await;
    // Their headers are final: they show how far behind this node is, whatever anybody says.
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
        context.sync.fetching(&progress, peers.len());
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
                    blame(context, peer, &Lie::Chunk(error), liars).await;
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
    context.sync.fetching(&progress, peers.len());
    let state = blocking(context, |c| c.store.staged_state()).await?;
    let head = match Head::of_snapshot(header, state) {
        Ok(head) => head,
        Err(error) => {
            // Proved when it came, so the disk has changed it, or this version cannot use it: begin
            // afresh.
            blocking(context, |c| c.store.unstage()).await?;
            return Err(error.into());
        }
    };
    let mut tips = context.watch_tip();
    inbox.send(Input::Snapshot(Box::new(head)));
    tips.wait_for(|tip| tip.height() >= height).await.map_err(|_| FetchError::Stopping)?;
    Ok(height)
}

/// The newest header that is trusted already.
fn anchor(context: &Context) -> Result<LightClient, StartError> {
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

type Offer = (Verified<FinalHeader>, Vec<NodeId>);

/// What the connected full nodes offer above the tip, by height, each with those who have it; and
/// whether one of them says that it has the blocks.
async fn offers(
    context: &Arc<Context>,
    mut light: LightClient,
    liars: &mut BTreeSet<NodeId>,
) -> (BTreeMap<(Height, Digest), Offer>, bool) {
    let peers: Vec<NodeId> =
        context.full_nodes().into_iter().filter(|p| !liars.contains(p)).take(PEERS_MAX).collect();
    let asked = peers.into_iter().map(|peer| async move { (peer, snapshots(context, peer).await) });
    let (mut offers, mut offered): (BTreeMap<(Height, Digest), Offer>, Vec<_>) =
        (BTreeMap::new(), Vec::new());
    let (tip, mut has_blocks) = (context.tip().height(), false);
    for (peer, answer) in futures::future::join_all(asked).await {
        has_blocks |= answer.as_ref().is_some_and(|a| a.head > tip && a.lowest <= tip + 1);
        let headers = answer.into_iter().flat_map(|snapshots| snapshots.headers.into_vec());
        offered.extend(
            headers.filter(|header| header.header.height > tip).map(|header| (peer, header)),
        );
    }
    // Epoch by epoch, because the light client knows the present committee and the one before.
    offered.sort_by_key(|(_, header)| header.header.epoch);
    for (peer, header) in offered {
        let key = (header.header.height, header.header.digest());
        if let Some((_, peers)) = offers.get_mut(&key).filter(|(known, _)| **known == header) {
            peers.push(peer);
            continue;
        }
        if liars.contains(&peer) {
            continue;
        }
        let epoch = header.header.epoch;
        follow_handovers(context, peer, &mut light, epoch, liars).await;
        match light.verify(Unverified::new(header)) {
            Ok(header) => {
                offers.entry(key).or_insert_with(|| (header, Vec::new())).1.push(peer);
            }
            // It does not show how its epoch came about, which may be nobody's fault.
            Err(LightError::Ahead { .. } | LightError::Past(_)) => {}
            Err(error) => blame(context, peer, &Lie::Header(error), liars).await,
        }
    }
    (offers, has_blocks)
}

/// Follows the committee handovers of a peer up to an epoch, one certificate each.
async fn follow_handovers(
    context: &Context,
    peer: NodeId,
    light: &mut LightClient,
    epoch: Epoch,
    liars: &mut BTreeSet<NodeId>,
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
            Err(error) => return blame(context, peer, &Lie::Handover(error), liars).await,
        }
    }
}

async fn snapshots(context: &Context, peer: NodeId) -> Option<Snapshots> {
    match ask(context, peer, &Request::Snapshots, ASK_TIMEOUT).await? {
        Response::Snapshots(snapshots) => Some(snapshots),
        _ => None,
    }
}

enum Answer {
    Chunk(tequio_core::ledger::state::StateChunk),
    Gone,
    Nothing,
}

async fn chunk(context: &Context, peer: NodeId, height: Height, from: Digest) -> Answer {
    match ask(context, peer, &Request::Chunk { height, from }, CHUNK_TIMEOUT).await {
        Some(Response::Chunk(chunk)) => Answer::Chunk(chunk),
        Some(Response::Gone) => Answer::Gone,
        _ => Answer::Nothing,
    }
}

async fn ask(
    context: &Context,
    peer: NodeId,
    request: &Request,
    timeout: Duration,
) -> Option<Response> {
    let body = codec::encode(request);
    debug_assert!(body.len() <= REQUEST_LEN_MAX);
    match context.network.request(peer, Protocol::Sync, body, timeout).await {
        Ok(body) => packed::decode(&body, RESPONSE_LEN_MAX).ok(),
        Err(error) => {
            tracing::debug!(peer = %peer.short(), %error, "no answer about snapshots");
            None
        }
    }
}

async fn blame(context: &Context, peer: NodeId, lie: &Lie, liars: &mut BTreeSet<NodeId>) {
    tracing::warn!(peer = %peer.short(), %lie, "misbehaviour");
    context.metrics.misbehaviour.inc();
    liars.insert(peer);
    context.network.disconnect(peer).await;
}

/// What this node does to catch up, for people.
#[derive(Debug, Default)]
pub struct Catching {
    /// Held while a state is fetched: peers that sent what does not hold, since the node was
    /// started.
    liars: tokio::sync::Mutex<BTreeSet<NodeId>>,
    now: std::sync::Mutex<Option<Shown>>,
    /// The highest head that a peer has named when it was asked for blocks.
    seen: AtomicU64,
}

/// A state that is being fetched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shown {
    /// Of which height.
    pub height: Height,
    /// Entries that are here.
    pub entries: u64,
    /// About which part of the whole that is, 0 to 1.
    pub share: f64,
    /// Who gives it.
    pub peers: usize,
}

impl Catching {
    /// The head that a peer has named when it was asked for blocks. Nobody vouches for it.
    pub fn named(&self) -> Height {
        self.seen.load(Ordering::Relaxed)
    }

    pub(super) fn name(&self, head: Height) {
        self.seen.store(head, Ordering::Relaxed);
    }

    /// What is being fetched now, if anything.
    pub fn shown(&self) -> Option<Shown> {
        *self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn fetching(&self, progress: &Progress, peers: usize) {
        // Keys are digests, evenly spread: the place of the next chunk says how much is done.
        let share = progress.next.map_or(1.0, |next| {
            let first = next.0.first_chunk::<4>().map_or(0, |first| u32::from_be_bytes(*first));
            f64::from(first) / f64::from(u32::MAX)
        });
        let shown = Shown {
            height: progress.header.header.height,
            entries: progress.entries,
            share,
            peers,
        };
        *self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(shown);
    }

    fn end(&self) {
        *self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
    }
}
