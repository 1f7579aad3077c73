//! Decisions without faults, with distances, crashes, and members that are behind.

use crate::support::run_fault_free;
use tequio_simulation::{
    chain_fixture::ChainFixture,
    cluster::{Cluster, Setup},
    disk::WriteFate,
    fault_profile::CHAIN_CONFIG,
    network::Regions,
    scenarios,
};

#[test]
fn the_normal_case_has_no_view_change_and_timely_blocks() {
    for (seats, seed) in [(4, 1), (7, 2)] {
        let cluster = run_fault_free(seats, seed, &[], 20);
        assert_eq!(cluster.view_changes, 0);
        assert!(cluster.checkers.offences.is_empty());
        // One empty block at least each second, and one for each transaction.
        assert!(cluster.heights()[0] >= 25, "{:?}", cluster.heights());
        assert!(cluster.checkers.included.len() >= 19);
    }
}

#[test]
fn around_the_world_first_views_fail_until_the_view_timeout_fits() {
    let setup = Setup { regions: Regions::Aws10, ..Setup::fault_free(3) };
    let mut cluster = Cluster::new(ChainFixture::of(10, CHAIN_CONFIG), setup);
    cluster.run_ms(30_000);
    assert_eq!(cluster.checkers.violation, None);
    assert!(cluster.checkers.height() >= 10, "height {}", cluster.checkers.height());
}

#[test]
fn a_crashed_member_costs_only_the_views_that_it_leads() {
    for (seats, seed) in [(4, 3), (7, 4)] {
        let mut cluster =
            Cluster::new(ChainFixture::of(seats, CHAIN_CONFIG), Setup::fault_free(seed));
        let first = cluster.fixture.first_leader(0);
        cluster.crash_with(first, WriteFate::Lost);
        cluster.run_ms(20_000);
        assert_eq!(cluster.checkers.violation, None);
        assert!(cluster.checkers.height() >= 12, "height {}", cluster.checkers.height());
        assert!(cluster.view_changes > 0);
        // The host restarts and catches up.
        cluster.restart(first);
        cluster.run_ms(5000);
        assert!(cluster.heights()[0] + 1 >= cluster.checkers.height(), "{:?}", cluster.heights());
    }
}

#[test]
fn a_member_a_thousand_blocks_behind_catches_up_while_the_others_continue() {
    let cluster = scenarios::away_for(None, 1_000);
    assert_eq!(cluster.checkers.violation, None);
    assert!(cluster.heights()[0] >= 1_000, "{:?}", cluster.heights());
}

#[test]
fn a_block_decided_at_one_member_is_proposed_again_byte_for_byte() {
    let cluster = scenarios::decided_by_one(None);
    assert_eq!(cluster.checkers.violation, None);
    // The others decided it in a later view; the header still names the view of its origin.
    let (block, certificate) = &cluster.hosts[2].disk.blocks[0];
    assert_eq!((block.header.view, block.header.proposer), (0, cluster.fixture.keys[3].0.id()));
    assert!(certificate.vote.view > 0);
}
