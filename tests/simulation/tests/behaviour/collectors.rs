//! Votes through a collector.

use std::collections::BTreeMap;
use tequio_core::{
    consensus::Offence,
    ledger::{Action, KeyRegistration},
};
use tequio_simulation::{
    adversary::ByzantineFault,
    chain_fixture::{BOND, ChainConfig, ChainFixture},
    cluster::{Cluster, Setup, VoteRoutingProfile},
    fault_profile::CHAIN_CONFIG,
    scenarios,
};

#[test]
fn collectors_decide_in_the_first_view_with_fewer_bytes_and_no_fallback() {
    let bytes = |profile: VoteRoutingProfile| {
        let mut cluster = Cluster::new(
            ChainFixture::of(20, CHAIN_CONFIG),
            Setup { profile, ..Setup::fault_free(32) },
        );
        cluster.run_ms(10_000);
        assert_eq!(cluster.checkers.violation, None);
        assert_eq!(cluster.view_changes, 0, "{profile:?}");
        assert_eq!(cluster.fallbacks, 0, "{profile:?}");
        assert!(cluster.checkers.offences.is_empty());
        assert!(cluster.heights()[0] >= 8, "{:?}", cluster.heights());
        cluster.bytes / cluster.checkers.height()
    };
    let (all, collectors) = (bytes(VoteRoutingProfile::All), bytes(VoteRoutingProfile::Leader));
    assert!(2 * collectors < all, "{collectors} bytes a decision, {all} without collectors");
    bytes(VoteRoutingProfile::Mixed);
}

#[test]
fn a_silent_collector_delays_a_height_but_costs_no_view() {
    let cluster = scenarios::collector_silent(None);
    assert_eq!(cluster.checkers.violation, None);
    assert!(cluster.fallbacks > 0);
    assert_eq!(cluster.view_changes, 0);
}

#[test]
fn at_an_epoch_boundary_former_and_new_seats_use_their_own_collectors() {
    for (profile, seed) in [
        (VoteRoutingProfile::All, 36),
        (VoteRoutingProfile::Leader, 37),
        (VoteRoutingProfile::Mixed, 38),
    ] {
        let setup = Setup { profile, churn: true, ..Setup::fault_free(seed) };
        let mut cluster = Cluster::new(
            ChainFixture::of(7, ChainConfig { is_weighted: false, ..CHAIN_CONFIG }),
            setup,
        );
        let fixture = cluster.fixture;
        let turn = CHAIN_CONFIG.epoch_blocks() - 1;
        let (goes, comes, rotates) = (0, fixture.seats(), 1);
        let claim = |member: usize, generation: usize| {
            let keys = &fixture.seat_keys[member][generation];
            KeyRegistration::new(
                &fixture.genesis.chain,
                &fixture.keys[member].0.id(),
                &keys.vote,
                &keys.vrf,
            )
            .unwrap()
        };
        cluster.submit_member_action(goes, Action::Leave);
        cluster.submit_member_action(comes, Action::Join { amount: BOND, keys: claim(comes, 0) });
        cluster.submit_member_action(rotates, Action::RotateKeys { keys: claim(rotates, 1) });
        // Then an interval that is too short for a retransmission.
        while cluster.checkers.height() < turn && cluster.checkers.violation.is_none() {
            cluster.run_ms(1);
        }
        cluster.run_ms(CHAIN_CONFIG.view_timeout_ms / 4);
        assert_eq!(cluster.hosts[goes].disk.height(), turn, "{profile:?}");
        cluster.run_ms(20_000);
        assert_eq!(cluster.checkers.violation, None, "{profile:?}");
        assert!(cluster.checkers.handovers.len() >= 3, "{profile:?}");
        let seats = cluster.checkers.handovers[0].seats.as_ref().unwrap();
        let seat =
            |member: usize| seats.iter().position(|seat| seat.node == fixture.keys[member].0.id());
        assert_eq!((seat(goes), seat(comes).is_some()), (None, true), "{profile:?}");
        assert_eq!(seats[seat(rotates).unwrap()].key, fixture.seat_keys[rotates][1].vote.public());
        assert_eq!(cluster.view_changes, 0, "{profile:?}");
        assert_eq!(cluster.fallbacks, 0, "{profile:?}");
        assert!(cluster.checkers.offences.is_empty(), "{profile:?}");
    }
}

#[test]
fn an_invalid_certificate_is_blamed_on_the_collector_that_sends_it() {
    for (seats, byzantine_seat, seed) in [(4, 2, 33), (7, 1, 34)] {
        let byzantine = BTreeMap::from([(byzantine_seat, ByzantineFault::ForgeCertificates)]);
        let setup =
            Setup { byzantine, profile: VoteRoutingProfile::Leader, ..Setup::fault_free(seed) };
        let mut cluster = Cluster::new(ChainFixture::of(seats, CHAIN_CONFIG), setup);
        cluster.run_ms(20_000);
        assert_eq!(cluster.checkers.violation, None);
        let node = cluster.fixture.keys[byzantine_seat].0.id();
        let blamed = |is: &dyn Fn(&Offence) -> bool| {
            cluster.checkers.offences.iter().any(|(p, o)| *p == node && is(o))
        };
        assert!(blamed(&|offence| matches!(offence, Offence::BadCertificate(_))), "{seats} seats");
        assert!(blamed(&|offence| matches!(offence, Offence::NotCollector)), "{seats} seats");
    }
}
