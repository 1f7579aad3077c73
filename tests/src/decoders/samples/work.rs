//! Messages of the work protocol, and the records of a coordinator.

use super::{
    chain::TIME_MS,
    jobs::{cid, contributor, data, local_steps_input, plan},
};
use tequio_core::{
    codec,
    compute::{
        array::Array,
        local_steps::LocalStepsInput,
        params::{JobParams, Mode},
        state::{TrainingState, Weights},
    },
    content::CidCodec,
    ledger::job::JobKind,
    types::{Digest, NodeId},
    wire::work,
};

pub fn work_requests() -> Vec<work::Request> {
    let lease = lease_id();
    let product = work::TaskOutput::LocalSteps(local_steps_input().run().unwrap());
    vec![
        work::Request::RequestLease {
            job: lease.job,
            slots: 2,
            cached: work::CachedInputs::default(),
        },
        work::Request::RequestLease {
            job: lease.job,
            slots: 2,
            cached: work::CachedInputs { weights_round: Some(3), rows: true },
        },
        work::Request::Commit { lease, commitment: Digest([8; 32]) },
        work::Request::Reveal { lease, salt: [9; 32], output: product },
        work::Request::RevealDigest { lease, salt: [9; 32], digest: Digest([8; 32]) },
        work::Request::State { lease, step: 1, state: None },
        work::Request::State {
            lease,
            step: 1,
            state: Some(TrainingState::without_momentum(Weights::initial(&plan()))),
        },
    ]
}

/// Returns one task of each kind.
pub fn tasks() -> Vec<work::Task> {
    let published = Weights::initial(&plan()).quantise(plan().topology()).unwrap();
    let exact =
        JobParams { mode: Mode::Exact { units: 2 }, rows_per_step: 2, ..plan().params().clone() };
    let (id, architecture) = (local_steps_input().id, exact.architecture.clone());
    let rows = data().train().select(&[0, 1]);
    let unit = work::ExactStepInput {
        params: exact,
        id,
        quantised: published.clone(),
        rows: rows.clone(),
    };
    vec![
        work::Task::LocalSteps(local_steps_input()),
        work::Task::State { input: local_steps_input(), step: 1 },
        work::Task::ExactStep(unit),
        work::Task::InferencePart(work::InferencePartInput {
            id,
            architecture,
            quantised: published,
            rows,
        }),
    ]
}

pub fn work_responses() -> Vec<work::Response> {
    let lease = |assignment| {
        let lease = work::Lease { id: lease_id(), assignment, deadline_ms: 30_000 };
        work::Response::from_answer(work::Answer::Lease(Box::new(lease)))
    };
    let LocalStepsInput { params, id, weights, rows } = local_steps_input();
    let assignment = |weights, rows| {
        let (params, weights_hash) = (params.clone(), Digest([7; 32]));
        work::Assignment::LocalSteps(work::LocalStepsAssignment {
            params,
            id,
            weights_hash,
            weights,
            rows,
        })
    };
    let notices = vec![
        work::LeaseEvent::Accepted { lease: lease_id(), macs: 1 },
        work::LeaseEvent::Rejected { lease: lease_id(), reason: work::Reason::WrongStep(2) },
        work::LeaseEvent::Rejected { lease: lease_id(), reason: work::Reason::WrongProduct },
        work::LeaseEvent::Superseded { lease: lease_id() },
        work::LeaseEvent::StateRequested { lease: lease_id(), step: 1, within_ms: 5_000 },
    ];
    vec![
        work::Response {
            answer: work::Answer::Idle { retry_ms: 500 },
            events: notices.try_into().unwrap(),
        },
        lease(assignment(work::LeaseWeights::Inline(weights), work::LeaseRows::Unit(rows.clone()))),
        lease(assignment(work::LeaseWeights::Cached, work::LeaseRows::All(rows))),
        lease(assignment(work::LeaseWeights::Cached, work::LeaseRows::Cached)),
        lease(work::Assignment::Task(tasks().pop().unwrap())),
        work::Response::from_answer(work::Answer::RevealRequested { full_output: true }),
        work::Response::refused(work::Refusal::Busy),
    ]
}

pub fn coordinator_records() -> Vec<Vec<u8>> {
    use tequio_core::scheduler::coordinator::{
        AcceptedExactStep, AcceptedInferencePart, AcceptedLocalSteps, ExactSnapshot, Record,
        Rejection, Snapshot,
    };
    let worker = NodeId([5; 32]);
    let accepted = AcceptedLocalSteps {
        round: 0,
        unit: 0,
        worker,
        is_browser: true,
        checker: Some(worker),
        result: local_steps_input().run().unwrap(),
    };
    let rejection = Rejection { round: 0, unit: 1, worker, reason: work::Reason::WrongDelta };
    let weights = Weights::initial(&plan());
    let state = TrainingState::without_momentum(weights.clone());
    let Some(work::TaskOutput::ExactStep(trace)) = tasks().get(2).map(|task| task.run().unwrap())
    else {
        unreachable!()
    };
    let unit =
        AcceptedExactStep { round: 0, unit: 1, worker, is_browser: false, result: trace.result };
    let classes = Array::new(vec![1, 0]).unwrap();
    [
        Record::LocalSteps(accepted),
        Record::Rejected(rejection),
        Record::Round(Snapshot { round: 1, weights, accounting: Default::default() }),
        Record::ExactRound(ExactSnapshot { round: 1, state, accounting: Default::default() }),
        Record::ExactStep(unit),
        Record::InferencePart(AcceptedInferencePart { unit: 0, worker, is_browser: true, classes }),
    ]
    .iter()
    .map(codec::encode)
    .collect()
}

pub fn progress() -> work::JobProgress {
    work::JobProgress {
        id: Digest([4; 32]),
        kind: JobKind::Train,
        name: "sample".try_into().unwrap(),
        coordinator: NodeId([5; 32]),
        dataset: cid(CidCodec::Raw),
        submitted_ms: Some(TIME_MS),
        state: work::JobState::Running,
        waiting: Some(work::WaitingFor { reason: work::WaitReason::Workers, since_ms: TIME_MS }),
        workers: work::ActiveWorkers { full: 1, browsers: 2 },
        round: 1,
        rounds: 2,
        curve: vec![work::CurvePoint { round: 1, correct: 3, total: 4 }].try_into().unwrap(),
        units: 8,
        units_total: 16,
        checks: 8,
        contributors: vec![contributor()].try_into().unwrap(),
        rejected: 1,
    }
}

fn lease_id() -> work::LeaseId {
    work::LeaseId { job: Digest([4; 32]), number: 77 }
}
