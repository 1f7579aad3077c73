//! Jobs in exact mode: Freivalds' check verifies every exact step, and the weights equal those of
//! one process.

use crate::{
    byzantine::ByzantineFault,
    fixture::node_id,
    sim::{Profile, Sim},
};
use tequio_core::{compute::params::Mode, wire::work::Reason};

const ROUNDS: u32 = 24;

fn exact(seed: u64, profiles: &[Profile]) -> Sim {
    Sim::with(seed, ROUNDS, profiles, |task, _| task.params.mode = Mode::Exact { units: 8 })
}

#[test]
fn any_mix_gives_the_weights_of_one_process() {
    let browser = Profile { is_browser: true, slots: 1, unit_ms: 40, ..Profile::HONEST };
    for (seed, profiles) in
        [vec![Profile::HONEST], vec![Profile::HONEST, browser], vec![Profile::HONEST; 6]]
            .iter()
            .enumerate()
    {
        let mut sim = exact(500 + seed as u64, profiles);
        let outcome = sim.run_exact(120_000);
        assert_eq!((outcome.checks, outcome.rejected), (outcome.units, 0));
        // No step is computed twice.
        assert_eq!(sim.host_computed, 0);
        assert!(outcome.contributors.iter().all(|c| c.checks == 0));
    }
}

#[test]
fn every_wrong_product_is_found() {
    for which in 0..4 {
        for seed in 510..513 {
            let mut sim = exact(
                seed,
                &[
                    Profile::HONEST,
                    Profile::HONEST,
                    Profile::byzantine(ByzantineFault::Product(which)),
                ],
            );
            sim.run_exact(120_000);
            assert!(!sim.rejections.is_empty(), "seed {seed}: product {which} was not detected");
            let named = |reason| matches!(reason, Reason::WrongProduct | Reason::Malformed);
            assert!(
                sim.rejections.iter().all(|r| r.worker == node_id(2) && named(r.reason)),
                "{:?}",
                sim.rejections
            );
        }
    }
}

#[test]
fn silence_another_salt_and_absence_have_the_same_cost_as_with_local_steps() {
    for (fault, reason) in [
        (ByzantineFault::WrongSalt, Reason::WrongReveal),
        (ByzantineFault::NeverReveals, Reason::NotRevealed),
    ] {
        let mut sim = exact(520, &[Profile::HONEST, Profile::byzantine(fault)]);
        sim.run_exact(300_000);
        assert!(!sim.rejections.is_empty() && sim.rejections.iter().all(|r| r.reason == reason));
    }
    let mut sim = exact(
        521,
        &[
            Profile::HONEST,
            Profile::byzantine(ByzantineFault::Vanishes),
            Profile::byzantine(ByzantineFault::Vanishes),
        ],
    );
    assert_eq!(sim.run_exact(300_000).rejected, 0);
}

#[test]
fn momentum_survives_a_crash_at_any_write() {
    for at in (1..ROUNDS * 8).step_by(5) {
        for written in [false, true] {
            let mut sim = exact(530, &[Profile::HONEST; 2]);
            sim.crash_at = Some((at, written));
            sim.run_exact(300_000);
        }
    }
}
