//! The listening addresses. Sockets are opened once; reservations at relays are renewed whenever
//! they end.

use std::collections::HashMap;

use futures::channel::oneshot;
use libp2p::{
    Multiaddr, PeerId,
    core::transport::{ListenerId, TransportError},
};
use web_time::Instant;

use super::{
    Driver,
    backoff::{Backoff, BackoffReset},
    pending_dials::root_cause,
};
use crate::{
    error::ListenError,
    event::Event,
    path::{is_circuit, is_signalled, over_webrtc, relay_of, target_of, without_target},
};

pub type Reply = oneshot::Sender<Result<Multiaddr, ListenError>>;

#[derive(Debug)]
struct Listener {
    /// The address as the caller passed it.
    requested: Multiaddr,
    reply: Option<Reply>,
}

/// A reservation that was established once and is renewed from then on.
#[derive(Debug)]
struct Reservation {
    addr: Multiaddr,
    attempt: u32,
    backoff_reset: BackoffReset,
    due: Option<Instant>,
}

#[derive(Debug)]
pub struct Listeners {
    active: HashMap<ListenerId, Listener>,
    reservations: Vec<Reservation>,
    backoff: Backoff,
}

impl Listeners {
    pub fn new(seed: u64) -> Self {
        Self { active: HashMap::new(), reservations: Vec::new(), backoff: Backoff::new(seed) }
    }

    /// Returns the reservations to make now.
    pub fn due(&mut self, now: Instant) -> Vec<Multiaddr> {
        let due = self.reservations.iter_mut().filter(|c| c.due.is_some_and(|at| at <= now));
        due.map(|circuit| {
            circuit.due = None;
            circuit.addr.clone()
        })
        .collect()
    }

    /// Whether another address has a reservation at the relay of this circuit, or one in progress.
    fn is_relay_reserved(&self, circuit: &Multiaddr) -> bool {
        let Some(relay) = relay_of(circuit).filter(|_| is_circuit(circuit)) else { return false };
        let open = self.active.values().map(|listener| &listener.requested);
        open.chain(self.reservations.iter().map(|c| &c.addr)).any(|a| relay_of(a) == Some(relay))
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.reservations.iter().filter_map(|c| c.due).min()
    }

    /// Schedules the next attempt for a reservation that was established before.
    fn schedule_retry(&mut self, addr: &Multiaddr, now: Instant) {
        if let Some(circuit) = self.reservations.iter_mut().find(|c| c.addr == *addr) {
            circuit.due = Some(now + self.backoff.pause(circuit.attempt));
            circuit.attempt = circuit.attempt.saturating_add(1);
        }
    }

    fn reservation_established(&mut self, addr: &Multiaddr) {
        match self.reservations.iter_mut().find(|c| c.addr == *addr) {
            Some(circuit) => circuit.attempt = 0,
            None => {
                let (addr, backoff_reset) = (addr.clone(), BackoffReset::default());
                self.reservations.push(Reservation { addr, attempt: 0, backoff_reset, due: None });
            }
        }
    }

    /// Handles a new connection to a relay, perhaps after a long absence: cuts short a pause that
    /// grew meanwhile.
    pub fn relay_connected(&mut self, relay: &PeerId, now: Instant) {
        for circuit in
            self.reservations.iter_mut().filter(|c| relay_of(&c.addr).as_ref() == Some(relay))
        {
            if circuit.attempt > 0 && circuit.backoff_reset.try_reset(now) {
                circuit.attempt = 0;
                let soon = now + self.backoff.pause(0);
                circuit.due = circuit.due.map(|at| at.min(soon));
            }
        }
    }
}

/// Whether browsers can signal over the circuits of this reservation.
fn is_signalling_circuit(addr: &Multiaddr) -> bool {
    cfg!(target_arch = "wasm32") && is_circuit(addr)
}

impl Driver {
    /// Starts to listen. Without a `reply` the call renews a reservation.
    pub fn listen(&mut self, requested: Multiaddr, reply: Option<Reply>) {
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
                let probed = crate::transport::probe(&full).map_err(TransportError::Other);
                probed.and_then(|()| self.swarm.listen_on(full))
            }
            None => Err(TransportError::MultiaddrNotSupported(requested.clone())),
        };
        match result {
            Ok(id) => drop(self.listeners.active.insert(id, Listener { requested, reply })),
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
    pub fn unlisten(&mut self, requested: &Multiaddr) {
        self.listeners.reservations.retain(|circuit| circuit.addr != *requested);
        let swarm = &mut self.swarm;
        self.listeners.active.retain(|id, listener| {
            let stays = listener.requested != *requested;
            if !stays {
                swarm.remove_listener(*id);
            }
            stays
        });
    }

    pub fn listening(&mut self, id: ListenerId, addr: Multiaddr) {
        let addr = if target_of(&addr) == Some(self.local) { without_target(addr) } else { addr };
        if self.external_addrs.is_empty() {
            self.swarm.add_external_address(addr.clone());
            if is_signalling_circuit(&addr) {
                self.swarm.add_external_address(over_webrtc(&addr));
            }
        }
        if let Some(listener) = self.listeners.active.get_mut(&id) {
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

    pub fn expired(&mut self, addr: Multiaddr, cause: &str) {
        let addr = if target_of(&addr) == Some(self.local) { without_target(addr) } else { addr };
        if !self.external_addrs.contains(&addr) {
            self.swarm.remove_external_address(&addr);
            if is_signalling_circuit(&addr) {
                self.swarm.remove_external_address(&over_webrtc(&addr));
            }
        }
        self.emit(Event::ListenEnded { addr, cause: cause.into() });
    }

    pub fn listener_closed(
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
        let Some(listener) = self.listeners.active.remove(&id) else { return };
        match listener.reply {
            Some(reply) => {
                drop(reply.send(Err(ListenError::Failed { addr: listener.requested, cause })))
            }
            None => self.listeners.schedule_retry(&listener.requested, Instant::now()),
        }
    }
}
