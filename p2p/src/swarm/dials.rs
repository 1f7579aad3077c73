//! Starts dials and passes their results on.

use libp2p::{
    Multiaddr,
    core::transport::TransportError,
    multiaddr::Protocol,
    swarm::{
        self, ConnectionId,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use tequio_core::types::NodeId;

use super::driver::Driver;
use crate::{
    connections::{
        pending_dials::{DIALS_MAX, Dial, Origin},
        persistent_peers::Unreachable,
    },
    error::{DialError, root_cause},
    event::Event,
    identity::{node_id, peer_id},
    path::{
        Path, TransportKind, before_circuit, is_circuit, is_signalled, names_relay, relay_of,
        target_of,
    },
};

impl Driver {
    pub(super) fn dial(&mut self, addr: Multiaddr, origin: Origin) {
        if let Some(dial) = self.pending_dials.by_addr(&addr) {
            return dial.join(origin);
        }
        let started = self.start_dial(&addr);
        let mut dial = Dial::new(addr);
        dial.join(origin);
        match started {
            Ok(id) => {
                dial.set_abort(self.last_dial.take());
                self.pending_dials.insert(id, dial);
            }
            Err(result) => self.finish_dial(dial, result),
        }
    }

    /// Starts a dial, or returns its result if that is known at once.
    fn start_dial(
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
        if self.pending_dials.len() >= DIALS_MAX {
            return Err(Err(DialError::QueueFull));
        }
        let full = self
            .complete_circuit_addr(addr)
            .ok_or_else(|| Err(DialError::Incomplete(addr.clone())))?;
        if !self.can_dial(&full) {
            return Err(Err(DialError::Unsupported(full)));
        }
        let options = match target {
            // The path check above has already decided whether to dial.
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

    /// Whether a transport supports the address. The DNS transport accepts every address and fails
    /// late with a vague error, so this check comes first.
    pub(super) fn can_dial(&self, addr: &Multiaddr) -> bool {
        // Tabs dial such an address. On other hosts the relay client's transport would treat it as
        // a circuit.
        if is_signalled(addr) && !cfg!(target_arch = "wasm32") {
            return false;
        }
        match TransportKind::of(addr) {
            Some(kind) => self.dialable.contains(&kind),
            // A `dnsaddr` has no known transport before it is resolved.
            None => matches!(addr.iter().next(), Some(Protocol::Dnsaddr(_))),
        }
    }

    /// Sends the result of a dial to all that wait for it.
    pub(super) fn finish_dial(&mut self, dial: Dial, result: Result<(NodeId, Path), DialError>) {
        // A cancelled dial is no failure of a persistent peer.
        if dial.is_persistent && (result.is_ok() || !dial.is_cancelled) {
            let now = web_time::Instant::now();
            match &result {
                Ok((node, _)) => {
                    if let Some(peer) = peer_id(*node) {
                        self.persistent_peers.connected(peer, Some(&dial.addr), now);
                    }
                }
                Err(error) => {
                    tracing::debug!(
                        addr = %dial.addr, %error,
                        "cannot connect to a persistent peer"
                    );
                    for Unreachable { peer, error } in
                        self.persistent_peers.failed(&dial.addr, error, now)
                    {
                        self.emit(Event::Unreachable { peer, error });
                    }
                }
            }
        }
        if result.is_err() {
            self.webrtc_upgrades.failed(&dial.addr, web_time::Instant::now());
        }
        dial.resolve(&result);
    }

    /// A circuit address needs the relay's own address. If it names only the relay's id, this fills
    /// in the address of a connected relay.
    pub(super) fn complete_circuit_addr(&self, addr: &Multiaddr) -> Option<Multiaddr> {
        if !names_relay(addr) {
            return Some(addr.clone());
        }
        let relay = relay_of(addr)?;
        if before_circuit(addr).iter().any(|part| !matches!(part, Protocol::P2p(_))) {
            return Some(addr.clone());
        }
        let mut full = self.peers.direct_addr(&relay)?;
        addr.iter().for_each(|part| full.push(part));
        Some(full)
    }
}

/// Shortens libp2p's error to what a user can act on.
pub(super) fn dial_error(error: swarm::DialError, addr: &Multiaddr) -> DialError {
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
