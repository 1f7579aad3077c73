//! A small data set, and the jobs, results and objects that belong to it.

use tequio_core::{
    compute::{
        dataset::{self, CsvOptions, Dataset, Label},
        local_steps::{EpochOrder, LocalStepsInput, WorkUnitId},
        params::{JobParams, Plan},
        predict::Accuracy,
        state::Weights,
    },
    content::{Cid, CidCodec},
    ledger::job::{
        Contributor, InferenceTask, JobOutput, JobResult, JobSpec, JobTask, TrainedModel,
        TrainingTask,
    },
    objects::{
        answers::Answers,
        model::Model,
        record::{Contribution, Point, Rejected, TrainingRecord},
    },
    types::{Digest, NodeId},
};

/// A small CSV with everything that the reader handles.
pub const CSV: &str = include_str!("../sample.csv");

pub fn contributor() -> Contributor {
    Contributor { node: NodeId([5; 32]), units: 8, checks: 1, macs: 1_000 }
}

pub fn spec() -> JobSpec {
    JobSpec {
        name: "sample".try_into().unwrap(),
        dataset: cid(CidCodec::Raw),
        task: JobTask::Train(training()),
    }
}

pub fn training() -> TrainingTask {
    TrainingTask {
        params: plan().params().clone(),
        training_rows: data().train().rows(),
        spot_check_share: 1,
    }
}

pub fn batch() -> JobSpec {
    let task = InferenceTask {
        training_job: Digest([4; 32]),
        model: cid(CidCodec::DagCbor),
        architecture: plan().params().architecture.clone(),
        rows: 2,
    };
    JobSpec {
        name: "batch".try_into().unwrap(),
        dataset: cid(CidCodec::Raw),
        task: JobTask::Infer(task),
    }
}

pub fn result(output: JobOutput) -> JobResult {
    JobResult { output, contributors: vec![contributor()].try_into().unwrap(), rejected: 0 }
}

pub fn trained() -> TrainedModel {
    let (model, record) = (cid(CidCodec::DagCbor), cid(CidCodec::DagCbor));
    TrainedModel { weights: Digest([3; 32]), model, record, correct: 3, tested: 4 }
}

pub fn cid(codec: CidCodec) -> Cid {
    Cid::of(codec, b"sample")
}

pub fn data() -> Dataset {
    dataset::prepare(CSV.as_bytes(), &CsvOptions::new(Label::Name("class"))).unwrap()
}

pub fn plan() -> Plan {
    JobParams::for_dataset(&data(), &[2], 0).unwrap().validate().unwrap()
}

pub fn local_steps_input() -> LocalStepsInput {
    let (data, plan) = (data(), plan());
    let id = WorkUnitId { job: Digest([4; 32]), round: 0, unit: 0 };
    let mut order = EpochOrder::new(data.train().rows());
    LocalStepsInput::assemble(&plan, &mut order, data.train(), &Weights::initial(&plan), id)
        .unwrap()
}

pub fn model() -> Model {
    let accuracy = Accuracy { correct: 3, total: 4 };
    Model::build(
        Digest([4; 32]),
        cid(CidCodec::Raw),
        &data(),
        &plan(),
        &Weights::initial(&plan()),
        accuracy,
    )
    .unwrap()
    .0
}

pub fn answers() -> Answers {
    Answers {
        job: Digest([4; 32]),
        model: cid(CidCodec::DagCbor),
        batch: cid(CidCodec::Raw),
        classes: vec![1, 0],
    }
}

pub fn record() -> TrainingRecord {
    let node = NodeId([5; 32]);
    TrainingRecord {
        job: Digest([4; 32]),
        name: spec().name,
        dataset: spec().dataset,
        task: training(),
        coordinator: node,
        units: 8,
        checks: 8,
        browser_units: 3,
        contributors: vec![Contribution { node, units: 8, checks: 0, macs: 1_000 }],
        curve: vec![Point { round: 1, correct: 3, total: 4, weights: Digest([3; 32]) }],
        rejections: vec![Rejected {
            round: 0,
            unit: 1,
            worker: node,
            reason: "step 3 is computed wrongly".into(),
        }],
        rejected: 1,
    }
}
