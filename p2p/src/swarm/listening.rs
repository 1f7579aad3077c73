//! Opens sockets, makes reservations at relays, and announces the addresses of both. Sockets are
//! opened once.

use libp2p::{
    Multiaddr,
    core::transport::{ListenerId, TransportError},
};
use web_time::Instant;

use super::driver::Driver;
use crate::{
    connections::listeners::{Listener, Reply},
    error::{ListenError, root_cause},
    event::Event,
    path::{is_circuit, is_signalled, over_webrtc, target_of, without_target},
    transport::probe,
};

/// Whether browsers can signal over the circuits of this reservation.
fn is_signalling_circuit(addr: &Multiaddr) -> bool {
    cfg!(target_arch = "wasm32") && is_circuit(addr)
}

impl Driver {
    /// Starts to listen. Without a `reply` the call renews a reservation.
    pub(super) fn listen(&mut self, requested: Multiaddr, reply: Option<Reply>) {
        if let Some(reply) = reply {
            match self.listeners.is_relay_reserved(&requested) {
                true => drop(reply.send(Err(ListenError::Reserved(requested)))),
                false => self.start_listener(requested, Some(reply)),
            }
        } else {
            self.start_listener(requested, None);
        }
    }

    fn start_listener(&mut self, requested: Multiaddr, reply: Option<Reply>) {
        let result = match self.complete_circuit_addr(&requested) {
            // A tab listens for signalling on every circuit already; no other host can.
            Some(full) if is_signalled(&full) => Err(TransportError::MultiaddrNotSupported(full)),
            Some(full) => {
                let probed = probe(&full).map_err(TransportError::Other);
                probed.and_then(|()| self.swarm.listen_on(full))
            }
            None => Err(TransportError::MultiaddrNotSupported(requested.clone())),
        };
        match result {
            Ok(id) => self.listeners.insert(id, Listener { requested, reply }),
            Err(error) => {
                let error = match error {
                    TransportError::MultiaddrNotSupported(addr) => ListenError::Unsupported(addr),
                    TransportError::Other(error) => {
                        ListenError::Failed { addr: requested.clone(), cause: root_cause(&error) }
                    }
                };
                match reply {
                    Some(reply) => drop(reply.send(Err(error))),
                    None => self.listeners.schedule_retry(&requested, Instant::now()),
                }
            }
        }
    }

    /// Ends the listeners of an address, as the caller passed it, and the renewal of its
    /// reservation.
    pub(super) fn unlisten(&mut self, requested: &Multiaddr) {
        for id in self.listeners.remove_requested(requested) {
            self.swarm.remove_listener(id);
        }
    }

    pub(super) fn listening(&mut self, id: ListenerId, addr: Multiaddr) {
        let addr = if target_of(&addr) == Some(self.local) { without_target(addr) } else { addr };
        if self.external_addrs.is_empty() {
            self.swarm.add_external_address(addr.clone());
            if is_signalling_circuit(&addr) {
                self.swarm.add_external_address(over_webrtc(&addr));
            }
        }
        if let Some(listener) = self.listeners.get_mut(id) {
            if let Some(reply) = listener.reply.take() {
                let _ = reply.send(Ok(addr.clone()));
            }
            if is_circuit(&listener.requested) {
                let requested = listener.requested.clone();
                self.listeners.reservation_established(&requested);
            }
        }
        self.emit(Event::Listening { addr });
    }

    pub(super) fn expired(&mut self, addr: Multiaddr, cause: &str) {
        let addr = if target_of(&addr) == Some(self.local) { without_target(addr) } else { addr };
        if !self.external_addrs.contains(&addr) {
            self.swarm.remove_external_address(&addr);
            if is_signalling_circuit(&addr) {
                self.swarm.remove_external_address(&over_webrtc(&addr));
            }
        }
        self.emit(Event::ListenEnded { addr, cause: cause.into() });
    }

    pub(super) fn listener_closed(
        &mut self,
        id: ListenerId,
        addrs: Vec<Multiaddr>,
        reason: Result<(), std::io::Error>,
    ) {
        let cause = match reason {
            Ok(()) => "the listener closed".into(),
            Err(error) => root_cause(&error),
        };
        for addr in addrs {
            self.expired(addr, &cause);
        }
        let Some(listener) = self.listeners.remove(id) else { return };
        match listener.reply {
            Some(reply) => {
                drop(reply.send(Err(ListenError::Failed { addr: listener.requested, cause })))
            }
            None => self.listeners.schedule_retry(&listener.requested, Instant::now()),
        }
    }
}
