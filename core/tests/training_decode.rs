//! Every type of the compute module that is sent over the network: any bytes decode strictly or
//! fail. Every decoded value can be computed or refused, and never panics.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use borsh::{BorshDeserialize, BorshSerialize};
use proptest::prelude::*;
use std::{fmt::Debug, sync::LazyLock};
use tequio_core::{
    codec::{BoundedVec, decode, encode},
    compute::{
        dataset::{CsvOptions, Dataset, Label, Normalizer, Samples, prepare},
        exact::{ExactStepTrace, run_exact_step},
        freivalds::{RoundSecrets, check_exact_step},
        infer::{Inference, infer},
        local_steps::{EpochOrder, LocalStepsInput, LocalStepsResult, WorkUnitId},
        params::{Architecture, JobParams, Mode, Plan, Rounding},
        predict::Classifier,
        state::{QuantisedWeights, TrainingState, Weights},
    },
    types::Digest,
};

const LEN_MAX: usize = 1 << 20;

struct Fixture {
    data: Dataset,
    local_steps: LocalStepsInput,
    result: LocalStepsResult,
    exact: Plan,
    published: QuantisedWeights,
    unit_rows: Samples,
    trace: ExactStepTrace,
    answer: Inference,
}

fn job(mode: Mode) -> Plan {
    let dims = BoundedVec::try_from(vec![2, 3, 2]).unwrap();
    let architecture = Architecture { dims, input_exponent: 5, hidden_exponent: 5 };
    let (learning_rate, momentum, rounds, seed) = (3277, 230, 3, 0);
    let rounding = Rounding::Stochastic;
    JobParams {
        architecture,
        rows_per_step: 4,
        mode,
        learning_rate,
        momentum,
        rounds,
        seed,
        rounding,
    }
    .validate()
    .unwrap()
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let csv: String = (0..40).map(|i| format!("{},{},{}\n", i % 7, i % 5, i % 2)).collect();
    let data =
        prepare(csv.as_bytes(), &CsvOptions { header: false, ..CsvOptions::new(Label::Last) })
            .unwrap();
    let plan = job(Mode::Local { units: 2, steps: 2 });
    let id = WorkUnitId { job: Digest([1; 32]), round: 1, unit: 1 };
    let start = Weights::initial(&plan);
    let mut order = EpochOrder::new(data.train().rows());
    let local_steps =
        LocalStepsInput::assemble(&plan, &mut order, data.train(), &start, id).unwrap();
    let exact = job(Mode::Exact { units: 2 });
    let published = start.quantise(exact.topology()).unwrap();
    let unit_rows = data
        .train()
        .select(&EpochOrder::new(data.train().rows()).rows_of_unit(&exact, 0, 1).unwrap());
    let trace = run_exact_step(&exact, 0, 1, &published, &unit_rows).unwrap();
    let classifier =
        Classifier::new(exact.params().architecture.clone(), published.clone()).unwrap();
    let answer = infer(&classifier, data.test()).unwrap();
    Fixture {
        result: local_steps.run().unwrap(),
        data,
        local_steps,
        exact,
        published,
        unit_rows,
        trace,
        answer,
    }
});

/// Decodes strictly: what comes out encodes to the same bytes.
fn strict<T: BorshDeserialize + BorshSerialize + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let value = decode::<T>(bytes, LEN_MAX).ok()?;
    assert_eq!(encode(&value), bytes);
    Some(value)
}

/// Uses a decoded value as a receiver would.
fn receive(bytes: &[u8]) {
    let all = &*FIXTURE;
    let plan = all.local_steps.params.clone().validate().unwrap();
    if let Some(input) = strict::<LocalStepsInput>(bytes) {
        let _ = input.run();
    }
    if let Some(result) = strict::<LocalStepsResult>(bytes) {
        let honest = result == all.result;
        assert_eq!(
            result.check_form(&plan, &all.local_steps.id, &all.local_steps.weights).is_ok(),
            honest
        );
    }
    if let Some(trace) = strict::<ExactStepTrace>(bytes) {
        let secrets = RoundSecrets::draw(&all.exact, &all.published, &[5; 32]).unwrap();
        let verdict =
            check_exact_step(&all.exact, &secrets, &all.published, (0, 1), &all.unit_rows, &trace);
        assert_eq!(verdict.is_ok(), trace == all.trace);
    }
    if let Some(published) = strict::<QuantisedWeights>(bytes)
        && let Ok(classifier) = Classifier::new(all.exact.params().architecture.clone(), published)
    {
        classifier.accuracy(all.data.test()).unwrap();
        classifier.classify(&[127, -127]).unwrap();
    }
    if let Some(state) = strict::<TrainingState>(bytes) {
        let _ = tequio_core::compute::local_steps::replay_step(
            &plan,
            &all.local_steps.id,
            &state,
            &all.local_steps.rows,
            1,
        );
    }
    strict::<Dataset>(bytes);
    strict::<Normalizer>(bytes);
    strict::<Samples>(bytes);
    strict::<Inference>(bytes);
    if let Some(params) = strict::<JobParams>(bytes) {
        let _ = params.validate();
    }
}

fn encodings() -> Vec<Vec<u8>> {
    let all = &*FIXTURE;
    let state = TrainingState::without_momentum(all.local_steps.weights.clone());
    vec![
        encode(&all.data),
        encode(&all.local_steps),
        encode(&all.result),
        encode(&all.published),
        encode(&all.trace),
        encode(&all.answer),
        encode(&state),
        encode(&all.local_steps.params),
    ]
}

#[test]
fn every_prefix_and_every_flipped_bit_decode_or_are_refused() {
    for bytes in encodings() {
        receive(&bytes);
        for len in 0..bytes.len() {
            receive(&bytes[..len]);
            let mut flipped = bytes.clone();
            for bit in 0..8 {
                flipped[len] ^= 1 << bit;
                receive(&flipped);
                flipped[len] ^= 1 << bit;
            }
        }
        receive(&[&bytes[..], &[0]].concat());
    }
}

proptest! {
    #[test]
    fn random_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        receive(&bytes);
    }

    #[test]
    fn several_changed_bytes_decode_or_are_refused(
        which in 0usize..8,
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = encodings()[which].clone();
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        receive(&bytes);
    }
}
