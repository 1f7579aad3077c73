//! What goes wrong in a run, drawn from its seed; then everything is mended, and the run must get going again.

use crate::{
    adversary::{LIES, Lie},
    cluster::{Bug, Cluster},
    random::Rng,
    world::World,
};
use std::collections::BTreeMap;
use tequio_core::types::TimeMs;

/// Virtual time of trouble, and what the mended network may take until it is in step again.
const TROUBLE_MS: u64 = 6_000;
const RECOVERY_MS: u64 = 60_000;
/// Blocks that must follow once all is mended.
const BLOCKS_AFTER: u64 = 3;

/// How bad it gets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Lossy links, partitions, crashes of some.
    Rough,
    /// All hosts crash together, again and again.
    PowerFailures,
    /// Links lose most, and the sides of a partition change quickly: certificates reach few.
    Storm,
}

pub struct Report {
    pub cluster: Cluster,
    pub violation: Option<String>,
}

/// Draws liars that the committee bears.
pub fn draw_lies(world: &World, rng: &mut Rng) -> BTreeMap<usize, Lie> {
    let wish: Vec<usize> = (0..3).map(|_| rng.range(0, world.seats() as u64) as usize).collect();
    let liars = if rng.chance(600) { world.liars(&wish) } else { Vec::new() };
    liars.into_iter().map(|seat| (seat, rng.pick(&LIES))).collect()
}

/// One run: trouble, mending, recovery.
pub fn run(world: &'static World, seed: u64, lies: BTreeMap<usize, Lie>, bug: Option<Bug>, weather: Weather) -> Report {
    let mut cluster = Cluster::new(world, seed, lies, bug);
    let end_ms = cluster.now_ms + TROUBLE_MS;
    while cluster.now_ms < end_ms && cluster.checkers.violation.is_none() {
        trouble(&mut cluster, weather);
        let client = cluster.rng.range(0, world.clients.len() as u64) as usize;
        if cluster.rng.chance(300) {
            cluster.submit(client);
        }
        let next_ms = cluster.now_ms + cluster.rng.range(20, 400);
        cluster.run_until(next_ms);
    }
    mend(&mut cluster);
    let target = cluster.checkers.height() + BLOCKS_AFTER;
    let limit_ms = cluster.now_ms + RECOVERY_MS;
    while !cluster.caught_up(target) && cluster.checkers.violation.is_none() {
        if cluster.now_ms >= limit_ms {
            let what = format!("liveness: not at height {target} {RECOVERY_MS} ms after all was mended");
            cluster.checkers.fail(what);
        }
        let next_ms = cluster.now_ms + 100;
        cluster.run_until(next_ms);
    }
    let violation = cluster.checkers.violation.clone();
    Report { cluster, violation }
}

fn trouble(cluster: &mut Cluster, weather: Weather) {
    let seats = cluster.hosts.len() as u64;
    let (crash, restart, power, part, heal) = match weather {
        Weather::Rough => (120, 300, 10, 80, 300),
        Weather::PowerFailures => (50, 400, 400, 20, 500),
        Weather::Storm => (30, 500, 30, 600, 250),
    };
    let seat = cluster.rng.range(0, seats) as usize;
    if cluster.rng.chance(crash) {
        cluster.crash(seat);
    }
    if cluster.rng.chance(power) {
        (0..seats as usize).for_each(|seat| cluster.crash(seat));
        (0..seats as usize).for_each(|seat| cluster.restart(seat));
    }
    let seat = cluster.rng.range(0, seats) as usize;
    if cluster.rng.chance(restart) {
        cluster.restart(seat);
    }
    if cluster.rng.chance(part) {
        for seat in 0..seats as usize {
            cluster.network.side[seat] = cluster.rng.range(0, 3).min(1) as u8;
        }
    }
    if cluster.rng.chance(heal) {
        cluster.network.side.fill(0);
    }
    cluster.network.loss_per_mille = match weather {
        Weather::Storm => cluster.rng.pick(&[100, 300, 500]),
        _ => cluster.rng.pick(&[0, 0, 50, 200]),
    };
    cluster.network.repeat_per_mille = cluster.rng.pick(&[0, 100, 500]);
    cluster.network.slow_per_mille = cluster.rng.pick(&[0, 20, 200]);
}

fn mend(cluster: &mut Cluster) {
    cluster.network.side.fill(0);
    cluster.network.loss_per_mille = 0;
    cluster.network.repeat_per_mille = 0;
    cluster.network.slow_per_mille = 0;
    (0..cluster.hosts.len()).for_each(|seat| cluster.restart(seat));
}

/// The height of the correct hosts' disks, lowest first.
pub fn heights(cluster: &Cluster) -> Vec<TimeMs> {
    let correct = (0..cluster.hosts.len()).filter(|seat| cluster.is_correct(*seat));
    let mut heights: Vec<_> = correct.map(|seat| cluster.hosts[seat].disk.head.header.height).collect();
    heights.sort_unstable();
    heights
}
