//! The specification's full run with local steps by many workers. It must produce the published
//! digest.

use crate::{
    byzantine::ByzantineFault,
    fixture::seed_bytes,
    sim::{Profile, Sim},
};
use tequio_core::{
    codec,
    compute::{
        dataset::{Dataset, Samples, Scaling},
        params::{Architecture, JobParams, Mode, Rounding},
    },
};

/// SHA-256 of all weights as little-endian i32, from section 8 of the training specification.
const PUBLISHED: &str = "f30cc21b777478bc26a5fe701dbe379f164c566f78d8330271443e5a006439c0";

fn digits() -> Dataset {
    let bytes =
        std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/training/digits.bin"))
            .unwrap();
    let word = |i: usize| u32::from_le_bytes(bytes[4 * i..4 * i + 4].try_into().unwrap()) as usize;
    let features = word(2);
    let mut rest = &bytes[16..];
    let mut take = |rows: usize| {
        let (values, after) = rest.split_at(rows * features);
        let (labels, after) = after.split_at(rows);
        rest = after;
        Samples::new(features as u32, values.iter().map(|v| *v as i8).collect(), labels.to_vec())
            .unwrap()
    };
    let (train, test) = (take(word(0)), take(word(1)));
    let columns: Vec<String> = (0..features).map(|i| format!("p{i}")).collect();
    let classes: Vec<String> = (0..10).map(|i| i.to_string()).collect();
    // The file was split and scaled elsewhere, so the data set is built field by field.
    let moments = vec![(0f64.to_bits(), 1f64.to_bits())];
    let parts =
        (columns, "digit".to_string(), classes, (Scaling::Global, moments), 0u32, train, test);
    codec::decode(&codec::encode(&parts), usize::MAX).unwrap()
}

#[test]
fn many_workers_and_a_byzantine_one_give_the_published_digest() {
    let data = digits();
    let params = JobParams {
        architecture: Architecture {
            dims: vec![64, 64, 10].try_into().unwrap(),
            input_exponent: 6,
            hidden_exponent: 5,
        },
        rows_per_step: 8,
        mode: Mode::Local { units: 8, steps: 16 },
        learning_rate: 6554,
        momentum: 230,
        rounds: 55,
        seed: 0,
        rounding: Rounding::Stochastic,
    };
    let tab = Profile { is_browser: true, slots: 1, unit_ms: 12, latency_ms: 8, ..Profile::HONEST };
    let node = Profile { unit_ms: 3, latency_ms: 1, ..Profile::HONEST };
    let profiles = [node, node, node, tab, tab, Profile::byzantine(ByzantineFault::Step(11))];
    let mut sim = Sim::of(600, data, params, &profiles, |_, _| {});
    assert_eq!(sim.config.seed, seed_bytes(600, 0));
    let outcome = sim.run(300_000);
    let sha = hex::encode(outcome.trained().unwrap().weights.sha256());
    assert_eq!(sha, PUBLISHED);
    println!(
        "{} ms, {} messages, accuracy {:.4}, units by tabs {} of {}, checks {}, rejected {}",
        sim.now,
        sim.messages,
        outcome.trained().unwrap().accuracy.fraction(),
        outcome.browser_units,
        outcome.units,
        outcome.checks,
        outcome.rejected
    );
    // Traffic of a unit that is computed once and checked once. Leases with all weights and rows,
    // and reveals with full outputs, each number in four bytes, would take 27.7 KB down and 19.8 KB
    // up, twice.
    for (kind, (messages, bytes)) in &sim.traffic {
        println!("{kind}: {messages} messages, {bytes} bytes, {} each", bytes / messages);
    }
    let sum = |way: &str| {
        sim.traffic.iter().filter(|(k, _)| k.starts_with(way)).map(|(_, (_, bytes))| bytes).sum()
    };
    let per_unit = |way: &str| -> u64 {
        let sum: u64 = sum(way);
        sum.div_ceil(outcome.units)
    };
    println!("{} bytes down and {} up a unit", per_unit("down"), per_unit("up"));
    assert!(per_unit("down") < 30_000 && per_unit("up") < 16_000, "too much travels");
    assert!(outcome.trained().unwrap().accuracy.fraction() >= 0.96);
    assert!(outcome.rejected >= 1);
    assert!(
        4 * outcome.browser_units >= outcome.units,
        "{} of {}",
        outcome.browser_units,
        outcome.units
    );
}
