//! The faults of Byzantine workers, and the outputs that they submit.

use tequio_core::{
    codec,
    compute::{
        array::{Array, update_hash},
        local_steps::{LocalStepsInput, LocalStepsResult, replay_step, state_before_step},
        state::TrainingState,
    },
    crypto::hash::HashContext,
    types::Digest,
    wire::work::{Task, TaskOutput},
};

/// The fault of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByzantineFault {
    None,
    /// Computes this step wrongly and the later steps honestly from there.
    Step(u32),
    /// Computes correctly, but submits another delta.
    Delta,
    /// Submits a delta that moves the model far off.
    Poison,
    /// Commits and never reveals.
    NeverReveals,
    /// Reveals, but after this many milliseconds.
    RevealsLate(u64),
    /// Reveals with another salt.
    WrongSalt,
    /// Submits a malformed result.
    Malformed,
    /// Takes leases and computes nothing.
    Vanishes,
    /// Computes this step wrongly, and sends no state on request.
    WithholdsState(u32),
    /// Computes this step wrongly, and sends a wrong state on request.
    WrongState(u32),
    /// For an exact step: a number of this product is wrong; 3 means the exponents. For an
    /// inference part: a product (0) or a class is wrong.
    Product(usize),
    /// Honest, but sends every message twice.
    Duplicates,
}

pub fn compute(fault: ByzantineFault, task: &Task) -> TaskOutput {
    let honest = task.run().unwrap();
    match (fault, task, honest) {
        (
            ByzantineFault::Step(step)
            | ByzantineFault::WithholdsState(step)
            | ByzantineFault::WrongState(step),
            Task::LocalSteps(input),
            _,
        ) => TaskOutput::LocalSteps(result_with_wrong_step(input, step)),
        (ByzantineFault::WrongState(_), Task::State { .. }, TaskOutput::State(state)) => {
            TaskOutput::State(corrupt_state(state))
        }
        (ByzantineFault::Delta, Task::LocalSteps(input), TaskOutput::LocalSteps(result)) => {
            let mut delta = result.delta.to_vec();
            delta[3] += 1;
            TaskOutput::LocalSteps(sealed(input, result.step_digests.to_vec(), delta, result.macs))
        }
        (ByzantineFault::Poison, Task::LocalSteps(input), TaskOutput::LocalSteps(result)) => {
            // As far off as the form allows, with alternating signs.
            let far = |(i, w): (usize, &i32)| {
                if i % 2 == 0 { (1 << 30) - 1 - w } else { -(1 << 30) + 1 - w }
            };
            let delta = input.weights.as_slice().iter().enumerate().map(far).collect();
            TaskOutput::LocalSteps(sealed(input, result.step_digests.to_vec(), delta, result.macs))
        }
        (ByzantineFault::Malformed, Task::LocalSteps(input), TaskOutput::LocalSteps(result)) => {
            TaskOutput::LocalSteps(sealed(
                input,
                result.step_digests.to_vec(),
                vec![1, 2, 3],
                result.macs,
            ))
        }
        (ByzantineFault::Product(0), _, TaskOutput::InferencePart(mut answers)) => {
            answers.products = Array::new(flip_bit(answers.products.into_vec())).unwrap();
            TaskOutput::InferencePart(answers)
        }
        (ByzantineFault::Product(_), _, TaskOutput::InferencePart(mut answers)) => {
            let mut classes = answers.classes.into_vec();
            classes[0] = (classes[0] + 1) % 3;
            answers.classes = Array::new(classes).unwrap();
            TaskOutput::InferencePart(answers)
        }
        (ByzantineFault::Product(which), _, TaskOutput::ExactStep(mut trace)) => {
            match which {
                0 => trace.forward = Array::new(flip_bit(trace.forward.into_vec())).unwrap(),
                1 => trace.backward = Array::new(flip_bit(trace.backward.into_vec())).unwrap(),
                2 => {
                    trace.result.gradients =
                        Array::new(flip_bit(trace.result.gradients.into_vec())).unwrap()
                }
                _ => {
                    let exponents =
                        trace.result.exponents.iter().map(|e| e ^ 1).collect::<Vec<_>>();
                    trace.result.exponents = exponents.try_into().unwrap();
                }
            }
            TaskOutput::ExactStep(trace)
        }
        (_, _, honest) => honest,
    }
}

fn flip_bit(mut values: Vec<i32>) -> Vec<i32> {
    let middle = values.len() / 2;
    values[middle] ^= 1;
    values
}

/// Flips one bit of one weight after `step` and computes the rest honestly.
fn result_with_wrong_step(input: &LocalStepsInput, step: u32) -> LocalStepsResult {
    let plan = input.params.clone().validate().unwrap();
    let mut state = state_before_step(&plan, &input.id, &input.weights, &input.rows, 0).unwrap();
    let mut digests = Vec::new();
    for s in 0..plan.steps_per_unit() {
        state = replay_step(&plan, &input.id, &state, &input.rows, s).unwrap();
        if s == step {
            state = corrupt_state(state);
        }
        digests.push(state.digest(&input.id, s));
    }
    let delta = state
        .weights()
        .as_slice()
        .iter()
        .zip(input.weights.as_slice())
        .map(|(e, s)| e - s)
        .collect();
    sealed(input, digests, delta, plan.macs_per_unit())
}

fn corrupt_state(state: TrainingState) -> TrainingState {
    let mut weights = state.weights().as_slice().to_vec();
    weights[0] ^= 1 << 20;
    codec::decode(&codec::encode(&(weights, state.momentum().to_vec())), usize::MAX).unwrap()
}

/// A result whose digest matches its contents, whatever they are.
fn sealed(
    input: &LocalStepsInput,
    step_digests: Vec<Digest>,
    delta: Vec<i32>,
    macs: u64,
) -> LocalStepsResult {
    let mut hasher = HashContext::UnitResult.hasher();
    hasher.update(&codec::encode(&(input.id, input.weights.hash(), &step_digests)));
    hasher.update(&macs.to_le_bytes());
    update_hash(&mut hasher, &delta);
    LocalStepsResult {
        step_digests: step_digests.try_into().unwrap(),
        delta: Array::new(delta).unwrap(),
        macs,
        digest: Digest(*hasher.finalize().as_bytes()),
    }
}
