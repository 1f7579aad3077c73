//! Crashes of the coordinator before and after every write: the weights stay the same.

use crate::{
    byzantine::ByzantineFault,
    fixture::JOB,
    sim::{Profile, Sim},
};
use tequio_core::{
    codec,
    machine::Machine,
    scheduler::coordinator::{
        Coordinator, Event, Output, Record, StartError, UNIT_RECORDS_MACS_MIN,
    },
    types::NodeId,
};

const ROUNDS: u32 = 3;

#[test]
fn a_kill_at_any_write_leads_to_the_same_weights() {
    let profiles = [Profile::HONEST, Profile::HONEST, Profile::byzantine(ByzantineFault::Step(2))];
    let mut undisturbed = Sim::new(400, ROUNDS, &profiles);
    undisturbed.run_exact(120_000);
    let writes = undisturbed.persists;
    assert!(writes >= ROUNDS * 8);
    for at in 1..=writes {
        for written in [false, true] {
            let mut sim = Sim::new(400, ROUNDS, &profiles);
            sim.crash_at = Some((at, written));
            let outcome = sim.run_exact(300_000);
            assert_eq!(outcome.units, u64::from(ROUNDS) * 8, "killed at write {at}");
            let credited: u32 = outcome.contributors.iter().map(|c| c.units).sum();
            assert_eq!(u64::from(credited), outcome.units);
        }
    }
}

/// A job as in the other tests, with rounds so small that each is written as a whole.
fn small_rounds(seed: u64) -> Sim {
    let profiles = [Profile::HONEST, Profile::HONEST, Profile::byzantine(ByzantineFault::Step(2))];
    let sim = Sim::with(seed, ROUNDS, &profiles, |_, config| {
        config.unit_records_macs_min = UNIT_RECORDS_MACS_MIN
    });
    assert!(sim.plan().macs_per_unit() * 8 < UNIT_RECORDS_MACS_MIN);
    sim
}

#[test]
fn small_rounds_are_written_as_a_whole_and_survive_a_kill_at_any_write() {
    let mut undisturbed = small_rounds(401);
    let outcome = undisturbed.run_exact(120_000);
    assert_eq!(undisturbed.persists, ROUNDS + outcome.rejected);
    assert!(undisturbed.accepted.is_empty());
    for at in 1..=undisturbed.persists {
        for written in [false, true] {
            let mut sim = small_rounds(401);
            sim.crash_at = Some((at, written));
            let outcome = sim.run_exact(300_000);
            let credited: u32 = outcome.contributors.iter().map(|c| c.units).sum();
            assert_eq!(u64::from(credited), outcome.units, "killed at write {at}");
        }
    }
}

#[test]
fn results_of_a_small_round_are_acknowledged_after_the_write() {
    let mut sim = small_rounds(402);
    let (mut accepted, mut wait_ms) = (0, 1);
    while sim.disk.is_empty() {
        accepted = sim.events.iter().filter(|e| matches!(e, Event::Accepted { .. })).count();
        let notified: Vec<NodeId> =
            sim.nodes.iter().filter(|n| n.worker.totals().units > 0).map(|n| n.id).collect();
        assert!(notified.is_empty(), "notified of an unwritten unit: {notified:?}");
        let before = sim.now;
        sim.run_idle(wait_ms);
        wait_ms = if sim.now == before { wait_ms + 1 } else { 1 };
        assert!(wait_ms < 10_000, "no effect");
    }
    assert!(accepted > 0, "the write must succeed");
    sim.run_exact(120_000);
    sim.run_idle(5_000);
    assert!(sim.nodes.iter().any(|n| n.worker.totals().units > 0));
}

#[test]
fn stored_results_are_not_computed_again() {
    let mut sim = Sim::new(410, ROUNDS, &[Profile::HONEST; 3]);
    sim.crash_at = Some((6, true));
    sim.run_exact(120_000);
    // Each unit is accepted once across both runs: the five or six before the crash are kept.
    let mut seen = std::collections::BTreeSet::new();
    assert!(sim.accepted.iter().all(|accepted| seen.insert((accepted.round, accepted.unit))));
}

#[test]
fn a_finished_job_is_finished_again_after_a_restart() {
    let mut sim = Sim::new(420, ROUNDS, &[Profile::HONEST; 2]);
    let outcome = sim.run_exact(120_000);
    let mut again = Coordinator::restore(
        sim.now,
        JOB,
        sim.spec.clone(),
        sim.input.clone(),
        sim.config.clone(),
        sim.disk.clone(),
    )
    .unwrap();
    assert!(again.is_finished());
    match again.poll() {
        Some(Output::Finished(restored)) => assert_eq!(*restored, outcome),
        other => panic!("{other:?}"),
    }
}

#[test]
fn records_of_another_job_are_refused() {
    let mut sim = Sim::new(430, ROUNDS, &[Profile::HONEST; 2]);
    sim.run_idle(90);
    let accepted = sim.accepted.first().expect("a unit was accepted").clone();
    let restore = |records: Vec<Record>| {
        Coordinator::restore(
            0,
            JOB,
            sim.spec.clone(),
            sim.input.clone(),
            sim.config.clone(),
            records,
        )
    };
    assert!(restore(vec![Record::LocalSteps(accepted.clone())]).is_ok());
    let twice = vec![Record::LocalSteps(accepted.clone()), Record::LocalSteps(accepted.clone())];
    assert!(matches!(restore(twice), Err(StartError::Corrupt(_))));
    let mut changed = accepted.clone();
    changed.unit ^= 1;
    assert!(matches!(restore(vec![Record::LocalSteps(changed)]), Err(StartError::Corrupt(_))));
    let bytes = codec::encode(&Record::LocalSteps(accepted));
    assert!(codec::decode::<Record>(&bytes[1..], usize::MAX).is_err());
}
