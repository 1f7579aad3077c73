//! The ledger's rules, each shown from both sides.

use super::error::TransactionResult;
use crate::{
    codec::{self, BoundedVec},
    compute::params::{Architecture, JobParams, Mode, Rounding},
    content::{Cid, CidCodec},
    crypto::{NodeKey, bls, hash::HashContext},
    ledger::{
        Action, BlockContext, Committee, Entry, Genesis, Header, Params, SignedTransaction, State,
        Transaction, TransactionError,
        block::transactions_root,
        committee::tests::vrf_of,
        genesis::{GenesisFile, GenesisSeat, GenesisState},
        ids::{JobId, RefName},
        job::{
            ANSWERS, Contributor, FailReason, InferenceTask, JobOutput, JobResult, JobSpec,
            JobStatus, JobTask, MODELS, TrainedModel, TrainingTask, Verdict,
        },
        state::{Account, Ref},
        transaction::VALIDITY_BLOCKS_MAX,
    },
    types::{ChainId, Digest, NodeId, Unverified, Verified},
};
use alloc::{string::ToString, vec, vec::Vec};

mod admission;
mod jobs;
mod membership;
mod penalties;
mod refs;

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
fn an_id_is_the_digest_of_the_signed_bytes_also_after_decoding() {
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
