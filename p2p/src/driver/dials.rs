//! The dials under way, and who waits for them. One address is dialled once at a time.

use std::collections::HashMap;

use futures::{channel::oneshot, future::AbortHandle};
use libp2p::{
    Multiaddr, PeerId,
    core::transport::TransportError,
    multiaddr::Protocol,
    swarm::{
        self, ConnectionId,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use tequio_core::types::NodeId;

use super::{Driver, keep::Unreachable};
use crate::{
    error::DialError,
    event::Event,
    identity::node_id,
    path::{
        Path, TransportKind, before_circuit, is_circuit, is_signalled, names_relay, relay_of,
        target_of,
    },
};

/// Dials under way at most, if the configured limit is not below.
pub const DIALS_MAX: usize = 256;

pub type Reply = oneshot::Sender<Result<(NodeId, Path), DialError>>;

/// Who wants a dial.
pub enum Origin {
    Caller(Reply),
    Keep,
    /// A circuit is to be replaced.
    Upgrade,
}

#[derive(Debug)]
pub struct Dial {
    pub addr: Multiaddr,
    pub kept: bool,
    abort: Option<AbortHandle>,
    /// A better connection came first.
    pub is_given_up: bool,
    waiters: Vec<Reply>,
}

impl Dial {
    fn join(&mut self, origin: Origin) {
        match origin {
            Origin::Caller(reply) => self.waiters.push(reply),
            Origin::Keep => self.kept = true,
            Origin::Upgrade => {}
        }
    }

    pub fn resolve(self, result: &Result<(NodeId, Path), DialError>) {
        self.waiters.into_iter().for_each(|waiter| drop(waiter.send(result.clone())));
    }

    pub fn is_wanted_by_callers(&self) -> bool {
        !self.waiters.is_empty()
    }
}

#[derive(Debug, Default)]
pub struct Dials(HashMap<ConnectionId, Dial>);

impl Dials {
    pub fn take(&mut self, id: ConnectionId) -> Option<Dial> {
        self.0.remove(&id)
    }

    fn by_addr(&mut self, addr: &Multiaddr) -> Option<&mut Dial> {
        self.0.values_mut().find(|dial| dial.addr == *addr && !dial.is_given_up)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// A connection to `peer` stands: gives up what is dialled to it for no better one, unless a
    /// caller waits for it.
    pub fn give_up(&mut self, peer: &PeerId, path: Path) {
        let spare = |dial: &Dial| {
            target_of(&dial.addr).as_ref() == Some(peer)
                && (path.is_direct() || is_circuit(&dial.addr))
                && !dial.is_wanted_by_callers()
        };
        for dial in self.0.values_mut().filter(|dial| spare(dial)) {
            dial.is_given_up = true;
            if let Some(abort) = &dial.abort {
                abort.abort();
            }
        }
    }
}

impl Driver {
    pub fn dial(&mut self, addr: Multiaddr, origin: Origin) {
        if let Some(dial) = self.dials.by_addr(&addr) {
            return dial.join(origin);
        }
        let started = self.start(&addr);
        let mut dial =
            Dial { addr, kept: false, abort: None, is_given_up: false, waiters: Vec::new() };
        dial.join(origin);
        match started {
            Ok(id) => {
                dial.abort = self.newest_dial.take();
                self.dials.0.insert(id, dial);
            }
            Err(result) => self.settle(dial, result),
        }
    }

    /// Starts a dial, or gives its result if that is known at once.
    fn start(
        &mut self,
        addr: &Multiaddr,
    ) -> Result<ConnectionId, Result<(NodeId, Path), DialError>> {
        let target = target_of(addr);
        if target == Some(self.local) {
            return Err(Err(DialError::OwnAddress));
        }
        if let Some(peer) = target
            && let Some(node) = node_id(&peer)
        {
            let direct = self.peers.direct(&peer);
            let any = self.peers.best(&peer).map(|(_, path)| path);
            if let Some(path) = direct.or(any.filter(|_| is_circuit(addr))) {
                return Err(Ok((node, path)));
            }
        }
        if self.dials.0.len() >= DIALS_MAX {
            return Err(Err(DialError::QueueFull));
        }
        let full = self.complete(addr).ok_or_else(|| Err(DialError::Incomplete(addr.clone())))?;
        if !self.can_dial(&full) {
            return Err(Err(DialError::Unsupported(full)));
        }
        let options = match target {
            // Whether to dial at all was decided above, by the kind of path.
            Some(peer) => DialOpts::peer_id(peer)
                .addresses(vec![full])
                .condition(PeerCondition::Always)
                .build(),
            None => DialOpts::unknown_peer_id().address(full).build(),
        };
        let id = options.connection_id();
        self.swarm.dial(options).map_err(|error| Err(dial_error(error, addr)))?;
        Ok(id)
    }

    /// The transport behind the names takes every address and complains late and vaguely: look
    /// before.
    pub fn can_dial(&self, addr: &Multiaddr) -> bool {
        // Tabs reach each other so; elsewhere the relay client's transport would take it for a
        // circuit.
        if is_signalled(addr) && !cfg!(target_arch = "wasm32") {
            return false;
        }
        match TransportKind::of(addr) {
            Some(kind) => self.dialable.contains(&kind),
            // What it resolves to is not known yet.
            None => matches!(addr.iter().next(), Some(Protocol::Dnsaddr(_))),
        }
    }

    /// Tells everybody who waits how a dial ended.
    pub fn settle(&mut self, dial: Dial, result: Result<(NodeId, Path), DialError>) {
        // Nobody counts on what was given up.
        if dial.kept && (result.is_ok() || !dial.is_given_up) {
            let now = web_time::Instant::now();
            match &result {
                Ok((node, _)) => {
                    if let Some(peer) = crate::identity::peer_id(*node) {
                        self.keep.connected(peer, Some(&dial.addr), now);
                    }
                }
                Err(error) => {
                    tracing::debug!(addr = %dial.addr, %error, "kept peer not reached");
                    for Unreachable { peer, error } in self.keep.failed(&dial.addr, error, now) {
                        self.emit(Event::Unreachable { peer, error });
                    }
                }
            }
        }
        if result.is_err() {
            self.upgrades.failed(&dial.addr, web_time::Instant::now());
        }
        dial.resolve(&result);
    }

    /// A circuit address needs the relay's own address; if it names only the relay, a connected
    /// one's is known.
    pub fn complete(&self, addr: &Multiaddr) -> Option<Multiaddr> {
        if !names_relay(addr) {
            return Some(addr.clone());
        }
        let relay = relay_of(addr)?;
        if before_circuit(addr).iter().any(|part| !matches!(part, Protocol::P2p(_))) {
            return Some(addr.clone());
        }
        let mut full = self.peers.remote_of(&relay)?;
        addr.iter().for_each(|part| full.push(part));
        Some(full)
    }
}

/// libp2p's reason, shortened to what a person can act on.
pub fn dial_error(error: swarm::DialError, addr: &Multiaddr) -> DialError {
    use swarm::DialError as E;
    match error {
        E::LocalPeerId { .. } => DialError::OwnAddress,
        E::WrongPeerId { obtained, .. } => DialError::WrongPeer(obtained),
        E::Denied { cause } => DialError::Denied(root_cause(&cause)),
        E::Transport(errors) => match errors.into_iter().next() {
            Some((addr, TransportError::MultiaddrNotSupported(_))) => DialError::Unsupported(addr),
            Some((_, TransportError::Other(error))) => DialError::Failed(root_cause(&error)),
            None => DialError::Unsupported(addr.clone()),
        },
        other => DialError::Failed(other.to_string()),
    }
}

/// The innermost error of a chain: the outer ones only say in which layer it happened.
pub fn root_cause(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}
