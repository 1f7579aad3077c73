//! Keeps the committee handovers of the trust period, so that every light client with a usable
//! checkpoint can be served.
//!
//! A node that started from a fetched state has no headers below it. The state names the committees
//! of all epochs, so any peer can supply the last header of an epoch: its certificate is checked
//! against the committee in the state. The headers are stored in the header table, which is never
//! pruned. Refused: headers that do not end their epoch, that name another committee, or that lack
//! a quorum's certificate.

use crate::{
    node::{blocking::blocking, chain_view::ChainView, machine::now_ms, peers::agent::full_nodes},
    store::{Store, StoreError},
};
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};
use tequio_core::{
    codec,
    ledger::{Params, epoch},
    light::handover,
    types::{Epoch, Height, NodeId, Unverified},
    wire::light::{CommitteeHandover, HANDOVERS_MAX, RESPONSE_LEN_MAX, Request, Response},
};
use tequio_p2p::{Network, Protocol};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for each peer in a round. A slow peer that sends little must not delay requests to others.
const PEER_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause after a round over all peers that left something missing; doubles up to the maximum.
const RETRY_AFTER: Duration = Duration::from_secs(1);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// Requests handovers from a peer. They are not verified yet.
pub async fn request(
    network: &Network,
    peer: NodeId,
    from: Epoch,
    count: u16,
) -> Option<Vec<CommitteeHandover>> {
    let body = codec::encode(&Request::Handovers { from, count });
    let answer = network.request(peer, Protocol::Light, body, ANSWER_TIMEOUT).await.ok()?;
    match codec::decode(&answer, RESPONSE_LEN_MAX).ok()? {
        Response::Handovers(handovers) => Some(handovers.into_vec()),
        _ => None,
    }
}

/// Fetches the handovers that this node lacks.
#[derive(Clone, Debug)]
pub struct Backfill {
    chain: ChainView,
    store: Arc<Store>,
    network: Network,
}

impl Backfill {
    /// Fetches into this store.
    pub fn new(chain: ChainView, store: Arc<Store>, network: Network) -> Self {
        Self { chain, store, network }
    }

    /// Fetches missing handovers now, and again after each fetched state.
    pub async fn run(self) {
        let mut tips = self.chain.watch_tip();
        let (mut complete_from, mut retry_after) = (None, RETRY_AFTER);
        loop {
            let lowest = match self.store.lowest_block() {
                Ok(lowest) => lowest,
                Err(error) => {
                    return tracing::error!(%error, "cannot list missing committee handovers");
                }
            };
            // A fetched state is in the store before it becomes the tip.
            let is_tip_current = self.chain.tip().height().saturating_add(1) >= lowest;
            if is_tip_current && complete_from != Some(lowest) {
                match self.request_missing().await {
                    Ok(true) => (complete_from, retry_after) = (Some(lowest), RETRY_AFTER),
                    Ok(false) => {
                        tokio::time::sleep(retry_after).await;
                        retry_after = (retry_after * 2).min(RETRY_AFTER_MAX);
                        continue;
                    }
                    Err(error) => {
                        return tracing::error!(%error, "cannot store committee handovers");
                    }
                }
            }
            if tips.changed().await.is_err() {
                return;
            }
        }
    }

    /// Runs one round over the peers. Returns whether no handover is missing any more.
    async fn request_missing(&self) -> Result<bool, StoreError> {
        let mut missing = blocking(self, Self::missing).await?;
        for peer in full_nodes(&self.network) {
            let until = Instant::now() + PEER_TIMEOUT;
            while let Some(first) = missing.first().copied().filter(|_| Instant::now() < until) {
                let Some(handovers) =
                    request(&self.network, peer, first, HANDOVERS_MAX as u16).await
                else {
                    break;
                };
                let before = missing.len();
                missing =
                    blocking(self, move |backfill| backfill.store(handovers, &missing)).await?;
                if missing.len() == before {
                    break;
                }
            }
        }
        Ok(missing.is_empty())
    }

    /// The epochs of the trust period whose last header is not in the store.
    fn missing(&self) -> Result<Vec<Epoch>, StoreError> {
        let tip = self.chain.tip();
        let lowest = self.store.lowest_block()?;
        let trusted_from_ms = now_ms().saturating_sub(self.chain.params.trust_period_ms);
        let is_passed_over = |epoch: &Epoch| last_height(&self.chain.params, *epoch) < lowest;
        let is_trusted = |epoch: &Epoch| {
            tip.state.committee(epoch + 1).is_some_and(|next| next.formed_ms >= trusted_from_ms)
        };
        let epochs: Vec<Epoch> =
            (0..=tip.header.header.epoch).take_while(is_passed_over).filter(is_trusted).collect();
        let heights: Vec<Height> =
            epochs.iter().map(|epoch| last_height(&self.chain.params, *epoch)).collect();
        let is_here = self.store.has_headers(&heights)?;
        Ok(epochs
            .into_iter()
            .zip(is_here)
            .filter(|(_, is_here)| !is_here)
            .map(|(epoch, _)| epoch)
            .collect())
    }

    /// Stores the received headers that are valid and missing. Returns the epochs that are still
    /// missing.
    fn store(
        &self,
        handovers: Vec<CommitteeHandover>,
        missing: &[Epoch],
    ) -> Result<Vec<Epoch>, StoreError> {
        let tip = self.chain.tip();
        let wanted = handovers.into_iter().map(|handover| handover.header);
        let wanted = wanted.filter(|header| missing.binary_search(&header.header.epoch).is_ok());
        let verified = wanted.map_while(|header| {
            handover::verify_epoch_end(Unverified::new(header), &self.chain.id, &tip.state)
                .map(|header| header.into_inner())
        });
        let headers: Vec<_> = verified.collect();
        self.store.keep_headers(&headers)?;
        if !headers.is_empty() {
            tracing::info!(count = headers.len(), "stored committee handovers of earlier epochs");
        }
        let stored: BTreeSet<Epoch> = headers.iter().map(|header| header.header.epoch).collect();
        Ok(missing.iter().copied().filter(|epoch| !stored.contains(epoch)).collect())
    }
}

fn last_height(params: &Params, epoch: Epoch) -> Height {
    epoch::last_height(params, epoch).unwrap_or(Height::MAX)
}
