//! Runs that several tests share.

use tequio_simulation::{
    adversary::ByzantineFault,
    chain_fixture::ChainFixture,
    cluster::{Cluster, Setup},
    fault_profile::CHAIN_CONFIG,
};

/// Runs without faults for some virtual seconds.
pub fn run_fault_free(
    seats: usize,
    seed: u64,
    byzantine: &[(usize, ByzantineFault)],
    seconds: u64,
) -> Cluster {
    println!("seed {seed} seats {seats} byzantine {byzantine:?}");
    let setup = Setup { byzantine: byzantine.iter().copied().collect(), ..Setup::fault_free(seed) };
    let mut cluster = Cluster::new(ChainFixture::of(seats, CHAIN_CONFIG), setup);
    for _ in 0..seconds {
        cluster.submit(0);
        cluster.run_ms(1000);
    }
    assert_eq!(cluster.checkers.violation, None, "seed {seed}");
    cluster
}
