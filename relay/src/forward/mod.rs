//! Forwards light nodes' requests to full nodes, and the answers back, byte for byte.
//!
//! The relay inspects neither: light nodes verify the answers. The relay itself answers one
//! request, the full nodes that are reachable through it ([`Request::Members`]), because only the
//! relay has that list. It refuses a request that no full node answers. The network's queue of
//! inbound requests bounds the memory.

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

/// Most full nodes that get one request.
const ATTEMPTS_MAX: usize = 3;
/// Time for one attempt: a full node may delay its answer about the head.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(HEAD_WAIT_MS_MAX as u64 + 5_000);

/// Forwards requests; the tasks of all requests share it.
#[derive(Debug)]
pub struct Forwarder {
    network: Network,
    upstreams: Mutex<Upstreams>,
    metrics: Arc<Metrics>,
}

/// Meaning of an error for the full node that got the request.
enum ErrorClass {
    /// The node fails at the moment.
    Node,
    /// The node is busy; another node may not be.
    Load,
    /// Every node would fail.
    Request,
}

impl Forwarder {
    /// A forwarder to these nodes.
    pub fn new(network: Network, nodes: Vec<NodeId>, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { network, upstreams: Mutex::new(Upstreams::new(nodes)), metrics })
    }

    /// Locks the full nodes.
    pub fn upstreams(&self) -> MutexGuard<'_, Upstreams> {
        self.upstreams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one request. Drops the reply if no full node answers, which refuses the request.
    pub async fn serve(&self, body: Vec<u8>, reply: Reply) {
        if let Some(members) = self.members(&body) {
            self.metrics.count_forwarded(Outcome::Local);
            return reply.send(members);
        }
        match self.forward(body, &reply).await {
            Some(answer) => {
                self.metrics.count_forwarded(Outcome::Answered);
                reply.send(answer);
            }
            None => self.metrics.count_forwarded(Outcome::Failed),
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
            match classify(&error) {
                ErrorClass::Node => self.upstreams().failed(node, Instant::now()),
                ErrorClass::Load => {}
                ErrorClass::Request => return None,
            }
        }
        None
    }

    /// The answer to [`Request::Members`]. That request has no fields, so its encoding is one byte.
    fn members(&self, body: &[u8]) -> Option<Vec<u8>> {
        if body.len() != 1 || !matches!(codec::decode(body, 1), Ok(Request::Members)) {
            return None;
        }
        let connected = self.upstreams().connected();
        let members = connected.into_iter().filter_map(|node| {
            // Sixteen characters always fit into 64 bytes.
            let agent: String =
                self.network.peer(node)?.agent.unwrap_or_default().chars().take(16).collect();
            Some(Member { node, agent: BoundedString::try_from(agent).ok()? })
        });
        Some(codec::encode(&Response::Members(BoundedVec::truncated(members))))
    }
}

fn classify(error: &RequestError) -> ErrorClass {
    match error {
        RequestError::Busy | RequestError::Throttled => ErrorClass::Load,
        RequestError::QueueFull | RequestError::Closed | RequestError::RequestTooLarge { .. } => {
            ErrorClass::Request
        }
        _ => ErrorClass::Node,
    }
}
