//! Every type of the compute module that travels: any bytes decode strictly or fail, and whatever
//! decodes can be computed or refused, never panics.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use borsh::{BorshDeserialize, BorshSerialize};
use proptest::prelude::*;
use std::{fmt::Debug, sync::LazyLock};
use tequio_core::{
    codec::{BoundedVec, decode, encode},
    compute::{
        dataset::{CsvOptions, Dataset, Label, Normalizer, Samples, prepare},
        exact::{UnitTrace, run_unit},
        freivalds::{RoundSecrets, check_unit},
        infer::{Inference, infer},
        lane::{EpochOrder, LaneId, LaneInput, LaneResult},
        params::{Architecture, JobParams, Mode, Plan, Rounding},
        predict::Classifier,
        state::{LaneState, Published, Weights},
    },
    types::Digest,
};

const LEN_MAX: usize = 1 << 20;

struct Fixture {
    data: Dataset,
    lane: LaneInput,
    result: LaneResult,
    exact: Plan,
    published: Published,
    unit_rows: Samples,
    trace: UnitTrace,
    answer: Inference,
}

fn job(mode: Mode) -> Plan {
    let dims = BoundedVec::try_from(vec![2, 3, 2]).unwrap();
    let architecture = Architecture { dims, input_exponent: 5, hidden_exponent: 5 };
    let (learning_rate, momentum, rounds, seed) = (3277, 230, 3, 0);
    let rounding = Rounding::Stochastic;
    JobParams { architecture, unit_rows: 4, mode, learning_rate, momentum, rounds, seed, rounding }
        .validate()
        .unwrap()
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let csv: String = (0..40).map(|i| format!("{},{},{}\n", i % 7, i % 5, i % 2)).collect();
    let data =
        prepare(csv.as_bytes(), &CsvOptions { header: false, ..CsvOptions::new(Label::Last) })
            .unwrap();
    let plan = job(Mode::Local { lanes: 2, steps: 2 });
    let id = LaneId { job: Digest([1; 32]), round: 1, lane: 1 };
    let start = Weights::initial(&plan);
    let mut order = EpochOrder::new(data.train().rows());
    let lane = LaneInput::assemble(&plan, &mut order, data.train(), &start, id).unwrap();
    let exact = job(Mode::Exact { units: 2 });
    let published = start.publish(exact.topology()).unwrap();
    let unit_rows =
        data.train().select(&EpochOrder::new(data.train().rows()).lane_rows(&exact, 0, 1).unwrap());
    let trace = run_unit(&exact, 0, 1, &published, &unit_rows).unwrap();
    let classifier =
        Classifier::new(exact.params().architecture.clone(), published.clone()).unwrap();
    let answer = infer(&classifier, data.test()).unwrap();
    Fixture { result: lane.run().unwrap(), data, lane, exact, published, unit_rows, trace, answer }
});

/// Decodes strictly: what comes out encodes to the same bytes.
fn strict<T: BorshDeserialize + BorshSerialize + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let value = decode::<T>(bytes, LEN_MAX).ok()?;
    assert_eq!(encode(&value), bytes);
    Some(value)
}

/// Uses whatever decodes as a receiver would.
fn receive(bytes: &[u8]) {
    let all = &*FIXTURE;
    let plan = all.lane.params.clone().validate().unwrap();
    if let Some(input) = strict::<LaneInput>(bytes) {
        let _ = input.run();
    }
    if let Some(result) = strict::<LaneResult>(bytes) {
        let honest = result == all.result;
        assert_eq!(result.check_form(&plan, &all.lane.id, &all.lane.weights).is_ok(), honest);
    }
    if let Some(trace) = strict::<UnitTrace>(bytes) {
        let secrets = RoundSecrets::draw(&all.exact, &all.published, &[5; 32]).unwrap();
        let verdict =
            check_unit(&all.exact, &secrets, &all.published, (0, 1), &all.unit_rows, &trace);
        assert_eq!(verdict.is_ok(), trace == all.trace);
    }
    if let Some(published) = strict::<Published>(bytes)
        && let Ok(classifier) = Classifier::new(all.exact.params().architecture.clone(), published)
    {
        classifier.accuracy(all.data.test()).unwrap();
        classifier.classify(&[127, -127]).unwrap();
    }
    if let Some(state) = strict::<LaneState>(bytes) {
        let _ =
            tequio_core::compute::lane::replay_step(&plan, &all.lane.id, &state, &all.lane.rows, 1);
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
    let state = LaneState::at_rest(all.lane.weights.clone());
    vec![
        encode(&all.data),
        encode(&all.lane),
        encode(&all.result),
        encode(&all.published),
        encode(&all.trace),
        encode(&all.answer),
        encode(&state),
        encode(&all.lane.params),
    ]
}

#[test]
fn every_prefix_and_every_flipped_bit() {
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
    fn random_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        receive(&bytes);
    }

    #[test]
    fn several_changes(which in 0usize..8, edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = encodings()[which].clone();
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        receive(&bytes);
    }
}
