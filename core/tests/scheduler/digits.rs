//! The specification's full run with local steps, by a crowd of workers: the published digest must
//! come out.

use crate::sim::{Lie, Profile, Sim, seed_bytes};
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
    // The file was split and scaled elsewhere, so the set is put together field by field.
    let moments = vec![(0f64.to_bits(), 1f64.to_bits())];
    let parts =
        (columns, "digit".to_string(), classes, (Scaling::Global, moments), 0u32, train, test);
    codec::decode(&codec::encode(&parts), usize::MAX).unwrap()
}

#[test]
fn the_published_digest_comes_out_of_a_crowd_with_a_liar() {
    let data = digits();
    let params = JobParams {
        architecture: Architecture {
            dims: vec![64, 64, 10].try_into().unwrap(),
            input_exponent: 6,
            hidden_exponent: 5,
        },
        unit_rows: 8,
        mode: Mode::Local { lanes: 8, steps: 16 },
        learning_rate: 6554,
        momentum: 230,
        rounds: 55,
        seed: 0,
        rounding: Rounding::Stochastic,
    };
    let tab = Profile { guest: true, slots: 1, lane_ms: 12, latency_ms: 8, ..Profile::HONEST };
    let node = Profile { lane_ms: 3, latency_ms: 1, ..Profile::HONEST };
    let crowd = [node, node, node, tab, tab, Profile::lying(Lie::Step(11))];
    let mut sim = Sim::of(600, data, params, &crowd, |_, _| {});
    assert_eq!(sim.config.seed, seed_bytes(600, 0));
    let outcome = sim.run(300_000);
    let sha: String =
        outcome.trained().unwrap().weights.sha256().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(sha, PUBLISHED);
    println!(
        "{} ms, {} messages, accuracy {:.4}, units by tabs {} of {}, checks {}, rejected {}",
        sim.now,
        sim.messages,
        outcome.trained().unwrap().accuracy.share(),
        outcome.units_guest,
        outcome.units,
        outcome.checks,
        outcome.rejected
    );
    // What travels for a lane that is computed once and checked once, against leases that carry all
    // weights and rows, and openings that carry whole products, each number in four bytes: 27,7 KB
    // down and 19,8 KB up, twice.
    for (kind, (messages, bytes)) in &sim.traffic {
        println!("{kind}: {messages} messages, {bytes} bytes, {} each", bytes / messages);
    }
    let sum = |way: &str| {
        sim.traffic.iter().filter(|(k, _)| k.starts_with(way)).map(|(_, (_, bytes))| bytes).sum()
    };
    let per_lane = |way: &str| -> u64 {
        let sum: u64 = sum(way);
        sum.div_ceil(outcome.units)
    };
    println!("{} bytes down and {} up a lane", per_lane("down"), per_lane("up"));
    assert!(per_lane("down") < 30_000 && per_lane("up") < 16_000, "too much travels");
    assert!(outcome.trained().unwrap().accuracy.share() >= 0.96);
    assert!(outcome.rejected >= 1);
    assert!(
        4 * outcome.units_guest >= outcome.units,
        "{} of {}",
        outcome.units_guest,
        outcome.units
    );
}
