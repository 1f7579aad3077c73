//! A Byzantine worker: it runs the honest machine and falsifies the results.

use crate::{print_event, secret};
use anyhow::{Context, Result, anyhow, bail};
use clap::ValueEnum;
use futures::{StreamExt, channel::mpsc};
use serde_json::json;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tequio_core::{
    codec,
    compute::{
        array::Array,
        exact::ExactStepTrace,
        infer::Inference,
        local_steps::{LocalStepsInput, LocalStepsResult},
    },
    ledger::job::JobId,
    machine::Machine,
    scheduler::{
        ComputeFailed,
        worker::{self, Input, Offer, Output, RequestFailed, Worker},
    },
    types::{Digest, NodeId},
    wire::{
        light,
        work::{JobState, RESPONSE_LEN_MAX, Request, Response, Task, TaskOutput},
    },
};
use tequio_p2p::{Config, Multiaddr, Network, Protocol, identity, spawn};

/// The fault of a Byzantine worker.
#[derive(Clone, Copy, Debug, ValueEnum, PartialEq)]
pub enum ByzantineFault {
    /// Submits wrong weights, with digests that match neither; in exact mode and inference, wrong
    /// products.
    Product,
    /// Submits true digests with another delta; in exact mode another gradient, in inference
    /// another class.
    Delta,
    /// Computes wrongly from the middle step on, consistently; in exact mode, wrong products on the
    /// way back.
    Step,
    /// Reveals another result than it has committed to.
    Opening,
    /// Commits and never reveals.
    Silence,
    /// Changes nothing: an honest worker, for comparison.
    Nothing,
}

const ANSWER_WAIT: Duration = Duration::from_secs(25);

/// Works until the process ends.
pub async fn run(fault: ByzantineFault, node: Multiaddr, job: Option<JobId>) -> Result<()> {
    let coordinator = identity::node_of(&node).context("--node must end in /p2p/ID")?;
    let seed = secret()?;
    let (network, mut events) = spawn(Config {
        persistent_peers: vec![node.clone()],
        serve: vec![],
        ..Config::new(secret()?)
    })?;
    tokio::spawn(async move { while events.next().await.is_some() {} });
    network.dial(node).await?;
    print_event(&json!({ "event": "ready", "node": network.local_id().to_string() }));

    let config = worker::Config { slots: 1, ..worker::Config::new(network.local_id(), seed) };
    let mut machine = Worker::new(config);
    let (inbox, mut inputs) = mpsc::unbounded();
    let mut offers = Vec::new();
    // Polls often, because a short job ends within a second and a late worker gets no unit.
    let mut refresh = tokio::time::interval(Duration::from_millis(50));
    loop {
        while let Some(output) = machine.poll() {
            perform(fault, output, &network, &inbox);
        }
        let deadline =
            machine.deadline().map(|at| Duration::from_millis(at.saturating_sub(now_ms())));
        let input = tokio::select! {
            input = inputs.next() => input.context("the inbox is open")?,
            () = tokio::time::sleep(deadline.unwrap_or(Duration::from_secs(60))) => Input::Tick,
            _ = refresh.tick() => {
                let now = running_jobs(&network, coordinator, job).await;
                if now == offers {
                    continue;
                }
                offers = now.clone();
                Input::Jobs(now)
            }
        };
        if let Err(e) = machine.handle(now_ms(), input) {
            bail!("the worker refused an input: {e}");
        }
    }
}

/// Returns the coordinator's running jobs, or the one that was named.
async fn running_jobs(network: &Network, coordinator: NodeId, job: Option<JobId>) -> Vec<Offer> {
    let question = codec::encode(&light::Request::Jobs);
    let Ok(bytes) = network.request(coordinator, Protocol::Light, question, ANSWER_WAIT).await
    else {
        return vec![];
    };
    let Ok(light::Response::Jobs(jobs)) = codec::decode(&bytes, light::RESPONSE_LEN_MAX) else {
        return vec![];
    };
    jobs.iter()
        .filter(|j| {
            j.state == JobState::Running
                && j.coordinator == coordinator
                && job.is_none_or(|id| id == j.id)
        })
        .map(|j| Offer { job: j.id, coordinator })
        .collect()
}

fn perform(
    fault: ByzantineFault,
    output: Output,
    network: &Network,
    inbox: &mpsc::UnboundedSender<Input>,
) {
    let (network, inbox) = (network.clone(), inbox.clone());
    match output {
        Output::Request { id, to, request } => {
            let Some(request) = corrupt_request(fault, request) else { return };
            tokio::spawn(async move {
                let answer =
                    network.request(to, Protocol::Work, codec::encode(&request), ANSWER_WAIT).await;
                let outcome = answer.map_err(|_| RequestFailed).and_then(|bytes| {
                    codec::decode::<Response>(&bytes, RESPONSE_LEN_MAX).map_err(|_| RequestFailed)
                });
                let _ = inbox.unbounded_send(Input::Response { id, outcome });
            });
        }
        Output::Compute { compute_id: unit, task } => {
            tokio::task::spawn_blocking(move || {
                let product = compute(fault, &task).map_err(|_| ComputeFailed);
                let _ = inbox.unbounded_send(Input::Computed { compute_id: unit, output: product });
            });
        }
        Output::Event(worker::Event::Accepted { round, unit, .. }) => {
            print_event(&json!({ "event": "accepted", "round": round, "unit": unit }));
        }
        Output::Event(worker::Event::Rejected { round, unit, reason, .. }) => {
            print_event(&json!({ "event": "rejected", "round": round, "unit": unit,
                "reason": reason.to_string() }));
        }
        Output::Event(_) => {}
    }
}

fn compute(fault: ByzantineFault, task: &Task) -> Result<TaskOutput> {
    let honest = task.run()?;
    if matches!(fault, ByzantineFault::Opening | ByzantineFault::Silence | ByzantineFault::Nothing)
    {
        return Ok(honest);
    }
    Ok(match (task, honest) {
        (Task::LocalSteps(input), TaskOutput::LocalSteps(honest)) => {
            TaskOutput::LocalSteps(corrupt_local_steps(fault, input, &honest))
        }
        (_, TaskOutput::ExactStep(trace)) => {
            TaskOutput::ExactStep(corrupt_exact_step(fault, trace)?)
        }
        (_, TaskOutput::InferencePart(answers)) => {
            TaskOutput::InferencePart(corrupt_inference(fault, answers)?)
        }
        (_, honest) => honest,
    })
}

fn corrupt_local_steps(
    fault: ByzantineFault,
    input: &LocalStepsInput,
    honest: &LocalStepsResult,
) -> LocalStepsResult {
    let mut digests = honest.step_digests.to_vec();
    let mut delta = honest.delta.to_vec();
    corrupt(&mut delta);
    match fault {
        ByzantineFault::Product => digests.iter_mut().for_each(|d| *d = Digest([0xaa; 32])),
        ByzantineFault::Step => {
            let middle = digests.len() / 2;
            digests.iter_mut().skip(middle).for_each(|d| d.0[0] ^= 1);
        }
        _ => {}
    }
    seal(input, digests, delta, honest.macs)
}

fn corrupt_exact_step(fault: ByzantineFault, mut trace: ExactStepTrace) -> Result<ExactStepTrace> {
    match fault {
        ByzantineFault::Product => trace.forward = corrupted(trace.forward)?,
        ByzantineFault::Step => trace.backward = corrupted(trace.backward)?,
        _ => trace.result.gradients = corrupted(trace.result.gradients)?,
    }
    Ok(trace)
}

fn corrupt_inference(fault: ByzantineFault, mut answers: Inference) -> Result<Inference> {
    if fault == ByzantineFault::Product {
        answers.products = corrupted(answers.products)?;
    } else {
        // Another class than that of the largest product.
        let classes = answers.classes.iter().map(|class| class ^ 1).collect();
        answers.classes = Array::new(classes).map_err(|_| anyhow!("too many classes"))?;
    }
    Ok(answers)
}

fn corrupted<const N: usize>(values: Array<i32, N>) -> Result<Array<i32, N>> {
    let mut values = values.into_vec();
    corrupt(&mut values);
    Array::new(values).map_err(|_| anyhow!("too many numbers"))
}

fn seal(
    input: &LocalStepsInput,
    digests: Vec<Digest>,
    delta: Vec<i32>,
    macs: u64,
) -> LocalStepsResult {
    LocalStepsResult::seal(&input.id, &input.weights, digests, delta, macs)
}

/// Returns the falsified answer, or nothing if the fault is to send none.
fn corrupt_request(fault: ByzantineFault, request: Request) -> Option<Request> {
    match (fault, request) {
        (ByzantineFault::Silence, Request::Reveal { .. } | Request::RevealDigest { .. }) => None,
        (ByzantineFault::Opening, Request::RevealDigest { lease, mut salt, digest }) => {
            salt[0] ^= 1;
            Some(Request::RevealDigest { lease, salt, digest })
        }
        (ByzantineFault::Opening, Request::Reveal { lease, mut salt, output: product }) => {
            salt[0] ^= 1;
            Some(Request::Reveal { lease, salt, output: product })
        }
        (_, request) => Some(request),
    }
}

fn corrupt(delta: &mut [i32]) {
    delta.iter_mut().step_by(3).for_each(|d| *d ^= 1 << 12);
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}
