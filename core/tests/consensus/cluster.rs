//! Virtual time: a queue of what happens next, a network that loses, repeats, delays and parts, and hosts
//! that crash. The same seed gives the same run.

use crate::{
    adversary::{self, Lie},
    checkers::Checkers,
    host::{Host, Write, clock_offset},
    random::Rng,
    world::{GENESIS_MS, World},
};
use std::collections::BTreeMap;
use tequio_core::{
    codec,
    consensus::{BuildBlock, Error, Input, Output, To},
    crypto::NodeKey,
    ledger::{Block, Certificate, SignedTransaction},
    machine::Machine,
    types::{Height, TimeMs, Unverified, View},
    wire::consensus::{Message, REQUEST_LEN_MAX},
};

/// A run that handles more than this turns in circles.
const EVENTS_MAX: usize = 400_000;

/// A fault of the implementation, put into every host: the checkers must find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// View changes carry no prepare certificate.
    ForgetLock,
    /// After a restart the log is not read.
    Amnesia,
    /// The disk is said to have written what it has not.
    WireBeforeDisk,
    /// View changes are never sent.
    NoViewChange,
    /// The mempool makes transactions up.
    InventTransaction,
}

pub struct Network {
    pub loss_per_mille: u64,
    pub repeat_per_mille: u64,
    pub slow_per_mille: u64,
    /// Seats with different numbers do not hear each other.
    pub side: Vec<u8>,
    /// Messages that a directed test keeps from arriving: from, to, what.
    pub withheld: fn(usize, usize, &Message) -> bool,
}

enum Happening {
    Deliver {
        to: usize,
        from: usize,
        bytes: Vec<u8>,
    },
    Wake {
        seat: usize,
        life: u32,
    },
    Written {
        seat: usize,
        life: u32,
    },
    /// The disk of a host with [`Bug::WireBeforeDisk`] gets to it at last.
    WrittenLate {
        seat: usize,
        life: u32,
        write: Write,
    },
    Built {
        seat: usize,
        life: u32,
        height: Height,
        view: View,
    },
    Asked {
        seat: usize,
        by: usize,
        from: Height,
    },
    Synced {
        seat: usize,
        from: usize,
        blocks: Vec<(Block, Certificate)>,
    },
    Submitted {
        seat: usize,
        transaction: SignedTransaction,
    },
}

pub struct Cluster {
    pub world: &'static World,
    pub rng: Rng,
    pub now_ms: TimeMs,
    pub network: Network,
    pub hosts: Vec<Host>,
    pub checkers: Checkers,
    pub view_changes: usize,
    lies: BTreeMap<usize, Lie>,
    bug: Option<Bug>,
    queue: BTreeMap<(TimeMs, u64), Happening>,
    sequence: u64,
    handled: usize,
    nonces: Vec<u64>,
    submitted: Vec<SignedTransaction>,
}

impl Cluster {
    pub fn new(world: &'static World, seed: u64, lies: BTreeMap<usize, Lie>, bug: Option<Bug>) -> Self {
        let mut rng = Rng::new(seed);
        let hosts = (0..world.seats()).map(|seat| Host::new(world, seat, clock_offset(&mut rng))).collect();
        let liars: Vec<usize> = lies.keys().copied().collect();
        let mut cluster = Self {
            world,
            rng,
            now_ms: GENESIS_MS + 10,
            network: Network {
                loss_per_mille: 0,
                repeat_per_mille: 0,
                slow_per_mille: 0,
                side: vec![0; world.seats()],
                withheld: |_, _, _| false,
            },
            hosts,
            checkers: Checkers::new(world, &liars),
            view_changes: 0,
            lies,
            bug,
            queue: BTreeMap::new(),
            sequence: 0,
            handled: 0,
            nonces: vec![0; world.clients.len()],
            submitted: Vec::new(),
        };
        (0..world.seats()).for_each(|seat| cluster.restart(seat));
        cluster
    }

    pub fn is_correct(&self, seat: usize) -> bool {
        !self.lies.contains_key(&seat)
    }

    /// Runs until a point of virtual time, or until a rule is broken.
    pub fn run_until(&mut self, end_ms: TimeMs) {
        while self.checkers.violation.is_none() {
            let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= end_ms) else { break };
            let ((at_ms, _), happening) = entry.remove_entry();
            self.now_ms = self.now_ms.max(at_ms);
            self.happen(happening);
            self.handled += 1;
            if self.handled > EVENTS_MAX {
                self.checkers.fail("progress: turns in circles".into());
            }
        }
        self.now_ms = self.now_ms.max(end_ms);
    }

    /// Whether all correct hosts have stored a height and all that clients have asked for is final.
    pub fn caught_up(&self, height: Height) -> bool {
        let correct = (0..self.hosts.len()).filter(|seat| self.is_correct(*seat));
        let mut heights = correct.map(|seat| self.hosts[seat].disk.head.header.height);
        heights.all(|h| h >= height) && self.checkers.included.len() == self.checkers.submitted.len()
    }

    /// A client's next transaction reaches every mempool.
    pub fn submit(&mut self, client: usize) {
        let transaction = self.world.transaction(client, self.nonces[client]);
        self.nonces[client] += 1;
        self.checkers.submitted.insert(transaction.id());
        self.submitted.push(transaction.clone());
        for seat in 0..self.hosts.len() {
            let delay_ms = self.rng.range(1, 60);
            self.later(delay_ms, Happening::Submitted { seat, transaction: transaction.clone() });
        }
    }

    pub fn crash(&mut self, seat: usize) {
        let written = self.rng.chance(500);
        self.hosts[seat].crash(written);
    }

    pub fn restart(&mut self, seat: usize) {
        if self.hosts[seat].replica.is_some() {
            return;
        }
        let amnesia = self.bug == Some(Bug::Amnesia);
        self.hosts[seat].start(self.now_ms, amnesia);
        // Clients repeat what is not final yet.
        for transaction in self.submitted.clone() {
            if !self.checkers.included.contains(&transaction.id()) {
                self.later(1, Happening::Submitted { seat, transaction });
            }
        }
        self.drain(seat);
    }

    fn later(&mut self, delay_ms: u64, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((self.now_ms + delay_ms, self.sequence), happening);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Deliver { to, from, bytes } => {
                let from = self.world.keys[from].0.id();
                let message = codec::decode::<Message>(&bytes, REQUEST_LEN_MAX).unwrap();
                self.feed(to, Input::Received { from, message: Unverified::new(message) });
            }
            Happening::Wake { seat, life } if self.hosts[seat].life == life => {
                self.hosts[seat].wake_at_ms = None;
                self.feed(seat, Input::Tick);
            }
            Happening::Written { seat, life } if self.hosts[seat].life == life => {
                let write = self.hosts[seat].writing.take().unwrap();
                self.hosts[seat].disk.apply(write);
                self.feed(seat, Input::Persisted);
            }
            Happening::WrittenLate { seat, life, write } if self.hosts[seat].life == life => {
                self.hosts[seat].disk.apply(write);
            }
            Happening::Built { seat, life, height, view } if self.hosts[seat].life == life => {
                let mut transactions = self.hosts[seat].choice();
                if self.bug == Some(Bug::InventTransaction) && height % 3 == 0 {
                    let invented = self.world.transaction(2, 77 + height);
                    transactions.extend(Unverified::new(invented).verify(&self.world.start.chain));
                }
                self.feed(seat, Input::Built { height, view, transactions });
            }
            Happening::Asked { seat, by, from } if self.hosts[seat].replica.is_some() => {
                let blocks: Vec<_> =
                    self.hosts[seat].disk.blocks.iter().skip(from as usize - 1).take(8).cloned().collect();
                if let Some(delay_ms) = self.travel_ms(seat, by).filter(|_| !blocks.is_empty()) {
                    self.later(delay_ms, Happening::Synced { seat: by, from: seat, blocks });
                }
            }
            Happening::Synced { seat, from, blocks } => {
                let from = self.world.keys[from].0.id();
                self.feed(seat, Input::Synced { from, blocks });
            }
            Happening::Submitted { seat, transaction } => {
                let key = (transaction.transaction.sender, transaction.transaction.nonce);
                let verified = Unverified::new(transaction).verify(&self.world.start.chain).unwrap();
                if self.hosts[seat].replica.is_some() && !self.checkers.included.contains(&verified.id()) {
                    self.hosts[seat].mempool.insert(key, verified);
                    self.feed(seat, Input::WantBlock);
                }
            }
            _ => {} // Meant for an earlier life.
        }
    }

    fn feed(&mut self, seat: usize, input: Input) {
        let now_ms = self.hosts[seat].clock_ms(self.now_ms);
        let Some(replica) = &mut self.hosts[seat].replica else { return };
        match replica.handle(now_ms, input) {
            Ok(()) | Err(Error::NotRequested | Error::Overloaded) => {}
            Err(error) => self.checkers.fail(format!("host {seat}: {error}")),
        }
        self.drain(seat);
    }

    fn drain(&mut self, seat: usize) {
        while let Some(output) = self.hosts[seat].replica.as_mut().and_then(Machine::poll) {
            self.perform(seat, output);
        }
        let host = &mut self.hosts[seat];
        let Some(deadline_ms) = host.replica.as_ref().and_then(Machine::deadline) else { return };
        let wake_ms = host.world_ms(deadline_ms).max(self.now_ms + 1);
        if host.wake_at_ms.is_none_or(|at| wake_ms < at) {
            host.wake_at_ms = Some(wake_ms);
            let (life, delay_ms) = (host.life, wake_ms - self.now_ms);
            self.later(delay_ms, Happening::Wake { seat, life });
        }
    }

    fn perform(&mut self, seat: usize, output: Output) {
        let (node, life) = (self.world.keys[seat].0.id(), self.hosts[seat].life);
        match output {
            Output::Send { to, message } => self.send(seat, to, message),
            Output::Persist(record) => self.write(seat, Write::Record(codec::encode(&*record))),
            Output::Finalised(finalised) => {
                self.checkers.finalised(node, &finalised);
                self.hosts[seat].forget_included(&finalised.block);
                self.write(seat, Write::Block(finalised));
                if !self.hosts[seat].mempool.is_empty() {
                    self.feed(seat, Input::WantBlock);
                }
            }
            Output::Request(BuildBlock { height, view, .. }) => {
                let delay_ms = self.rng.range(1, 8);
                self.later(delay_ms, Happening::Built { seat, life, height, view });
            }
            Output::SyncNeeded { from, peer } => {
                let peer = self.world.start.committee.seat_of(&peer).unwrap();
                if let Some(delay_ms) = self.travel_ms(seat, peer) {
                    self.later(delay_ms, Happening::Asked { seat: peer, by: seat, from });
                }
            }
            Output::Misbehaviour { peer, offence } => self.checkers.offence(node, peer, &offence),
            Output::Event(event) => {
                self.view_changes += usize::from(matches!(event, tequio_core::consensus::Event::ViewChange { .. }));
            }
        }
    }

    fn write(&mut self, seat: usize, write: Write) {
        let (life, delay_ms) = (self.hosts[seat].life, self.rng.range(1, 12));
        if self.bug == Some(Bug::WireBeforeDisk) && matches!(write, Write::Record(_)) {
            self.later(delay_ms * 20, Happening::WrittenLate { seat, life, write });
            return self.feed(seat, Input::Persisted);
        }
        assert!(self.hosts[seat].writing.replace(write).is_none(), "nothing passes a barrier");
        self.later(delay_ms, Happening::Written { seat, life });
    }

    fn send(&mut self, seat: usize, to: To, message: Message) {
        let said = match (self.lies.get(&seat), self.bug) {
            (Some(lie), _) => adversary::rewrite(*lie, self.world, seat, to, message, &mut self.rng),
            (None, Some(bug)) => break_message(bug, &self.world.keys[seat].0, message)
                .into_iter()
                .flat_map(|message| {
                    adversary::receivers(self.world, seat, to).into_iter().map(move |to| (to, message.clone()))
                })
                .collect(),
            (None, None) => {
                adversary::receivers(self.world, seat, to).into_iter().map(|to| (to, message.clone())).collect()
            }
        };
        let withheld = self.network.withheld;
        for (to, message) in said.into_iter().filter(|(to, message)| !withheld(seat, *to, message)) {
            let bytes = codec::encode(&message);
            let times = 1 + u64::from(self.rng.chance(self.network.repeat_per_mille));
            for _ in 0..times {
                if let Some(delay_ms) = self.travel_ms(seat, to) {
                    self.later(delay_ms, Happening::Deliver { to, from: seat, bytes: bytes.clone() });
                }
            }
        }
    }

    /// How long a message takes, if it arrives at all. Every message has its own delay: they overtake each other.
    fn travel_ms(&mut self, from: usize, to: usize) -> Option<u64> {
        let parted = self.network.side[from] != self.network.side[to];
        if parted || self.rng.chance(self.network.loss_per_mille) {
            return None;
        }
        Some(match self.rng.chance(self.network.slow_per_mille) {
            true => self.rng.range(100, 3000),
            false => self.rng.range(2, 25),
        })
    }
}

/// What an implementation with this bug would have said.
fn break_message(bug: Bug, key: &NodeKey, message: Message) -> Option<Message> {
    match (bug, message) {
        (Bug::ForgetLock, Message::ViewChange { change, .. }) => {
            let mut change = change.change;
            change.prepared = None;
            Some(Message::ViewChange { change: change.sign(key), block: None })
        }
        (Bug::NoViewChange, Message::ViewChange { .. }) => None,
        (_, message) => Some(message),
    }
}
