//! Attacks on the checks of work (docs/ARCHITECTURE.md, invariant 4): wrong results never count,
//! and their workers are named.

use crate::{
    byzantine::ByzantineFault,
    fixture::node_id,
    sim::{Profile, Sim},
};
use tequio_core::{
    compute::local_steps::{EpochOrder, LocalStepsInput},
    compute::params::Plan,
    scheduler::coordinator::{Outcome, Rejection},
    wire::work::{Reason, RejectionKind},
};

const ROUNDS: u32 = 5;

/// Runs two honest workers and a Byzantine one. The weights must be correct, and only the Byzantine
/// worker may be rejected.
fn run_with_fault(seed: u64, fault: ByzantineFault) -> (Sim, Outcome) {
    let mut sim =
        Sim::new(seed, ROUNDS, &[Profile::HONEST, Profile::HONEST, Profile::byzantine(fault)]);
    let outcome = sim.run_exact(300_000);
    assert!(!sim.rejections.is_empty(), "seed {seed}: {fault:?} was not detected");
    assert!(
        sim.rejections.iter().all(|r| r.worker == node_id(2)),
        "seed {seed}: {:?}",
        sim.rejections
    );
    // The record lists no late results.
    let refused: Vec<Rejection> =
        sim.rejections.iter().filter(|r| r.reason.kind() != RejectionKind::Late).copied().collect();
    assert_eq!(outcome.rejected as usize, refused.len());
    assert_eq!(outcome.rejections, refused);
    // A proved fault bans its worker, so no later result of that worker is accepted.
    assert_units_correct(&sim);
    (sim, outcome)
}

/// Checks that every accepted unit on disk is what an honest worker computes from the weights of
/// its round.
fn assert_units_correct(sim: &Sim) {
    let plan: Plan = sim.plan();
    let mut starts = vec![tequio_core::compute::state::Weights::initial(&plan)];
    tequio_core::compute::train::train(&plan, sim.data().train(), |_, w| starts.push(w.clone()))
        .unwrap();
    let mut order = EpochOrder::new(sim.data().train().rows());
    for accepted in &sim.accepted {
        let id = tequio_core::compute::local_steps::WorkUnitId {
            job: crate::fixture::JOB,
            round: accepted.round,
            unit: accepted.unit,
        };
        let input = LocalStepsInput::assemble(
            &plan,
            &mut order,
            sim.data().train(),
            &starts[accepted.round as usize],
            id,
        )
        .unwrap();
        assert_eq!(
            input.run().unwrap().digest,
            accepted.result.digest,
            "seed {}: wrong unit {id:?}",
            sim.seed
        );
    }
}

#[test]
fn a_wrong_step_is_found_at_any_position() {
    for step in 0..4 {
        for seed in 0..4 {
            let (sim, _) =
                run_with_fault(100 + 10 * seed + u64::from(step), ByzantineFault::Step(step));
            // Each unit that the worker held when it was detected is resolved separately.
            let wrong = |r: &Rejection| r.reason == Reason::WrongStep(step) && r.round == 0;
            assert!(sim.rejections.iter().all(wrong), "{:?}", sim.rejections);
        }
    }
}

#[test]
fn a_wrong_delta_under_honest_digests_is_found() {
    for seed in 0..4 {
        let (sim, _) = run_with_fault(200 + seed, ByzantineFault::Delta);
        assert_eq!(sim.rejections[0].reason, Reason::WrongDelta);
        let (sim, _) = run_with_fault(210 + seed, ByzantineFault::Poison);
        assert_eq!(sim.rejections[0].reason, Reason::WrongDelta);
    }
}

#[test]
fn a_commitment_that_is_not_revealed_costs_the_lease() {
    let (sim, outcome) = run_with_fault(220, ByzantineFault::NeverReveals);
    assert!(sim.rejections.iter().all(|r| r.reason == Reason::NotRevealed));
    assert_eq!(outcome.rejected, 0);
    let (sim, outcome) = run_with_fault(221, ByzantineFault::RevealsLate(30_000));
    assert!(sim.rejections.iter().all(|r| r.reason == Reason::NotRevealed));
    assert_eq!(outcome.rejected, 0);
}

#[test]
fn a_commitment_that_is_revealed_a_little_late_counts() {
    let mut sim = Sim::new(
        222,
        ROUNDS,
        &[Profile::HONEST, Profile::HONEST, Profile::byzantine(ByzantineFault::RevealsLate(500))],
    );
    assert_eq!(sim.run_exact(300_000).rejected, 0);
}

#[test]
fn another_salt_or_form_is_refused() {
    let (sim, _) = run_with_fault(230, ByzantineFault::WrongSalt);
    assert_eq!(sim.rejections[0].reason, Reason::WrongReveal);
    let (sim, _) = run_with_fault(231, ByzantineFault::Malformed);
    assert_eq!(sim.rejections[0].reason, Reason::Malformed);
}

#[test]
fn a_worker_without_the_disputed_state_loses_the_dispute() {
    let mut reasons = Vec::new();
    for seed in 240..250 {
        let (sim, _) = run_with_fault(seed, ByzantineFault::WithholdsState(2));
        reasons.extend(sim.rejections.iter().map(|r| r.reason));
        let (sim, _) = run_with_fault(seed + 10, ByzantineFault::WrongState(2));
        reasons.extend(sim.rejections.iter().map(|r| r.reason));
    }
    // The first worker of a dispute must send the state; the second one is simply proved wrong.
    for reason in [Reason::StateWithheld, Reason::WrongState, Reason::WrongStep(2)] {
        assert!(reasons.contains(&reason), "{reasons:?}");
    }
}

#[test]
fn vanishing_workers_cost_time_only() {
    let mut sim = Sim::new(
        260,
        ROUNDS,
        &[
            Profile::HONEST,
            Profile::HONEST,
            Profile::byzantine(ByzantineFault::Vanishes),
            Profile { is_browser: true, ..Profile::byzantine(ByzantineFault::Vanishes) },
        ],
    );
    let outcome = sim.run_exact(60_000);
    assert_eq!(outcome.rejected, 0);
}

#[test]
fn many_vanishing_workers_cannot_stall_the_job() {
    // New identities keep joining, and each takes as many leases as it can get.
    let mut profiles =
        vec![Profile { latency_ms: 1, ..Profile::byzantine(ByzantineFault::Vanishes) }; 40];
    profiles.push(Profile::HONEST);
    let mut sim = Sim::new(261, ROUNDS, &profiles);
    let outcome = sim.run_exact(120_000);
    println!("{} ms, of {} units the host computed {}", sim.now, outcome.units, sim.host_computed);
    assert_eq!(outcome.rejected, 0);
}

#[test]
fn workers_that_are_wrong_at_different_steps_are_all_found() {
    // The winner of a dispute is checked again, because both workers may be Byzantine.
    for seed in 270..280 {
        let mut sim = Sim::new(
            seed,
            ROUNDS,
            &[
                Profile::byzantine(ByzantineFault::Step(1)),
                Profile::byzantine(ByzantineFault::Step(3)),
                Profile::byzantine(ByzantineFault::Delta),
                Profile::HONEST,
            ],
        );
        let outcome = sim.run_exact(300_000);
        assert_units_correct(&sim);
        let honest = node_id(3);
        assert!(
            sim.rejections.iter().all(|r| r.worker != honest),
            "seed {seed}: {:?}",
            sim.rejections
        );
        assert!(outcome.rejected >= 3, "seed {seed}: {:?}", sim.rejections);
    }
}

#[test]
fn one_honest_worker_and_the_host_are_enough() {
    let mut sim = Sim::new(
        281,
        2,
        &[
            Profile::byzantine(ByzantineFault::Step(0)),
            Profile::byzantine(ByzantineFault::Delta),
            Profile::HONEST,
        ],
    );
    sim.run_exact(300_000);
    assert_units_correct(&sim);
}

#[test]
fn colluders_are_caught_by_spot_checks() {
    // Two workers with the same wrong result agree. Only this host's own computation detects it.
    let colluders = [
        Profile::byzantine(ByzantineFault::Step(2)),
        Profile::byzantine(ByzantineFault::Step(2)),
        Profile::HONEST,
    ];
    let mut sim = Sim::with(290, ROUNDS, &colluders, |_, config| config.spot_check = 65536);
    sim.run_exact(300_000);
    assert_units_correct(&sim);
    for byzantine in [node_id(0), node_id(1)] {
        assert!(sim.rejections.iter().any(|r| r.worker == byzantine), "{:?}", sim.rejections);
    }
    // Without spot checks, the wrong result is accepted.
    let mut sim = Sim::with(291, ROUNDS, &colluders, |_, config| config.spot_check = 0);
    let outcome = sim.run(300_000);
    assert_ne!(outcome.trained().unwrap().weights.hash(), sim.expected().hash());
}

#[test]
fn one_wrong_unit_changes_the_weights_of_unchecked_jobs_only() {
    let profiles = [
        Profile::HONEST,
        Profile::HONEST,
        Profile::HONEST,
        Profile::byzantine(ByzantineFault::Poison),
    ];
    let honest = Sim::new(300, 30, &profiles).expected();
    // Checks are off: no unit is drawn, every worker has a history, and there are no spot checks.
    let mut sim = Sim::with(300, 30, &profiles, |task, config| {
        task.spot_check_share = 0;
        config.history_min = 0;
        config.spot_check = 0;
    });
    let unchecked = sim.run(300_000);
    assert_ne!(unchecked.trained().unwrap().weights.hash(), honest.hash());
    let mut sim = Sim::new(300, 30, &profiles);
    let checked = sim.run_exact(300_000);
    assert!(checked.rejected >= 1);
    let (bad, good) = (
        unchecked.trained().unwrap().accuracy.fraction(),
        checked.trained().unwrap().accuracy.fraction(),
    );
    println!("accuracy unchecked {bad:.3}, checked {good:.3}");
    assert!(bad + 0.2 < good, "unchecked {bad}, checked {good}");
}

#[test]
fn a_share_of_units_is_checked_after_enough_history_and_all_of_the_last_round() {
    let mut sim = Sim::with(310, 40, &[Profile::HONEST; 3], |task, config| {
        task.spot_check_share = 65536 / 4;
        config.spot_check = 0;
        config.history_min = 10;
    });
    let outcome = sim.run_exact(300_000);
    let share = outcome.checks as f64 / outcome.units as f64;
    assert!((0.25..0.55).contains(&share), "{share}");
    let last = sim.events.iter().filter_map(|e| match e {
        tequio_core::scheduler::coordinator::Event::Accepted { round: 39, checker, .. } => {
            Some(checker.is_some())
        }
        _ => None,
    });
    assert!(last.clone().count() == 8 && last.into_iter().all(|checked| checked));
}

#[test]
fn honest_majorities_are_not_needed() {
    let byzantine = (0..6).map(|i| {
        Profile::byzantine(if i % 2 == 0 {
            ByzantineFault::Step(i / 2)
        } else {
            ByzantineFault::Delta
        })
    });
    let profiles: Vec<Profile> = byzantine.chain([Profile::HONEST, Profile::HONEST]).collect();
    for seed in 320..324 {
        // Workers 1, 3 and 5 submit the same wrong results, so only spot checks surely detect them.
        let mut sim = Sim::with(seed, ROUNDS, &profiles, |_, config| config.spot_check = 65536);
        sim.run_exact(300_000);
        assert_units_correct(&sim);
    }
}
