//! The ledger's rules, each shown from both sides.

use super::*;
use crate::{
    codec,
    compute::params::{Architecture, JobParams, Mode, Rounding},
    crypto::{NodeKey, bls},
    knowledge::CidCodec,
    ledger::{
        Genesis,
        block::transactions_root,
        committee::tests::vrf_of,
        genesis::{GenesisFile, GenesisSeat, GenesisState},
        job::{ANSWERS, JobOutput, MODELS, TrainedModel, TrainingTask},
        state::solve_admission,
    },
    types::Unverified,
};
use alloc::{string::ToString, vec};

mod membership;
mod penalty;

const EPOCH: u64 = 8;
const TRUST_MS: u64 = 40;
const AUDIT_BLOCKS_MIN: u64 = 3;
const AUDIT_BLOCKS_MAX: u64 = 10;
const MINT_MAX: u64 = 1000;

/// A chain for tests, with four members of equal weight.
struct Ledger {
    keys: Vec<NodeKey>,
    start: GenesisState,
    state: State,
    head: Header,
    committee: Committee,
}

impl Ledger {
    fn new() -> Self {
        let keys: Vec<NodeKey> = (1..=6).map(|n| NodeKey::from_bytes(&[n; 32])).collect();
        let secrets: Vec<_> = (1..=4).map(|n| bls::SecretKey::from_seed(&[n; 32])).collect();
        let params = Params {
            block_interval_ms_max: 1000,
            block_interval_ms_min: 10,
            view_timeout_ms: 1000,
            clock_skew_ms_max: 1000,
            audit_blocks_min: AUDIT_BLOCKS_MIN,
            audit_blocks_max: AUDIT_BLOCKS_MAX,
            admission_bits: 6,
            mint_max: MINT_MAX,
            leader_term_blocks: 4,
            trust_period_ms: TRUST_MS,
            epoch_blocks: EPOCH,
            bond_min: 10,
            reputation_min: 0,
            unbonding_ms: TRUST_MS + 1,
        };
        let members = || keys.iter().zip(&secrets);
        let genesis = Genesis {
            name: "test".try_into().unwrap(),
            time_ms: 1,
            params,
            accounts: BoundedVec::truncated(members().map(|(k, _)| (k.id(), 100, 50))),
            seats: BoundedVec::truncated(members().map(|(k, s)| GenesisSeat {
                node: k.id(),
                key: s.public(),
                vrf_key: vrf_of(&k.id()).public(),
                weight: 50,
            })),
        };
        let chain = genesis.chain();
        let possessions = members().map(|(k, s)| s.prove_possession(&chain, &k.id())).collect();
        let start = GenesisFile::new(genesis, possessions).unwrap().build_state().unwrap();
        let committee = start.committee.clone();
        Self { keys, state: start.state.clone(), head: start.header.clone(), committee, start }
    }

    fn sign(&self, key: usize, nonce: u64, action: Action) -> Verified<SignedTransaction> {
        let (chain, sender, expires) =
            (self.start.chain, self.keys[key].id(), self.head.height + 100);
        let signed = Transaction { chain, sender, nonce, expires, action }.sign(&self.keys[key]);
        Unverified::new(signed).verify(&chain).unwrap()
    }

    /// Applies a block and checks that the store's view, made of changes alone, has the same root.
    fn block(&mut self, transactions: &[Verified<SignedTransaction>]) -> Vec<TransactionResult> {
        let context = BlockContext { parent: &self.head, committee: &self.committee };
        let outcome = self.state.apply(context, transactions);
        let mut stored = State::default();
        self.state.entries().cloned().for_each(|e| stored.insert(e));
        assert!(outcome.changes.is_sorted_by_key(|change| *change.state_key()));
        for change in outcome.changes {
            let entry = change.entry();
            assert_eq!(
                (*change.state_key(), &change.bytes),
                (entry.key().digest(), &codec::encode(entry))
            );
            stored.insert(entry.clone());
        }
        assert_eq!(stored.root(), outcome.state.root());
        self.head = Header {
            height: self.head.height + 1,
            parent: self.head.digest(),
            time_ms: self.head.time_ms + 1,
            state: outcome.state.root(),
            transactions: transactions_root(&[]),
            ..self.head.clone()
        };
        self.state = outcome.state;
        if let Some(record) = self.state.committee(self.committee.epoch() + 1) {
            self.committee = Committee::new(record.clone(), &self.start.chain).unwrap();
        }
        outcome.receipts.into_iter().map(|r| r.result).collect()
    }

    fn apply_action(&mut self, key: usize, action: Action) -> TransactionResult {
        let nonce = self.state.account(&self.keys[key].id()).map_or(0, |a| a.nonce);
        let transaction = self.sign(key, nonce, action);
        self.block(&[transaction]).remove(0)
    }

    fn submit(&mut self) -> JobId {
        let nonce = self.state.account(&self.keys[0].id()).unwrap().nonce;
        let transaction = self.sign(0, nonce, Action::SubmitJob(spec()));
        let id = transaction.id();
        assert_eq!(self.block(&[transaction]), [Ok(())]);
        id
    }

    fn status(&self, job: &JobId) -> &JobStatus {
        &self.state.job(job).unwrap().status
    }

    fn auditors(&self, job: &JobId) -> Vec<usize> {
        let JobStatus::Pending { auditors, .. } = self.status(job) else { return vec![] };
        auditors.iter().map(|a| self.keys.iter().position(|k| k.id() == *a).unwrap()).collect()
    }

    /// The coordinator's result, agreed to by its auditors.
    fn audit_to_final(&mut self, coordinator: usize, job: JobId, result: JobResult) {
        assert_eq!(self.apply_action(coordinator, Action::JobResult { job, result }), Ok(()));
        (0..AUDIT_BLOCKS_MIN).for_each(|_| drop(self.block(&[])));
        for auditor in self.auditors(&job).into_iter().take(2) {
            assert_eq!(
                self.apply_action(auditor, Action::Audit { job, verdict: Verdict::Agree }),
                Ok(())
            );
        }
        assert!(matches!(self.status(&job), JobStatus::Final { .. }));
    }

    fn contributor(&self, key: usize, macs: u64) -> Contributor {
        Contributor { node: self.keys[key].id(), units: 1, checks: 1, macs }
    }
}

fn spec() -> JobSpec {
    JobSpec {
        name: "digits".try_into().unwrap(),
        dataset: Cid::of(CidCodec::Raw, b"data"),
        task: JobTask::Train(training()),
    }
}

fn training() -> TrainingTask {
    TrainingTask {
        params: JobParams {
            architecture: Architecture {
                dims: vec![64, 256, 10].try_into().unwrap(),
                input_exponent: 6,
                hidden_exponent: 5,
            },
            rows_per_step: 8,
            mode: Mode::Local { units: 8, steps: 16 },
            learning_rate: 6554,
            momentum: 230,
            rounds: 55,
            seed: 0,
            rounding: Rounding::Stochastic,
        },
        training_rows: 1437,
        spot_check_share: 65536,
    }
}

fn result(contributors: Vec<Contributor>) -> JobResult {
    JobResult {
        output: JobOutput::Model(trained()),
        contributors: contributors.try_into().unwrap(),
        rejected: 0,
    }
}

fn trained() -> TrainedModel {
    TrainedModel {
        weights: Digest([1; 32]),
        model: Cid::of(CidCodec::DagCbor, b"model"),
        record: Cid::of(CidCodec::DagCbor, b"record"),
        correct: 97,
        tested: 100,
    }
}

#[test]
fn nonces_and_expiry_stop_replays() {
    let mut ledger = Ledger::new();
    let name = RefName::try_from(alloc::format!("{}/a", ledger.keys[0].id())).unwrap();
    let update = Action::UpdateRef { name, expected: 0, cid: Cid::of(CidCodec::Raw, b"x") };
    let first = ledger.sign(0, 0, update.clone());
    let early = ledger.sign(0, 2, update.clone());
    let results = ledger.block(&[early, first.clone(), first.clone()]);
    assert_eq!(results[0], Err(TransactionError::WrongNonce { found: 2, expected: 0 }));
    assert_eq!(results[1], Ok(()));
    assert_eq!(results[2], Err(TransactionError::WrongNonce { found: 0, expected: 1 }));
    // A failed action uses its nonce up.
    assert_eq!(
        ledger.apply_action(0, update),
        Err(TransactionError::WrongRefSequence { found: 1, expected: 0 })
    );
    assert_eq!(ledger.state.account(&ledger.keys[0].id()).unwrap().nonce, 2);
    let mut late = Transaction::clone(&first.transaction);
    late.expires = ledger.head.height;
    assert_eq!(
        ledger.state.admits(&late, ledger.head.height + 1),
        Err(TransactionError::Expired(late.expires))
    );
    late.expires = ledger.head.height + VALIDITY_BLOCKS_MAX + 2;
    assert_eq!(
        ledger.state.admits(&late, ledger.head.height + 1),
        Err(TransactionError::ExpiresTooLate)
    );
}

#[test]
fn only_a_solved_recent_puzzle_admits_and_only_eight_in_a_block() {
    let mut ledger = Ledger::new();
    assert_eq!(
        ledger.apply_action(5, Action::SubmitJob(spec())),
        Err(TransactionError::UnknownSender)
    );
    let (anchor, bits) = (ledger.head.height - 1, ledger.start.params.admission_bits);
    let digest = ledger.state.recent(anchor).unwrap();
    let chain = ledger.start.chain;
    let solve = |node: &NodeId| solve_admission(&chain, node, &digest, bits, 0, 1 << 20).unwrap();
    let solution = solve(&ledger.keys[5].id());
    // Another identity's solution, and an anchor outside the recent blocks, are refused.
    let other = (0..).find(|s| {
        leading_zeros(&admission_digest(&chain, &ledger.keys[5].id(), &digest, *s)) < bits.into()
    });
    let refused = Err(TransactionError::InvalidAdmission);
    assert_eq!(
        ledger.apply_action(5, Action::Register { anchor, solution: other.unwrap() }),
        refused
    );
    assert_eq!(ledger.apply_action(5, Action::Register { anchor: 1000, solution }), refused);
    assert_eq!(ledger.apply_action(5, Action::Register { anchor, solution }), Ok(()));
    assert_eq!(
        ledger.apply_action(5, Action::Register { anchor, solution }),
        Err(TransactionError::AlreadyRegistered)
    );
    // The nonce starts at the height of the registration.
    assert!(ledger.state.account(&ledger.keys[5].id()).unwrap().nonce > 0);

    let crowd: Vec<NodeKey> = (100..109).map(|n| NodeKey::from_bytes(&[n; 32])).collect();
    let transactions: Vec<_> = crowd
        .iter()
        .map(|key| {
            let action = Action::Register { anchor, solution: solve(&key.id()) };
            let t =
                Transaction { chain, sender: key.id(), nonce: 0, expires: 50, action }.sign(key);
            Unverified::new(t).verify(&chain).unwrap()
        })
        .collect();
    let results = ledger.block(&transactions);
    assert!(results[..REGISTRATIONS_PER_BLOCK_MAX].iter().all(Result::is_ok));
    assert_eq!(results[REGISTRATIONS_PER_BLOCK_MAX], Err(TransactionError::TooManyRegistrations));
}

#[test]
fn a_result_becomes_final_only_by_auditors_drawn_later() {
    let mut ledger = Ledger::new();
    let job = ledger.submit();
    let found =
        result(vec![ledger.contributor(4, 300_000_000), ledger.contributor(0, 500_000_000)]);
    assert_eq!(
        ledger.apply_action(1, Action::JobResult { job, result: found.clone() }),
        Err(TransactionError::NotCoordinator)
    );
    assert_eq!(ledger.apply_action(0, Action::JobResult { job, result: found }), Ok(()));
    // Auditors are not drawn yet: nobody can audit.
    assert_eq!(
        ledger.apply_action(1, Action::Audit { job, verdict: Verdict::Agree }),
        Err(TransactionError::NotAuditor)
    );
    ledger.block(&[]);
    let auditors = ledger.auditors(&job);
    assert_eq!(auditors.len(), 3, "a quorum of the four, without the coordinator");
    assert!(!auditors.contains(&0));
    let agree = Action::Audit { job, verdict: Verdict::Agree };
    assert_eq!(ledger.apply_action(0, agree.clone()), Err(TransactionError::NotAuditor));
    assert_eq!(ledger.apply_action(auditors[0], agree.clone()), Ok(()));
    assert_eq!(
        ledger.apply_action(auditors[0], agree.clone()),
        Err(TransactionError::AlreadyAudited)
    );
    ledger.block(&[]);
    assert!(matches!(ledger.status(&job), JobStatus::Pending { .. }), "one audit is not enough");
    assert_eq!(ledger.apply_action(auditors[1], agree), Ok(()));
    let JobStatus::Final { minted, .. } = ledger.status(&job) else { panic!("not final") };
    assert_eq!(*minted, 300, "the coordinator's own work mints nothing");
    let worker = ledger.state.account(&ledger.keys[4].id()).unwrap();
    assert_eq!((worker.reputation, worker.units, worker.registered), (300, 1, false));
    let own = ledger.state.account(&ledger.keys[0].id()).unwrap();
    assert_eq!((own.reputation, own.units, own.jobs), (0, 1, 0));
    let name = RefName::try_from(alloc::format!("{MODELS}{job}")).unwrap();
    assert_eq!(ledger.state.reference(&name).unwrap().cid, Cid::of(CidCodec::DagCbor, b"model"));
    assert!(ledger.state.pending_jobs().is_empty());
}

#[test]
fn a_batch_is_answered_only_by_a_final_model() {
    let mut ledger = Ledger::new();
    let job = ledger.submit();
    let task = InferenceTask {
        training_job: job,
        model: trained().model,
        architecture: training().params.architecture,
        rows: 1000,
    };
    let submit = |ledger: &mut Ledger, task: InferenceTask| {
        let nonce = ledger.state.account(&ledger.keys[1].id()).unwrap().nonce;
        let spec = JobSpec { task: JobTask::Infer(task), ..spec() };
        let transaction = ledger.sign(1, nonce, Action::SubmitJob(spec));
        let id = transaction.id();
        ledger.block(&[transaction]).remove(0).map(|()| id)
    };
    assert_eq!(
        submit(&mut ledger, task.clone()),
        Err(TransactionError::WrongModel),
        "not final yet"
    );
    ledger.audit_to_final(0, job, result(vec![]));
    let other_model = InferenceTask { model: trained().record, ..task.clone() };
    assert_eq!(submit(&mut ledger, other_model), Err(TransactionError::WrongModel));
    let mut other_shape = task.clone();
    other_shape.architecture.dims = vec![64, 128, 10].try_into().unwrap();
    assert_eq!(submit(&mut ledger, other_shape), Err(TransactionError::WrongModel));
    let no_rows = InferenceTask { rows: 0, ..task.clone() };
    assert_eq!(submit(&mut ledger, no_rows), Err(TransactionError::InvalidJobParams));
    let batch = submit(&mut ledger, task.clone()).unwrap();
    // A model is no valid result of an inference, and answers are no model to infer with.
    let wrong = Action::JobResult { job: batch, result: result(vec![]) };
    assert_eq!(ledger.apply_action(1, wrong), Err(TransactionError::BadResult));
    let answers = Cid::of(CidCodec::DagCbor, b"answers");
    let found = JobResult {
        output: JobOutput::Answers(answers),
        ..result(vec![ledger.contributor(4, 1000)])
    };
    ledger.audit_to_final(1, batch, found);
    let name = RefName::try_from(alloc::format!("{ANSWERS}{batch}")).unwrap();
    assert_eq!(ledger.state.reference(&name).unwrap().cid, answers);
    assert_eq!(
        submit(&mut ledger, InferenceTask { training_job: batch, ..task }),
        Err(TransactionError::WrongModel)
    );
}

#[test]
fn disagreement_and_silence_end_a_job_without_a_model() {
    let mut ledger = Ledger::new();
    let refuted = ledger.submit();
    assert_eq!(
        ledger.apply_action(0, Action::JobResult { job: refuted, result: result(vec![]) }),
        Ok(())
    );
    let silent = ledger.submit();
    assert_eq!(
        ledger.apply_action(0, Action::JobResult { job: silent, result: result(vec![]) }),
        Ok(())
    );
    ledger.block(&[]);
    ledger.block(&[]);
    for auditor in ledger.auditors(&refuted).into_iter().take(2) {
        assert_eq!(
            ledger
                .apply_action(auditor, Action::Audit { job: refuted, verdict: Verdict::Disagree }),
            Ok(())
        );
    }
    assert!(matches!(
        ledger.status(&refuted),
        JobStatus::Failed { reason: FailReason::Refuted, .. }
    ));
    for _ in 0..AUDIT_BLOCKS_MAX {
        ledger.block(&[]);
    }
    assert!(matches!(
        ledger.status(&silent),
        JobStatus::Failed { reason: FailReason::Unaudited, .. }
    ));
    let cancelled = ledger.submit();
    assert_eq!(ledger.apply_action(0, Action::CancelJob { job: cancelled }), Ok(()));
    assert_eq!(
        ledger.apply_action(0, Action::CancelJob { job: cancelled }),
        Err(TransactionError::WrongJobStatus)
    );
    for job in [refuted, silent, cancelled] {
        let name = RefName::try_from(alloc::format!("{MODELS}{job}")).unwrap();
        assert_eq!(ledger.state.reference(&name), None);
    }
}

#[test]
fn minting_is_capped_per_submitter_and_results_may_not_overclaim() {
    let mut ledger = Ledger::new();
    let job = ledger.submit();
    let twice = vec![ledger.contributor(4, 1), ledger.contributor(4, 1)];
    let greedy = vec![Contributor { units: 441, ..ledger.contributor(4, 1) }];
    let endless = vec![ledger.contributor(4, u64::MAX)];
    for contributors in [twice, greedy, endless] {
        let result = result(contributors);
        assert_eq!(
            ledger.apply_action(0, Action::JobResult { job, result }),
            Err(TransactionError::BadResult)
        );
    }
    let contributors = vec![ledger.contributor(4, 900_000_000), ledger.contributor(5, 900_000_000)];
    assert_eq!(
        ledger.apply_action(0, Action::JobResult { job, result: result(contributors) }),
        Ok(())
    );
    ledger.block(&[]);
    ledger.block(&[]);
    for auditor in ledger.auditors(&job).into_iter().take(2) {
        ledger.apply_action(auditor, Action::Audit { job, verdict: Verdict::Agree }).unwrap();
    }
    let reputation =
        |key: usize| ledger.state.account(&ledger.keys[key].id()).map(|a| a.reputation);
    assert_eq!((reputation(4), reputation(5)), (Some(900), Some(MINT_MAX - 900)));
}

#[test]
fn jobs_outside_the_limits_are_refused() {
    let mut ledger = Ledger::new();
    let mut submit = |change: &dyn Fn(&mut TrainingTask)| {
        let mut task = training();
        change(&mut task);
        ledger.apply_action(0, Action::SubmitJob(JobSpec { task: JobTask::Train(task), ..spec() }))
    };
    assert_eq!(submit(&|task| task.params.rounds = 0), Err(TransactionError::InvalidJobParams));
    assert_eq!(submit(&|task| task.training_rows = 63), Err(TransactionError::InvalidJobParams));
    assert!(matches!(
        submit(&|task| task.params.rounds = 1 << 20),
        Err(TransactionError::JobTooLarge(_))
    ));
    for _ in 0..JOBS_PER_OWNER_MAX {
        ledger.submit();
    }
    assert_eq!(
        ledger.apply_action(0, Action::SubmitJob(spec())),
        Err(TransactionError::QuotaExceeded(JOBS_PER_OWNER_MAX))
    );
}

#[test]
fn refs_move_by_their_owner_and_in_sequence() {
    let mut ledger = Ledger::new();
    let own = ledger.keys[0].id().to_string();
    let update = |name: &str, expected| Action::UpdateRef {
        name: name.try_into().unwrap(),
        expected,
        cid: Cid::of(CidCodec::Raw, name.as_bytes()),
    };
    let path = alloc::format!("{own}/notes");
    assert_eq!(ledger.apply_action(0, update(&path, 0)), Ok(()));
    assert_eq!(ledger.apply_action(0, update(&path, 1)), Ok(()));
    assert_eq!(
        ledger.apply_action(0, update(&path, 1)),
        Err(TransactionError::WrongRefSequence { found: 2, expected: 1 })
    );
    let job = ledger.submit();
    for foreign in [path.as_str(), &alloc::format!("{MODELS}{job}"), &alloc::format!("{own}/"), "x"]
    {
        assert_eq!(
            ledger.apply_action(1, update(foreign, 0)),
            Err(TransactionError::NotOwner),
            "{foreign}"
        );
    }
}

#[test]
fn entries_of_any_bytes_decode_or_are_refused() {
    let ledger = Ledger::new();
    for entry in ledger.state.entries() {
        let bytes = codec::encode(entry);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0xff;
            if let Ok(decoded) = codec::decode::<Entry>(&changed, 1 << 20) {
                assert_eq!(codec::encode(&decoded), changed, "two encodings of one entry");
            }
        }
    }
}

#[test]
fn a_name_is_its_owners_if_it_begins_with_all_of_its_digits_and_goes_on() {
    let (owner, other) = (NodeId([0xab; 32]), NodeId([0xac; 32]));
    let is_own = |name: &str| super::is_own(&RefName::try_from(name).unwrap(), &owner);
    assert!(is_own(&alloc::format!("{owner}/a")) && is_own(&alloc::format!("{owner}//")));
    let upper = owner.to_string().to_uppercase();
    for name in [
        "",
        "/a",
        &owner.to_string(),
        &alloc::format!("{owner}/"),
        &alloc::format!("{owner}a/b"),
        &alloc::format!("{other}/a"),
        &alloc::format!("{upper}/a"),
    ] {
        assert!(!is_own(name), "{name}");
    }
}

#[test]
fn an_id_is_the_digest_of_what_is_signed_also_after_the_wire() {
    let key = NodeKey::from_bytes(&[3; 32]);
    let transaction = Transaction {
        chain: ChainId([1; 32]),
        sender: key.id(),
        nonce: 4,
        expires: 9,
        action: Action::Leave,
    };
    let bytes = codec::encode(&transaction);
    let signed = transaction.sign(&key);
    assert_eq!(signed.id(), crate::crypto::hash::hash(HashContext::Transaction, &bytes));
    assert_eq!(signed.signature, key.sign(HashContext::Transaction, &bytes));
    let sent = codec::encode(&signed);
    assert_eq!(sent, [bytes, signed.signature.0.to_vec()].concat());
    let come: SignedTransaction = codec::decode(&sent, sent.len()).unwrap();
    assert_eq!((come.id(), &come), (signed.id(), &signed));
}

#[test]
fn a_ref_has_the_state_key_of_its_key() {
    let name = RefName::try_from("models/x").unwrap();
    let cid = Cid::of(CidCodec::Raw, b"x");
    let entry = Entry::Ref(Ref { name, owner: None, sequence: 1, cid, height: 1 });
    assert_eq!(entry.state_key(), entry.key().digest());
}
