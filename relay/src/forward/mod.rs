//! Passes light nodes' requests on to full nodes, and their answers back, byte for byte.
//!
//! The relay does not look into either: what an answer is worth, the light node finds out by
//! itself. The one question it answers alone is which full nodes can be reached through it
//! ([`Request::Members`]), because no one else knows. A request that no full node answers is
//! refused. Memory is bounded by the network's queue of inbound requests.

mod upstreams;

pub use upstreams::Upstreams;

use crate::metrics::{Metrics, Outcome};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tequio_core::{
    codec::{self, BoundedString, BoundedVec},
    types::NodeId,
    wire::light::{HEAD_WAIT_MS_MAX, Member, Request, Response},
};
use tequio_p2p::{Network, Protocol, Reply, RequestError};

/// Full nodes that are asked for one request, at most.
const ATTEMPTS_MAX: usize = 3;
/// For one attempt: a full node may hold back its answer about the head.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(HEAD_WAIT_MS_MAX as u64 + 5_000);

/// Shared by the tasks of all requests.
#[derive(Debug)]
pub struct Forwarder {
    network: Network,
    upstreams: Mutex<Upstreams>,
    metrics: Arc<Metrics>,
}

/// What an error says about the node that was asked.
enum Blame {
    /// It is no good at the moment.
    Node,
    /// It is busy; another may not be.
    Load,
    /// Nobody else will do better.
    Request,
}

impl Forwarder {
    /// Passes requests to these nodes.
    pub fn new(network: Network, nodes: Vec<NodeId>, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { network, upstreams: Mutex::new(Upstreams::new(nodes)), metrics })
    }

    /// The full nodes, locked.
    pub fn upstreams(&self) -> MutexGuard<'_, Upstreams> {
        self.upstreams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one request, or drops the reply, which refuses it.
    pub async fn serve(&self, body: Vec<u8>, reply: Reply) {
        if let Some(members) = self.members(&body) {
            self.metrics.forwarded(Outcome::Local);
            return reply.send(members);
        }
        match self.forward(body, &reply).await {
            Some(answer) => {
                self.metrics.forwarded(Outcome::Answered);
                reply.send(answer);
            }
            None => self.metrics.forwarded(Outcome::Failed),
        }
    }

    async fn forward(&self, body: Vec<u8>, reply: &Reply) -> Option<Vec<u8>> {
        let mut tried = Vec::with_capacity(ATTEMPTS_MAX);
        while tried.len() < ATTEMPTS_MAX && !reply.is_abandoned() {
            let node = self.upstreams().pick(&tried, Instant::now())?;
            tried.push(node);
            let answer =
                self.network.request(node, Protocol::Light, body.clone(), ATTEMPT_TIMEOUT).await;
            let error = match answer {
                Ok(answer) => {
                    self.upstreams().succeeded(node);
                    return Some(answer);
                }
                Err(error) => error,
            };
            tracing::debug!(%node, %error, "full node did not answer");
            match blame(&error) {
                Blame::Node => self.upstreams().failed(node, Instant::now()),
                Blame::Load => {}
                Blame::Request => return None,
            }
        }
        None
    }

    /// The answer to [`Request::Members`]. It has no fields, so its encoding is one byte.
    fn members(&self, body: &[u8]) -> Option<Vec<u8>> {
        if body.len() != 1 || !matches!(codec::decode(body, 1), Ok(Request::Members)) {
            return None;
        }
        let connected = self.upstreams().connected();
        let members = connected.into_iter().filter_map(|node| {
            // Sixteen characters fit in the 64 bytes, whatever they are.
            let agent: String =
                self.network.peer(node)?.agent.unwrap_or_default().chars().take(16).collect();
            Some(Member { node, agent: BoundedString::try_from(agent).ok()? })
        });
        Some(codec::encode(&Response::Members(BoundedVec::truncated(members))))
    }
}

fn blame(error: &RequestError) -> Blame {
    match error {
        RequestError::Busy | RequestError::Throttled => Blame::Load,
        RequestError::QueueFull | RequestError::Closed | RequestError::RequestTooLarge { .. } => {
            Blame::Request
        }
        _ => Blame::Node,
    }
}
