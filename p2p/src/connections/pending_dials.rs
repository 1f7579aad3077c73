//! Dials in progress and the callers that wait for them. An address has at most one dial at a time.

use std::collections::HashMap;

use futures::{channel::oneshot, future::AbortHandle};
use libp2p::{Multiaddr, PeerId, swarm::ConnectionId};
use tequio_core::types::NodeId;

use crate::{
    error::DialError,
    path::{Path, is_circuit, target_of},
};

/// Upper bound on dials in progress; the configured limit may be lower.
pub const DIALS_MAX: usize = 256;

pub type Reply = oneshot::Sender<Result<(NodeId, Path), DialError>>;

/// The origin of a dial.
pub enum Origin {
    Caller(Reply),
    PersistentPeer,
    /// The upgrade of a circuit to WebRTC.
    WebRtcUpgrade,
}

#[derive(Debug)]
pub struct Dial {
    pub addr: Multiaddr,
    pub is_persistent: bool,
    abort: Option<AbortHandle>,
    /// Cancelled because a better connection exists.
    pub is_cancelled: bool,
    waiters: Vec<Reply>,
}

impl Dial {
    pub fn new(addr: Multiaddr) -> Self {
        Self { addr, is_persistent: false, abort: None, is_cancelled: false, waiters: Vec::new() }
    }

    /// Sets the handle that cancels the dial.
    pub fn set_abort(&mut self, abort: Option<AbortHandle>) {
        self.abort = abort;
    }

    /// Adds an origin that waits for the result.
    pub fn join(&mut self, origin: Origin) {
        match origin {
            Origin::Caller(reply) => self.waiters.push(reply),
            Origin::PersistentPeer => self.is_persistent = true,
            Origin::WebRtcUpgrade => {}
        }
    }

    pub fn resolve(self, result: &Result<(NodeId, Path), DialError>) {
        self.waiters.into_iter().for_each(|waiter| drop(waiter.send(result.clone())));
    }

    pub fn has_waiters(&self) -> bool {
        !self.waiters.is_empty()
    }
}

#[derive(Debug, Default)]
pub struct PendingDials(HashMap<ConnectionId, Dial>);

impl PendingDials {
    pub fn take(&mut self, id: ConnectionId) -> Option<Dial> {
        self.0.remove(&id)
    }

    pub fn insert(&mut self, id: ConnectionId, dial: Dial) {
        self.0.insert(id, dial);
    }

    /// The dial of this address that is not cancelled.
    pub fn by_addr(&mut self, addr: &Multiaddr) -> Option<&mut Dial> {
        self.0.values_mut().find(|dial| dial.addr == *addr && !dial.is_cancelled)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Handles a new connection to `peer`: cancels the dials to it over no better path, unless a
    /// caller waits for them.
    pub fn cancel_redundant(&mut self, peer: &PeerId, path: Path) {
        let spare = |dial: &Dial| {
            target_of(&dial.addr).as_ref() == Some(peer)
                && (path.is_direct() || is_circuit(&dial.addr))
                && !dial.has_waiters()
        };
        for dial in self.0.values_mut().filter(|dial| spare(dial)) {
            dial.is_cancelled = true;
            if let Some(abort) = &dial.abort {
                abort.abort();
            }
        }
    }
}
