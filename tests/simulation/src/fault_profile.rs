//! The faults of a run, drawn from its seed. At the end of the faults everything is repaired, and
//! the run must make progress again. All rates of faults are defined here.

use crate::{
    adversary::{BYZANTINE_FAULTS, ByzantineFault},
    chain_fixture::{ChainConfig, ChainFixture},
    cluster::{Cluster, PipelineProfile, Setup, VoteRoutingProfile},
    mutants::Mutant,
    network::Regions,
    random::Rng,
};
use std::collections::BTreeMap;
use tequio_core::types::Height;

/// Virtual time with faults, and the bound on the time until the repaired network makes progress.
const FAULTS_MS: u64 = 8_000;
const RECOVERY_MS: u64 = 60_000;
/// Blocks that must follow after the repair.
const RECOVERY_BLOCKS: u64 = 5;
/// Blocks of a leader term: few, so that the seed changes in every run.
pub const LEADER_TERM_BLOCKS: Height = 4;
/// Chain of runs with faults.
pub const CHAIN_CONFIG: ChainConfig = ChainConfig {
    block_interval_ms_max: 1000,
    view_timeout_ms: 400,
    is_weighted: true,
    leader_term_blocks: LEADER_TERM_BLOCKS,
};
/// Chain of runs without faults: the view timeout suits distances around the world.
pub const PATIENT_CONFIG: ChainConfig =
    ChainConfig { view_timeout_ms: 3000, leader_term_blocks: 64, ..CHAIN_CONFIG };
/// Duration of runs without faults.
const FAULT_FREE_MS: u64 = 30_000;
/// Share of runs with Byzantine members.
const BYZANTINE_PER_MILLE: u64 = 600;
/// Both vote routings get the same share of the runs.
const PROFILES: [VoteRoutingProfile; 5] = [
    VoteRoutingProfile::All,
    VoteRoutingProfile::All,
    VoteRoutingProfile::Leader,
    VoteRoutingProfile::Leader,
    VoteRoutingProfile::Mixed,
];
/// Which hosts pipeline; a run draws one of these profiles.
const PIPELINES: [PipelineProfile; 5] = [
    PipelineProfile::On,
    PipelineProfile::On,
    PipelineProfile::On,
    PipelineProfile::Auto,
    PipelineProfile::Mixed,
];
/// Chance of a transaction at each step of 20 to 400 ms.
const SUBMIT_PER_MILLE: u64 = 500;
/// Numbers of transactions at a time; a run uses one of them.
const BURSTS: [u64; 4] = [1, 1, 3, 8];
/// With churn: chance of a member's request at each step.
const CHURN_PER_MILLE: u64 = 300;
/// With churn: further virtual time with faults, because epochs need blocks.
const CHURN_MS: u64 = 12_000;

/// Rates of faults. Chances are for each step of 20 to 400 ms, in a thousand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultProfile {
    /// Name for reports.
    pub name: &'static str,
    /// A random host crashes.
    crash: u64,
    /// A random host restarts.
    restart: u64,
    /// All hosts crash together and restart.
    power_failure: u64,
    /// A partition separates the hosts into two sides.
    partition: u64,
    /// One direction of a link dies.
    dead_link: u64,
    /// Partitions and dead links end.
    heal: u64,
    /// A random disk is full, until the next of these draws frees all disks.
    full_disk: u64,
    /// A random disk takes 200 ms for each sync, until the next of these draws.
    slow_disk: u64,
    /// A random clock is set wrong by up to a second.
    clock_jump: u64,
    /// Shares of lost messages, of which one applies at a time.
    loss: [u64; 4],
    /// Shares of messages that arrive twice.
    duplicate: [u64; 3],
    /// Shares of messages that take up to three seconds.
    slow: [u64; 3],
}

/// Lossy links, partitions, crashes of some.
pub const ROUGH: FaultProfile = FaultProfile {
    name: "rough",
    crash: 120,
    restart: 300,
    power_failure: 10,
    partition: 80,
    dead_link: 100,
    heal: 300,
    full_disk: 40,
    slow_disk: 40,
    clock_jump: 40,
    loss: [0, 0, 50, 200],
    duplicate: [0, 100, 500],
    slow: [0, 20, 200],
};
/// All hosts crash together, again and again.
pub const POWER_FAILURES: FaultProfile = FaultProfile {
    name: "power failures",
    crash: 50,
    restart: 400,
    power_failure: 400,
    partition: 20,
    heal: 500,
    ..ROUGH
};
/// Links lose most messages, and partitions change quickly: certificates reach few hosts.
pub const SEVERE: FaultProfile = FaultProfile {
    name: "storm",
    crash: 30,
    restart: 500,
    power_failure: 30,
    partition: 600,
    dead_link: 300,
    heal: 250,
    loss: [100, 300, 500, 300],
    ..ROUGH
};

/// Only rare crashes.
pub const MILD: FaultProfile = FaultProfile {
    name: "fine",
    crash: 10,
    restart: 400,
    power_failure: 0,
    partition: 0,
    dead_link: 0,
    full_disk: 0,
    slow_disk: 10,
    clock_jump: 0,
    loss: [0, 0, 0, 20],
    duplicate: [0, 0, 50],
    slow: [0, 0, 10],
    ..ROUGH
};

/// Returns the fault profile of a seed in a mixed campaign.
pub fn mixed_profile(seed: u64) -> FaultProfile {
    [ROUGH, ROUGH, POWER_FAILURES, SEVERE][(seed % 4) as usize]
}

/// Draws the Byzantine seats, no more than the committee tolerates, and the locations of the hosts.
pub fn random_setup(fixture: &ChainFixture, seed: u64) -> Setup {
    let mut rng = Rng::new(seed ^ 0x11e5);
    let candidates: Vec<usize> = (0..fixture.seats()).map(|_| rng.below(fixture.seats())).collect();
    let byzantine_seats = if rng.chance(BYZANTINE_PER_MILLE) {
        fixture.within_fault_bound(&candidates)
    } else {
        Vec::new()
    };
    let byzantine: BTreeMap<usize, ByzantineFault> =
        byzantine_seats.into_iter().map(|seat| (seat, rng.pick(&BYZANTINE_FAULTS))).collect();
    let regions = rng.pick(&[Regions::Site, Regions::Site, Regions::Us2, Regions::Aws10]);
    let profile = rng.pick(&PROFILES);
    let pipeline = rng.pick(&PIPELINES);
    Setup { regions, byzantine, profile, pipeline, ..Setup::fault_free(seed) }
}

/// Makes one run: faults, repair, recovery.
pub fn run(fixture: &'static ChainFixture, setup: Setup, fault_profile: FaultProfile) -> Cluster {
    let mut cluster = Cluster::new(fixture, setup);
    cluster.network.jitter_us = cluster.rng.pick(&[500, 20_000]);
    let is_churn = cluster.churns();
    let faults_ms = FAULTS_MS + if is_churn { CHURN_MS } else { 0 };
    inject_faults(&mut cluster, fault_profile, faults_ms);
    recover(&mut cluster);
    cluster
}

/// Makes one run without faults, with a transaction at this interval.
pub fn run_fault_free(fixture: &'static ChainFixture, setup: Setup, every_ms: u64) -> Cluster {
    let mut cluster = Cluster::new(fixture, setup);
    for number in 0..FAULT_FREE_MS / every_ms {
        cluster.submit(number as usize % fixture.clients.len());
        cluster.run_ms(every_ms);
        cluster.reset_event_count();
    }
    cluster
}

/// Makes one run with faults and membership changes.
pub fn churn_setup(fixture: &ChainFixture, seed: u64) -> Setup {
    let mut setup = random_setup(fixture, seed);
    // Where a member is Byzantine, no member leaves, so the Byzantine weight stays below a third.
    if !seed.is_multiple_of(3) {
        setup.byzantine.clear();
    }
    setup.churn = true;
    setup
}

/// Returns the fault profile of a seed with membership changes. Every other run has few faults, so
/// that many epochs pass.
pub fn churn_profile(seed: u64) -> FaultProfile {
    if seed.is_multiple_of(2) { MILD } else { mixed_profile(seed / 2) }
}

/// Makes a run with random faults and a mutant.
pub fn run_mutant(
    fixture: &'static ChainFixture,
    seed: u64,
    mutant: Mutant,
    fault_profile: FaultProfile,
) -> Cluster {
    match mutant.needs_churn() {
        true => run(
            fixture,
            Setup { mutant: Some(mutant), ..churn_setup(fixture, seed) },
            churn_profile(seed),
        ),
        false => run(
            fixture,
            Setup { mutant: Some(mutant), ..random_setup(fixture, seed) },
            fault_profile,
        ),
    }
}

fn inject_faults(cluster: &mut Cluster, fault_profile: FaultProfile, ms: u64) {
    let end_us = cluster.now_us + ms * 1000;
    let burst = cluster.rng.pick(&BURSTS);
    while cluster.now_us < end_us && cluster.checkers.violation.is_none() {
        inject_network_and_crash_faults(cluster, fault_profile);
        let client = cluster.rng.below(cluster.fixture.clients.len());
        if cluster.rng.chance(SUBMIT_PER_MILLE) {
            (0..burst).for_each(|_| cluster.submit(client));
        }
        if cluster.churns() && cluster.rng.chance(CHURN_PER_MILLE) {
            cluster.churn_step();
        }
        let step_ms = cluster.rng.range(20, 400);
        cluster.run_ms(step_ms);
    }
}

fn inject_network_and_crash_faults(cluster: &mut Cluster, fault_profile: FaultProfile) {
    let hosts = cluster.hosts.len();
    let host = cluster.rng.below(hosts);
    if cluster.rng.chance(fault_profile.crash) {
        cluster.crash(host);
    }
    if cluster.rng.chance(fault_profile.power_failure) {
        cluster.count_fault("power_failure");
        (0..hosts).for_each(|host| cluster.crash(host));
        (0..hosts).for_each(|host| cluster.restart(host));
    }
    let host = cluster.rng.below(hosts);
    if cluster.rng.chance(fault_profile.restart) {
        cluster.restart(host);
    }
    if cluster.rng.chance(fault_profile.partition) {
        cluster.count_fault("partition");
        cluster.network.partition_ids =
            (0..hosts).map(|_| cluster.rng.range(0, 3).min(1) as u8).collect();
    }
    if cluster.rng.chance(fault_profile.dead_link) {
        cluster.count_fault("asymmetric_link");
        let (from, to) = (cluster.rng.below(hosts), cluster.rng.below(hosts));
        cluster.network.dead_links.insert((from, to));
    }
    if cluster.rng.chance(fault_profile.heal) {
        cluster.network.partition_ids.fill(0);
        cluster.network.dead_links.clear();
    }
    inject_disk_and_clock_faults(cluster, fault_profile);
    inject_byzantine_restarts(cluster);
    cluster.network.loss_per_mille = cluster.rng.pick(&fault_profile.loss);
    cluster.network.duplicate_per_mille = cluster.rng.pick(&fault_profile.duplicate);
    cluster.network.slow_per_mille = cluster.rng.pick(&fault_profile.slow);
}

fn inject_disk_and_clock_faults(cluster: &mut Cluster, fault_profile: FaultProfile) {
    let host = cluster.rng.below(cluster.hosts.len());
    if cluster.rng.chance(fault_profile.full_disk) {
        let is_full = !cluster.hosts.iter().any(|host| host.disk.is_full);
        cluster.hosts.iter_mut().for_each(|host| host.disk.is_full = false);
        cluster.hosts[host].disk.is_full = is_full;
    }
    if cluster.rng.chance(fault_profile.slow_disk) {
        cluster.count_fault("slow_disk");
        cluster.hosts.iter_mut().for_each(|host| host.disk.sync_us = (500, 8_000));
        cluster.hosts[host].disk.sync_us = (200_000, 210_000);
    }
    if cluster.rng.chance(fault_profile.clock_jump) {
        cluster.count_fault("clock_jump");
        cluster.hosts[host].clock_offset_us = cluster.rng.range(0, 1_000_000);
    }
}

/// Flips bits and restarts hosts, for seats whose fault is a rotten disk or a lost log.
fn inject_byzantine_restarts(cluster: &mut Cluster) {
    for host in 0..cluster.hosts.len() {
        match cluster.byzantine_fault(host) {
            Some(ByzantineFault::DiskCorruption) if cluster.rng.chance(100) => {
                let Cluster { hosts, rng, .. } = cluster;
                if hosts[host].disk.flip_bit(rng) {
                    cluster.count_fault("bit_flip");
                }
                cluster.crash(host);
                cluster.restart(host);
            }
            Some(ByzantineFault::Amnesia) if cluster.rng.chance(300) => {
                cluster.count_fault("forgotten_log");
                cluster.crash(host);
                cluster.restart(host);
            }
            _ => {}
        }
    }
}

/// Repairs everything. From here on the correct hosts must make progress within a bound.
pub fn recover(cluster: &mut Cluster) {
    recover_with(cluster, RECOVERY_BLOCKS);
}

/// Repairs everything, and requires this many blocks afterwards.
pub fn recover_with(cluster: &mut Cluster, blocks: u64) {
    cluster.network.heal();
    for host in 0..cluster.hosts.len() {
        cluster.hosts[host].disk.is_full = false;
        cluster.hosts[host].disk.sync_us = (500, 8_000);
        cluster.restart(host);
    }
    let target = cluster.checkers.height() + blocks;
    let limit_us = cluster.now_us + RECOVERY_MS * 1000;
    while !cluster.caught_up(target) && cluster.checkers.violation.is_none() {
        if cluster.now_us >= limit_us {
            let heights = cluster.heights();
            let missing = cluster.checkers.submitted.len() - cluster.checkers.included.len();
            let what = format!(
                "liveness: {RECOVERY_MS} ms after all was mended heights are {heights:?}, \
                 {target} is due, and {missing} transactions are missing"
            );
            cluster.checkers.fail(what);
        }
        cluster.run_ms(100);
    }
    cluster.checkers.follow_handovers();
    let replays = |host: &crate::host::Host| host.disk.replay_matches(cluster.fixture);
    if let Some(host) =
        (0..cluster.hosts.len()).find(|h| cluster.is_correct(*h) && !replays(&cluster.hosts[*h]))
    {
        cluster.checkers.fail(format!("replay: host {host}'s blocks lead to another state"));
    }
}
