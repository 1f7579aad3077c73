//! The table of listeners and of the reservations at relays, which are renewed whenever they end. A
//! state machine without I/O: the driver makes the reservations that are due.

use std::collections::HashMap;

use futures::channel::oneshot;
use libp2p::{Multiaddr, PeerId, core::transport::ListenerId};
use web_time::Instant;

use super::backoff::{Backoff, BackoffReset};
use crate::{
    error::ListenError,
    path::{is_circuit, relay_of},
};

pub type Reply = oneshot::Sender<Result<Multiaddr, ListenError>>;

#[derive(Debug)]
pub struct Listener {
    /// The address as the caller passed it.
    pub requested: Multiaddr,
    pub reply: Option<Reply>,
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

    pub fn insert(&mut self, id: ListenerId, listener: Listener) {
        self.active.insert(id, listener);
    }

    pub fn get_mut(&mut self, id: ListenerId) -> Option<&mut Listener> {
        self.active.get_mut(&id)
    }

    pub fn remove(&mut self, id: ListenerId) -> Option<Listener> {
        self.active.remove(&id)
    }

    /// Removes the listeners of an address, as the caller passed it, and its reservation. Returns
    /// the listeners to end.
    pub fn remove_requested(&mut self, requested: &Multiaddr) -> Vec<ListenerId> {
        self.reservations.retain(|circuit| circuit.addr != *requested);
        self.active
            .extract_if(|_, listener| listener.requested == *requested)
            .map(|(id, _)| id)
            .collect()
    }

    /// Whether another address has a reservation at the relay of this circuit, or one in progress.
    pub fn is_relay_reserved(&self, circuit: &Multiaddr) -> bool {
        let Some(relay) = relay_of(circuit).filter(|_| is_circuit(circuit)) else { return false };
        let open = self.active.values().map(|listener| &listener.requested);
        open.chain(self.reservations.iter().map(|c| &c.addr)).any(|a| relay_of(a) == Some(relay))
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.reservations.iter().filter_map(|c| c.due).min()
    }

    /// Schedules the next attempt for a reservation that was established before.
    pub fn schedule_retry(&mut self, addr: &Multiaddr, now: Instant) {
        if let Some(circuit) = self.reservations.iter_mut().find(|c| c.addr == *addr) {
            circuit.due = Some(now + self.backoff.pause(circuit.attempt));
            circuit.attempt = circuit.attempt.saturating_add(1);
        }
    }

    pub fn reservation_established(&mut self, addr: &Multiaddr) {
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
