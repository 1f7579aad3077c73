//! A simulated network around one real coordinator and real workers. Byzantine workers are honest
//! machines with rewritten outputs. Every run follows from its seed.

use crate::{
    byzantine::ByzantineFault,
    fixture::{JOB, data, node_id, seed_bytes, spec_of, task, task_of},
};
use std::collections::{BTreeMap, BTreeSet};
use tequio_core::{
    codec,
    compute::{
        dataset::{Dataset, Samples},
        params::{JobParams, Plan},
        predict::Classifier,
        state::Weights,
        train::train,
    },
    content::{Cid, CidCodec},
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
    wire::work::{Answer, Request, Response, TaskOutput},
};

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
pub enum Event {
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
    pub withheld: BTreeSet<usize>,
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
    pub fn run_idle(&mut self, for_ms: u64) {
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
            .unwrap_or_else(|| panic!("seed {}: all machines wait without end", self.seed));
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

    pub fn at(&mut self, time: TimeMs, event: Event) {
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
}
