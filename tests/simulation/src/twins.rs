//! Twins (Bano and others, OPODIS 2020): two hosts run the correct code with one seat's keys, and
//! the network is parted anew in each round, so the twins say different things to different members
//! without either of them lying.

use crate::{
    cluster::{Cluster, Profile, Setup},
    network::Regions,
    random::Rng,
    weather::{PACE, recover},
    world::World,
};

/// Committees of these sizes.
const SEATS: [usize; 4] = [4, 5, 7, 10];
/// How long a round takes: up to twice the first patience with a view.
const ROUND_MS_MAX: u64 = 2 * PACE.view_timeout_ms;

/// One scenario.
pub fn run(seed: u64, pairings: bool) -> Cluster {
    let mut rng = Rng::new(seed ^ 0x7_1115);
    let world = World::of(rng.pick(&SEATS), PACE);
    let wish: Vec<usize> = (0..world.seats()).map(|_| rng.below(world.seats())).collect();
    let mut twins = world.bearable(&wish);
    twins.truncate(rng.range(1, 4) as usize);
    let profile = rng.pick(&[Profile::All, Profile::Collectors]);
    let setup = Setup { twins, regions: Regions::Site, profile, pairings, ..Setup::calm(seed) };
    let mut cluster = Cluster::new(world, setup);
    let rounds = rng.range(3, 6);
    for _ in 0..rounds {
        cluster.fault("twins_round");
        let sides = rng.range(1, 4);
        cluster.network.side =
            cluster.network.side.iter().map(|_| rng.range(0, sides) as u8).collect();
        cluster.network.loss_per_mille = rng.pick(&[0, 0, 100]);
        if rng.chance(500) {
            cluster.submit(0);
        }
        // Long enough that something happens in each round: a block is due each second.
        let ms = rng.range(50, ROUND_MS_MAX)
            + if rng.chance(300) { PACE.block_interval_ms_max } else { 0 };
        cluster.run_ms(ms);
    }
    recover(&mut cluster);
    cluster
}
