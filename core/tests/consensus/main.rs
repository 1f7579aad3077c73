//! PBFT under simulation: virtual time, seeded chance, real cryptography.
//!
//! Every run prints its seed; `TEQUIO_SEED=n` runs that one alone. The checkers (agreement, validity,
//! certificates, chain, blame, liveness after mending) are themselves checked: bugs are put into all hosts,
//! and a campaign that does not find them fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::large_enum_variant)]

mod adversary;
mod chaos;
mod checkers;
mod cluster;
mod host;
mod random;
mod world;

use adversary::Lie;
use chaos::{Weather, draw_lies, heights, run};
use cluster::{Bug, Cluster};
use random::Rng;
use std::{collections::BTreeMap, time::Instant};
use tequio_core::{
    consensus::{Offence, leader},
    ledger::Phase,
    wire::consensus::Message,
};
use world::World;

fn seeds(from: u64, count: u64) -> Box<dyn Iterator<Item = u64>> {
    match std::env::var("TEQUIO_SEED") {
        Ok(seed) => Box::new(std::iter::once(seed.parse().expect("TEQUIO_SEED is a number"))),
        Err(_) => Box::new(from..from + count),
    }
}

fn campaign(seats: usize, from: u64, count: u64, weather: Weather) {
    let (world, began) = (World::of(seats), Instant::now());
    let (mut blocks, mut views, mut runs) = (0, 0, 0);
    for seed in seeds(from, count) {
        let lies = draw_lies(world, &mut Rng::new(seed ^ 0x11e5));
        println!("seed {seed} seats {seats} lies {lies:?}");
        let report = run(world, seed, lies, None, weather);
        if let Some(violation) = report.violation {
            panic!("TEQUIO_SEED={seed}, {seats} seats: {violation}; heights {:?}", heights(&report.cluster));
        }
        blocks += report.cluster.checkers.height();
        views += report.cluster.view_changes;
        runs += 1;
    }
    println!("{runs} runs of {seats}: {blocks} blocks, {views} view changes, {:?}", began.elapsed());
}

#[test]
fn four_in_rough_weather() {
    campaign(4, 0, 120, Weather::Rough);
}

#[test]
fn four_with_power_failures() {
    campaign(4, 10_000, 80, Weather::PowerFailures);
}

#[test]
fn four_in_a_storm() {
    campaign(4, 20_000, 80, Weather::Storm);
}

#[test]
fn seven_in_rough_weather() {
    campaign(7, 30_000, 30, Weather::Rough);
}

#[test]
fn seven_in_a_storm() {
    campaign(7, 40_000, 20, Weather::Storm);
}

/// Runs quietly for some virtual seconds.
fn calm(seats: usize, seed: u64, lies: &[(usize, Lie)], seconds: u64) -> Cluster {
    println!("seed {seed} seats {seats} lies {lies:?}");
    let mut cluster = Cluster::new(World::of(seats), seed, lies.iter().copied().collect(), None);
    for _ in 0..seconds {
        cluster.submit(0);
        let next_ms = cluster.now_ms + 1000;
        cluster.run_until(next_ms);
    }
    assert_eq!(cluster.checkers.violation, None, "seed {seed}");
    cluster
}

#[test]
fn in_the_normal_case_no_view_is_changed_and_blocks_come_in_time() {
    for (seats, seed) in [(4, 1), (7, 2)] {
        let cluster = calm(seats, seed, &[], 20);
        assert_eq!(cluster.view_changes, 0);
        assert!(cluster.checkers.offences.is_empty());
        // One empty block at least each second, and one for each transaction.
        assert!(heights(&cluster)[0] >= 25, "{:?}", heights(&cluster));
        assert!(cluster.checkers.included.len() >= 19);
    }
}

#[test]
fn a_crashed_member_costs_only_its_own_turns() {
    for (seats, seed) in [(4, 3), (7, 4)] {
        let mut cluster = Cluster::new(World::of(seats), seed, BTreeMap::new(), None);
        let first = leader(&cluster.world.start.committee, 1, 0);
        cluster.crash(first); // The leader of the first height.
        let end_ms = cluster.now_ms + 20_000;
        cluster.run_until(end_ms);
        assert_eq!(cluster.checkers.violation, None);
        assert!(cluster.checkers.height() >= 12, "height {}", cluster.checkers.height());
        assert!(cluster.view_changes > 0);
        // It comes back and catches up.
        cluster.restart(first);
        let end_ms = cluster.now_ms + 5000;
        cluster.run_until(end_ms);
        let lowest = heights(&cluster)[0];
        assert!(lowest + 1 >= cluster.checkers.height(), "{:?}", heights(&cluster));
    }
}

#[test]
fn each_lie_is_survived_and_the_visible_ones_are_blamed() {
    let blamed = |lie: Lie, is: &dyn Fn(&Offence) -> bool| {
        for (seats, liar, seed) in [(4, 2, 5), (7, 1, 6)] {
            let cluster = calm(seats, seed, &[(liar, lie)], 12);
            assert!(cluster.checkers.height() >= 8, "{lie:?}: height {}", cluster.checkers.height());
            let node = cluster.world.keys[liar].0.id();
            assert!(cluster.checkers.offences.iter().any(|(peer, o)| *peer == node && is(o)), "{lie:?} of {seats}");
        }
    };
    blamed(Lie::ProposeTwice, &|o| matches!(o, Offence::DoubleProposal(..)));
    blamed(Lie::VoteTwice, &|o| matches!(o, Offence::DoubleVote(..)));
    blamed(Lie::BadShare, &|o| matches!(o, Offence::BadVote(_)));
    blamed(Lie::BadBlock, &|o| matches!(o, Offence::BadBlock(_)));
    blamed(Lie::Forge, &|o| matches!(o, Offence::BadCertificate(_)));
    for lie in [Lie::Silence, Lie::Equivocate, Lie::HideLock] {
        let cluster = calm(4, 7, &[(1, lie)], 12);
        assert!(cluster.checkers.height() >= 8, "{lie:?}: height {}", cluster.checkers.height());
    }
}

#[test]
fn evidence_convinces_a_third_party() {
    let cluster = calm(4, 8, &[(0, Lie::VoteTwice)], 5);
    let committee = &cluster.world.start.committee;
    let mut found = 0;
    for (peer, offence) in cluster.checkers.offences.iter().filter(|(_, o)| o.is_evidence()) {
        let Offence::DoubleVote(first, second) = offence else { panic!("{offence}") };
        let key = committee.key(committee.seat_of(peer).unwrap()).unwrap();
        assert!(first.verify(key).is_ok() && second.verify(key).is_ok());
        assert_eq!((first.vote.view, first.vote.phase), (second.vote.view, second.vote.phase));
        assert_ne!(first.vote.digest, second.vote.digest);
        found += 1;
    }
    assert!(found > 0);
}

#[test]
fn equal_seeds_give_equal_runs() {
    let world = World::of(4);
    for seed in seeds(50_000, 5) {
        let traces: Vec<_> = (0..2)
            .map(|_| {
                let report = run(world, seed, draw_lies(world, &mut Rng::new(seed)), None, Weather::Rough);
                (report.violation, report.cluster.checkers.trace)
            })
            .collect();
        assert_eq!(traces[0], traces[1], "seed {seed}");
    }
}

/// The checkers must find this bug within so many seeds.
fn is_found(bug: Bug, weather: Weather, count: u64, names: &str) {
    let world = World::of(4);
    for seed in 60_000..60_000 + count {
        if let Some(violation) = run(world, seed, BTreeMap::new(), Some(bug), weather).violation {
            println!("{bug:?} found by seed {seed}: {violation}");
            assert!(violation.starts_with(names), "{bug:?} breaks {names}, found: {violation}");
            return;
        }
    }
    panic!("{bug:?} was not found in {count} seeds from 60000");
}

#[test]
fn voting_again_after_a_restart_is_found() {
    is_found(Bug::Amnesia, Weather::PowerFailures, 300, "");
}

#[test]
fn speaking_before_the_disk_has_it_is_found() {
    is_found(Bug::WireBeforeDisk, Weather::PowerFailures, 300, "");
}

#[test]
fn never_changing_the_view_is_found() {
    is_found(Bug::NoViewChange, Weather::Rough, 100, "liveness");
}

#[test]
fn inventing_transactions_is_found() {
    is_found(Bug::InventTransaction, Weather::Rough, 100, "validity");
}

#[test]
fn more_liars_than_the_committee_bears_break_agreement() {
    let world = World::of(4);
    let broken = (70_000..70_200).find_map(|seed| {
        let lies = BTreeMap::from([(0, Lie::Equivocate), (2, Lie::Equivocate)]);
        run(world, seed, lies, None, Weather::Rough).violation.map(|violation| (seed, violation))
    });
    println!("{broken:?}");
    assert!(
        broken.is_some_and(|(_, violation)| violation.starts_with("agreement") || violation.starts_with("liveness"))
    );
}

/// The one schedule that locks exist for. Seat 3 leads the first view and alone sees its block decided, then
/// dies; seats 0 and 1 are locked on it; seat 2, which leads the next view, has heard nothing of it.
fn decided_by_one_and_unknown_to_the_next_leader(bug: Option<Bug>) -> Cluster {
    let world = World::of(4);
    let leads = |view| leader(&world.start.committee, 1, view);
    assert_eq!((leads(0), leads(1)), (3, 2));
    let mut cluster = Cluster::new(world, 9, BTreeMap::new(), bug);
    cluster.network.withheld = |from, to, message| {
        let commit = matches!(message, Message::Vote(signed) if signed.vote.phase == Phase::Commit);
        from == 2 || to == 2 || commit && to != 3
    };
    while cluster.checkers.height() == 0 {
        let next_ms = cluster.now_ms + 1;
        cluster.run_until(next_ms);
        assert!(cluster.now_ms < world::GENESIS_MS + 10_000);
    }
    cluster.crash(3);
    cluster.network.withheld = |_, _, _| false;
    let end_ms = cluster.now_ms + 10_000;
    cluster.run_until(end_ms);
    cluster.restart(3);
    let end_ms = cluster.now_ms + 3_000;
    cluster.run_until(end_ms);
    cluster
}

#[test]
fn a_block_that_one_member_saw_decided_is_proposed_again_byte_for_byte() {
    let cluster = decided_by_one_and_unknown_to_the_next_leader(None);
    assert_eq!(cluster.checkers.violation, None);
    let lowest = heights(&cluster)[0];
    assert!(lowest >= 3 && lowest + 1 >= cluster.checkers.height(), "{:?}", heights(&cluster));
    // Decided in a later view by the others, with the view of its origin still in the header.
    let (block, certificate) = &cluster.hosts[2].disk.blocks[0];
    assert_eq!((block.header.view, block.header.proposer), (0, cluster.world.keys[3].0.id()));
    assert!(certificate.vote.view > 0);
}

#[test]
fn forgetting_the_lock_is_found() {
    let violation = decided_by_one_and_unknown_to_the_next_leader(Some(Bug::ForgetLock)).checkers.violation;
    println!("{violation:?}");
    assert!(violation.is_some_and(|v| v.starts_with("agreement")));
}
