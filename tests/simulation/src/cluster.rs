//! Virtual time: a queue of what happens next, and hosts that hear, compute, write, crash and come
//! back. The same seed gives the same run, on any machine.

use crate::{
    adversary::{Conspiracy, Lie},
    bugs::Bug,
    checkers::Checkers,
    disk::{Fate, Write},
    host::Host,
    network::{Network, Regions},
    random::Rng,
    world::{GENESIS_MS, World},
};
use std::collections::{BTreeMap, BTreeSet};
use tequio_core::{
    consensus::{self, BuildBlock, Input, VotesTo},
    crypto::bls::known,
    ledger::{Block, Certificate, SignedTransaction, TransactionId, fault},
    types::{Height, NodeId, Unverified, Verified},
};

/// A run that handles more than this for each pair of hosts turns in circles.
const EVENTS_PER_PAIR_MAX: usize = 60_000;
/// Blocks in an answer to a peer that is behind.
const SYNC_BLOCKS: usize = 8;

mod churn;
mod events;

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
        life: u32,
        from: Height,
    },
    Synced {
        host: usize,
        life: u32,
        from: NodeId,
        blocks: Vec<(Block, Certificate)>,
    },
    /// Time to ask somebody whether there are new blocks.
    Look {
        host: usize,
    },
    Submitted {
        host: usize,
        transaction: Verified<SignedTransaction>,
    },
}

/// Where the hosts of a run send their votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// All to all.
    All,
    /// All to the collector.
    Collectors,
    /// Every other host to the collector, as while a committee changes from one way to the other.
    Mixed,
}

impl Profile {
    /// By its name on the command line.
    pub fn named(name: &str) -> Option<Self> {
        [Self::All, Self::Collectors, Self::Mixed]
            .into_iter()
            .find(|profile| profile.name() == name)
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Collectors => "collectors",
            Self::Mixed => "mixed",
        }
    }

    fn votes_to(self, host: usize) -> VotesTo {
        match self {
            Self::Collectors => VotesTo::Collectors,
            Self::Mixed if host.is_multiple_of(2) => VotesTo::Collectors,
            Self::All | Self::Mixed => VotesTo::All,
        }
    }
}

/// Which hosts open a height before the one below is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pipeline {
    /// All of them wherever they may.
    On,
    /// None.
    Off,
    /// All of them where it pays.
    Auto,
    /// Two of three wherever they may, the others not.
    Mixed,
}

impl Pipeline {
    /// By its name on the command line.
    pub fn named(name: &str) -> Option<Self> {
        [Self::On, Self::Off, Self::Auto, Self::Mixed]
            .into_iter()
            .find(|pipeline| pipeline.name() == name)
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Auto => "auto",
            Self::Mixed => "mixed",
        }
    }

    fn of(self, host: usize) -> consensus::Pipeline {
        match self {
            Self::Auto => consensus::Pipeline::Auto,
            Self::Mixed if host.is_multiple_of(3) => consensus::Pipeline::Off,
            Self::Off => consensus::Pipeline::Off,
            Self::On | Self::Mixed => consensus::Pipeline::On,
        }
    }
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
    /// Where hosts send their votes.
    pub profile: Profile,
    /// Which hosts open a height before the one below is decided.
    pub pipeline: Pipeline,
    /// A fault of the implementation.
    pub bug: Option<Bug>,
    /// Members join, leave and change their keys.
    pub churn: bool,
    /// Verifies every signature by pairings, as a check of the faster way.
    pub pairings: bool,
}

impl Setup {
    /// Nobody lies, nothing is broken.
    pub fn calm(seed: u64) -> Self {
        let (lies, twins) = (BTreeMap::new(), Vec::new());
        let (profile, pipeline, bug) = (Profile::All, Pipeline::On, None);
        Self {
            seed,
            regions: Regions::Site,
            lies,
            twins,
            profile,
            pipeline,
            bug,
            churn: false,
            pairings: false,
        }
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
    /// Hosts whose collector did not answer in time, once for each height.
    pub fallbacks: u64,
    /// Votes for a block of the next height, by host and height.
    pub ahead: u64,
    /// Those of them that were in vain.
    pub orphaned: u64,
    /// So much waits for every machine, as the hosts say; otherwise what does.
    pub waiting: Option<usize>,
    /// How often who hears nothing of new blocks asks for them, where members come and go: from
    /// one of these to the other.
    pub look_us: (u64, u64),
    /// By how much all cores are slower than the one that was measured.
    pub slowness: u64,
    /// Views that were given up by anybody.
    pub view_changes: u64,
    /// From the first proposal of a height until each correct host has it, milliseconds.
    pub latencies_ms: Vec<u32>,
    /// From a client's call until a correct host has its transaction final, milliseconds, for each
    /// of both.
    pub submit_ms: Vec<u32>,
    /// By the time of a client's call: when the first correct host had its transaction final.
    pub served_us: BTreeMap<u64, u64>,
    /// Time that the hosts' cores have worked.
    pub cpu_us: u64,
    /// What the hosts have said to each other, by receiver.
    pub bytes: u64,
    /// Crashes this host in the middle of its n-th write.
    pub crash_at_write: Option<(usize, u64, Fate)>,
    /// Writes that were begun, by host.
    pub writes: Vec<u64>,
    lies: BTreeMap<usize, Lie>,
    twins: Vec<usize>,
    bug: Option<Bug>,
    /// Members come and go: the reserves have hosts, and whoever hears nothing asks.
    churn: bool,
    /// Members that were reported.
    reported: BTreeSet<NodeId>,
    conspiracy: Conspiracy,
    queue: BTreeMap<(u64, u64), Happening>,
    sequence: u64,
    handled: usize,
    nonces: Vec<u64>,
    member_nonces: Vec<u64>,
    pending: Vec<Verified<SignedTransaction>>,
    proposed_us: BTreeMap<Height, u64>,
    submitted_us: BTreeMap<TransactionId, u64>,
}

impl Cluster {
    /// Starts all hosts.
    pub fn new(world: &'static World, setup: Setup) -> Self {
        let Setup { seed, regions, lies, twins, profile, pipeline, bug, churn, pairings } = setup;
        known::learn(world.seat_keys.iter().flatten().map(|keys| &keys.vote).filter(|_| !pairings));
        fault::put(bug.and_then(Bug::of_core));
        let mut rng = Rng::new(seed);
        let members = if churn { world.keys.len() } else { world.seats() };
        let seats = (0..members).chain(twins.iter().copied());
        let mut hosts: Vec<_> = seats.map(|seat| Host::new(world, seat, &mut rng)).collect();
        hosts.iter_mut().for_each(|host| {
            host.disk.keeps_committee = bug == Some(Bug::CommitteeStands);
            host.disk.cuts_log = bug == Some(Bug::LogCutAtBlock);
        });
        hosts.iter_mut().enumerate().for_each(|(number, host)| {
            host.config.votes_to = profile.votes_to(number);
            host.config.pipeline = pipeline.of(number);
        });
        let faulty: Vec<usize> = lies.keys().chain(&twins).copied().collect();
        let mut cluster = Self {
            world,
            rng,
            now_us: (GENESIS_MS + 10) * 1000,
            network: Network::new(hosts.len(), regions),
            checkers: Checkers::new(world, &faulty),
            faults: BTreeMap::new(),
            fallbacks: 0,
            ahead: 0,
            orphaned: 0,
            waiting: None,
            look_us: (150_000, 400_000),
            slowness: 1,
            view_changes: 0,
            latencies_ms: Vec::new(),
            submit_ms: Vec::new(),
            served_us: BTreeMap::new(),
            cpu_us: 0,
            bytes: 0,
            crash_at_write: None,
            writes: vec![0; hosts.len()],
            hosts,
            lies,
            twins,
            bug,
            churn,
            reported: BTreeSet::new(),
            conspiracy: Conspiracy::default(),
            queue: BTreeMap::new(),
            sequence: 0,
            handled: 0,
            nonces: vec![0; world.clients.len()],
            member_nonces: vec![0; world.keys.len()],
            pending: Vec::new(),
            proposed_us: BTreeMap::new(),
            submitted_us: BTreeMap::new(),
        };
        (0..cluster.hosts.len()).for_each(|host| cluster.restart(host));
        if churn {
            (0..cluster.hosts.len()).for_each(|host| cluster.look_again(host));
        }
        cluster
    }

    /// Whether members come and go.
    pub fn churns(&self) -> bool {
        self.churn
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

    /// A seat that lies takes up another lie.
    pub fn lie_otherwise(&mut self, seat: usize, lie: Lie) {
        if let Some(old) = self.lies.get_mut(&seat) {
            *old = lie;
        }
    }

    /// Runs for so long, or until a rule is broken.
    pub fn run_ms(&mut self, ms: u64) {
        self.run_until(self.now_us + ms * 1000);
    }

    /// Runs until a point of virtual time, or until a rule is broken.
    pub fn run_until(&mut self, end_us: u64) {
        while self.checkers.violation.is_none() {
            let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= end_us)
            else {
                break;
            };
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

    /// Replays what all hosts have stored but for the newest `keep` blocks, and lets go of it on
    /// all disks: for runs whose blocks would fill the memory.
    pub fn fold(&mut self, keep: Height) {
        let living = || (0..self.hosts.len()).filter(|host| !self.hosts[*host].is_dead);
        let Some(lowest) = living().map(|host| self.hosts[host].disk.height()).min() else {
            return;
        };
        let Some(first) = living().find(|host| self.is_correct(*host)) else { return };
        let (height, disk) = (lowest.saturating_sub(keep), &self.hosts[first].disk);
        if height <= disk.base.header.height {
            return;
        }
        let Some(base) = disk.replay(self.world, height) else {
            return self
                .checkers
                .fail(format!("replay: host {first}'s blocks lead to another state"));
        };
        // What is replayed of one is replayed of all who have the same blocks.
        let headers =
            |host: usize| self.hosts[host].disk.blocks.iter().map(|(block, _)| &block.header);
        let same =
            |host: &usize| headers(*host).zip(headers(first)).all(|(ours, theirs)| ours == theirs);
        if let Some(other) = living().find(|host| !same(host)) {
            return self
                .checkers
                .fail(format!("agreement: the disks of hosts {first} and {other} differ"));
        }
        self.hosts.iter_mut().filter(|host| !host.is_dead).for_each(|host| host.disk.rebase(&base));
        self.checkers.forget_below(height);
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
        self.spread(signed);
    }

    /// A host says whether its processors are contended. It forgets that when it crashes.
    pub fn contend(&mut self, host: usize, is_contended: bool) {
        self.feed(host, Input::Contended(is_contended));
    }

    pub(crate) fn spread(&mut self, signed: SignedTransaction) {
        self.checkers.submitted.insert(signed.id());
        self.submitted_us.insert(signed.id(), self.now_us);
        let Ok(transaction) = Unverified::new(signed).verify(&self.world.start.chain) else {
            return;
        };
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
                let records =
                    self.bug.map_or(records.clone(), |bug| bug.read(disk.height(), records));
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
}
