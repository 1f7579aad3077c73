//! Twins (Bano and others, OPODIS 2020): two hosts run the correct code with one seat's keys. Each
//! round has another partition of the network, so the twins send different messages to different
//! members although neither is Byzantine.

use crate::{
    chain_fixture::ChainFixture,
    cluster::{Cluster, Setup, VoteRoutingProfile},
    fault_profile::{CHAIN_CONFIG, recover},
    network::Regions,
    random::Rng,
};

/// Sizes of the committees.
const SEATS: [usize; 4] = [4, 5, 7, 10];
/// Duration of a round: up to twice the first view timeout.
const PARTITION_MS_MAX: u64 = 2 * CHAIN_CONFIG.view_timeout_ms;

/// Runs one scenario.
pub fn run(seed: u64, pairings: bool) -> Cluster {
    let mut rng = Rng::new(seed ^ 0x7_1115);
    let fixture = ChainFixture::of(rng.pick(&SEATS), CHAIN_CONFIG);
    let candidates: Vec<usize> = (0..fixture.seats()).map(|_| rng.below(fixture.seats())).collect();
    let mut twins = fixture.within_fault_bound(&candidates);
    twins.truncate(rng.range(1, 4) as usize);
    let profile = rng.pick(&[VoteRoutingProfile::All, VoteRoutingProfile::Leader]);
    let setup =
        Setup { twins, regions: Regions::Site, profile, pairings, ..Setup::fault_free(seed) };
    let mut cluster = Cluster::new(fixture, setup);
    let rounds = rng.range(3, 6);
    for _ in 0..rounds {
        cluster.count_fault("twins_round");
        let sides = rng.range(1, 4);
        cluster.network.partition_ids =
            cluster.network.partition_ids.iter().map(|_| rng.range(0, sides) as u8).collect();
        cluster.network.loss_per_mille = rng.pick(&[0, 0, 100]);
        if rng.chance(500) {
            cluster.submit(0);
        }
        // Long enough for progress in each round: a block is due each second.
        let ms = rng.range(50, PARTITION_MS_MAX)
            + if rng.chance(300) { CHAIN_CONFIG.block_interval_ms_max } else { 0 };
        cluster.run_ms(ms);
    }
    recover(&mut cluster);
    cluster
}
