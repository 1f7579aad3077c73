//! Replays the corpus and mutations of it on stable: inputs that the fuzzers found, and inputs that
//! they would find first.
//!
//! `TEQUIO_UPDATE_CORPUS=1` writes the samples into `tests/fuzz/corpus` again after a format has
//! changed. Files that fuzzers have added under other names stay.

use std::{env, fs, path::PathBuf};

use super::{Kind, check, samples};

/// Mutations of each sample, which take some seconds altogether.
const MUTATIONS: u32 = 400;
/// Mutations of each sample whose check computes on curves.
const MUTATIONS_SLOW: u32 = 20;

fn fuzz(folder: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder)
}

#[test]
fn every_kind_has_a_target_and_a_corpus() {
    for kind in Kind::ALL {
        let corpus = fuzz("corpus").join(kind.name());
        if env::var_os("TEQUIO_UPDATE_CORPUS").is_some() {
            fs::create_dir_all(&corpus).unwrap();
            for (number, sample) in samples::of(*kind).iter().enumerate() {
                fs::write(corpus.join(format!("sample-{number}")), sample).unwrap();
            }
        }
        let target =
            fs::read_to_string(fuzz("fuzz_targets").join(format!("{}.rs", kind.name()))).unwrap();
        assert!(
            target.contains(&format!("Kind::{kind:?},")),
            "{} checks another kind",
            kind.name()
        );
        assert!(
            fs::read_dir(&corpus).is_ok_and(|files| files.count() > 0),
            "{} has no corpus",
            kind.name()
        );
    }
    let targets = fs::read_dir(fuzz("fuzz_targets")).unwrap().count();
    assert_eq!(targets, Kind::ALL.len(), "a target without a kind");
    // No other check on stable reads the fuzzers' manifest.
    let manifest = fs::read_to_string(fuzz("Cargo.toml")).unwrap();
    let lines = |wanted: &str| manifest.lines().filter(|line| *line == wanted).count();
    for kind in Kind::ALL {
        assert_eq!(lines(&format!("name = \"{}\"", kind.name())), 1, "{}", kind.name());
    }
    assert_eq!(
        (lines("[[bin]]"), lines("[profile.release]"), lines("[workspace]")),
        (Kind::ALL.len(), 1, 1)
    );
}

#[test]
fn the_corpus_replays() {
    for kind in Kind::ALL {
        for file in fs::read_dir(fuzz("corpus").join(kind.name())).unwrap() {
            let path = file.unwrap().path();
            println!("{}", path.display());
            check(*kind, &fs::read(path).unwrap());
        }
    }
}

#[test]
fn mutated_samples_are_decoded_or_refused() {
    let seed = env::var("TEQUIO_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("TEQUIO_SEED={seed}");
    let mut random = Random(seed);
    for kind in Kind::ALL {
        let slow = matches!(
            kind,
            Kind::BlsKey
                | Kind::BlsSignature
                | Kind::Checkpoint
                | Kind::LightSaved
                | Kind::GenesisFile
        );
        let mutations = if slow { MUTATIONS_SLOW } else { MUTATIONS };
        for sample in samples::of(*kind) {
            check(*kind, &sample);
            for _ in 0..mutations {
                let mutated = mutate(&sample, &mut random);
                let outcome = std::panic::catch_unwind(|| check(*kind, &mutated));
                assert!(outcome.is_ok(), "{} fails on {}", kind.name(), hex::encode(&mutated));
            }
        }
    }
}

#[test]
fn empty_and_endless_bytes_are_refused() {
    for kind in Kind::ALL {
        check(*kind, &[]);
        for byte in [0, 1, 0xff] {
            check(*kind, &[byte; 8]);
            check(*kind, &vec![byte; 1 << 20]);
        }
    }
}

/// Changes bytes as fuzzers do: flips, overwrites with special values, cuts, and doubles.
fn mutate(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len().max(1));
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.push(random.next() as u8),
            2 => bytes.extend_from_within(at.min(bytes.len())..),
            3 => overwrite(&mut bytes, at, &u32::MAX.to_le_bytes()),
            4 => overwrite(&mut bytes, at, &[[0], [1], [0x7f], [0x80], [0xff]][random.below(5)]),
            _ => overwrite(&mut bytes, at, &[random.next() as u8]),
        }
    }
    bytes
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    bytes.iter_mut().skip(at).zip(with).for_each(|(byte, new)| *byte = *new);
}

/// SplitMix64: good enough to choose mutations, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}
