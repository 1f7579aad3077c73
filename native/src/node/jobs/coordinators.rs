//! The running coordinators of this node's jobs, and the requests of workers to them.

use crate::node::{chain_view::ChainView, machine::Inbox, peers::agent::is_full_node};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tequio_core::{
    codec,
    ledger::job::JobId,
    scheduler::{
        coordinator::{Input, Peer},
        worker,
    },
    types::NodeId,
    wire::work::{REQUEST_LEN_MAX, Refusal, Request, Response},
};
use tequio_p2p::{Network, Reply};

/// Requests of at least this length are decoded on another thread, because they would delay network
/// events.
const LARGE_REQUEST_LEN: usize = 64 * 1024;

/// Destination of a response.
#[derive(Debug)]
pub(super) enum Responder {
    Peer(Reply),
    /// This node's own worker, with the id of its request.
    LocalWorker(Inbox<worker::Input>, u64),
}

impl Responder {
    pub(super) fn respond(self, response: Response) {
        match self {
            Self::Peer(reply) => reply.send(codec::encode(&response)),
            Self::LocalWorker(worker, id) => {
                worker.send(worker::Input::Response { id, outcome: Ok(response) });
            }
        }
    }
}

/// The coordinators of this node's jobs. Clones share them.
#[derive(Clone, Debug)]
pub struct Coordinators {
    chain: ChainView,
    network: Network,
    running: Arc<Mutex<BTreeMap<JobId, Arc<CoordinatorHandle>>>>,
}

/// Access to one coordinator's thread.
#[derive(Debug)]
pub(super) struct CoordinatorHandle {
    pub(super) inbox: Inbox<Input>,
    responders: Mutex<BTreeMap<u64, Responder>>,
    next: AtomicU64,
}

impl CoordinatorHandle {
    pub(super) fn new(inbox: Inbox<Input>) -> Self {
        Self { inbox, responders: Mutex::default(), next: AtomicU64::new(0) }
    }

    fn send_request(&self, from: Peer, request: Request, responder: Responder) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.responders.lock().unwrap_or_else(PoisonError::into_inner).insert(id, responder);
        self.inbox.send(Input::Request { id, from, request });
    }

    pub(super) fn take_responder(&self, id: u64) -> Option<Responder> {
        self.responders.lock().unwrap_or_else(PoisonError::into_inner).remove(&id)
    }
}

impl Coordinators {
    /// No coordinators yet.
    pub fn new(chain: ChainView, network: Network) -> Self {
        Self { chain, network, running: Arc::default() }
    }

    /// Adds the coordinator of a job.
    pub(super) fn insert(&self, job: JobId, handle: Arc<CoordinatorHandle>) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(job, handle);
    }

    fn handle(&self, job: &JobId) -> Option<Arc<CoordinatorHandle>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).get(job).cloned()
    }

    /// Jobs that this node coordinates now.
    pub fn jobs(&self) -> Vec<JobId> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// Reports a lost connection of a worker.
    pub fn worker_disconnected(&self, worker: NodeId) {
        for handle in self.running.lock().unwrap_or_else(PoisonError::into_inner).values() {
            handle.inbox.send(Input::Disconnected(worker));
        }
    }

    /// Ends a coordinator's thread. Its records stay.
    pub fn stop(&self, job: &JobId) {
        if let Some(handle) = self.handle(job) {
            handle.inbox.stop();
        }
    }

    /// Cancels a job that has ended in the ledger.
    pub(super) fn cancel(&self, job: &JobId) {
        if let Some(handle) =
            self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(job)
        {
            handle.inbox.send(Input::Cancel);
            handle.inbox.stop();
        }
    }

    /// Handles the request of a remote worker. A request for a job that is not coordinated here
    /// costs no decoding, because any peer can send one.
    pub fn receive(&self, from: NodeId, body: Vec<u8>, reply: Reply) {
        let Some(job) = Request::job_of(&body) else {
            return reply.send(codec::encode(&Response::refused(Refusal::Malformed)));
        };
        let Some(handle) = self.handle(&job) else {
            return reply.send(codec::encode(&Response::refused(Refusal::UnknownJob)));
        };
        let (peer, is_long) = (self.peer(from), body.len() >= LARGE_REQUEST_LEN);
        let take = move || match codec::decode::<Request>(&body, REQUEST_LEN_MAX) {
            Ok(request) => handle.send_request(peer, request, Responder::Peer(reply)),
            Err(_) => reply.send(codec::encode(&Response::refused(Refusal::Malformed))),
        };
        // The network bounds the number of unanswered requests, and so the number of these tasks.
        if is_long { drop(tokio::task::spawn_blocking(take)) } else { take() }
    }

    /// Handles the request of this node's own worker.
    pub fn receive_own(&self, worker: &Inbox<worker::Input>, id: u64, request: Request) {
        let responder = Responder::LocalWorker(worker.clone(), id);
        match self.handle(&request.job()) {
            Some(handle) => handle.send_request(self.peer(self.chain.node), request, responder),
            None => responder.respond(Response::refused(Refusal::UnknownJob)),
        }
    }

    /// Properties of a worker.
    fn peer(&self, node: NodeId) -> Peer {
        let info = self.network.peer(node);
        Peer {
            node,
            is_browser: node != self.chain.node && !info.as_ref().is_some_and(is_full_node),
            rtt_ms: info
                .and_then(|i| i.rtt)
                .map(|rtt| rtt.as_millis().try_into().unwrap_or(u32::MAX)),
            reputation: self.chain.tip().state.account(&node).map_or(0, |a| a.reputation),
        }
    }
}
