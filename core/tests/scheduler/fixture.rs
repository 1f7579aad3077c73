//! The data set, jobs and identities of the simulated network.

use borsh::BorshSerialize;
use tequio_core::{
    codec,
    compute::{
        dataset::{CsvOptions, Dataset, Label, Scaling, prepare},
        params::{JobParams, Mode},
    },
    content::{Cid, CidCodec},
    ledger::job::{JobSpec, JobTask, TrainingTask},
    types::{Digest, NodeId},
};

pub const JOB: Digest = Digest([9; 32]);

/// Three blobs in four dimensions, 90 rows.
pub fn data() -> Dataset {
    let mut csv = String::from("a,b,c,d,class\n");
    let mut x = 12345u64;
    let mut noise = || {
        x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (x >> 40) as f64 / (1u64 << 24) as f64 - 0.5
    };
    for row in 0..90 {
        let class = row % 3;
        let center = [[0.0, 1.0, 2.0, 0.5], [2.0, 0.0, 1.0, 1.5], [1.0, 2.0, 0.0, 2.5]][class];
        let values: Vec<String> =
            center.iter().map(|c| format!("{:.4}", c + 1.2 * noise())).collect();
        csv += &format!("{},k{class}\n", values.join(","));
    }
    let options = CsvOptions { scaling: Some(Scaling::PerColumn), ..CsvOptions::new(Label::Last) };
    prepare(csv.as_bytes(), &options).unwrap()
}

pub fn task(data: &Dataset, rounds: u32) -> TrainingTask {
    let mut params = JobParams::for_dataset(data, &[8], 0).unwrap();
    params.rows_per_step = 4;
    params.mode = Mode::Local { units: 8, steps: 4 };
    params.rounds = rounds;
    task_of(data, params)
}

pub fn task_of(data: &Dataset, params: JobParams) -> TrainingTask {
    TrainingTask { params, training_rows: data.train().rows(), spot_check_share: 65536 }
}

pub fn spec_of(data: &impl BorshSerialize, task: JobTask) -> JobSpec {
    let dataset = Cid::of(CidCodec::Raw, &codec::encode(data));
    JobSpec { name: "simulated".try_into().unwrap(), dataset, task }
}

pub fn node_id(n: usize) -> NodeId {
    let mut id = [0x40; 32];
    id[0] = n as u8;
    NodeId(id)
}

pub fn seed_bytes(seed: u64, salt: u8) -> [u8; 32] {
    let mut bytes = [salt; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes
}
