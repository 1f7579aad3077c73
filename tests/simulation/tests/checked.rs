//! Signature checks of a proposal: a member does not verify again what its mempool has verified,
//! and accepts nothing else as verified.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use tequio_core::{
    codec::BoundedVec,
    consensus::{
        BlockError, Config, Head, Input, Offence, Output, Pipeline, Recipient, Replica, VoteRouting,
    },
    content::{Cid, CidCodec},
    crypto::meter,
    ledger::{
        Action, Block, SignedTransaction, Transaction, VerifiedSignature,
        block::{BLOCK_LEN_MAX, transactions_root},
        job::{CONTRIBUTORS_MAX, Contributor, JobOutput, JobResult},
        transaction::InvalidTransaction,
    },
    machine::Machine,
    types::{Digest, TimeMs, Unverified, Verified},
    wire::consensus::{Message, Proposal},
};
use tequio_simulation::{
    chain_fixture::{ChainFixture, GENESIS_MS},
    fault_profile::CHAIN_CONFIG,
};

const TRANSACTIONS: u64 = 8;

fn member(fixture: &ChainFixture, seat: usize, now_ms: TimeMs) -> Replica {
    let (node_key, seat_keys) = (fixture.keys[seat].0.clone(), fixture.seat_keys[seat].clone());
    let config =
        Config { node_key, seat_keys, vote_routing: VoteRouting::All, pipeline: Pipeline::Off };
    Replica::restore(config, Head::genesis(&fixture.genesis), Vec::new(), now_ms).unwrap()
}

fn transactions(fixture: &ChainFixture) -> Vec<Verified<SignedTransaction>> {
    let signed = (1..=TRANSACTIONS).map(|n| fixture.transaction(0, n, 0));
    signed.map(|t| Unverified::new(t).verify(&fixture.genesis.chain).unwrap()).collect()
}

/// The first proposal, with all transactions.
fn proposal(fixture: &ChainFixture, now_ms: TimeMs) -> (usize, Proposal) {
    let seat = fixture.first_leader(0);
    let mut leader = member(fixture, seat, now_ms);
    leader.handle(now_ms, Input::WantBlock { height: 1 }).unwrap();
    loop {
        match leader.poll().expect("a proposal") {
            Output::BuildBlock(wanted) => {
                let (height, view, parent) = (wanted.height, wanted.view, wanted.parent);
                let built = Input::Built {
                    height,
                    view,
                    parent,
                    transactions: transactions(fixture),
                    queued_inputs: 0,
                };
                leader.handle(now_ms, built).unwrap();
            }
            Output::Persist(_) => leader.handle(now_ms, Input::Persisted).unwrap(),
            Output::Send { to: Recipient::All, message: Message::Proposal(proposal) } => {
                return (seat, proposal);
            }
            _ => {}
        }
    }
}

/// Handles a proposal. Returns the number of Ed25519 verifications, and the error, if there is one.
fn receive_proposal(
    replica: &mut Replica,
    fixture: &ChainFixture,
    leader: usize,
    proposal: Proposal,
    now_ms: TimeMs,
) -> (u64, Option<Offence>) {
    let (from, message) =
        (fixture.keys[leader].0.id(), Unverified::new(Message::Proposal(proposal)));
    meter::take();
    replica.handle(now_ms, Input::Received { from, message }).unwrap();
    let verifications = meter::take().ed25519_verified;
    let (offence, accepts) = proposal_outcome(replica);
    assert_eq!(accepts, offence.is_none(), "{offence:?}");
    (verifications, offence)
}

/// Reads a member's outputs about a proposal: the error, and whether the member accepts it.
fn proposal_outcome(replica: &mut Replica) -> (Option<Offence>, bool) {
    let outputs: Vec<Output> = std::iter::from_fn(|| replica.poll()).collect();
    let offence = outputs.iter().find_map(|output| match output {
        Output::Misbehaviour { offence, .. } => Some(*offence.clone()),
        _ => None,
    });
    (offence, outputs.iter().any(|output| matches!(output, Output::Persist(_))))
}

#[test]
fn transactions_verified_by_the_mempool_are_not_verified_again() {
    let (fixture, now_ms) = (ChainFixture::of(4, CHAIN_CONFIG), GENESIS_MS + 5_000);
    let (leader, proposal) = proposal(fixture, now_ms);
    assert_eq!(proposal.block.transactions.len() as u64, TRANSACTIONS);
    let checked: Vec<VerifiedSignature> =
        transactions(fixture).iter().map(VerifiedSignature::of).collect();
    let other = (0..4).find(|seat| *seat != leader).unwrap();
    for known in [0, 3, TRANSACTIONS] {
        let mut replica = member(fixture, other, now_ms);
        replica
            .handle(now_ms, Input::SignaturesVerified(checked[..known as usize].to_vec()))
            .unwrap();
        let (verifications, offence) =
            receive_proposal(&mut replica, fixture, leader, proposal.clone(), now_ms);
        assert!(offence.is_none(), "{offence:?}");
        // One more verification: the signature of the proposal.
        assert_eq!(verifications, 1 + TRANSACTIONS - known);
    }
}

#[test]
fn a_known_transaction_with_another_signature_is_refused() {
    let (fixture, now_ms) = (ChainFixture::of(4, CHAIN_CONFIG), GENESIS_MS + 5_000);
    let (leader, mut proposal) = proposal(fixture, now_ms);
    let mut forged = proposal.block.transactions.to_vec();
    forged[2].signature = forged[3].signature;
    proposal.block.transactions = BoundedVec::truncated(forged);
    let mut replica = member(fixture, (0..4).find(|seat| *seat != leader).unwrap(), now_ms);
    replica
        .handle(
            now_ms,
            Input::SignaturesVerified(
                transactions(fixture).iter().map(VerifiedSignature::of).collect(),
            ),
        )
        .unwrap();
    let (verifications, offence) =
        receive_proposal(&mut replica, fixture, leader, proposal, now_ms);
    // The header, and so the leader's signature, does not cover the signatures of transactions.
    assert_eq!(verifications, 2, "the proposal's and the forged one");
    let bad = BlockError::Transaction(InvalidTransaction::BadSignature);
    assert!(matches!(offence, Some(Offence::BadBlock(error)) if error == bad));
}

#[test]
fn a_block_with_a_wrong_time_gets_no_vote_and_only_a_future_time_is_misbehaviour() {
    let (fixture, made_ms) = (ChainFixture::of(4, CHAIN_CONFIG), GENESIS_MS + 60_000);
    let (leader, proposal) = proposal(fixture, made_ms);
    let skew_ms = fixture.genesis.params.clock_skew_ms_max;
    let judged = |now_ms: TimeMs| {
        let mut replica = member(fixture, (0..4).find(|seat| *seat != leader).unwrap(), now_ms);
        let (from, message) =
            (fixture.keys[leader].0.id(), Unverified::new(Message::Proposal(proposal.clone())));
        replica.handle(now_ms, Input::Received { from, message }).unwrap();
        proposal_outcome(&mut replica)
    };
    for now_ms in [made_ms - skew_ms, made_ms, made_ms + skew_ms] {
        assert!(matches!(judged(now_ms), (None, true)), "{now_ms}");
    }
    // The message may have been in transit for this long.
    assert!(matches!(judged(made_ms + skew_ms + 1), (None, false)));
    let ahead = judged(made_ms - skew_ms - 1);
    assert!(
        matches!(ahead, (Some(Offence::BadBlock(BlockError::TimeAhead(_))), false)),
        "{ahead:?}"
    );
}

#[test]
fn a_too_large_block_is_refused_before_its_transactions_are_checked() {
    let (fixture, now_ms) = (ChainFixture::of(4, CHAIN_CONFIG), GENESIS_MS + 5_000);
    let (leader, mut proposal) = proposal(fixture, now_ms);
    let key = &fixture.clients[0];
    let contributor = Contributor { node: key.id(), units: 1, checks: 1, macs: 1 };
    let result = JobResult {
        output: JobOutput::Answers(Cid::of(CidCodec::Raw, b"answers")),
        contributors: BoundedVec::truncated(vec![contributor; CONTRIBUTORS_MAX]),
        rejected: 0,
    };
    let action = Action::JobResult { job: Digest([1; 32]), result };
    let large = Transaction {
        chain: fixture.genesis.chain,
        sender: key.id(),
        nonce: 1,
        expires: 100,
        action,
    }
    .sign(key);
    let count = BLOCK_LEN_MAX / borsh::object_length(&large).unwrap() + 1;
    let Block { header, transactions } = &mut proposal.block;
    *transactions = BoundedVec::truncated(vec![large; count]);
    assert_eq!(transactions.len(), count);
    header.transactions = transactions_root(transactions);
    let proposal = Proposal::sign(0, proposal.block, None, &fixture.keys[leader].0);
    let mut replica = member(fixture, (0..4).find(|seat| *seat != leader).unwrap(), now_ms);
    let (verifications, offence) =
        receive_proposal(&mut replica, fixture, leader, proposal, now_ms);
    assert!(matches!(offence, Some(Offence::BadBlock(BlockError::TooLarge))), "{offence:?}");
    assert_eq!(verifications, 1, "the proposal's");
}
