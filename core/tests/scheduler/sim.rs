//! A simulated network around one real coordinator and real workers. Byzantine workers are honest
//! machines with rewritten outputs. Every run follows from its seed.

use borsh::BorshSerialize;
use std::collections::{BTreeMap, BTreeSet};
use tequio_core::{
    codec,
    compute::{
        array::{Array, update_hash},
        dataset::{CsvOptions, Dataset, Label, Samples, Scaling, prepare},
        local_steps::{LocalStepsInput, LocalStepsResult, replay_step, state_before_step},
        params::{JobParams, Mode, Plan},
        predict::Classifier,
        state::{TrainingState, Weights},
        train::train,
    },
    crypto::hash::HashContext,
    knowledge::{Cid, CidCodec},
    ledger::job::{InferenceTask, JobSpec, JobTask, TrainingTask},
    machine::Machine,
    scheduler::{
        coordinator::{
            self, AcceptedLocalSteps, Config, Coordinator, JobInput, Outcome, Peer, Record,
            Rejection,
        },
        worker::{self, Offer, RequestFailed, Worker},
    },
    types::{Digest, NodeId, TimeMs},
    wire::work::{Answer, Request, Response, Task, TaskOutput},
};

pub const JOB: Digest = Digest([9; 32]);

/// The fault of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByzantineFault {
    None,
    /// Computes this step wrongly and the later steps honestly from there.
    Step(u32),
    /// Computes correctly, but submits another delta.
    Delta,
    /// Submits a delta that moves the model far off.
    Poison,
    /// Commits and never reveals.
    NeverReveals,
    /// Reveals, but after this many milliseconds.
    RevealsLate(u64),
    /// Reveals with another salt.
    WrongSalt,
    /// Submits a malformed result.
    Malformed,
    /// Takes leases and computes nothing.
    Vanishes,
    /// Computes this step wrongly, and sends no state on request.
    WithholdsState(u32),
    /// Computes this step wrongly, and sends a wrong state on request.
    WrongState(u32),
    /// For an exact step: a number of this product is wrong; 3 means the exponents. For an
    /// inference part: a product (0) or a class is wrong.
    Product(usize),
    /// Honest, but sends every message twice.
    Duplicates,
}

#[derive(Clone, Copy, Debug)]
pub struct Profile {
    pub fault: ByzantineFault,
    pub latency_ms: u64,
    pub unit_ms: u64,
    pub is_browser: bool,
    pub slots: u8,
}

impl Profile {
    pub const HONEST: Self = Self {
        fault: ByzantineFault::None,
        latency_ms: 5,
        unit_ms: 10,
        is_browser: false,
        slots: 2,
    };

    pub const fn byzantine(fault: ByzantineFault) -> Self {
        Self { fault, ..Self::HONEST }
    }
}

pub struct Node {
    pub id: NodeId,
    pub worker: Worker,
    pub profile: Profile,
    pub alive: bool,
    pub events: Vec<worker::Event>,
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant)]
enum Event {
    Arrives { node: usize, id: u64, request: Request },
    Answered { node: usize, id: u64, outcome: Result<Response, RequestFailed> },
    Computed { node: usize, compute_id: u64, output: TaskOutput },
    HostComputed { life: u32, compute_id: u64, output: TaskOutput },
    Persisted { life: u32 },
    Closes { node: usize },
}

pub struct Sim {
    pub now: TimeMs,
    pub seed: u64,
    pub spec: JobSpec,
    pub input: JobInput,
    pub config: Config,
    pub coordinator: Coordinator,
    pub nodes: Vec<Node>,
    pub disk: Vec<Record>,
    pub accepted: Vec<AcceptedLocalSteps>,
    pub events: Vec<coordinator::Event>,
    pub rejections: Vec<Rejection>,
    pub outcome: Option<Outcome>,
    pub persists: u32,
    pub host_computed: u32,
    pub messages: u64,
    /// Messages and bytes by kind.
    pub traffic: BTreeMap<&'static str, (u64, u64)>,
    /// The write at which the coordinator crashes; before or after it.
    pub crash_at: Option<(u32, bool)>,
    life: u32,
    queue: BTreeMap<(TimeMs, u64), Event>,
    sequence: u64,
    replies: BTreeMap<u64, (usize, u64)>,
    withheld: BTreeSet<usize>,
}

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
    let options = CsvOptions {
        header: true,
        label: Label::Last,
        separator: None,
        scaling: Some(Scaling::PerColumn),
        seed: 0,
    };
    prepare(csv.as_bytes(), &options).unwrap()
}

pub fn task(data: &Dataset, rounds: u32) -> TrainingTask {
    let mut params = JobParams::for_dataset(data, &[8], 0).unwrap();
    params.rows_per_step = 4;
    params.mode = Mode::Local { units: 8, steps: 4 };
    params.rounds = rounds;
    task_of(data, params)
}

fn task_of(data: &Dataset, params: JobParams) -> TrainingTask {
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

impl Sim {
    pub fn new(seed: u64, rounds: u32, profiles: &[Profile]) -> Self {
        Self::with(seed, rounds, profiles, |_, _| {})
    }

    pub fn with(
        seed: u64,
        rounds: u32,
        profiles: &[Profile],
        change: impl FnOnce(&mut TrainingTask, &mut Config),
    ) -> Self {
        let data = data();
        let params = task(&data, rounds).params;
        Self::of(seed, data, params, profiles, change)
    }

    pub fn of(
        seed: u64,
        data: Dataset,
        params: JobParams,
        profiles: &[Profile],
        change: impl FnOnce(&mut TrainingTask, &mut Config),
    ) -> Self {
        let mut task = task_of(&data, params);
        let mut config = Config::new(node_id(200), seed_bytes(seed, 0));
        // The jobs here are tiny. Unless a test overrides it, they are treated like large ones.
        config.unit_records_macs_min = 0;
        change(&mut task, &mut config);
        let spec = spec_of(&data, JobTask::Train(task));
        Self::start(seed, spec, data.into(), config, profiles)
    }

    /// A batch of rows, answered by a model that one process has trained.
    pub fn batch(seed: u64, rows: u32, profiles: &[Profile]) -> Self {
        let data = data();
        let plan = task(&data, 4).params.validate().unwrap();
        let weights = train(&plan, data.train(), |_, _| {}).unwrap();
        let architecture = plan.params().architecture.clone();
        let published = weights.quantise(plan.topology()).unwrap();
        let classifier = Classifier::new(architecture.clone(), published).unwrap();
        let values = (0..4 * rows)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8 as i8)
            .map(|v| v.max(-127));
        let rows = Samples::new(4, values.collect(), vec![0; rows as usize]).unwrap();
        let model = Cid::of(CidCodec::DagCbor, b"model");
        let task =
            InferenceTask { training_job: Digest([8; 32]), model, architecture, rows: rows.rows() };
        let spec = spec_of(&rows, JobTask::Infer(task));
        let config = Config::new(node_id(200), seed_bytes(seed, 0));
        Self::start(seed, spec, JobInput::Inference { classifier, rows }, config, profiles)
    }

    fn start(
        seed: u64,
        spec: JobSpec,
        input: JobInput,
        config: Config,
        profiles: &[Profile],
    ) -> Self {
        println!("seed {seed}");
        let coordinator =
            Coordinator::new(0, JOB, spec.clone(), input.clone(), config.clone()).unwrap();
        let nodes = profiles
            .iter()
            .enumerate()
            .map(|(n, profile)| {
                let mut config = worker::Config::new(node_id(n), seed_bytes(seed, 1 + n as u8));
                config.slots = profile.slots;
                Node {
                    id: node_id(n),
                    worker: Worker::new(config),
                    profile: *profile,
                    alive: true,
                    events: Vec::new(),
                }
            })
            .collect();
        let mut sim = Self {
            now: 0,
            seed,
            spec,
            input,
            config,
            coordinator,
            nodes,
            disk: Vec::new(),
            accepted: Vec::new(),
            events: Vec::new(),
            rejections: Vec::new(),
            outcome: None,
            persists: 0,
            host_computed: 0,
            messages: 0,
            traffic: BTreeMap::new(),
            crash_at: None,
            life: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            replies: BTreeMap::new(),
            withheld: BTreeSet::new(),
        };
        for n in 0..sim.nodes.len() {
            let offers = vec![Offer { job: JOB, coordinator: node_id(200) }];
            sim.deliver(n, worker::Input::Jobs(offers));
        }
        sim
    }

    pub fn plan(&self) -> Plan {
        self.spec.training().unwrap().params.clone().validate().unwrap()
    }

    /// Number of unanswered requests.
    pub fn unanswered(&self) -> usize {
        self.replies.len()
    }

    pub fn unanswered_of(&self, node: usize) -> usize {
        self.replies.values().filter(|(n, _)| *n == node).count()
    }

    /// The result of one process that trains alone.
    pub fn expected(&self) -> Weights {
        train(&self.plan(), self.data().train(), |_, _| {}).unwrap()
    }

    pub fn data(&self) -> &Dataset {
        let JobInput::Training(data) = &self.input else { panic!("nothing is trained") };
        data
    }

    /// The answers of one process.
    pub fn expected_answers(&self) -> Vec<u8> {
        let JobInput::Inference { classifier, rows } = &self.input else {
            panic!("nothing is answered")
        };
        classifier.classes(rows).unwrap()
    }

    pub fn closes(&mut self, node: usize, at: TimeMs) {
        self.at(at, Event::Closes { node });
    }

    /// Runs to the end of the job, which must come before `until`.
    pub fn run(&mut self, until: TimeMs) -> Outcome {
        self.drain();
        while self.outcome.is_none() {
            self.step();
            assert!(
                self.now <= until,
                "seed {}: not done at {} ms, {:?}",
                self.seed,
                self.now,
                self.coordinator.progress()
            );
        }
        self.outcome.clone().unwrap()
    }

    /// Runs to the end, and checks that the result equals that of one process.
    pub fn run_exact(&mut self, until: TimeMs) -> Outcome {
        let outcome = self.run(until);
        assert_eq!(
            outcome.trained().unwrap().weights.hash(),
            self.expected().hash(),
            "seed {}: other weights",
            self.seed
        );
        let plan = self.plan();
        assert_eq!(outcome.units, u64::from(plan.units_per_round() * plan.rounds()));
        outcome
    }

    /// Runs the idle network for a while, so that all pending events arrive.
    pub fn settle(&mut self, for_ms: u64) {
        self.drain();
        let until = self.now + for_ms;
        while self.next_time().is_some_and(|t| t <= until) {
            self.step();
        }
    }

    fn next_time(&self) -> Option<TimeMs> {
        let queued = self.queue.keys().next().map(|(t, _)| *t);
        let deadlines = self.nodes.iter().filter(|n| n.alive).filter_map(|n| n.worker.deadline());
        deadlines.chain(queued).chain(self.coordinator.deadline()).min()
    }

    fn step(&mut self) {
        let time = self
            .next_time()
            .unwrap_or_else(|| panic!("seed {}: all machines wait for ever", self.seed));
        assert!(time >= self.now);
        self.now = time;
        if let Some(entry) = self.queue.first_entry().filter(|e| e.key().0 <= time) {
            let event = entry.remove();
            self.perform(event);
        } else if self.coordinator.deadline().is_some_and(|t| t <= time) {
            self.coordinator.handle(time, coordinator::Input::Tick).unwrap();
            assert!(
                self.coordinator.deadline().is_none_or(|t| t > time),
                "a deadline that has no effect"
            );
        } else {
            for n in 0..self.nodes.len() {
                if self.nodes[n].alive && self.nodes[n].worker.deadline().is_some_and(|t| t <= time)
                {
                    self.deliver(n, worker::Input::Tick);
                    assert!(self.nodes[n].worker.deadline().is_none_or(|t| t > time));
                }
            }
        }
        self.drain();
    }

    fn at(&mut self, time: TimeMs, event: Event) {
        self.sequence += 1;
        self.queue.insert((time, self.sequence), event);
    }

    fn perform(&mut self, event: Event) {
        match event {
            Event::Arrives { node, id, request } => {
                self.messages += 1;
                self.sequence += 1;
                let number = self.sequence;
                self.replies.insert(number, (node, id));
                let Node { id: node, profile, .. } = &self.nodes[node];
                let from = Peer {
                    node: *node,
                    is_browser: profile.is_browser,
                    rtt_ms: Some(2 * profile.latency_ms as u32),
                    reputation: 0,
                };
                // Encode and decode, as on the wire.
                let bytes = codec::encode(&request);
                let kind = match &request {
                    Request::RequestLease { .. } => "up request lease",
                    Request::Commit { .. } => "up commit",
                    Request::Reveal { .. } => "up reveal",
                    Request::RevealDigest { .. } => "up reveal digest",
                    Request::State { .. } => "up state",
                };
                self.count(kind, bytes.len());
                let request =
                    codec::decode(&bytes, tequio_core::wire::work::REQUEST_LEN_MAX).unwrap();
                self.coordinator
                    .handle(self.now, coordinator::Input::Request { id: number, from, request })
                    .unwrap();
            }
            Event::Answered { node, id, outcome } => self.answered(node, id, outcome),
            Event::Computed { node, compute_id, output } => {
                self.deliver(node, worker::Input::Computed { compute_id, output: Ok(output) });
            }
            Event::HostComputed { life, compute_id, output } if life == self.life => {
                self.host_computed += 1;
                self.coordinator
                    .handle(
                        self.now,
                        coordinator::Input::Computed { compute_id, output: Ok(output) },
                    )
                    .unwrap();
            }
            Event::Persisted { life } if life == self.life => {
                self.coordinator.handle(self.now, coordinator::Input::Persisted).unwrap();
            }
            Event::HostComputed { .. } | Event::Persisted { .. } => {}
            Event::Closes { node } => {
                self.nodes[node].alive = false;
                let id = self.nodes[node].id;
                self.coordinator.handle(self.now, coordinator::Input::Disconnected(id)).unwrap();
            }
        }
    }

    fn count(&mut self, kind: &'static str, len: usize) {
        let (messages, bytes) = self.traffic.entry(kind).or_default();
        (*messages, *bytes) = (*messages + 1, *bytes + len as u64);
    }

    fn answered(&mut self, n: usize, id: u64, outcome: Result<Response, RequestFailed>) {
        let fault = self.nodes[n].profile.fault;
        if let Ok(Response { answer: Answer::Lease(_), .. }) = &outcome
            && fault == ByzantineFault::Vanishes
        {
            self.nodes[n].alive = false;
            return;
        }
        self.deliver(n, worker::Input::Response { id, outcome });
    }

    fn deliver(&mut self, n: usize, input: worker::Input) {
        if self.nodes[n].alive {
            let Ok(()) = self.nodes[n].worker.handle(self.now, input);
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.coordinator.poll() {
            self.perform_coordinator_output(output);
        }
        for n in 0..self.nodes.len() {
            while let Some(output) = self.nodes[n].worker.poll() {
                if self.nodes[n].alive {
                    self.perform_worker_output(n, output);
                }
            }
        }
    }

    fn perform_coordinator_output(&mut self, output: coordinator::Output) {
        match output {
            coordinator::Output::Reply { id, response } => {
                let (node, id) = self.replies.remove(&id).expect("each request is answered once");
                let latency_ms = self.nodes[node].profile.latency_ms;
                let bytes = codec::encode(&response);
                let kind = match &response.answer {
                    Answer::Lease(_) => "down lease",
                    Answer::Idle { .. } => "down idle",
                    Answer::RevealRequested { .. } => "down reveal requested",
                    Answer::Received => "down received",
                    Answer::Refused(_) => "down refused",
                };
                self.count(kind, bytes.len());
                let response =
                    codec::decode(&bytes, tequio_core::wire::work::RESPONSE_LEN_MAX).unwrap();
                self.at(self.now + latency_ms, Event::Answered { node, id, outcome: Ok(response) });
            }
            coordinator::Output::Persist(record) => self.persist(record),
            coordinator::Output::Compute { compute_id, task } => {
                let output = task.run().unwrap();
                self.at(self.now + 10, Event::HostComputed { life: self.life, compute_id, output });
            }
            coordinator::Output::Event(event) => {
                if let coordinator::Event::Rejected(rejection) = event {
                    self.rejections.push(rejection);
                }
                self.events.push(event);
            }
            coordinator::Output::Finished(outcome) => self.outcome = Some(*outcome),
        }
    }

    fn persist(&mut self, record: Record) {
        self.persists += 1;
        let crash = self.crash_at.filter(|(at, _)| *at == self.persists);
        if !matches!(crash, Some((_, false))) {
            let bytes = codec::encode(&record);
            let record: Record = codec::decode(&bytes, coordinator::RECORD_LEN_MAX).unwrap();
            if let Record::LocalSteps(accepted) = &record {
                self.accepted.push(accepted.clone());
            }
            if record.ends_round() {
                self.disk.clear();
            }
            self.disk.push(record);
        }
        if crash.is_some() {
            return self.crash();
        }
        self.at(self.now + 1, Event::Persisted { life: self.life });
    }

    /// Crashes the coordinator and restores it from its disk. Its unanswered requests fail.
    fn crash(&mut self) {
        self.life += 1;
        let seed = seed_bytes(self.seed, 100 + self.life as u8);
        self.config.seed = seed;
        self.coordinator = Coordinator::restore(
            self.now,
            JOB,
            self.spec.clone(),
            self.input.clone(),
            self.config.clone(),
            self.disk.clone(),
        )
        .unwrap();
        for (_, (node, id)) in std::mem::take(&mut self.replies) {
            self.at(self.now + 50, Event::Answered { node, id, outcome: Err(RequestFailed) });
        }
    }

    fn perform_worker_output(&mut self, n: usize, output: worker::Output) {
        let Profile { fault, latency_ms, unit_ms, .. } = self.nodes[n].profile;
        match output {
            worker::Output::Request { id, to: _, request } => {
                let (request, delay) = self.rewrite(n, request);
                let Some(request) = request else { return };
                let time = self.now + latency_ms + delay;
                if fault == ByzantineFault::Duplicates {
                    // The answer to the copy is discarded.
                    self.at(
                        time,
                        Event::Arrives { node: n, id: u64::MAX, request: request.clone() },
                    );
                }
                self.at(time, Event::Arrives { node: n, id, request });
            }
            worker::Output::Compute { compute_id, task } => {
                let output = compute(fault, &task);
                self.at(self.now + unit_ms, Event::Computed { node: n, compute_id, output });
            }
            worker::Output::Event(event) => self.nodes[n].events.push(event),
        }
    }

    fn rewrite(&mut self, n: usize, request: Request) -> (Option<Request>, u64) {
        match (self.nodes[n].profile.fault, request) {
            (
                ByzantineFault::NeverReveals,
                Request::Reveal { .. } | Request::RevealDigest { .. },
            ) => (None, 0),
            (
                ByzantineFault::RevealsLate(ms),
                request @ (Request::Reveal { .. } | Request::RevealDigest { .. }),
            ) => (Some(request), ms),
            (ByzantineFault::WrongSalt, Request::RevealDigest { lease, mut salt, digest }) => {
                salt[0] ^= 1;
                (Some(Request::RevealDigest { lease, salt, digest }), 0)
            }
            (ByzantineFault::WrongSalt, Request::Reveal { lease, mut salt, output }) => {
                salt[0] ^= 1;
                (Some(Request::Reveal { lease, salt, output }), 0)
            }
            (ByzantineFault::WithholdsState(_), Request::State { lease, step, .. }) => {
                // The first time the worker admits that it has no state, then it stays silent.
                let admits = self.withheld.insert(n);
                (admits.then_some(Request::State { lease, step, state: None }), 0)
            }
            (_, request) => (Some(request), 0),
        }
    }
}

pub fn seed_bytes(seed: u64, salt: u8) -> [u8; 32] {
    let mut bytes = [salt; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes
}

fn compute(fault: ByzantineFault, task: &Task) -> TaskOutput {
    let honest = task.run().unwrap();
    match (fault, task, honest) {
        (
            ByzantineFault::Step(step)
            | ByzantineFault::WithholdsState(step)
            | ByzantineFault::WrongState(step),
            Task::LocalSteps(input),
            _,
        ) => TaskOutput::LocalSteps(result_with_wrong_step(input, step)),
        (ByzantineFault::WrongState(_), Task::State { .. }, TaskOutput::State(state)) => {
            TaskOutput::State(corrupt_state(state))
        }
        (ByzantineFault::Delta, Task::LocalSteps(input), TaskOutput::LocalSteps(result)) => {
            let mut delta = result.delta.to_vec();
            delta[3] += 1;
            TaskOutput::LocalSteps(sealed(input, result.step_digests.to_vec(), delta, result.macs))
        }
        (ByzantineFault::Poison, Task::LocalSteps(input), TaskOutput::LocalSteps(result)) => {
            // As far off as the form allows, with alternating signs.
            let far = |(i, w): (usize, &i32)| {
                if i % 2 == 0 { (1 << 30) - 1 - w } else { -(1 << 30) + 1 - w }
            };
            let delta = input.weights.as_slice().iter().enumerate().map(far).collect();
            TaskOutput::LocalSteps(sealed(input, result.step_digests.to_vec(), delta, result.macs))
        }
        (ByzantineFault::Malformed, Task::LocalSteps(input), TaskOutput::LocalSteps(result)) => {
            TaskOutput::LocalSteps(sealed(
                input,
                result.step_digests.to_vec(),
                vec![1, 2, 3],
                result.macs,
            ))
        }
        (ByzantineFault::Product(0), _, TaskOutput::InferencePart(mut answers)) => {
            answers.products = Array::new(flip_bit(answers.products.into_vec())).unwrap();
            TaskOutput::InferencePart(answers)
        }
        (ByzantineFault::Product(_), _, TaskOutput::InferencePart(mut answers)) => {
            let mut classes = answers.classes.into_vec();
            classes[0] = (classes[0] + 1) % 3;
            answers.classes = Array::new(classes).unwrap();
            TaskOutput::InferencePart(answers)
        }
        (ByzantineFault::Product(which), _, TaskOutput::ExactStep(mut trace)) => {
            match which {
                0 => trace.forward = Array::new(flip_bit(trace.forward.into_vec())).unwrap(),
                1 => trace.backward = Array::new(flip_bit(trace.backward.into_vec())).unwrap(),
                2 => {
                    trace.result.gradients =
                        Array::new(flip_bit(trace.result.gradients.into_vec())).unwrap()
                }
                _ => {
                    let exponents =
                        trace.result.exponents.iter().map(|e| e ^ 1).collect::<Vec<_>>();
                    trace.result.exponents = exponents.try_into().unwrap();
                }
            }
            TaskOutput::ExactStep(trace)
        }
        (_, _, honest) => honest,
    }
}

fn flip_bit(mut values: Vec<i32>) -> Vec<i32> {
    let middle = values.len() / 2;
    values[middle] ^= 1;
    values
}

/// Flips one bit of one weight after `step` and computes the rest honestly.
fn result_with_wrong_step(input: &LocalStepsInput, step: u32) -> LocalStepsResult {
    let plan = input.params.clone().validate().unwrap();
    let mut state = state_before_step(&plan, &input.id, &input.weights, &input.rows, 0).unwrap();
    let mut digests = Vec::new();
    for s in 0..plan.steps_per_unit() {
        state = replay_step(&plan, &input.id, &state, &input.rows, s).unwrap();
        if s == step {
            state = corrupt_state(state);
        }
        digests.push(state.digest(&input.id, s));
    }
    let delta = state
        .weights()
        .as_slice()
        .iter()
        .zip(input.weights.as_slice())
        .map(|(e, s)| e - s)
        .collect();
    sealed(input, digests, delta, plan.macs_per_unit())
}

fn corrupt_state(state: TrainingState) -> TrainingState {
    let mut weights = state.weights().as_slice().to_vec();
    weights[0] ^= 1 << 20;
    codec::decode(&codec::encode(&(weights, state.momentum().to_vec())), usize::MAX).unwrap()
}

/// A result whose digest matches its contents, whatever they are.
fn sealed(
    input: &LocalStepsInput,
    step_digests: Vec<Digest>,
    delta: Vec<i32>,
    macs: u64,
) -> LocalStepsResult {
    let mut hasher = HashContext::LaneResult.hasher();
    hasher.update(&codec::encode(&(input.id, input.weights.hash(), &step_digests)));
    hasher.update(&macs.to_le_bytes());
    update_hash(&mut hasher, &delta);
    LocalStepsResult {
        step_digests: step_digests.try_into().unwrap(),
        delta: Array::new(delta).unwrap(),
        macs,
        digest: Digest(*hasher.finalize().as_bytes()),
    }
}
