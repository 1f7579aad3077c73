//! A worker that runs the honest machine and spoils what it computes.

use crate::{say, secret};
use anyhow::{Context, Result, anyhow, bail};
use clap::ValueEnum;
use futures::{StreamExt, channel::mpsc};
use serde_json::json;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tequio_core::{
    codec,
    compute::{
        array::Array,
        exact::UnitTrace,
        infer::Inference,
        lane::{LaneInput, LaneResult},
    },
    ledger::job::JobId,
    machine::Machine,
    scheduler::{
        coordinator::ComputeFailed,
        worker::{self, Failed, Input, Offer, Output, Worker},
    },
    types::{Digest, NodeId},
    wire::{
        light,
        work::{JobState, Product, RESPONSE_LEN_MAX, Request, Response, Task},
    },
};
use tequio_p2p::{Config, Multiaddr, Network, Protocol, identity, spawn};

/// What a lying worker does.
#[derive(Clone, Copy, Debug, ValueEnum, PartialEq)]
pub enum Lie {
    /// Other weights than were computed, with digests that fit neither; wrong products, in exact
    /// mode and inference.
    Product,
    /// True digests, but another delta; another gradient, or another class.
    Delta,
    /// Wrong from the middle step on, consistently; wrong products on the way back.
    Step,
    /// Another result than it has committed to.
    Opening,
    /// Commits and never opens.
    Silence,
    /// Nothing: an honest worker, for comparison.
    Nothing,
}

const ANSWER_WAIT: Duration = Duration::from_secs(25);

/// Works until the process is ended.
pub async fn run(lie: Lie, node: Multiaddr, job: Option<JobId>) -> Result<()> {
    let coordinator = identity::node_of(&node).context("--node must end in /p2p/ID")?;
    let seed = secret()?;
    let (network, mut events) =
        spawn(Config { keep: vec![node.clone()], serve: vec![], ..Config::new(secret()?) })?;
    tokio::spawn(async move { while events.next().await.is_some() {} });
    network.dial(node).await?;
    say(&json!({ "event": "ready", "node": network.local_id().to_string() }));

    let config = worker::Config { slots: 1, ..worker::Config::new(network.local_id(), seed) };
    let mut machine = Worker::new(config);
    let (inbox, mut mail) = mpsc::unbounded();
    let mut offers = Vec::new();
    // Often: a short job is over within a second, and who is late has nobody to lie to.
    let mut refresh = tokio::time::interval(Duration::from_millis(50));
    loop {
        while let Some(output) = machine.poll() {
            perform(lie, output, &network, &inbox);
        }
        let deadline =
            machine.deadline().map(|at| Duration::from_millis(at.saturating_sub(now_ms())));
        let input = tokio::select! {
            input = mail.next() => input.context("the inbox is open")?,
            () = tokio::time::sleep(deadline.unwrap_or(Duration::from_secs(60))) => Input::Tick,
            _ = refresh.tick() => {
                let now = running(&network, coordinator, job).await;
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

/// The coordinator's running jobs, or the one that was named.
async fn running(network: &Network, coordinator: NodeId, job: Option<JobId>) -> Vec<Offer> {
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

fn perform(lie: Lie, output: Output, network: &Network, inbox: &mpsc::UnboundedSender<Input>) {
    let (network, inbox) = (network.clone(), inbox.clone());
    match output {
        Output::Request { id, to, request } => {
            let Some(request) = spoil_request(lie, request) else { return };
            tokio::spawn(async move {
                let answer =
                    network.request(to, Protocol::Work, codec::encode(&request), ANSWER_WAIT).await;
                let outcome = answer.map_err(|_| Failed).and_then(|bytes| {
                    codec::decode::<Response>(&bytes, RESPONSE_LEN_MAX).map_err(|_| Failed)
                });
                let _ = inbox.unbounded_send(Input::Response { id, outcome });
            });
        }
        Output::Compute { unit, task } => {
            tokio::task::spawn_blocking(move || {
                let product = compute(lie, &task).map_err(|_| ComputeFailed);
                let _ = inbox.unbounded_send(Input::Computed { unit, product });
            });
        }
        Output::Event(worker::Event::Accepted { round, lane, .. }) => {
            say(&json!({ "event": "accepted", "round": round, "lane": lane }));
        }
        Output::Event(worker::Event::Rejected { round, lane, reason, .. }) => {
            say(
                &json!({ "event": "rejected", "round": round, "lane": lane, "reason": reason.to_string() }),
            );
        }
        Output::Event(_) => {}
    }
}

fn compute(lie: Lie, task: &Task) -> Result<Product> {
    let honest = task.run()?;
    if matches!(lie, Lie::Opening | Lie::Silence | Lie::Nothing) {
        return Ok(honest);
    }
    Ok(match (task, honest) {
        (Task::Lane(input), Product::Lane(honest)) => {
            Product::Lane(spoil_lane(lie, input, &honest))
        }
        (_, Product::Unit(trace)) => Product::Unit(spoil_unit(lie, trace)?),
        (_, Product::Answers(answers)) => Product::Answers(spoil_answers(lie, answers)?),
        (_, honest) => honest,
    })
}

fn spoil_lane(lie: Lie, input: &LaneInput, honest: &LaneResult) -> LaneResult {
    let mut digests = honest.step_digests.to_vec();
    let mut delta = honest.delta.to_vec();
    spoil(&mut delta);
    match lie {
        Lie::Product => digests.iter_mut().for_each(|d| *d = Digest([0xaa; 32])),
        Lie::Step => {
            let middle = digests.len() / 2;
            digests.iter_mut().skip(middle).for_each(|d| d.0[0] ^= 1);
        }
        _ => {}
    }
    seal(input, digests, delta, honest.macs)
}

fn spoil_unit(lie: Lie, mut trace: UnitTrace) -> Result<UnitTrace> {
    match lie {
        Lie::Product => trace.forward = spoiled(trace.forward)?,
        Lie::Step => trace.backward = spoiled(trace.backward)?,
        _ => trace.result.gradients = spoiled(trace.result.gradients)?,
    }
    Ok(trace)
}

fn spoil_answers(lie: Lie, mut answers: Inference) -> Result<Inference> {
    if lie == Lie::Product {
        answers.products = spoiled(answers.products)?;
    } else {
        // Another class than that of the largest product.
        let classes = answers.classes.iter().map(|class| class ^ 1).collect();
        answers.classes = Array::new(classes).map_err(|_| anyhow!("too many classes"))?;
    }
    Ok(answers)
}

fn spoiled<const N: usize>(values: Array<i32, N>) -> Result<Array<i32, N>> {
    let mut values = values.into_vec();
    spoil(&mut values);
    Array::new(values).map_err(|_| anyhow!("too many numbers"))
}

fn seal(input: &LaneInput, digests: Vec<Digest>, delta: Vec<i32>, macs: u64) -> LaneResult {
    LaneResult::seal(&input.id, &input.weights, digests, delta, macs)
}

/// None where the lie is to say nothing.
fn spoil_request(lie: Lie, request: Request) -> Option<Request> {
    match (lie, request) {
        (Lie::Silence, Request::Open { .. } | Request::OpenDigest { .. }) => None,
        (Lie::Opening, Request::OpenDigest { lease, mut salt, digest }) => {
            salt[0] ^= 1;
            Some(Request::OpenDigest { lease, salt, digest })
        }
        (Lie::Opening, Request::Open { lease, mut salt, product }) => {
            salt[0] ^= 1;
            Some(Request::Open { lease, salt, product })
        }
        (_, request) => Some(request),
    }
}

fn spoil(delta: &mut [i32]) {
    delta.iter_mut().step_by(3).for_each(|d| *d ^= 1 << 12);
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}
