//! Requests announced transactions from the peers that announced them.

use super::admission::Admission;
use crate::node::mempool::{Mempool, Source};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tequio_core::{
    codec::{self, BoundedVec},
    ledger::TransactionId,
    types::NodeId,
    wire::{
        compression,
        mempool::{GetTransactions, MESSAGE_LEN_MAX, Transactions},
    },
};
use tequio_p2p::{Network, Protocol};

/// Timeout of a request for transactions; then the next peer gets the request.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);

/// Fetches announced transactions.
#[derive(Clone, Debug)]
pub struct Fetcher {
    network: Network,
    mempool: Arc<Mempool>,
    admission: Admission,
}

impl Fetcher {
    /// Fetches into this mempool.
    pub fn new(network: Network, mempool: Arc<Mempool>, admission: Admission) -> Self {
        Self { network, mempool, admission }
    }

    /// Requests transactions from a peer, and those that it does not send from others.
    pub fn fetch(&self, peer: NodeId, ids: Vec<TransactionId>) {
        if ids.is_empty() {
            return;
        }
        let fetcher = self.clone();
        tokio::spawn(async move {
            let mut requests = vec![(peer, ids)];
            while let Some((peer, ids)) = requests.pop() {
                let request = GetTransactions { ids: BoundedVec::truncated(ids.iter().copied()) };
                let answer = fetcher
                    .network
                    .request(
                        peer,
                        Protocol::GetTransactions,
                        codec::encode(&request),
                        FETCH_TIMEOUT,
                    )
                    .await;
                let given = answer.ok().and_then(|body| {
                    compression::decode::<Transactions>(&body, MESSAGE_LEN_MAX).ok()
                });
                if let Some(given) = given {
                    let requested: BTreeSet<_> = ids.iter().collect();
                    let given = given
                        .into_vec()
                        .into_iter()
                        .filter(|t| requested.contains(&t.id()))
                        .collect();
                    let (admission, batch) = (
                        fetcher.admission.clone(),
                        vec![(Source::Peer { peer, forward: false }, given)],
                    );
                    let _ = tokio::task::spawn_blocking(move || admission.accept_from_peers(batch))
                        .await;
                }
                requests.extend(fetcher.mempool.dissemination().on_response(peer, &ids));
            }
        });
    }
}
