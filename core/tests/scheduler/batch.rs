//! Batch inference: Freivalds' check verifies every part, and the answers equal those of one
//! process.

use crate::{
    byzantine::ByzantineFault,
    fixture::{JOB, node_id},
    sim::{Profile, Sim},
};
use tequio_core::{
    machine::Machine,
    scheduler::coordinator::{Completion, Coordinator, JobInput, Outcome, Output, StartError},
    wire::work::Reason,
};

/// Somewhat more rows than ten parts of 512.
const ROWS: u32 = 5_300;
const PARTS: u64 = 11;

fn run(sim: &mut Sim) -> Outcome {
    let outcome = sim.run(300_000);
    assert_eq!(
        outcome.completion,
        Completion::Inferred(sim.expected_answers()),
        "seed {}",
        sim.seed
    );
    assert_eq!(outcome.units, PARTS);
    outcome
}

#[test]
fn any_mix_gives_the_answers_of_one_process() {
    let browser = Profile { is_browser: true, slots: 1, unit_ms: 40, ..Profile::HONEST };
    for (seed, profiles) in
        [vec![Profile::HONEST], vec![Profile::HONEST, browser], vec![Profile::HONEST; 6]]
            .iter()
            .enumerate()
    {
        let mut sim = Sim::batch(700 + seed as u64, ROWS, profiles);
        let outcome = run(&mut sim);
        // All parts are checked, and no part is computed twice.
        assert_eq!((outcome.checks, outcome.rejected, sim.host_computed), (PARTS, 0, 0));
        // Each part is credited with its own size: the last one is shorter.
        let macs: u64 = outcome.contributors.iter().map(|c| c.macs).sum();
        assert_eq!(macs, sim.spec.work().unwrap().macs);
    }
}

#[test]
fn a_wrong_product_and_a_wrong_class_are_found() {
    for which in 0..2 {
        let profiles =
            [Profile::HONEST, Profile::HONEST, Profile::byzantine(ByzantineFault::Product(which))];
        let mut sim = Sim::batch(710, ROWS, &profiles);
        run(&mut sim);
        assert!(!sim.rejections.is_empty());
        assert!(
            sim.rejections
                .iter()
                .all(|r| r.worker == node_id(2) && r.reason == Reason::WrongProduct)
        );
    }
}

#[test]
fn vanished_workers_do_not_block_a_batch() {
    let mut sim = Sim::batch(
        720,
        ROWS,
        &[
            Profile::HONEST,
            Profile::byzantine(ByzantineFault::Vanishes),
            Profile::byzantine(ByzantineFault::Duplicates),
        ],
    );
    assert_eq!(run(&mut sim).rejected, 0);
}

#[test]
fn answers_survive_a_crash_at_any_write() {
    for at in 1..=PARTS as u32 {
        for written in [false, true] {
            let mut sim = Sim::batch(730, ROWS, &[Profile::HONEST; 2]);
            sim.crash_at = Some((at, written));
            run(&mut sim);
        }
    }
}

#[test]
fn a_batch_of_other_rows_or_another_model_is_refused() {
    let sim = Sim::batch(740, 100, &[]);
    let JobInput::Inference { classifier, .. } = &sim.input else { unreachable!() };
    let JobInput::Inference { rows, .. } = Sim::batch(740, 99, &[]).input else { unreachable!() };
    let other = JobInput::Inference { classifier: classifier.clone(), rows };
    let start = |input| Coordinator::new(0, JOB, sim.spec.clone(), input, sim.config.clone());
    assert!(matches!(start(other), Err(StartError::WrongDataset { expected: 100, found: 99 })));
    let training = crate::fixture::data();
    assert_eq!(start(training.into()).unwrap_err(), StartError::WrongInput);
    let mut honest = start(sim.input.clone()).unwrap();
    assert!(!matches!(honest.poll(), Some(Output::Finished(_))));
}
