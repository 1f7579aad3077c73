//! Lends computing power: drives the worker machine of core, sends its requests to coordinators and
//! its units to the page's Web Workers. This module computes nothing.

use crate::{
    chain::{AnswerError, Chain, now_ms},
    error::NodeError,
    event::Event,
    identity,
};
use futures::{FutureExt, StreamExt, channel::mpsc};
use futures_timer::Delay;
use std::{cell::Cell, rc::Rc, time::Duration};
use tequio_core::{
    codec::{self, BoundedVec},
    machine::Machine,
    scheduler::{
        ComputeFailed,
        worker::{self, Input, Offer, Output, RequestFailed, Worker},
    },
    types::NodeId,
    wire::{
        light::{self, AddressQuery, Request},
        work::{RESPONSE_LEN_MAX, Response, TASK_OUTPUT_LEN_MAX, Task, TaskOutput},
    },
};
use tequio_p2p::{Multiaddr, Path, Protocol};
use wasm_bindgen_futures::spawn_local;

/// A coordinator delays its answer while it has no work. After this timeout the request counts as
/// lost.
const WORK_TIMEOUT: Duration = Duration::from_secs(25);

/// Timeout of a request for a coordinator's addresses, and how many of them are dialled.
const ADDRESSES_TIMEOUT: Duration = Duration::from_secs(5);
const ADDRESSES_TRIED_MAX: usize = 8;

type Inbox = mpsc::UnboundedSender<Input>;

/// A handle of the worker.
#[derive(Clone)]
pub struct Work {
    inbox: Inbox,
    shared: Rc<Shared>,
}

struct Shared {
    chain: Rc<Chain>,
    relays: Vec<Multiaddr>,
    slots: Cell<u8>,
}

impl Work {
    /// Starts the worker with no slots, so it computes nothing before the first `set_slots`.
    pub fn start(chain: Rc<Chain>, relays: Vec<Multiaddr>) -> Result<Self, NodeError> {
        let mut seed = [0; 32];
        identity::fill(&mut seed)?;
        let worker =
            Worker::new(worker::Config { slots: 0, ..worker::Config::new(chain.me, seed) });
        let (inbox, inputs) = mpsc::unbounded();
        let shared = Rc::new(Shared { chain, relays, slots: Cell::new(0) });
        spawn_local(run(worker, inputs, shared.clone(), inbox.clone()));
        Ok(Self { inbox, shared })
    }

    pub fn slots(&self) -> u8 {
        self.shared.slots.get()
    }

    pub fn set_slots(&self, slots: u8) {
        self.shared.slots.set(slots);
        self.send(Input::Slots(slots));
    }

    pub fn offer(&self, offers: Vec<Offer>) {
        self.send(Input::Jobs(offers));
    }

    /// Takes the result of a unit that a Web Worker has computed.
    pub fn done(&self, compute_id: u64, bytes: &[u8]) -> Result<(), NodeError> {
        let output: TaskOutput = codec::decode(bytes, TASK_OUTPUT_LEN_MAX)
            .map_err(|e| NodeError::Unit(format!("the worker's result: {e}")))?;
        self.send(Input::Computed { compute_id, output: Ok(output) });
        Ok(())
    }

    /// Records that a Web Worker could not compute a unit.
    pub fn failed(&self, compute_id: u64) {
        self.send(Input::Computed { compute_id, output: Err(ComputeFailed) });
    }

    /// Ends the loop. Units in progress are dropped; their leases expire.
    pub fn stop(&self) {
        self.inbox.close_channel();
    }

    /// Connects to a node through a relay, the only way for browsers.
    pub async fn reach(&self, node: NodeId, relays: &[Multiaddr]) -> Result<(), NodeError> {
        reach(&self.shared.chain, node, relays).await
    }

    fn send(&self, input: Input) {
        // Fails only if the loop has ended; then the result is not needed.
        let _ = self.inbox.unbounded_send(input);
    }
}

async fn run(
    mut worker: Worker,
    mut inputs: mpsc::UnboundedReceiver<Input>,
    shared: Rc<Shared>,
    inbox: Inbox,
) {
    loop {
        while let Some(output) = worker.poll() {
            handle_output(output, &shared, &inbox);
        }
        let now = now_ms();
        let sleep = worker
            .deadline()
            .map(|at| Delay::new(Duration::from_millis(at.saturating_sub(now).max(1))));
        let tick = async {
            match sleep {
                Some(delay) => delay.await,
                None => futures::future::pending().await,
            }
        };
        let input = futures::select! {
            input = inputs.next() => match input { Some(input) => input, None => return },
            () = tick.fuse() => Input::Tick,
        };
        if let Err(e) = worker.handle(now_ms(), input) {
            shared.chain.emitter.log("warn", format!("work: {e}"));
        }
    }
}

fn handle_output(output: Output, shared: &Rc<Shared>, inbox: &Inbox) {
    match output {
        Output::Request { id, to, request } => {
            let (shared, inbox) = (shared.clone(), inbox.clone());
            spawn_local(async move {
                let outcome = request_work(&shared, to, codec::encode(&request)).await;
                let _ = inbox.unbounded_send(Input::Response { id, outcome });
            });
        }
        Output::Compute { compute_id, task } => {
            let id = task.id();
            let kind = match task {
                Task::LocalSteps(_) | Task::ExactStep(_) | Task::InferencePart(_) => "compute",
                Task::State { .. } => "check",
            };
            let job = id.job.to_string();
            let input = codec::encode(&task);
            shared.chain.emitter.emit(&Event::Unit {
                compute_id,
                job,
                round: id.round,
                unit: id.unit,
                kind,
                input,
            });
        }
        Output::Event(worker::Event::Accepted { job, macs, .. }) => {
            shared.chain.emitter.emit(&Event::Credit { job: job.to_string(), units: 1, macs });
        }
        Output::Event(worker::Event::Rejected { job, round, unit, reason }) => {
            shared.chain.emitter.emit(&Event::Rejected {
                worker: shared.chain.me.to_string(),
                job: job.to_string(),
                round,
                unit,
                kind: reason.kind().as_str(),
                reason: reason.to_string(),
                time_ms: now_ms(),
            });
        }
        Output::Event(worker::Event::Lost { round, unit, .. }) => {
            shared.chain.emitter.log(
                "info",
                format!("work unit {unit} of round {round} was given to another worker"),
            );
        }
    }
}

async fn request_work(
    shared: &Shared,
    to: NodeId,
    body: Vec<u8>,
) -> Result<Response, RequestFailed> {
    let chain = &shared.chain;
    reach(chain, to, &shared.relays).await.map_err(|_| RequestFailed)?;
    let bytes = chain
        .network
        .request(to, Protocol::Work, body, WORK_TIMEOUT)
        .await
        .map_err(|_| RequestFailed)?;
    codec::decode(&bytes, RESPONSE_LEN_MAX).map_err(|_| RequestFailed)
}

/// Connects to a node by a circuit of a connected relay, or else by the addresses that the sources
/// know.
async fn reach(chain: &Chain, node: NodeId, relays: &[Multiaddr]) -> Result<(), NodeError> {
    if chain.network.peer(node).is_some() {
        return Ok(());
    }
    let mut last = "no relay is connected".to_owned();
    let connected = connected_relays(chain, relays);
    for relay in &connected {
        let Some(circuit) = tequio_p2p::identity::circuit(relay, node) else { continue };
        match chain.network.dial(circuit).await {
            Ok(_) => return Ok(()),
            Err(e) => last = e.to_string(),
        }
    }
    let Some(via) = connected.first() else { return Err(NodeError::Unavailable(last)) };
    for addr in addresses_of(chain, node, via).await {
        if chain.network.dial(addr).await.is_ok() {
            return Ok(());
        }
    }
    Err(NodeError::Unavailable(last))
}

/// Returns the addresses of a coordinator that a source sent, except those that must not be
/// dialled.
async fn addresses_of(chain: &Chain, node: NodeId, via: &Multiaddr) -> Vec<Multiaddr> {
    let request = Request::Addresses { of: AddressQuery::Coordinator(node) };
    let addresses = chain.query(&request, ADDRESSES_TIMEOUT, |response| match response {
        light::Response::Addresses(addresses) => Ok(addresses),
        _ => Err(AnswerError::InvalidData {
            what: "answer",
            detail: "an answer to another question".into(),
        }),
    });
    let addresses = addresses.await.map(BoundedVec::into_vec).unwrap_or_default();
    let parsed = addresses.iter().filter_map(|text| text.parse::<Multiaddr>().ok());
    let usable = |addr: &Multiaddr| {
        tequio_p2p::identity::node_of(addr) == Some(node) && tequio_p2p::may_dial(addr, via)
    };
    parsed.filter(usable).take(ADDRESSES_TRIED_MAX).collect()
}

/// Returns the addresses of connected relays: a circuit reuses that connection.
fn connected_relays(chain: &Chain, relays: &[Multiaddr]) -> Vec<Multiaddr> {
    let peers = chain.network.peers();
    let direct = |relay: &&Multiaddr| {
        let node = tequio_p2p::identity::node_of(relay);
        peers.iter().any(|p| Some(p.id) == node && matches!(p.path, Path::Direct(_)))
    };
    relays.iter().filter(direct).cloned().collect()
}
