//! Real values of every kind, from which the corpus is made: small, deterministic, and with every
//! variant that a decoder branches on.

use tequio_core::{
    codec,
    compute::{
        array::Array,
        dataset::{self, CsvOptions, Dataset, Label},
        local_steps::{EpochOrder, LocalStepsInput, WorkUnitId},
        params::{JobParams, Mode, Plan},
        predict::Accuracy,
        state::{TrainingState, Weights},
    },
    consensus::WalRecord,
    crypto::{NodeKey, bls, vrf},
    knowledge::{
        Cid, CidCodec,
        answers::Answers,
        model::Model,
        object,
        record::{Contribution, Point, Rejected, TrainingRecord},
    },
    ledger::{
        self, Action, Certificate, Checkpoint, Evidence, Genesis, Header, Key, KeyRegistration,
        Params, Phase, SignedTransaction, State, Transaction, Vote,
        block::transactions_root,
        genesis::{GenesisFile, GenesisSeat},
        job::{
            Contributor, InferenceTask, JobKind, JobOutput, JobResult, JobSpec, JobTask,
            TrainedModel, TrainingTask, Verdict,
        },
        leader_seed,
    },
    light::{LightClient, contribution::ContributionFile, handover::HandoverFile},
    types::{ChainId, Digest, NodeId},
    wire::{
        compression,
        consensus::{Message, Proposal, SignedVote, ViewChange},
        light::{self, FinalHeader},
        mempool, sync, work,
    },
};

use super::Kind;

mod webrtc;

/// A small CSV with everything that the reader handles.
const CSV: &str = include_str!("sample.csv");
const TIME_MS: u64 = 1_790_000_000_000;

fn mempool_new(chain: &Chain) -> mempool::Message {
    mempool::Message::New { transactions: chain.transactions().try_into().unwrap(), forward: true }
}

fn names(chain: &Chain) -> mempool::TransactionIds {
    chain.transactions().iter().map(|t| t.id()).collect::<Vec<_>>().try_into().unwrap()
}

/// Returns encodings of real values; the first byte string of each is the simplest.
pub fn of(kind: Kind) -> Vec<Vec<u8>> {
    let chain = Chain::new();
    match kind {
        Kind::LightRequest => light_requests(&chain).iter().map(codec::encode).collect(),
        Kind::LightResponse => light_responses(&chain).iter().map(codec::encode).collect(),
        Kind::WorkRequest => work_requests().iter().map(codec::encode).collect(),
        Kind::WorkResponse => work_responses().iter().map(codec::encode).collect(),
        Kind::Task => tasks().iter().map(codec::encode).collect(),
        Kind::Product => tasks().iter().map(|task| codec::encode(&task.run().unwrap())).collect(),
        Kind::ConsensusMessage => consensus_messages(&chain).iter().map(codec::encode).collect(),
        Kind::Packed => {
            vec![compression::encode(&mempool_new(&chain)), compression::compress(b"small")]
        }
        Kind::SyncRequest => [
            sync::Request::Blocks { from: 1, count: 64 },
            sync::Request::Snapshots,
            sync::Request::Chunk { height: 64, from: Digest([128; 32]) },
        ]
        .iter()
        .map(codec::encode)
        .collect(),
        Kind::SyncResponse => {
            let blocks =
                vec![(chain.block(), chain.certificate(Phase::Commit))].try_into().unwrap();
            let header = FinalHeader {
                header: chain.block().header,
                certificate: Some(chain.certificate(Phase::Commit)),
            };
            let headers = vec![header].try_into().unwrap();
            [
                sync::Response::Blocks(sync::Blocks { head: 1, lowest: 1, blocks }),
                sync::Response::Snapshots(sync::Snapshots { head: 1, lowest: 1, headers }),
                sync::Response::Chunk(chain.state.chunk(&Digest([0; 32])).unwrap()),
                sync::Response::Gone,
            ]
            .iter()
            .map(codec::encode)
            .collect()
        }
        Kind::MempoolMessage => {
            vec![
                codec::encode(&mempool_new(&chain)),
                codec::encode(&mempool::Message::Announce(names(&chain))),
            ]
        }
        Kind::Want => vec![codec::encode(&mempool::GetTransactions { ids: names(&chain) })],
        Kind::Block => vec![codec::encode(&chain.block())],
        Kind::Transaction => chain.transactions().iter().map(codec::encode).collect(),
        Kind::Certificate => vec![codec::encode(&chain.certificate(Phase::Commit))],
        Kind::StateEntry => chain.state.entries().map(codec::encode).collect(),
        Kind::ProvedEntry => [Key::Params, Key::PendingJobs]
            .iter()
            .map(|key| codec::encode(&chain.state.prove(key)))
            .collect(),
        Kind::GenesisFile => vec![chain.genesis.encode()],
        Kind::Checkpoint => vec![chain.checkpoint()],
        Kind::HandoverFile => vec![HandoverFile::new(handovers(&chain)).unwrap().encode()],
        Kind::ContributionFile => vec![contribution(&chain).encode()],
        Kind::LightSaved => vec![LightClient::start(&chain.checkpoint(), None, 0).unwrap().save()],
        Kind::WalRecord => vec![
            codec::encode(&WalRecord::Accepted(chain.proposal())),
            codec::encode(&WalRecord::Locked(chain.certificate(Phase::Prepare))),
        ],
        Kind::CoordinatorRecord => coordinator_records(),
        Kind::Dataset => vec![codec::encode(&data())],
        Kind::DatasetCsv => {
            vec![[&[0], CSV.as_bytes()].concat(), [&[2 | 8], CSV.as_bytes()].concat()]
        }
        Kind::Keystore => vec![keystore_with_small_parameters()],
        Kind::Cid => {
            vec![codec::encode(&cid(CidCodec::Raw)), codec::encode(&cid(CidCodec::DagCbor))]
        }
        Kind::CidText => {
            vec![
                cid(CidCodec::Raw).to_string().into_bytes(),
                cid(CidCodec::DagCbor).to_string().into_bytes(),
            ]
        }
        Kind::Object => {
            vec![object::split(&vec![1; object::PART_LEN + 1]).unwrap().remove(0).bytes]
        }
        Kind::Model => vec![model().to_block().unwrap().bytes],
        Kind::Record => vec![record().to_block().unwrap().bytes],
        Kind::Answers => vec![answers().to_block().unwrap().bytes],
        Kind::BlsKey => vec![chain.voting.public().0.to_vec()],
        Kind::BlsSignature => vec![chain.voting.sign(b"sample").0.to_vec()],
        Kind::RpcRequest => {
            (0..5).map(|protocol| [&[protocol, 3, 0, 0, 0], b"ask".as_slice()].concat()).collect()
        }
        Kind::RpcResponse => (0..5)
            .map(|protocol| [&[protocol, 0, 6, 0, 0, 0], b"answer".as_slice()].concat())
            .chain((1..7).map(|status| vec![0, status]))
            .collect(),
        Kind::StunUsername => webrtc::stun_usernames(),
        Kind::ChannelFraming => webrtc::frames(),
        Kind::SessionDescription => webrtc::session_descriptions(),
        Kind::Signalling => webrtc::signalling(),
    }
}

/// Returns the genesis of a network of one member.
struct Chain {
    key: NodeKey,
    voting: bls::SecretKey,
    vrf: vrf::SecretKey,
    genesis: GenesisFile,
    header: Header,
    state: State,
    record: ledger::committee::CommitteeRecord,
}

impl Chain {
    fn new() -> Self {
        let (key, voting) = (NodeKey::from_bytes(&[1; 32]), bls::SecretKey::from_seed(&[2; 32]));
        let vrf = vrf::SecretKey::from_bytes(&[3; 32]);
        let params = Params {
            block_interval_ms_max: 10_000,
            block_interval_ms_min: 100,
            view_timeout_ms: 2_000,
            clock_skew_ms_max: 5_000,
            audit_blocks_min: 1,
            audit_blocks_max: 64,
            admission_bits: 8,
            mint_max: 1_000,
            trust_period_ms: u64::MAX - 1,
            leader_term_blocks: 2,
            epoch_blocks: 64,
            bond_min: 1,
            reputation_min: 0,
            unbonding_ms: u64::MAX,
        };
        let genesis = Genesis {
            name: "sample".try_into().unwrap(),
            time_ms: TIME_MS,
            params,
            accounts: vec![(key.id(), 10, 100)].try_into().unwrap(),
            seats: vec![GenesisSeat {
                node: key.id(),
                key: voting.public(),
                vrf_key: vrf.public(),
                weight: 100,
            }]
            .try_into()
            .unwrap(),
        };
        let possession = voting.prove_possession(&genesis.chain(), &key.id());
        let genesis = GenesisFile::new(genesis, vec![possession]).unwrap();
        let start = genesis.build_state().unwrap();
        Self {
            key,
            voting,
            vrf,
            genesis,
            header: start.header,
            state: start.state,
            record: start.committee.record().clone(),
        }
    }

    fn id(&self) -> ChainId {
        self.header.chain
    }

    fn checkpoint(&self) -> Vec<u8> {
        Checkpoint::new(self.header.clone(), None, self.record.clone(), u64::MAX).encode()
    }

    fn vote(&self, phase: Phase) -> Vote {
        Vote {
            chain: self.id(),
            epoch: 0,
            height: 1,
            view: 0,
            phase,
            digest: self.block().header.digest(),
        }
    }

    fn certificate(&self, phase: Phase) -> Certificate {
        let vote = self.vote(phase);
        let mut signers = [0; 32];
        signers[0] = 1;
        Certificate { vote, signers, signature: self.voting.sign(&vote.message()) }
    }

    fn block(&self) -> ledger::Block {
        let transactions = self.transactions();
        let header = Header {
            height: 1,
            parent: self.header.digest(),
            time_ms: TIME_MS + 1_000,
            proposer: self.key.id(),
            transactions: transactions_root(&transactions),
            proof: self.vrf.prove(&leader_seed::vrf_input(&self.id(), 1, &self.header.seed)).ok(),
            ..self.header.clone()
        };
        ledger::Block { header, transactions: transactions.try_into().unwrap() }
    }

    fn proposal(&self) -> Proposal {
        Proposal::sign(0, self.block(), None, &self.key)
    }

    fn evidence(&self) -> Evidence {
        let (chain, epoch, height, view) = (self.id(), 0, 7, 1);
        let vote =
            Vote { chain, epoch, height, view, phase: Phase::Commit, digest: Digest([5; 32]) };
        let change = ViewChange { chain, epoch, height, view: view + 1, prepared: None };
        Evidence::HiddenLock(SignedVote::sign(vote, &self.voting), change.sign(&self.key))
    }

    fn transactions(&self) -> Vec<SignedTransaction> {
        let keys =
            KeyRegistration::new(&self.id(), &self.key.id(), &self.voting, &self.vrf).unwrap();
        let actions = [
            Action::Register { anchor: 0, solution: 9 },
            Action::Join { amount: 5, keys },
            Action::SubmitJob(spec()),
            Action::SubmitJob(batch()),
            Action::JobResult { job: Digest([4; 32]), result: result(JobOutput::Model(trained())) },
            Action::JobResult {
                job: Digest([4; 32]),
                result: result(JobOutput::Answers(cid(CidCodec::DagCbor))),
            },
            Action::Audit { job: Digest([4; 32]), verdict: Verdict::Agree },
            Action::CancelJob { job: Digest([4; 32]) },
            Action::UpdateRef {
                name: "a/b".try_into().unwrap(),
                expected: 0,
                cid: cid(CidCodec::DagCbor),
            },
            Action::Report { accused: self.key.id(), evidence: Box::new(self.evidence()) },
            Action::Bond { amount: 5 },
            Action::Leave,
            Action::RotateKeys { keys },
            Action::Transfer { to: self.key.id(), amount: 5 },
        ];
        let sign = |(nonce, action)| {
            Transaction { chain: self.id(), sender: self.key.id(), nonce, expires: 100, action }
                .sign(&self.key)
        };
        (0..).zip(actions).map(sign).collect()
    }
}

fn light_requests(chain: &Chain) -> Vec<light::Request> {
    let keys =
        vec![Key::Params, Key::Account(chain.key.id()), Key::Ref("models/x".try_into().unwrap())];
    vec![
        light::Request::Head { after: 3, wait_ms: 15_000 },
        light::Request::Header { height: 1 },
        light::Request::Prove { keys: keys.try_into().unwrap() },
        light::Request::Object { cid: cid(CidCodec::Raw) },
        light::Request::Submit { transaction: chain.transactions().remove(0) },
        light::Request::Jobs,
        light::Request::Events { after: 0 },
        light::Request::Members,
        light::Request::Handovers { from: 3, count: 8 },
        light::Request::Addresses { of: light::AddressQuery::Coordinator(chain.key.id()) },
        light::Request::Addresses { of: light::AddressQuery::Relays },
    ]
}

fn light_responses(chain: &Chain) -> Vec<light::Response> {
    let header = light::FinalHeader {
        header: chain.header.clone(),
        certificate: Some(chain.certificate(Phase::Commit)),
    };
    let rejected = light::Event::Rejected {
        job: Digest([4; 32]),
        round: 1,
        unit: 2,
        worker: NodeId([5; 32]),
        kind: work::RejectionKind::Wrong,
        reason: "step 3 is computed wrongly".try_into().unwrap(),
    };
    let member = light::Member { node: chain.key.id(), agent: "tequio/0.1.0".try_into().unwrap() };
    vec![
        light::Response::Header(header.clone()),
        light::Response::Proved {
            header,
            entries: vec![chain.state.prove(&Key::Params)].try_into().unwrap(),
        },
        light::Response::Object(b"object".to_vec().try_into().unwrap()),
        light::Response::Submitted(Digest([6; 32])),
        light::Response::Jobs(vec![progress()].try_into().unwrap()),
        light::Response::Events(vec![(1, TIME_MS, rejected)].try_into().unwrap()),
        light::Response::Members(vec![member].try_into().unwrap()),
        light::Response::Handovers(handovers(chain).try_into().unwrap()),
        light::Response::Addresses(
            vec!["/ip4/192.0.2.1/tcp/4810".try_into().unwrap()].try_into().unwrap(),
        ),
        light::Response::Refused(light::Refusal::NotAccepted("no".try_into().unwrap())),
    ]
}

fn contribution(chain: &Chain) -> ContributionFile {
    let (header, job) = (handovers(chain)[0].header.clone(), Digest([7; 32]));
    let entry = chain.state.prove(&Key::Job(job));
    ContributionFile::new(chain.key.id(), job, handovers(chain), header, entry).unwrap()
}

/// Returns two handovers: one with unchanged seats, and one with new seats.
fn handovers(chain: &Chain) -> Vec<light::CommitteeHandover> {
    let header = light::FinalHeader {
        header: chain.header.clone(),
        certificate: Some(chain.certificate(Phase::Commit)),
    };
    let same = light::CommitteeHandover { header, formed_ms: TIME_MS, seats: None };
    vec![same.clone(), light::CommitteeHandover { seats: Some(chain.record.seats.clone()), ..same }]
}

fn work_requests() -> Vec<work::Request> {
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

/// Returns one consensus message of each kind.
fn tasks() -> Vec<work::Task> {
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

fn work_responses() -> Vec<work::Response> {
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

fn consensus_messages(chain: &Chain) -> Vec<Message> {
    let prepared = Some(chain.certificate(Phase::Prepare));
    let change =
        ViewChange { chain: chain.id(), epoch: 0, height: 1, view: 1, prepared }.sign(&chain.key);
    let justified = Proposal::sign(
        1,
        chain.block(),
        Some(vec![change.clone()].try_into().unwrap()),
        &chain.key,
    );
    vec![
        Message::Vote(SignedVote::sign(chain.vote(Phase::Prepare), &chain.voting)),
        Message::Proposal(chain.proposal()),
        Message::Proposal(justified),
        Message::ViewChange { change, block: Some(chain.block()) },
        Message::CommitCertificate(chain.certificate(Phase::Commit)),
        Message::PrepareCertificate(chain.certificate(Phase::Prepare)),
    ]
}

fn coordinator_records() -> Vec<Vec<u8>> {
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

fn progress() -> work::JobProgress {
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

fn contributor() -> Contributor {
    Contributor { node: NodeId([5; 32]), units: 8, checks: 1, macs: 1_000 }
}

fn spec() -> JobSpec {
    JobSpec {
        name: "sample".try_into().unwrap(),
        dataset: cid(CidCodec::Raw),
        task: JobTask::Train(training()),
    }
}

fn training() -> TrainingTask {
    TrainingTask {
        params: plan().params().clone(),
        training_rows: data().train().rows(),
        spot_check_share: 1,
    }
}

fn batch() -> JobSpec {
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

fn result(output: JobOutput) -> JobResult {
    JobResult { output, contributors: vec![contributor()].try_into().unwrap(), rejected: 0 }
}

fn trained() -> TrainedModel {
    let (model, record) = (cid(CidCodec::DagCbor), cid(CidCodec::DagCbor));
    TrainedModel { weights: Digest([3; 32]), model, record, correct: 3, tested: 4 }
}

fn lease_id() -> work::LeaseId {
    work::LeaseId { job: Digest([4; 32]), number: 77 }
}

fn cid(codec: CidCodec) -> Cid {
    Cid::of(codec, b"sample")
}

fn data() -> Dataset {
    dataset::prepare(CSV.as_bytes(), &CsvOptions::new(Label::Name("class"))).unwrap()
}

fn plan() -> Plan {
    JobParams::for_dataset(&data(), &[2], 0).unwrap().validate().unwrap()
}

fn local_steps_input() -> LocalStepsInput {
    let (data, plan) = (data(), plan());
    let id = WorkUnitId { job: Digest([4; 32]), round: 0, unit: 0 };
    let mut order = EpochOrder::new(data.train().rows());
    LocalStepsInput::assemble(&plan, &mut order, data.train(), &Weights::initial(&plan), id)
        .unwrap()
}

fn model() -> Model {
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

fn answers() -> Answers {
    Answers {
        job: Digest([4; 32]),
        model: cid(CidCodec::DagCbor),
        batch: cid(CidCodec::Raw),
        classes: vec![1, 0],
    }
}

fn record() -> TrainingRecord {
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

/// A keystore with the least cost that Argon2 allows. Opening it fails after all the work that a
/// wrong passphrase causes.
fn keystore_with_small_parameters() -> Vec<u8> {
    let mut file = tequio_core::keystore::seal(b"secret", b"passphrase", [1; 16], [2; 24]).unwrap();
    file[9..13].copy_from_slice(&8u32.to_le_bytes());
    file[13..17].copy_from_slice(&1u32.to_le_bytes());
    file
}
