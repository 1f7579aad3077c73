//! A network of one member: its genesis, block, votes and transactions.

use super::jobs::{batch, cid, result, spec, trained};
use tequio_core::{
    content::CidCodec,
    crypto::{NodeKey, bls, vrf},
    ledger::{
        self, Action, Certificate, Checkpoint, Evidence, Genesis, Header, KeyRegistration, Params,
        Phase, SignedTransaction, State, Transaction, Vote,
        block::transactions_root,
        genesis::{GenesisFile, GenesisSeat},
        job::{JobOutput, Verdict},
        leader_seed,
    },
    types::{ChainId, Digest},
    wire::consensus::{Proposal, SignedVote, ViewChange},
};

pub const TIME_MS: u64 = 1_790_000_000_000;

/// A network of one member.
pub struct Chain {
    pub key: NodeKey,
    pub voting: bls::SecretKey,
    pub vrf: vrf::SecretKey,
    pub genesis: GenesisFile,
    pub header: Header,
    pub state: State,
    pub record: ledger::committee::CommitteeRecord,
}

impl Chain {
    pub fn new() -> Self {
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

    pub fn id(&self) -> ChainId {
        self.header.chain
    }

    pub fn checkpoint(&self) -> Vec<u8> {
        Checkpoint::new(self.header.clone(), None, self.record.clone(), u64::MAX).encode()
    }

    pub fn vote(&self, phase: Phase) -> Vote {
        Vote {
            chain: self.id(),
            epoch: 0,
            height: 1,
            view: 0,
            phase,
            digest: self.block().header.digest(),
        }
    }

    pub fn certificate(&self, phase: Phase) -> Certificate {
        let vote = self.vote(phase);
        let mut signers = [0; 32];
        signers[0] = 1;
        Certificate { vote, signers, signature: self.voting.sign(&vote.message()) }
    }

    pub fn block(&self) -> ledger::Block {
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

    pub fn proposal(&self) -> Proposal {
        Proposal::sign(0, self.block(), None, &self.key)
    }

    pub fn evidence(&self) -> Evidence {
        let (chain, epoch, height, view) = (self.id(), 0, 7, 1);
        let vote =
            Vote { chain, epoch, height, view, phase: Phase::Commit, digest: Digest([5; 32]) };
        let change = ViewChange { chain, epoch, height, view: view + 1, prepared: None };
        Evidence::HiddenLock(SignedVote::sign(vote, &self.voting), change.sign(&self.key))
    }

    pub fn transactions(&self) -> Vec<SignedTransaction> {
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
