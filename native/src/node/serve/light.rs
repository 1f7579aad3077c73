//! `/tequio/light/3`: answers light nodes from the newest final state. Light nodes verify the
//! answers, so only their cost must be bounded: proofs are capped, objects are whole blocks, and a
//! request that waits for a head occupies only a task.

use crate::{
    node::{
        bounded_text::truncated, chain::proofs, chain_view::ChainView, jobs::progress::JobsView,
        mempool::verify::admission::Admission, peers::agent, telemetry::events::EventLog,
    },
    store::Store,
};
use std::{sync::Arc, time::Duration};
use tequio_core::{
    codec::{self, BoundedString, BoundedVec},
    types::{Height, NodeId},
    wire::{
        light::{
            ADDRESS_LEN_MAX, ADDRESSES_MAX, AddressQuery, HEAD_WAIT_MS_MAX, LIST_MAX, Member,
            REQUEST_LEN_MAX, Refusal, Request, Response,
        },
        work::JobState,
    },
};
use tequio_p2p::{Network, PeerInfo, Reply, identity};

/// Answers light nodes.
#[derive(Clone, Debug)]
pub struct LightServer {
    /// The newest state.
    pub chain: ChainView,
    /// Headers and objects.
    pub store: Arc<Store>,
    /// The connected peers and their addresses.
    pub network: Network,
    /// Takes transactions.
    pub admission: Admission,
    /// The listed jobs.
    pub jobs: JobsView,
    /// The newest events.
    pub events: Arc<EventLog>,
}

impl LightServer {
    /// Answers a request.
    pub async fn serve(self, body: Vec<u8>, reply: Reply) {
        let response = match codec::decode::<Request>(&body, REQUEST_LEN_MAX) {
            Ok(Request::Head { after, wait_ms }) => self.head(after, wait_ms).await,
            Ok(request) => {
                let answer = tokio::task::spawn_blocking(move || self.answer(request));
                answer.await.unwrap_or(Response::Refused(Refusal::Busy))
            }
            Err(_) => Response::Refused(Refusal::Malformed),
        };
        reply.send(codec::encode(&response));
    }

    /// The newest header above `after`; waits for it.
    async fn head(&self, after: Height, wait_ms: u32) -> Response {
        let mut tip = self.chain.watch_tip();
        let wait = Duration::from_millis(wait_ms.min(HEAD_WAIT_MS_MAX).into());
        match tokio::time::timeout(wait, tip.wait_for(|tip| tip.height() > after)).await {
            Ok(Ok(tip)) => Response::Header(tip.header.clone()),
            Ok(Err(_)) | Err(_) => Response::Refused(Refusal::NothingNew),
        }
    }

    /// Answers all requests except [`Request::Head`]. May read the disk.
    fn answer(&self, request: Request) -> Response {
        match request {
            Request::Head { .. } => Response::Refused(Refusal::Malformed),
            Request::Header { height } => {
                found(self.store.final_header(height).map(|h| h.map(Response::Header)))
            }
            Request::Prove { keys } => {
                let (header, entries) = proofs::prove(&self.chain, &keys);
                Response::Proved { header, entries: BoundedVec::truncated(entries) }
            }
            Request::Object { cid } => {
                let object = self.store.object(&cid);
                found(
                    object.map(|bytes| bytes.and_then(|b| b.try_into().ok()).map(Response::Object)),
                )
            }
            Request::Submit { transaction } => match self.admission.submit(transaction) {
                Ok(id) => Response::Submitted(id),
                Err(error) => {
                    Response::Refused(Refusal::NotAccepted(truncated(&error.to_string())))
                }
            },
            Request::Jobs => {
                let mut jobs = self.jobs.progress_of_all();
                jobs.truncate(LIST_MAX);
                Response::Jobs(BoundedVec::truncated(jobs))
            }
            Request::Events { after } => {
                Response::Events(BoundedVec::truncated(self.events.newest_after(after)))
            }
            Request::Handovers { from, count } => {
                Response::Handovers(proofs::handovers(&self.chain, &self.store, from, count))
            }
            Request::Members => Response::Members(BoundedVec::truncated(self.members())),
            Request::Addresses { of } => {
                Response::Addresses(BoundedVec::truncated(self.addresses(of)))
            }
        }
    }

    /// This node and the full nodes to which it is connected.
    fn members(&self) -> Vec<Member> {
        let own = Member { node: self.chain.node, agent: truncated(&agent::agent()) };
        let peers = self.network.peers().into_iter().filter(agent::is_full_node);
        let others = peers.map(|p| Member {
            node: p.id,
            agent: truncated(p.agent.as_deref().unwrap_or_default()),
        });
        std::iter::once(own).chain(others).take(LIST_MAX).collect()
    }

    /// Addresses that connected peers claim for themselves, if they are relays, or the coordinator
    /// of a job that is not over. Addresses of other peers are not returned.
    fn addresses(&self, of: AddressQuery) -> Vec<BoundedString<ADDRESS_LEN_MAX>> {
        let peers = match of {
            AddressQuery::Coordinator(node) if self.is_coordinator(node) => {
                self.network.peer(node).into_iter().collect()
            }
            AddressQuery::Coordinator(_) => Vec::new(),
            AddressQuery::Relays => {
                self.network.peers().into_iter().filter(agent::is_relay).collect()
            }
        };
        let text = |peer: &PeerInfo| {
            let named = peer
                .addrs
                .clone()
                .into_iter()
                .map(|addr| identity::with_peer(addr, peer.id).to_string());
            named.collect::<Vec<_>>()
        };
        peers
            .iter()
            .flat_map(text)
            .filter_map(|addr| addr.try_into().ok())
            .take(ADDRESSES_MAX)
            .collect()
    }

    /// Whether a node coordinates a job that is not over.
    fn is_coordinator(&self, node: NodeId) -> bool {
        self.chain
            .jobs()
            .iter()
            .any(|(_, job)| job.coordinator == node && !JobState::from(&job.status).is_over())
    }
}

fn found<E: std::fmt::Display>(result: Result<Option<Response>, E>) -> Response {
    match result {
        Ok(Some(response)) => response,
        Ok(None) => Response::Refused(Refusal::NotFound),
        Err(error) => {
            tracing::error!(%error, "cannot answer from the store");
            Response::Refused(Refusal::Busy)
        }
    }
}
