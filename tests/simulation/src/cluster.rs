//! Virtual time: a queue of what happens next, and hosts that hear, compute, write, crash and come back. The same
//! seed gives the same run, on any machine.

use crate::{
    adversary::{Conspiracy, Liar, Lie, receivers, seat_of},
    bugs::{Bug, invented},
    checkers::Checkers,
    disk::{Entry, Fate, Write},
    host::{Host, cost_us},
    network::{Lost, Network, Regions},
    random::Rng,
    world::{GENESIS_MS, World},
};
use std::collections::BTreeMap;
use tequio_core::{
    codec,
    consensus::{BuildBlock, Error, Event, Input, Output, To},
    crypto::{bls::known, meter},
    ledger::{Block, Certificate, SignedTransaction},
    machine::Machine,
    types::{Height, NodeId, Unverified, Verified},
    wire::consensus::{Message, REQUEST_LEN_MAX},
};

/// A run that handles more than this for each pair of hosts turns in circles.
const EVENTS_PER_PAIR_MAX: usize = 60_000;
/// Blocks in an answer to a peer that is behind.
const SYNC_BLOCKS: usize = 8;

#[allow(clippy::large_enum_variant)]
enum Happening {
    Deliver {
        host: usize,
        from: NodeId,
        bytes: Vec<u8>,
    },
    Wake {
        host: usize,
        life: u32,
    },
    /// Its core has time again.
    Ready {
        host: usize,
        life: u32,
    },
    Written {
        host: usize,
        life: u32,
    },
    /// A disk that acknowledges too early gets to it at last.
    WrittenLate {
        host: usize,
        life: u32,
        write: Write,
    },
    Built {
        host: usize,
        life: u32,
        wanted: BuildBlock,
    },
    Asked {
        host: usize,
        by: usize,
        from: Height,
    },
    Synced {
        host: usize,
        from: NodeId,
        blocks: Vec<(Block, Certificate)>,
    },
    Submitted {
        host: usize,
        transaction: Verified<SignedTransaction>,
    },
}

/// How a run is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Of all chance.
    pub seed: u64,
    /// Where the hosts stand.
    pub regions: Regions,
    /// What is wrong with which seat.
    pub lies: BTreeMap<usize, Lie>,
    /// Seats that two hosts have the keys of.
    pub twins: Vec<usize>,
    /// A fault of the implementation.
    pub bug: Option<Bug>,
    /// Verifies every signature by pairings, as a check of the faster way.
    pub pairings: bool,
}

impl Setup {
    /// Nobody lies, nothing is broken.
    pub fn calm(seed: u64) -> Self {
        let (lies, twins) = (BTreeMap::new(), Vec::new());
        Self { seed, regions: Regions::Site, lies, twins, bug: None, pairings: false }
    }
}

/// All hosts, and the world around them.
pub struct Cluster {
    /// Keys and genesis.
    pub world: &'static World,
    /// All chance.
    pub rng: Rng,
    /// The world's time.
    pub now_us: u64,
    /// Between the hosts.
    pub network: Network,
    /// One for each seat, then the twins.
    pub hosts: Vec<Host>,
    /// What must hold.
    pub checkers: Checkers,
    /// What went wrong, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Views that were given up by anybody.
    pub view_changes: u64,
    /// From the first proposal of a height until each correct host has it, milliseconds.
    pub latencies_ms: Vec<u32>,
    /// Crashes this host in the middle of its n-th write.
    pub crash_at_write: Option<(usize, u64, Fate)>,
    /// Writes that were begun, by host.
    pub writes: Vec<u64>,
    lies: BTreeMap<usize, Lie>,
    twins: Vec<usize>,
    bug: Option<Bug>,
    conspiracy: Conspiracy,
    queue: BTreeMap<(u64, u64), Happening>,
    sequence: u64,
    handled: usize,
    nonces: Vec<u64>,
    pending: Vec<Verified<SignedTransaction>>,
    proposed_us: BTreeMap<Height, u64>,
}

impl Cluster {
    /// Starts all hosts.
    pub fn new(world: &'static World, setup: Setup) -> Self {
        let Setup { seed, regions, lies, twins, bug, pairings } = setup;
        known::learn(world.keys.iter().map(|(_, secret)| secret).filter(|_| !pairings));
        let mut rng = Rng::new(seed);
        let seats = (0..world.seats()).chain(twins.iter().copied());
        let hosts: Vec<_> = seats.map(|seat| Host::new(world, seat, &mut rng)).collect();
        let faulty: Vec<usize> = lies.keys().chain(&twins).copied().collect();
        let mut cluster = Self {
            world,
            rng,
            now_us: (GENESIS_MS + 10) * 1000,
            network: Network::new(hosts.len(), regions),
            checkers: Checkers::new(world, &faulty),
            faults: BTreeMap::new(),
            view_changes: 0,
            latencies_ms: Vec::new(),
            crash_at_write: None,
            writes: vec![0; hosts.len()],
            hosts,
            lies,
            twins,
            bug,
            conspiracy: Conspiracy::default(),
            queue: BTreeMap::new(),
            sequence: 0,
            handled: 0,
            nonces: vec![0; world.clients.len()],
            pending: Vec::new(),
            proposed_us: BTreeMap::new(),
        };
        (0..cluster.hosts.len()).for_each(|host| cluster.restart(host));
        cluster
    }

    /// Whether nothing is wrong with a host's seat.
    pub fn is_correct(&self, host: usize) -> bool {
        let seat = self.hosts[host].seat;
        !self.lies.contains_key(&seat) && !self.twins.contains(&seat)
    }

    /// What is wrong with a host's seat.
    pub fn lie(&self, host: usize) -> Option<Lie> {
        self.lies.get(&self.hosts[host].seat).copied()
    }

    /// Runs for so long, or until a rule is broken.
    pub fn run_ms(&mut self, ms: u64) {
        self.run_until(self.now_us + ms * 1000);
    }

    /// Runs until a point of virtual time, or until a rule is broken.
    pub fn run_until(&mut self, end_us: u64) {
        while self.checkers.violation.is_none() {
            let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= end_us) else { break };
            let ((at_us, _), happening) = entry.remove_entry();
            self.now_us = self.now_us.max(at_us);
            self.happen(happening);
            self.handled += 1;
            if self.handled > EVENTS_PER_PAIR_MAX * self.hosts.len() * self.hosts.len() {
                self.checkers.fail("progress: turns in circles".into());
            }
        }
        self.now_us = self.now_us.max(end_us);
    }

    /// Forgets how much has happened: for runs that are long on purpose.
    pub fn forget_events(&mut self) {
        self.handled = 0;
        let included = &self.checkers.included;
        self.pending.retain(|transaction| !included.contains(&transaction.id()));
    }

    /// Whether all correct hosts have stored a height and all that clients have asked for is final.
    pub fn caught_up(&self, height: Height) -> bool {
        self.heights().first().is_none_or(|lowest| *lowest >= height)
            && self.checkers.included.len() == self.checkers.submitted.len()
    }

    /// The heights of the correct hosts' disks, lowest first.
    pub fn heights(&self) -> Vec<Height> {
        let correct = (0..self.hosts.len()).filter(|host| self.is_correct(*host));
        let mut heights: Vec<_> = correct.map(|host| self.hosts[host].disk.height()).collect();
        heights.sort_unstable();
        heights
    }

    /// A client's next transaction reaches every mempool.
    pub fn submit(&mut self, client: usize) {
        let signed = self.world.transaction(client, self.nonces[client], self.checkers.height());
        self.nonces[client] += 1;
        self.checkers.submitted.insert(signed.id());
        let Ok(transaction) = Unverified::new(signed).verify(&self.world.start.chain) else { return };
        self.pending.push(transaction.clone());
        for host in 0..self.hosts.len() {
            let at_us = self.now_us + self.rng.range(500, 60_000);
            self.at(at_us, Happening::Submitted { host, transaction: transaction.clone() });
        }
    }

    /// A host loses its memory, and perhaps what it was writing.
    pub fn crash(&mut self, host: usize) {
        let fate = self.rng.pick(&[Fate::Lost, Fate::Kept, Fate::Torn]);
        self.crash_with(host, fate);
    }

    /// Likewise, with a fate for what it was writing.
    pub fn crash_with(&mut self, host: usize, fate: Fate) {
        if self.hosts[host].replica.is_none() {
            return;
        }
        self.fault("crash");
        if let Some(write) = self.hosts[host].crash() {
            self.fault(match fate {
                Fate::Lost => "lost_write",
                Fate::Kept => "unacknowledged_write",
                Fate::Torn => "torn_write",
            });
            let Self { hosts, rng, .. } = self;
            hosts[host].disk.interrupt(write, fate, rng);
        }
    }

    /// A host comes back, if it is down and its disk is sound.
    pub fn restart(&mut self, host: usize) {
        if self.hosts[host].replica.is_some() || self.hosts[host].is_dead {
            return;
        }
        if self.lie(host) == Some(Lie::Amnesia) {
            self.hosts[host].disk.forget_records();
        }
        let (is_correct, disk) = (self.is_correct(host), &mut self.hosts[host].disk);
        if is_correct {
            self.checkers.restarted(host, disk.height(), disk.head.digest());
        }
        let started = match disk.recover() {
            Ok(records) => {
                let records = self.bug.map_or(records.clone(), |bug| bug.read(records));
                self.hosts[host].start(self.now_us, records)
            }
            Err(_) => Err("its log is damaged".into()),
        };
        if let Err(error) = started {
            self.hosts[host].is_dead = true;
            if is_correct {
                self.checkers.fail(format!("start: host {host}: {error}"));
            }
            return;
        }
        if self.hosts[host].life > 1 {
            self.fault("restart");
        }
        // Clients repeat what is not final yet.
        for transaction in self.pending.clone() {
            if !self.checkers.included.contains(&transaction.id()) {
                self.at(self.now_us + 1000, Happening::Submitted { host, transaction });
            }
        }
        self.drain(host);
    }

    /// Counts a fault.
    pub fn fault(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
    }

    fn at(&mut self, at_us: u64, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((at_us.max(self.now_us), self.sequence), happening);
    }

    fn happen(&mut self, happening: Happening) {
        let (now_us, is_life) = (self.now_us, |host: usize, life: u32| self.hosts[host].life == life);
        match happening {
            Happening::Deliver { host, from, bytes } => {
                self.checkers.note(&(now_us, 0u8, host as u64, &bytes));
                match codec::decode::<Message>(&bytes, REQUEST_LEN_MAX) {
                    Ok(message) => self.hear(host, from, message),
                    Err(error) => self.checkers.fail(format!("codec: a message does not decode: {error}")),
                }
            }
            Happening::Wake { host, life } if is_life(host, life) => {
                self.checkers.note(&(now_us, 1u8, host as u64));
                self.hosts[host].wake_at_us = None;
                if self.bug != Some(Bug::ClockStands) || self.hosts[host].disk.height() < 3 {
                    self.feed(host, Input::Tick);
                }
            }
            Happening::Ready { host, life } if is_life(host, life) => self.work(host),
            Happening::Written { host, life } if is_life(host, life) => {
                self.checkers.note(&(now_us, 2u8, host as u64));
                if let Some(write) = self.hosts[host].writing.take() {
                    self.apply(host, write);
                }
                self.feed(host, Input::Persisted);
            }
            Happening::WrittenLate { host, life, write } if is_life(host, life) => self.hosts[host].disk.apply(write),
            Happening::Built { host, life, wanted } if is_life(host, life) => {
                let mut transactions = self.hosts[host].choice();
                if let Some(bug) = self.bug {
                    transactions = bug.build(&wanted, transactions, |height| invented(self.world, height));
                }
                self.feed(host, Input::Built { height: wanted.height, view: wanted.view, transactions });
            }
            Happening::Asked { host, by, from } if self.hosts[host].replica.is_some() => self.answer(host, by, from),
            Happening::Synced { host, from, blocks } => self.feed(host, Input::Synced { from, blocks }),
            Happening::Submitted { host, transaction } => {
                let key = (transaction.transaction.sender, transaction.transaction.nonce);
                if self.hosts[host].replica.is_some() && !self.checkers.included.contains(&transaction.id()) {
                    self.hosts[host].mempool.insert(key, transaction);
                    self.feed(host, Input::WantBlock);
                }
            }
            _ => {} // Meant for an earlier life.
        }
    }

    fn hear(&mut self, host: usize, from: NodeId, message: Message) {
        let seat = self.hosts[host].seat;
        if let Some(bug) = self.bug.filter(|_| self.is_correct(host))
            && let Some(answer) = bug.answer(self.world, seat, &message)
        {
            self.utter(host, To::All, answer);
        }
        self.feed(host, Input::Received { from, message: Unverified::new(message) });
    }

    /// An input waits while its host's core is busy.
    fn feed(&mut self, host: usize, input: Input) {
        let node = &mut self.hosts[host];
        if node.replica.is_none() {
            return;
        }
        node.inbox.push_back(input);
        if node.inbox.len() == 1 {
            let (life, at_us) = (node.life, node.busy_until_us);
            match at_us <= self.now_us {
                true => self.work(host),
                false => self.at(at_us, Happening::Ready { host, life }),
            }
        }
    }

    fn work(&mut self, host: usize) {
        let node = &mut self.hosts[host];
        let (now_ms, life) = (node.clock_ms(self.now_us), node.life);
        // The input stays at the front until its outputs are performed: what they feed back waits behind it.
        let Some(input) = node.inbox.front().cloned() else { return };
        let Some(replica) = &mut node.replica else { return };
        meter::take();
        let handled = replica.handle(now_ms, input);
        node.busy_until_us = self.now_us + cost_us(&meter::take());
        match handled {
            Ok(()) | Err(Error::NotRequested | Error::Overloaded) => {}
            Err(error) if self.is_correct(host) => self.checkers.fail(format!("host {host}: {error}")),
            Err(_) => self.hosts[host].is_dead = true,
        }
        self.drain(host);
        let node = &mut self.hosts[host];
        if node.life == life {
            node.inbox.pop_front();
            let at_us = node.busy_until_us;
            if !node.inbox.is_empty() {
                self.at(at_us, Happening::Ready { host, life });
            }
        }
    }

    fn drain(&mut self, host: usize) {
        while let Some(output) = self.hosts[host].replica.as_mut().and_then(Machine::poll) {
            self.perform(host, output);
        }
        let (now_us, node) = (self.now_us, &mut self.hosts[host]);
        let Some(deadline_ms) = node.replica.as_ref().and_then(Machine::deadline) else { return };
        let wake_us = node.world_us(deadline_ms).max(now_us + 1000);
        if node.wake_at_us.is_none_or(|at| wake_us < at) {
            node.wake_at_us = Some(wake_us);
            let life = node.life;
            self.at(wake_us, Happening::Wake { host, life });
        }
    }

    fn perform(&mut self, host: usize, output: Output) {
        let (life, done_us) = (self.hosts[host].life, self.hosts[host].busy_until_us);
        match output {
            Output::Send { to, message } => self.utter(host, to, message),
            Output::Persist(record) => {
                if self.bug.is_some_and(|bug| bug.drops(&record)) {
                    return self.feed(host, Input::Persisted);
                }
                self.write(host, Write { entry: Entry::Record(codec::encode(&*record)), finalised: None });
            }
            Output::Finalised(mut finalised) => {
                if let Some(bug) = self.bug {
                    finalised.certificate = bug.certificate(finalised.certificate);
                }
                let height = finalised.block.header.height;
                if self.is_correct(host) {
                    self.checkers.finalised(host, &finalised, self.now_us);
                    if let Some(proposed_us) = self.proposed_us.get(&height) {
                        self.latencies_ms.push((done_us.saturating_sub(*proposed_us) / 1000) as u32);
                    }
                }
                self.hosts[host].forget_included(&finalised.block);
                let entry = Entry::Block(finalised.block.clone(), finalised.certificate.clone());
                self.write(host, Write { entry, finalised: Some(finalised) });
                if !self.hosts[host].mempool.is_empty() {
                    self.feed(host, Input::WantBlock);
                }
            }
            Output::Request(wanted) => {
                let at_us = done_us + self.rng.range(200, 4_000);
                self.at(at_us, Happening::Built { host, life, wanted });
            }
            Output::SyncNeeded { from, peer } => {
                let Some(seat) = seat_of(self.world, &peer) else { return };
                if let Some(travel_us) = self.travel(host, seat) {
                    self.at(done_us + travel_us, Happening::Asked { host: seat, by: host, from });
                }
            }
            Output::Misbehaviour { peer, offence } => {
                if self.is_correct(host) {
                    self.checkers.offence(host, peer, &offence);
                }
            }
            Output::Event(event) => self.view_changes += u64::from(matches!(event, Event::ViewChange { .. })),
        }
    }

    fn answer(&mut self, host: usize, by: usize, from: Height) {
        let blocks = self.hosts[host].disk.blocks.iter().skip(from.saturating_sub(1) as usize).take(SYNC_BLOCKS);
        let mut blocks: Vec<_> = blocks.cloned().collect();
        if let Some(bug) = self.bug {
            blocks = bug.sync(blocks);
        }
        if let Some(travel_us) = self.travel(host, by).filter(|_| !blocks.is_empty()) {
            let from = self.hosts[host].config.node_key.id();
            self.at(self.now_us + travel_us, Happening::Synced { host: by, from, blocks });
        }
    }

    fn write(&mut self, host: usize, write: Write) {
        self.writes[host] += 1;
        let (begun, node) = (self.writes[host], &self.hosts[host]);
        let (life, (low_us, high_us)) = (node.life, node.disk.sync_us);
        let at_us = node.busy_until_us + self.rng.range(low_us, high_us);
        let early = match write.entry {
            Entry::Record(_) => self.bug == Some(Bug::WireBeforeDisk),
            Entry::Block(..) => self.bug == Some(Bug::BlocksNotWritten),
        };
        if early {
            if let Some(height) = write.finalised.as_ref().map(|f| f.block.header.height) {
                self.checkers.stored(host, height);
            }
            self.at(at_us + 200_000, Happening::WrittenLate { host, life, write });
            return self.feed(host, Input::Persisted);
        }
        if self.hosts[host].writing.replace(write).is_some() {
            return self.checkers.fail(format!("barrier: host {host} writes before the last write is done"));
        }
        if self.hosts[host].disk.is_full {
            self.fault("full_disk");
            return self.crash_with(host, Fate::Lost);
        }
        if let Some((_, _, fate)) = self.crash_at_write.filter(|(who, nth, _)| (*who, *nth) == (host, begun)) {
            return self.crash_with(host, fate);
        }
        self.at(at_us, Happening::Written { host, life });
    }

    fn apply(&mut self, host: usize, write: Write) {
        let height = write.finalised.as_ref().map(|finalised| finalised.block.header.height);
        self.hosts[host].disk.apply(write);
        if let Some(height) = height.filter(|_| self.is_correct(host)) {
            self.checkers.stored(host, height);
        }
    }

    /// A host says something: lies and bugs have their way with it, then the checkers, then the network.
    fn utter(&mut self, host: usize, to: To, message: Message) {
        let (world, seat) = (self.world, self.hosts[host].seat);
        let seats = receivers(world, seat, to);
        let said: Vec<(usize, Message)> = match (self.lies.get(&seat), self.bug) {
            (Some(lie), _) => {
                self.faults.entry(lie.name()).and_modify(|n| *n += 1).or_insert(1);
                let now_ms = self.hosts[host].clock_ms(self.now_us);
                let mut liar = Liar { seat, lie: *lie, world, receivers: seats, now_ms, rng: &mut self.rng };
                self.conspiracy.rewrite(&mut liar, message)
            }
            (None, bug) => {
                let said = bug.map_or_else(|| vec![message.clone()], |bug| bug.say(world, seat, message.clone()));
                let host = &mut self.hosts[host];
                let is_said = |said: &Message| bug != Some(Bug::NeverRepeat) || host.said.insert(codec::encode(said));
                let said: Vec<_> = said.into_iter().filter(is_said).collect();
                said.into_iter().flat_map(|said| seats.iter().map(move |to| (*to, said.clone()))).collect()
            }
        };
        let is_correct = self.is_correct(host);
        let mut last = None;
        for (seat, message) in said {
            if last.as_ref() != Some(&message) {
                self.checkers.said(self.hosts[host].seat, is_correct, &message);
                if !self.lies.is_empty() {
                    self.conspiracy.overhear(&message);
                }
                if let (true, Message::Proposal(proposal)) = (is_correct, &message) {
                    let height = proposal.block.header.height;
                    self.proposed_us.entry(height).or_insert(self.now_us);
                }
            }
            self.send(host, seat, &message);
            last = Some(message);
        }
    }

    fn send(&mut self, host: usize, seat: usize, message: &Message) {
        let (from, done_us) = (self.hosts[host].config.node_key.id(), self.hosts[host].busy_until_us.max(self.now_us));
        let withheld = self.network.withheld;
        let bytes = codec::encode(message);
        for to in (0..self.hosts.len()).filter(|to| *to != host) {
            if self.hosts[to].seat != seat || withheld(host, to, message) {
                continue;
            }
            let again = self.rng.chance(self.network.repeat_per_mille);
            if again {
                self.fault("duplicated");
            }
            for _ in 0..1 + u64::from(again) {
                if let Some(travel_us) = self.travel(host, to) {
                    self.at(done_us + travel_us, Happening::Deliver { host: to, from, bytes: bytes.clone() });
                }
            }
        }
    }

    fn travel(&mut self, from: usize, to: usize) -> Option<u64> {
        match self.network.travel_us(from, to, &mut self.rng) {
            Ok(us) => {
                if us >= 100_000 + self.network.regions.one_way_us(from, to) {
                    self.fault("delayed");
                }
                Some(us)
            }
            Err(lost) => {
                self.fault(match lost {
                    Lost::Parted => "parted",
                    Lost::Cut => "cut_one_way",
                    Lost::OnTheWay => "lost",
                });
                None
            }
        }
    }
}
