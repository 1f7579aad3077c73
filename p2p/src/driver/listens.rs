//! The addresses we listen on. Sockets are opened once; reservations at relays are made again
//! whenever they end.

use std::collections::HashMap;

use futures::channel::oneshot;
use libp2p::{
    Multiaddr, PeerId,
    core::transport::{ListenerId, TransportError},
};
use web_time::Instant;

use super::{
    Driver,
    backoff::{Backoff, Haste},
    dials::root_cause,
};
use crate::{
    error::ListenError,
    event::Event,
    path::{is_circuit, is_signalled, over_webrtc, relay_of, target_of, without_target},
};

pub type Reply = oneshot::Sender<Result<Multiaddr, ListenError>>;

#[derive(Debug)]
struct Listener {
    /// As it was asked for.
    asked: Multiaddr,
    reply: Option<Reply>,
}

/// A reservation that was made once and is to be made again.
#[derive(Debug)]
struct Circuit {
    addr: Multiaddr,
    attempt: u32,
    haste: Haste,
    due: Option<Instant>,
}

#[derive(Debug)]
pub struct Listens {
    listeners: HashMap<ListenerId, Listener>,
    circuits: Vec<Circuit>,
    backoff: Backoff,
}

impl Listens {
    pub fn new(seed: u64) -> Self {
        Self { listeners: HashMap::new(), circuits: Vec::new(), backoff: Backoff::new(seed) }
    }

    /// The reservations to make now.
    pub fn due(&mut self, now: Instant) -> Vec<Multiaddr> {
        let due = self.circuits.iter_mut().filter(|c| c.due.is_some_and(|at| at <= now));
        due.map(|circuit| {
            circuit.due = None;
            circuit.addr.clone()
        })
        .collect()
    }

    /// Whether there is a reservation at the relay of this circuit, or one is being made.
    fn is_reserved(&self, circuit: &Multiaddr) -> bool {
        let Some(relay) = relay_of(circuit).filter(|_| is_circuit(circuit)) else { return false };
        let open = self.listeners.values().map(|listener| &listener.asked);
        open.chain(self.circuits.iter().map(|c| &c.addr)).any(|a| relay_of(a) == Some(relay))
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.circuits.iter().filter_map(|c| c.due).min()
    }

    /// Plans the next attempt for a reservation that has existed.
    fn retry(&mut self, addr: &Multiaddr, now: Instant) {
        if let Some(circuit) = self.circuits.iter_mut().find(|c| c.addr == *addr) {
            circuit.due = Some(now + self.backoff.pause(circuit.attempt));
            circuit.attempt = circuit.attempt.saturating_add(1);
        }
    }

    fn stands(&mut self, addr: &Multiaddr) {
        match self.circuits.iter_mut().find(|c| c.addr == *addr) {
            Some(circuit) => circuit.attempt = 0,
            None => {
                let (addr, haste) = (addr.clone(), Haste::default());
                self.circuits.push(Circuit { addr, attempt: 0, haste, due: None });
            }
        }
    }

    /// A relay is connected, perhaps after a long absence: a pause that grew meanwhile is not
    /// waited out.
    pub fn relay_is_back(&mut self, relay: &PeerId, now: Instant) {
        for circuit in
            self.circuits.iter_mut().filter(|c| relay_of(&c.addr).as_ref() == Some(relay))
        {
            if circuit.attempt > 0 && circuit.haste.may(now) {
                circuit.attempt = 0;
                let soon = now + self.backoff.pause(0);
                circuit.due = circuit.due.map(|at| at.min(soon));
            }
        }
    }
}

/// Whether browsers can signal to us over the circuits of this reservation.
fn signals(addr: &Multiaddr) -> bool {
    cfg!(target_arch = "wasm32") && is_circuit(addr)
}

impl Driver {
    /// Starts to listen; without a `reply` it is the renewal of a reservation.
    pub fn listen(&mut self, asked: Multiaddr, reply: Option<Reply>) {
        if let Some(reply) = reply {
            match self.listens.is_reserved(&asked) {
                true => drop(reply.send(Err(ListenError::Reserved(asked)))),
                false => self.start_listener(asked, Some(reply)),
            }
        } else {
            self.start_listener(asked, None);
        }
    }

    fn start_listener(&mut self, asked: Multiaddr, reply: Option<Reply>) {
        let result = match self.complete(&asked) {
            // A tab does so by itself wherever a circuit reaches it; nobody else can.
            Some(full) if is_signalled(&full) => Err(TransportError::MultiaddrNotSupported(full)),
            Some(full) => {
                let probed = crate::transport::probe(&full).map_err(TransportError::Other);
                probed.and_then(|()| self.swarm.listen_on(full))
            }
            None => Err(TransportError::MultiaddrNotSupported(asked.clone())),
        };
        match result {
            Ok(id) => drop(self.listens.listeners.insert(id, Listener { asked, reply })),
            Err(error) => {
                let error = match error {
                    TransportError::MultiaddrNotSupported(addr) => ListenError::Unsupported(addr),
                    TransportError::Other(error) => {
                        ListenError::Failed { addr: asked.clone(), cause: root_cause(&error) }
                    }
                };
                match reply {
                    Some(reply) => drop(reply.send(Err(error))),
                    None => self.listens.retry(&asked, Instant::now()),
                }
            }
        }
    }

    /// Ends the listeners of an address, as it was asked for, and the renewal of its reservation.
    pub fn unlisten(&mut self, asked: &Multiaddr) {
        self.listens.circuits.retain(|circuit| circuit.addr != *asked);
        let swarm = &mut self.swarm;
        self.listens.listeners.retain(|id, listener| {
            let stays = listener.asked != *asked;
            if !stays {
                swarm.remove_listener(*id);
            }
            stays
        });
    }

    pub fn listening(&mut self, id: ListenerId, addr: Multiaddr) {
        let addr = if target_of(&addr) == Some(self.local) { without_target(addr) } else { addr };
        if self.external.is_empty() {
            self.swarm.add_external_address(addr.clone());
            if signals(&addr) {
                self.swarm.add_external_address(over_webrtc(&addr));
            }
        }
        if let Some(listener) = self.listens.listeners.get_mut(&id) {
            if let Some(reply) = listener.reply.take() {
                let _ = reply.send(Ok(addr.clone()));
            }
            if is_circuit(&listener.asked) {
                let asked = listener.asked.clone();
                self.listens.stands(&asked);
            }
        }
        self.emit(Event::Listening { addr });
    }

    pub fn expired(&mut self, addr: Multiaddr, cause: &str) {
        let addr = if target_of(&addr) == Some(self.local) { without_target(addr) } else { addr };
        if !self.external.contains(&addr) {
            self.swarm.remove_external_address(&addr);
            if signals(&addr) {
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
        let Some(listener) = self.listens.listeners.remove(&id) else { return };
        match listener.reply {
            Some(reply) => {
                drop(reply.send(Err(ListenError::Failed { addr: listener.asked, cause })))
            }
            None => self.listens.retry(&listener.asked, Instant::now()),
        }
    }
}
