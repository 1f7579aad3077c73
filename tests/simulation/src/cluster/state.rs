//! The hosts of a run, their simulated surroundings, and the queue of events.

use super::setup::Setup;
use crate::{
    adversary::{ByzantineFault, Coalition},
    chain_fixture::{ChainFixture, GENESIS_MS},
    checkers::Checkers,
    disk::{Write, WriteFate},
    host::Host,
    mutants::Mutant,
    network::Network,
    random::Rng,
};
use std::collections::{BTreeMap, BTreeSet};
use tequio_core::{
    consensus::BuildBlock,
    crypto::bls::known_secrets,
    ledger::{Block, Certificate, SignedTransaction, TransactionId, mutation},
    types::{Height, NodeId, Unverified, Verified},
};

/// A run that handles more events than this for each pair of hosts is in an endless loop.
const EVENTS_PER_PAIR_MAX: usize = 60_000;

#[allow(clippy::large_enum_variant)]
pub(super) enum SimulationEvent {
    Deliver {
        host: usize,
        from: NodeId,
        bytes: Vec<u8>,
    },
    Wake {
        host: usize,
        life: u32,
    },
    /// The core of the host is idle again.
    CoreIdle {
        host: usize,
        life: u32,
    },
    Written {
        host: usize,
        life: u32,
    },
    /// A disk that acknowledges too early completes the write.
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
    SyncRequested {
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
    /// A request to a peer for new blocks is due.
    PollPeers {
        host: usize,
    },
    Submitted {
        host: usize,
        transaction: Verified<SignedTransaction>,
    },
}

/// All hosts, and their simulated surroundings.
pub struct Cluster {
    /// Keys and genesis.
    pub fixture: &'static ChainFixture,
    /// Source of all random choices.
    pub rng: Rng,
    /// The true time.
    pub now_us: u64,
    /// The network between the hosts.
    pub network: Network,
    /// One host for each seat, then the twins.
    pub hosts: Vec<Host>,
    /// The rules that must hold.
    pub checkers: Checkers,
    /// Number of injected faults, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Heights at which a host's collector did not answer in time, counted for each host.
    pub fallbacks: u64,
    /// Votes for a block of the next height, by host and height.
    pub pipelined_votes: u64,
    /// Pipelined votes whose block became an orphan.
    pub orphaned_votes: u64,
    /// Number of waiting inputs that every host reports to its machine; the real number if `None`.
    pub pending_override: Option<usize>,
    /// Where the committee changes: bounds of the interval after which a host that has received no
    /// new block requests blocks.
    pub poll_interval_us: (u64, u64),
    /// Factor by which all cores are slower than the measured one.
    pub slowness: u64,
    /// Abandoned views of all hosts.
    pub view_changes: u64,
    /// From the first proposal of a height until each correct host has the final block,
    /// milliseconds.
    pub latencies_ms: Vec<u32>,
    /// From a client's call until a correct host has its transaction final, milliseconds; a sample
    /// for each client and host.
    pub submit_ms: Vec<u32>,
    /// The time at which the first correct host had a transaction final, by the time of the
    /// client's call.
    pub served_us: BTreeMap<u64, u64>,
    /// Processor time of all hosts.
    pub cpu_us: u64,
    /// Bytes that the hosts have sent, counted once for each receiver.
    pub bytes: u64,
    /// Crashes this host in the middle of its n-th write.
    pub crash_at_write: Option<(usize, u64, WriteFate)>,
    /// Writes that were begun, by host.
    pub writes: Vec<u64>,
    pub(super) byzantine: BTreeMap<usize, ByzantineFault>,
    pub(super) twins: Vec<usize>,
    pub(super) mutant: Option<Mutant>,
    /// Whether the committee changes: the reserve members have hosts, and a host without new
    /// blocks requests them.
    pub(super) churn: bool,
    /// Members that were reported.
    pub(super) reported: BTreeSet<NodeId>,
    pub(super) coalition: Coalition,
    pub(super) queue: BTreeMap<(u64, u64), SimulationEvent>,
    pub(super) sequence: u64,
    pub(super) events_handled: usize,
    pub(super) nonces: Vec<u64>,
    pub(super) member_nonces: Vec<u64>,
    pub(super) pending: Vec<Verified<SignedTransaction>>,
    pub(super) proposed_us: BTreeMap<Height, u64>,
    pub(super) submitted_us: BTreeMap<TransactionId, u64>,
}

impl Cluster {
    /// Starts all hosts.
    pub fn new(fixture: &'static ChainFixture, setup: Setup) -> Self {
        let Setup { seed, regions, byzantine, twins, profile, pipeline, mutant, churn, pairings } =
            setup;
        known_secrets::register(
            fixture.seat_keys.iter().flatten().map(|keys| &keys.vote).filter(|_| !pairings),
        );
        mutation::set_active(mutant.and_then(Mutant::core_mutation));
        let mut rng = Rng::new(seed);
        let members = if churn { fixture.keys.len() } else { fixture.seats() };
        let seats = (0..members).chain(twins.iter().copied());
        let mut hosts: Vec<_> = seats.map(|seat| Host::new(fixture, seat, &mut rng)).collect();
        hosts.iter_mut().for_each(|host| {
            host.disk.keeps_first_committee = mutant == Some(Mutant::FrozenCommittee);
            host.disk.clears_log_at_block = mutant == Some(Mutant::LogClearedAtBlock);
        });
        hosts.iter_mut().enumerate().for_each(|(number, host)| {
            host.config.vote_routing = profile.vote_routing(number);
            host.config.pipeline = pipeline.of(number);
        });
        let faulty: Vec<usize> = byzantine.keys().chain(&twins).copied().collect();
        let mut cluster = Self {
            fixture,
            rng,
            now_us: (GENESIS_MS + 10) * 1000,
            network: Network::new(hosts.len(), regions),
            checkers: Checkers::new(fixture, &faulty),
            faults: BTreeMap::new(),
            fallbacks: 0,
            pipelined_votes: 0,
            orphaned_votes: 0,
            pending_override: None,
            poll_interval_us: (150_000, 400_000),
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
            byzantine,
            twins,
            mutant,
            churn,
            reported: BTreeSet::new(),
            coalition: Coalition::default(),
            queue: BTreeMap::new(),
            sequence: 0,
            events_handled: 0,
            nonces: vec![0; fixture.clients.len()],
            member_nonces: vec![0; fixture.keys.len()],
            pending: Vec::new(),
            proposed_us: BTreeMap::new(),
            submitted_us: BTreeMap::new(),
        };
        (0..cluster.hosts.len()).for_each(|host| cluster.restart(host));
        if churn {
            (0..cluster.hosts.len()).for_each(|host| cluster.schedule_poll(host));
        }
        cluster
    }

    /// Whether the committee changes.
    pub fn churns(&self) -> bool {
        self.churn
    }

    /// Whether a host's seat is correct.
    pub fn is_correct(&self, host: usize) -> bool {
        let seat = self.hosts[host].seat;
        !self.byzantine.contains_key(&seat) && !self.twins.contains(&seat)
    }

    /// Returns the fault of a host's seat.
    pub fn byzantine_fault(&self, host: usize) -> Option<ByzantineFault> {
        self.byzantine.get(&self.hosts[host].seat).copied()
    }

    /// Gives a Byzantine seat another fault.
    pub fn change_byzantine_fault(&mut self, seat: usize, fault: ByzantineFault) {
        if let Some(old) = self.byzantine.get_mut(&seat) {
            *old = fault;
        }
    }

    /// Runs for a duration of virtual time, or until a rule is broken.
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
            self.handle_event(happening);
            self.events_handled += 1;
            if self.events_handled > EVENTS_PER_PAIR_MAX * self.hosts.len() * self.hosts.len() {
                self.checkers.fail("progress: the run is in an endless loop".into());
            }
        }
        self.now_us = self.now_us.max(end_us);
    }

    /// Resets the event counter, for runs that are long on purpose.
    pub fn reset_event_count(&mut self) {
        self.events_handled = 0;
        let included = &self.checkers.included;
        self.pending.retain(|transaction| !included.contains(&transaction.id()));
    }

    /// Replays the blocks that all hosts have stored, except the newest `keep`, and drops them from
    /// all disks. Without this, long runs would fill the memory.
    pub fn compact_disks(&mut self, keep: Height) {
        let living = || (0..self.hosts.len()).filter(|host| !self.hosts[*host].is_dead);
        let Some(lowest) = living().map(|host| self.hosts[host].disk.height()).min() else {
            return;
        };
        let Some(first) = living().find(|host| self.is_correct(*host)) else { return };
        let (height, disk) = (lowest.saturating_sub(keep), &self.hosts[first].disk);
        if height <= disk.base.header.height {
            return;
        }
        let Some(base) = disk.replay(self.fixture, height) else {
            return self
                .checkers
                .fail(format!("replay: host {first}'s blocks lead to another state"));
        };
        // A replay for one host holds for all hosts that have the same blocks.
        let headers =
            |host: usize| self.hosts[host].disk.blocks.iter().map(|(block, _)| &block.header);
        let same =
            |host: &usize| headers(*host).zip(headers(first)).all(|(ours, theirs)| ours == theirs);
        if let Some(other) = living().find(|host| !same(host)) {
            return self
                .checkers
                .fail(format!("agreement: the disks of hosts {first} and {other} differ"));
        }
        self.hosts
            .iter_mut()
            .filter(|host| !host.is_dead)
            .for_each(|host| host.disk.prune_to(&base));
        self.checkers.prune_below(height);
    }

    /// Whether all correct hosts have stored a height and all submitted transactions are final.
    pub fn caught_up(&self, height: Height) -> bool {
        self.heights().first().is_none_or(|lowest| *lowest >= height)
            && self.checkers.included.len() == self.checkers.submitted.len()
    }

    /// Returns the heights of the correct hosts' disks, lowest first.
    pub fn heights(&self) -> Vec<Height> {
        let correct = (0..self.hosts.len()).filter(|host| self.is_correct(*host));
        let mut heights: Vec<_> = correct.map(|host| self.hosts[host].disk.height()).collect();
        heights.sort_unstable();
        heights
    }

    /// Submits a client's next transaction to every mempool.
    pub fn submit(&mut self, client: usize) {
        let signed = self.fixture.transaction(client, self.nonces[client], self.checkers.height());
        self.nonces[client] += 1;
        self.broadcast_transaction(signed);
    }

    pub(crate) fn broadcast_transaction(&mut self, signed: SignedTransaction) {
        self.checkers.submitted.insert(signed.id());
        self.submitted_us.insert(signed.id(), self.now_us);
        let Ok(transaction) = Unverified::new(signed).verify(&self.fixture.genesis.chain) else {
            return;
        };
        self.pending.push(transaction.clone());
        for host in 0..self.hosts.len() {
            let at_us = self.now_us + self.rng.range(500, 60_000);
            self.schedule(
                at_us,
                SimulationEvent::Submitted { host, transaction: transaction.clone() },
            );
        }
    }

    /// Counts an injected fault.
    pub fn count_fault(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
    }

    pub(super) fn schedule(&mut self, at_us: u64, happening: SimulationEvent) {
        self.sequence += 1;
        self.queue.insert((at_us.max(self.now_us), self.sequence), happening);
    }
}
