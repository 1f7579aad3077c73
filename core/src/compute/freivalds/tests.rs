use super::*;
use crate::compute::{
    aggregate::ExactRound,
    array::Array,
    exact::run_exact_step,
    infer::infer,
    params::{Mode, tests::params},
    prng,
    state::Weights,
};

fn seed(n: u32) -> [u8; 32] {
    *blake3::hash(&n.to_le_bytes()).as_bytes()
}

fn samples(key: u32, rows: u32, features: u32, classes: u32) -> Samples {
    let values =
        (0..rows * features).map(|i| (prng::at(key, i) % 255) as i32 - 127).map(|v| v as i8);
    let labels = (0..rows).map(|i| (prng::at(!key, i) % classes) as u8);
    Samples::new(features, values.collect(), labels.collect()).unwrap()
}

struct Unit {
    plan: Plan,
    quantised: QuantisedWeights,
    rows: Samples,
    trace: ExactStepTrace,
}

const AT: (u32, u32) = (3, 1);

fn honest() -> Unit {
    let plan = params(&[20, 16, 12, 5], Mode::Exact { units: 4 }).validate().unwrap();
    let quantised = Weights::initial(&plan).quantise(plan.topology()).unwrap();
    let rows = samples(9, 8, 20, 5);
    let trace = run_exact_step(&plan, AT.0, AT.1, &quantised, &rows).unwrap();
    Unit { plan, quantised, rows, trace }
}

impl Unit {
    fn check(&self, secrets: &RoundSecrets, trace: &ExactStepTrace) -> Result<(), Rejection> {
        check_exact_step(&self.plan, secrets, &self.quantised, AT, &self.rows, trace)
    }
}

fn edit<const N: usize>(array: &mut Array<i32, N>, index: usize, change: impl Fn(i32) -> i32) {
    let mut values = core::mem::take(array).into_vec();
    values[index] = change(values[index]);
    *array = Array::new(values).unwrap();
}

#[test]
fn honest_units_pass_with_any_secrets() {
    let unit = honest();
    for n in 0..100 {
        let secrets = RoundSecrets::draw(&unit.plan, &unit.quantised, &seed(n)).unwrap();
        assert_eq!(unit.check(&secrets, &unit.trace), Ok(()), "seed {n}");
    }
}

#[test]
fn ten_thousand_single_corruptions_are_caught() {
    let unit = honest();
    let key = 0xC0FFEE;
    for n in 0..10_000 {
        let secrets = RoundSecrets::draw(&unit.plan, &unit.quantised, &seed(n / 100)).unwrap();
        let word = |i| prng::at(key, 4 * n + i) as usize;
        // A small error, a power of two, or any other value below the limit.
        let change = |v: i32| {
            let changed = match word(0) % 3 {
                0 => v + 1,
                1 => v ^ (1 << (word(1) % 29)),
                _ => word(1) as i32 >> 2,
            };
            if changed == v { v - 1 } else { changed }
        };
        let mut trace = unit.trace.clone();
        match n % 3 {
            0 => edit(&mut trace.forward, word(2) % unit.trace.forward.len(), change),
            1 => edit(&mut trace.backward, word(2) % unit.trace.backward.len(), change),
            _ => edit(
                &mut trace.result.gradients,
                word(2) % unit.trace.result.gradients.len(),
                change,
            ),
        }
        assert!(unit.check(&secrets, &trace).is_err(), "key {key}, corruption {n}");
    }
}

#[test]
fn rejections_name_the_product() {
    let unit = honest();
    let secrets = RoundSecrets::draw(&unit.plan, &unit.quantised, &seed(1)).unwrap();
    let refused = |change: &dyn Fn(&mut ExactStepTrace)| {
        let mut trace = unit.trace.clone();
        change(&mut trace);
        unit.check(&secrets, &trace).unwrap_err()
    };
    assert_eq!(
        refused(&|t| edit(&mut t.forward, 16, |v| v + 1)),
        Rejection::Forward { layer: 0, row: 1 }
    );
    assert_eq!(
        refused(&|t| edit(&mut t.backward, 0, |v| v + 1)),
        Rejection::Backward { layer: 1, row: 0 }
    );
    assert_eq!(
        refused(&|t| edit(&mut t.result.gradients, 20 * 16, |v| v - 1)),
        Rejection::Gradient { layer: 0, row: 20 }
    );
    let other =
        crate::codec::BoundedVec::truncated(unit.trace.result.exponents.iter().map(|e| e ^ 1));
    assert_eq!(refused(&|t| t.result.exponents = other.clone()), Rejection::Exponent { layer: 2 });
    let wrong_rows = samples(10, 8, 20, 5);
    let error =
        check_exact_step(&unit.plan, &secrets, &unit.quantised, AT, &wrong_rows, &unit.trace)
            .unwrap_err();
    assert!(matches!(error, Rejection::Forward { layer: 0, .. }));
    let error =
        check_exact_step(&unit.plan, &secrets, &unit.quantised, (3, 2), &unit.rows, &unit.trace);
    assert!(error.is_err(), "another unit draws other roundings");
}

#[test]
fn values_that_would_overflow_the_rounding_are_refused_before_it() {
    let unit = honest();
    let secrets = RoundSecrets::draw(&unit.plan, &unit.quantised, &seed(1)).unwrap();
    for forged in [i32::MAX, i32::MIN, 1 << 30, -(1 << 30)] {
        for part in 0..3 {
            let mut trace = unit.trace.clone();
            match part {
                0 => edit(&mut trace.forward, 5, |_| forged),
                1 => edit(&mut trace.backward, 5, |_| forged),
                _ => edit(&mut trace.result.gradients, 5, |_| forged),
            }
            assert!(matches!(
                unit.check(&secrets, &trace),
                Err(Rejection::Form(ComputeError::Range { .. }))
            ));
        }
    }
    let mut short = unit.trace.clone();
    short.forward = Array::new(short.forward[1..].to_vec()).unwrap();
    assert!(matches!(
        unit.check(&secrets, &short),
        Err(Rejection::Form(ComputeError::Count { .. }))
    ));
    let mut exponent = unit.trace.clone();
    exponent.result.exponents = crate::codec::BoundedVec::truncated([21, 0, 0]);
    assert!(matches!(
        unit.check(&secrets, &exponent),
        Err(Rejection::Form(ComputeError::Range { .. }))
    ));
}

/// Tests two errors that cancel for a vector of equal entries, or for one that the worker knows.
#[test]
fn cancelling_errors_are_caught_and_known_vectors_are_not() {
    let unit = honest();
    let secrets = RoundSecrets::draw(&unit.plan, &unit.quantised, &seed(2)).unwrap();
    let mut trace = unit.trace.clone();
    edit(&mut trace.forward, 0, |v| v + 1);
    edit(&mut trace.forward, 1, |v| v - 1);
    assert!(unit.check(&secrets, &trace).is_err());
    // The seed must be secret: a worker that knows t can move a gradient along its kernel.
    let (t0, t1) = (secrets.gradient[2][0], secrets.gradient[2][1]);
    let at = unit.plan.topology().layers()[2].offset;
    let mut known = unit.trace.clone();
    let (a, b) = (t1 % (1 << 20), t0 % (1 << 20));
    if a != 0 && i64::from(a) * i64::from(t0) == i64::from(b) * i64::from(t1) {
        edit(&mut known.result.gradients, at, |v| v + a);
        edit(&mut known.result.gradients, at + 1, |v| v - b);
        assert!(unit.check(&secrets, &known).is_ok());
    }
}

#[test]
fn the_sum_of_a_round_is_checked_in_the_field() {
    let unit = honest();
    let plan = &unit.plan;
    let secrets = RoundSecrets::draw(plan, &unit.quantised, &seed(3)).unwrap();
    let mut check = AggregateCheck::draw(plan, &seed(4)).unwrap();
    let mut round = ExactRound::new(plan, AT.0).unwrap();
    for u in 0..plan.units_per_round() {
        let rows = samples(u, 8, 20, 5);
        let trace = run_exact_step(plan, AT.0, u, &unit.quantised, &rows).unwrap();
        let derived =
            check_exact_step_products(plan, &secrets, &unit.quantised, (AT.0, u), &rows, &trace)
                .unwrap();
        check.add(plan, &derived);
        round.add(plan, u, &trace.result).unwrap();
    }
    assert_eq!(check.check(plan, round.sums()), Ok(()));
    // An error shifted by up to 60 bits: modulo 2^64 almost any vector would miss the highest of
    // them.
    for n in 0..2000u32 {
        let mut sums = round.sums().to_vec();
        let index = prng::at(5, n) as usize % sums.len();
        sums[index] = sums[index].wrapping_add(1 << (n % 61));
        assert!(check.check(plan, &sums).is_err(), "corruption {n}");
    }
    assert!(check.check(plan, &round.sums()[1..]).is_err());
}

#[test]
fn too_many_units_cannot_be_checked_in_one_sum() {
    let plan = params(&[4, 2], Mode::Exact { units: 512 }).validate().unwrap();
    assert!(AggregateCheck::draw(&plan, &seed(0)).is_err());
}

#[test]
fn inference_is_checked() {
    let plan = params(&[20, 16, 5], Mode::Exact { units: 4 }).validate().unwrap();
    let quantised = Weights::initial(&plan).quantise(plan.topology()).unwrap();
    let classifier = Classifier::new(plan.params().architecture.clone(), quantised).unwrap();
    let rows = samples(1, 300, 20, 5);
    let answer = infer(&classifier, &rows).unwrap();
    assert_eq!(*answer.classes, *classifier.classes(&rows).unwrap());
    for n in 0..2000 {
        let secrets = InferenceSecrets::draw(&classifier, &seed(n / 50));
        assert_eq!(check_inference(&classifier, &secrets, &rows, &answer), Ok(()));
        let word = |i| prng::at(6, 2 * n + i) as usize;
        let mut wrong = answer.clone();
        edit(&mut wrong.products, word(0) % answer.products.len(), |v| v ^ (1 << (word(1) % 30)));
        assert!(check_inference(&classifier, &secrets, &rows, &wrong).is_err(), "corruption {n}");
        let mut classes = answer.classes.to_vec();
        let row = word(1) % classes.len();
        classes[row] = (classes[row] + 1) % 5;
        wrong = Inference { classes: Array::new(classes).unwrap(), ..answer.clone() };
        assert_eq!(
            check_inference(&classifier, &secrets, &rows, &wrong),
            Err(Rejection::Class { row })
        );
    }
}
