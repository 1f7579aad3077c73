//! What goes wrong in a run, drawn from its seed; then everything is mended, and the run must get
//! going again. All rates of faults stand here.

use crate::{
    adversary::{LIES, Lie},
    bugs::Bug,
    cluster::{Cluster, Pipeline, Profile, Setup},
    network::Regions,
    random::Rng,
    world::{Pace, World},
};
use std::collections::BTreeMap;
use tequio_core::types::Height;

/// Virtual time of trouble, and what the mended network may take until it is in step again.
const TROUBLE_MS: u64 = 8_000;
const RECOVERY_MS: u64 = 60_000;
/// Blocks that must follow once all is mended.
const BLOCKS_AFTER: u64 = 5;
/// Short, so that every run sees seeds change.
pub const TERM_BLOCKS: Height = 4;
/// The chains of these runs.
pub const PACE: Pace = Pace {
    block_interval_ms_max: 1000,
    view_timeout_ms: 400,
    is_weighted: true,
    term_blocks: TERM_BLOCKS,
};
/// The chains of runs in which nothing goes wrong: patience for the whole world.
pub const PATIENT: Pace = Pace { view_timeout_ms: 3000, term_blocks: 64, ..PACE };
/// How long those take.
const CALM_MS: u64 = 30_000;
/// Runs with anybody at fault.
const LIARS_PER_MILLE: u64 = 600;
/// Both ways of carrying votes get the same share of the runs.
const PROFILES: [Profile; 5] =
    [Profile::All, Profile::All, Profile::Collectors, Profile::Collectors, Profile::Mixed];
/// Likewise, whether a height is opened before the one below is decided.
const PIPELINES: [Pipeline; 5] =
    [Pipeline::On, Pipeline::On, Pipeline::On, Pipeline::Auto, Pipeline::Mixed];
/// Runs in which processors are contended now and then, and how often a host says there that they
/// are, or are no more, at a step.
const CONTENDED_PER_MILLE: u64 = 150;
const SAYS_CONTENDED_PER_MILLE: u64 = 500;
/// A transaction each step of 20 to 400 ms.
const SUBMIT_PER_MILLE: u64 = 500;
/// So many at a time, for a whole run.
const BURSTS: [u64; 4] = [1, 1, 3, 8];
/// A wish of a member likewise, where members come and go.
const CHURN_PER_MILLE: u64 = 300;
/// Trouble lasts so much longer there: epochs need blocks.
const CHURN_MS: u64 = 12_000;

/// How bad it gets. Chances are for each step of 20 to 400 ms, in a thousand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// For reports.
    pub name: &'static str,
    /// A random host crashes.
    crash: u64,
    /// A random host comes back.
    restart: u64,
    /// All hosts crash together and come back.
    power: u64,
    /// The hosts fall apart into two sides.
    part: u64,
    /// One direction of a link dies.
    cut: u64,
    /// Partitions and dead links end.
    heal: u64,
    /// A random disk is full, until the next of these draws frees all.
    full: u64,
    /// A random disk takes 200 ms for each sync, likewise.
    slow_disk: u64,
    /// A random clock is set wrong by up to a second.
    clock: u64,
    /// Share of messages that are lost, one of these at a time.
    loss: [u64; 4],
    /// That arrive twice.
    repeat: [u64; 3],
    /// That take up to three seconds.
    slow: [u64; 3],
}

/// Lossy links, partitions, crashes of some.
pub const ROUGH: Weather = Weather {
    name: "rough",
    crash: 120,
    restart: 300,
    power: 10,
    part: 80,
    cut: 100,
    heal: 300,
    full: 40,
    slow_disk: 40,
    clock: 40,
    loss: [0, 0, 50, 200],
    repeat: [0, 100, 500],
    slow: [0, 20, 200],
};
/// All hosts crash together, again and again.
pub const POWER_FAILURES: Weather = Weather {
    name: "power failures",
    crash: 50,
    restart: 400,
    power: 400,
    part: 20,
    heal: 500,
    ..ROUGH
};
/// Links lose most, and the sides of a partition change quickly: certificates reach few.
pub const STORM: Weather = Weather {
    name: "storm",
    crash: 30,
    restart: 500,
    power: 30,
    part: 600,
    cut: 300,
    heal: 250,
    loss: [100, 300, 500, 300],
    ..ROUGH
};

/// Nothing but a crash now and then.
pub const FINE: Weather = Weather {
    name: "fine",
    crash: 10,
    restart: 400,
    power: 0,
    part: 0,
    cut: 0,
    full: 0,
    slow_disk: 10,
    clock: 0,
    loss: [0, 0, 0, 20],
    repeat: [0, 0, 50],
    slow: [0, 0, 10],
    ..ROUGH
};

/// The weather of a seed in a mixed campaign.
pub fn mixed(seed: u64) -> Weather {
    [ROUGH, ROUGH, POWER_FAILURES, STORM][(seed % 4) as usize]
}

/// Draws who is at fault, no more than the committee bears, and where the hosts stand.
pub fn draw_setup(world: &World, seed: u64) -> Setup {
    let mut rng = Rng::new(seed ^ 0x11e5);
    let wish: Vec<usize> = (0..world.seats()).map(|_| rng.below(world.seats())).collect();
    let liars = if rng.chance(LIARS_PER_MILLE) { world.bearable(&wish) } else { Vec::new() };
    let lies: BTreeMap<usize, Lie> =
        liars.into_iter().map(|seat| (seat, rng.pick(&LIES))).collect();
    let regions = rng.pick(&[Regions::Site, Regions::Site, Regions::Us2, Regions::Aws10]);
    let profile = rng.pick(&PROFILES);
    let pipeline = rng.pick(&PIPELINES);
    Setup { regions, lies, profile, pipeline, ..Setup::calm(seed) }
}

/// One run: trouble, mending, recovery.
pub fn run(world: &'static World, setup: Setup, weather: Weather) -> Cluster {
    // Of its own, so that runs without contention are as they would be if there were none.
    let mut rng = Rng::new(setup.seed ^ 0xc07e);
    let contention = if rng.chance(CONTENDED_PER_MILLE) { Some(rng) } else { None };
    // Who hurries does not rest.
    let pipeline = if contention.is_some() { Pipeline::Auto } else { setup.pipeline };
    let mut cluster = Cluster::new(world, Setup { pipeline, ..setup });
    cluster.network.jitter_us = cluster.rng.pick(&[500, 20_000]);
    let is_churn = cluster.churns();
    trouble(&mut cluster, weather, TROUBLE_MS + if is_churn { CHURN_MS } else { 0 }, contention);
    recover(&mut cluster);
    cluster
}

/// One run without faults, with a transaction so often.
pub fn calm(world: &'static World, setup: Setup, every_ms: u64) -> Cluster {
    let mut cluster = Cluster::new(world, setup);
    for number in 0..CALM_MS / every_ms {
        cluster.submit(number as usize % world.clients.len());
        cluster.run_ms(every_ms);
        cluster.forget_events();
    }
    cluster
}

/// Likewise, with members that come and go.
pub fn churn_setup(world: &World, seed: u64) -> Setup {
    let mut setup = draw_setup(world, seed);
    // Where somebody lies, nobody leaves: so the liars stay less than a third.
    if !seed.is_multiple_of(3) {
        setup.lies.clear();
    }
    setup.churn = true;
    setup
}

/// The weather of a seed where members come and go: every other one is fine, so that many epochs
/// pass.
pub fn churn_weather(seed: u64) -> Weather {
    if seed.is_multiple_of(2) { FINE } else { mixed(seed / 2) }
}

/// A run with chance and a fault of the implementation.
pub fn run_bug(world: &'static World, seed: u64, bug: Bug, weather: Weather) -> Cluster {
    match bug.needs_churn() {
        true => {
            run(world, Setup { bug: Some(bug), ..churn_setup(world, seed) }, churn_weather(seed))
        }
        false => run(world, Setup { bug: Some(bug), ..draw_setup(world, seed) }, weather),
    }
}

fn trouble(cluster: &mut Cluster, weather: Weather, ms: u64, mut contention: Option<Rng>) {
    let end_us = cluster.now_us + ms * 1000;
    let burst = cluster.rng.pick(&BURSTS);
    while cluster.now_us < end_us && cluster.checkers.violation.is_none() {
        step(cluster, weather);
        if let Some(rng) = &mut contention
            && rng.chance(SAYS_CONTENDED_PER_MILLE)
        {
            cluster.fault("contention");
            cluster.contend(rng.below(cluster.hosts.len()), !rng.chance(300));
        }
        let client = cluster.rng.below(cluster.world.clients.len());
        if cluster.rng.chance(SUBMIT_PER_MILLE) {
            (0..burst).for_each(|_| cluster.submit(client));
        }
        if cluster.churns() && cluster.rng.chance(CHURN_PER_MILLE) {
            cluster.churn();
        }
        let step_ms = cluster.rng.range(20, 400);
        cluster.run_ms(step_ms);
    }
}

fn step(cluster: &mut Cluster, weather: Weather) {
    let hosts = cluster.hosts.len();
    let host = cluster.rng.below(hosts);
    if cluster.rng.chance(weather.crash) {
        cluster.crash(host);
    }
    if cluster.rng.chance(weather.power) {
        cluster.fault("power_failure");
        (0..hosts).for_each(|host| cluster.crash(host));
        (0..hosts).for_each(|host| cluster.restart(host));
    }
    let host = cluster.rng.below(hosts);
    if cluster.rng.chance(weather.restart) {
        cluster.restart(host);
    }
    if cluster.rng.chance(weather.part) {
        cluster.fault("partition");
        cluster.network.side = (0..hosts).map(|_| cluster.rng.range(0, 3).min(1) as u8).collect();
    }
    if cluster.rng.chance(weather.cut) {
        cluster.fault("asymmetric_link");
        let (from, to) = (cluster.rng.below(hosts), cluster.rng.below(hosts));
        cluster.network.cut.insert((from, to));
    }
    if cluster.rng.chance(weather.heal) {
        cluster.network.side.fill(0);
        cluster.network.cut.clear();
    }
    disks_and_clocks(cluster, weather);
    liars(cluster);
    cluster.network.loss_per_mille = cluster.rng.pick(&weather.loss);
    cluster.network.repeat_per_mille = cluster.rng.pick(&weather.repeat);
    cluster.network.slow_per_mille = cluster.rng.pick(&weather.slow);
}

fn disks_and_clocks(cluster: &mut Cluster, weather: Weather) {
    let host = cluster.rng.below(cluster.hosts.len());
    if cluster.rng.chance(weather.full) {
        let is_full = !cluster.hosts.iter().any(|host| host.disk.is_full);
        cluster.hosts.iter_mut().for_each(|host| host.disk.is_full = false);
        cluster.hosts[host].disk.is_full = is_full;
    }
    if cluster.rng.chance(weather.slow_disk) {
        cluster.fault("slow_disk");
        cluster.hosts.iter_mut().for_each(|host| host.disk.sync_us = (500, 8_000));
        cluster.hosts[host].disk.sync_us = (200_000, 210_000);
    }
    if cluster.rng.chance(weather.clock) {
        cluster.fault("clock_jump");
        cluster.hosts[host].clock_offset_us = cluster.rng.range(0, 1_000_000);
    }
}

/// Those at fault whose disks rot, or who forget.
fn liars(cluster: &mut Cluster) {
    for host in 0..cluster.hosts.len() {
        match cluster.lie(host) {
            Some(Lie::Rot) if cluster.rng.chance(100) => {
                let Cluster { hosts, rng, .. } = cluster;
                if hosts[host].disk.rot(rng) {
                    cluster.fault("bit_flip");
                }
                cluster.crash(host);
                cluster.restart(host);
            }
            Some(Lie::Amnesia) if cluster.rng.chance(300) => {
                cluster.fault("forgotten_log");
                cluster.crash(host);
                cluster.restart(host);
            }
            _ => {}
        }
    }
}

/// Everything is mended; from here on the correct hosts must get going within a bound.
pub fn recover(cluster: &mut Cluster) {
    recover_with(cluster, BLOCKS_AFTER);
}

/// Likewise, with so many blocks after the mending.
pub fn recover_with(cluster: &mut Cluster, blocks: u64) {
    cluster.network.mend();
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
                "liveness: {RECOVERY_MS} ms after all was mended heights are {heights:?}, {target} is due, \
                 and {missing} transactions are missing"
            );
            cluster.checkers.fail(what);
        }
        cluster.run_ms(100);
    }
    cluster.checkers.follow_handovers();
    let replays = |host: &crate::host::Host| host.disk.replays(cluster.world);
    if let Some(host) =
        (0..cluster.hosts.len()).find(|h| cluster.is_correct(*h) && !replays(&cluster.hosts[*h]))
    {
        cluster.checkers.fail(format!("replay: host {host}'s blocks lead to another state"));
    }
}
