//! The coordinator dies at every point at which it writes, before and after the write: the weights are the same.

use crate::sim::{JOB, Lie, Profile, Sim};
use tequio_core::{
    codec,
    machine::Machine,
    scheduler::coordinator::{Coordinator, Output, Record, StartError},
};

const ROUNDS: u32 = 3;

#[test]
fn killed_at_any_write_it_goes_on_to_the_same_weights() {
    let crowd = [Profile::HONEST, Profile::HONEST, Profile::lying(Lie::Step(2))];
    let mut undisturbed = Sim::new(400, ROUNDS, &crowd);
    undisturbed.run_exact(120_000);
    let writes = undisturbed.persists;
    assert!(writes >= ROUNDS * 8);
    for at in 1..=writes {
        for written in [false, true] {
            let mut sim = Sim::new(400, ROUNDS, &crowd);
            sim.crash_at = Some((at, written));
            let outcome = sim.run_exact(300_000);
            assert_eq!(outcome.units, u64::from(ROUNDS) * 8, "killed at write {at}");
            let credited: u32 = outcome.contributors.iter().map(|c| c.units).sum();
            assert_eq!(u64::from(credited), outcome.units);
        }
    }
}

#[test]
fn what_was_written_is_not_computed_again() {
    let mut sim = Sim::new(410, ROUNDS, &[Profile::HONEST; 3]);
    sim.crash_at = Some((6, true));
    sim.run_exact(120_000);
    // Each lane is accepted once over both lives: the five or six before the crash are kept.
    let mut seen = std::collections::BTreeSet::new();
    assert!(sim.accepted.iter().all(|lane| seen.insert((lane.round, lane.lane))));
}

#[test]
fn a_finished_job_is_finished_again_after_a_restart() {
    let mut sim = Sim::new(420, ROUNDS, &[Profile::HONEST; 2]);
    let outcome = sim.run_exact(120_000);
    let mut again = Coordinator::restore(
        sim.now,
        JOB,
        sim.spec.clone(),
        sim.material.clone(),
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
    sim.settle(90);
    let lane = sim.accepted.first().expect("a lane was accepted").clone();
    let restore = |records: Vec<Record>| {
        Coordinator::restore(0, JOB, sim.spec.clone(), sim.material.clone(), sim.config.clone(), records)
    };
    assert!(restore(vec![Record::Lane(lane.clone())]).is_ok());
    let twice = vec![Record::Lane(lane.clone()), Record::Lane(lane.clone())];
    assert!(matches!(restore(twice), Err(StartError::Corrupt(_))));
    let mut changed = lane.clone();
    changed.lane ^= 1;
    assert!(matches!(restore(vec![Record::Lane(changed)]), Err(StartError::Corrupt(_))));
    let bytes = codec::encode(&Record::Lane(lane));
    assert!(codec::decode::<Record>(&bytes[1..], usize::MAX).is_err());
}
