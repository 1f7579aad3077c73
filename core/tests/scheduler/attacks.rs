//! Each attack on rule 5 of the design, "Checks of work": what is wrong never counts, who is wrong
//! is named.

use crate::sim::{Lie, Profile, Sim, node_id};
use tequio_core::{
    compute::lane::{EpochOrder, LaneInput},
    compute::params::Plan,
    scheduler::coordinator::{Outcome, Rejection},
    wire::work::{Reason, RejectionKind},
};

const ROUNDS: u32 = 5;

/// Two honest workers and a liar: the weights must be right, the liar named, nobody else.
fn caught(seed: u64, lie: Lie) -> (Sim, Outcome) {
    let mut sim = Sim::new(seed, ROUNDS, &[Profile::HONEST, Profile::HONEST, Profile::lying(lie)]);
    let outcome = sim.run_exact(300_000);
    assert!(!sim.rejections.is_empty(), "seed {seed}: {lie:?} was not noticed");
    assert!(
        sim.rejections.iter().all(|r| r.worker == node_id(2)),
        "seed {seed}: {:?}",
        sim.rejections
    );
    // The record accuses nobody of having been late.
    let refused: Vec<Rejection> =
        sim.rejections.iter().filter(|r| r.reason.kind() != RejectionKind::Late).copied().collect();
    assert_eq!(outcome.rejected as usize, refused.len());
    assert_eq!(outcome.rejections, refused);
    // Lies that are proved bar the liar, so nothing of it is ever accepted.
    no_wrong_lane(&sim);
    (sim, outcome)
}

/// Every lane on disk is what an honest worker computes from the weights of its round.
fn no_wrong_lane(sim: &Sim) {
    let plan: Plan = sim.plan();
    let mut starts = vec![tequio_core::compute::state::Weights::initial(&plan)];
    tequio_core::compute::train::train(&plan, sim.data().train(), |_, w| starts.push(w.clone()))
        .unwrap();
    let mut order = EpochOrder::new(sim.data().train().rows());
    for lane in &sim.accepted {
        let id = tequio_core::compute::lane::LaneId {
            job: crate::sim::JOB,
            round: lane.round,
            lane: lane.lane,
        };
        let input = LaneInput::assemble(
            &plan,
            &mut order,
            sim.data().train(),
            &starts[lane.round as usize],
            id,
        )
        .unwrap();
        assert_eq!(
            input.run().unwrap().digest,
            lane.result.digest,
            "seed {}: wrong lane {id:?}",
            sim.seed
        );
    }
}

#[test]
fn a_wrong_step_is_found_whichever_it_is() {
    for step in 0..4 {
        for seed in 0..4 {
            let (sim, _) = caught(100 + 10 * seed + u64::from(step), Lie::Step(step));
            // Each lane that it had in hand when it was found out is settled by itself.
            let wrong = |r: &Rejection| r.reason == Reason::WrongStep(step) && r.round == 0;
            assert!(sim.rejections.iter().all(wrong), "{:?}", sim.rejections);
        }
    }
}

#[test]
fn a_wrong_delta_under_honest_digests_is_found() {
    for seed in 0..4 {
        let (sim, _) = caught(200 + seed, Lie::Delta);
        assert_eq!(sim.rejections[0].reason, Reason::WrongDelta);
        let (sim, _) = caught(210 + seed, Lie::Poison);
        assert_eq!(sim.rejections[0].reason, Reason::WrongDelta);
    }
}

#[test]
fn a_commitment_that_is_not_opened_costs_the_lease() {
    let (sim, outcome) = caught(220, Lie::NeverOpens);
    assert!(sim.rejections.iter().all(|r| r.reason == Reason::NotOpened));
    assert_eq!(outcome.rejected, 0);
    let (sim, outcome) = caught(221, Lie::OpensLate(30_000));
    assert!(sim.rejections.iter().all(|r| r.reason == Reason::NotOpened));
    assert_eq!(outcome.rejected, 0);
}

#[test]
fn a_commitment_that_is_opened_a_little_late_is_good() {
    let mut sim = Sim::new(
        222,
        ROUNDS,
        &[Profile::HONEST, Profile::HONEST, Profile::lying(Lie::OpensLate(500))],
    );
    assert_eq!(sim.run_exact(300_000).rejected, 0);
}

#[test]
fn another_salt_or_form_is_refused() {
    let (sim, _) = caught(230, Lie::WrongSalt);
    assert_eq!(sim.rejections[0].reason, Reason::WrongOpening);
    let (sim, _) = caught(231, Lie::Malformed);
    assert_eq!(sim.rejections[0].reason, Reason::Malformed);
}

#[test]
fn who_does_not_show_the_disputed_state_loses() {
    let mut reasons = Vec::new();
    for seed in 240..250 {
        let (sim, _) = caught(seed, Lie::Withholds(2));
        reasons.extend(sim.rejections.iter().map(|r| r.reason));
        let (sim, _) = caught(seed + 10, Lie::WrongState(2));
        reasons.extend(sim.rejections.iter().map(|r| r.reason));
    }
    // As the first of a dispute it is asked, as the second it is just proved wrong.
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
            Profile::lying(Lie::Vanishes),
            Profile { guest: true, ..Profile::lying(Lie::Vanishes) },
        ],
    );
    let outcome = sim.run_exact(60_000);
    assert_eq!(outcome.rejected, 0);
}

#[test]
fn a_crowd_that_takes_leases_and_vanishes_cannot_hold_the_job_up() {
    // New identities keep coming and each takes what it can get.
    let mut crowd = vec![Profile { latency_ms: 1, ..Profile::lying(Lie::Vanishes) }; 40];
    crowd.push(Profile::HONEST);
    let mut sim = Sim::new(261, ROUNDS, &crowd);
    let outcome = sim.run_exact(120_000);
    println!("{} ms, of {} lanes the host computed {}", sim.now, outcome.units, sim.host_computed);
    assert_eq!(outcome.rejected, 0);
}

#[test]
fn liars_at_different_steps_do_not_save_one_another() {
    // Whoever wins a dispute is checked again: the opponent of a liar may be a liar.
    for seed in 270..280 {
        let mut sim = Sim::new(
            seed,
            ROUNDS,
            &[
                Profile::lying(Lie::Step(1)),
                Profile::lying(Lie::Step(3)),
                Profile::lying(Lie::Delta),
                Profile::HONEST,
            ],
        );
        let outcome = sim.run_exact(300_000);
        no_wrong_lane(&sim);
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
        &[Profile::lying(Lie::Step(0)), Profile::lying(Lie::Delta), Profile::HONEST],
    );
    sim.run_exact(300_000);
    no_wrong_lane(&sim);
}

#[test]
fn colluders_are_caught_by_canaries() {
    // Two workers who lie alike agree; only this host's own computation tells.
    let colluders = [Profile::lying(Lie::Step(2)), Profile::lying(Lie::Step(2)), Profile::HONEST];
    let mut sim = Sim::with(290, ROUNDS, &colluders, |_, config| config.canary = 65536);
    sim.run_exact(300_000);
    no_wrong_lane(&sim);
    for liar in [node_id(0), node_id(1)] {
        assert!(sim.rejections.iter().any(|r| r.worker == liar), "{:?}", sim.rejections);
    }
    // The mitigation off, the lie goes through.
    let mut sim = Sim::with(291, ROUNDS, &colluders, |_, config| config.canary = 0);
    let outcome = sim.run(300_000);
    assert_ne!(outcome.trained().unwrap().weights.hash(), sim.expected().hash());
}

#[test]
fn one_bad_lane_ruins_an_unchecked_job_and_no_checked_one() {
    let crowd = [Profile::HONEST, Profile::HONEST, Profile::HONEST, Profile::lying(Lie::Poison)];
    let honest = Sim::new(300, 30, &crowd).expected();
    // Checks off: nothing is drawn, everybody has a history, no canary.
    let mut sim = Sim::with(300, 30, &crowd, |task, config| {
        task.checked = 0;
        config.history = 0;
        config.canary = 0;
    });
    let unchecked = sim.run(300_000);
    assert_ne!(unchecked.trained().unwrap().weights.hash(), honest.hash());
    let mut sim = Sim::new(300, 30, &crowd);
    let checked = sim.run_exact(300_000);
    assert!(checked.rejected >= 1);
    let (bad, good) = (
        unchecked.trained().unwrap().accuracy.share(),
        checked.trained().unwrap().accuracy.share(),
    );
    println!("accuracy unchecked {bad:.3}, checked {good:.3}");
    assert!(bad + 0.2 < good, "unchecked {bad}, checked {good}");
}

#[test]
fn a_share_is_checked_once_there_is_a_history_and_all_of_the_last_round() {
    let mut sim = Sim::with(310, 40, &[Profile::HONEST; 3], |task, config| {
        task.checked = 65536 / 4;
        config.canary = 0;
        config.history = 10;
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
    let liars =
        (0..6).map(|i| Profile::lying(if i % 2 == 0 { Lie::Step(i / 2) } else { Lie::Delta }));
    let crowd: Vec<Profile> = liars.chain([Profile::HONEST, Profile::HONEST]).collect();
    for seed in 320..324 {
        // Of these, numbers 1, 3 and 5 lie alike: only canaries are sure to tell.
        let mut sim = Sim::with(seed, ROUNDS, &crowd, |_, config| config.canary = 65536);
        sim.run_exact(300_000);
        no_wrong_lane(&sim);
    }
}
