//! What a member looks at in a proposal. What its mempool has verified is not verified again, and
//! nothing else passes for it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use tequio_core::{
    codec::BoundedVec,
    consensus::{BlockError, Config, Head, Input, Offence, Output, Pipeline, Replica, To, VotesTo},
    crypto::meter,
    knowledge::{Cid, CidCodec},
    ledger::{
        Action, Block, Checked, SignedTransaction, Transaction,
        block::{BLOCK_LEN_MAX, transactions_root},
        job::{CONTRIBUTORS_MAX, Contributor, JobOutput, JobResult},
        transaction::InvalidTransaction,
    },
    machine::Machine,
    types::{Digest, TimeMs, Unverified, Verified},
    wire::consensus::{Message, Proposal},
};
use tequio_simulation::{
    weather::PACE,
    world::{GENESIS_MS, World},
};

const TRANSACTIONS: u64 = 8;

fn member(world: &World, seat: usize, now_ms: TimeMs) -> Replica {
    let (node_key, seat_keys) = (world.keys[seat].0.clone(), world.seat_keys[seat].clone());
    let config = Config { node_key, seat_keys, votes_to: VotesTo::All, pipeline: Pipeline::Off };
    Replica::restore(config, Head::genesis(&world.start), Vec::new(), now_ms).unwrap()
}

fn transactions(world: &World) -> Vec<Verified<SignedTransaction>> {
    let signed = (1..=TRANSACTIONS).map(|n| world.transaction(0, n, 0));
    signed.map(|t| Unverified::new(t).verify(&world.start.chain).unwrap()).collect()
}

/// The first proposal, with all transactions.
fn proposal(world: &World, now_ms: TimeMs) -> (usize, Proposal) {
    let seat = world.first_leader(0);
    let mut leader = member(world, seat, now_ms);
    leader.handle(now_ms, Input::WantBlock { height: 1 }).unwrap();
    loop {
        match leader.poll().expect("a proposal") {
            Output::Request(wanted) => {
                let (height, view, parent) = (wanted.height, wanted.view, wanted.parent);
                let built = Input::Built {
                    height,
                    view,
                    parent,
                    transactions: transactions(world),
                    waiting: 0,
                };
                leader.handle(now_ms, built).unwrap();
            }
            Output::Persist(_) => leader.handle(now_ms, Input::Persisted).unwrap(),
            Output::Send { to: To::All, message: Message::Proposal(proposal) } => {
                return (seat, proposal);
            }
            _ => {}
        }
    }
}

/// Hears a proposal. How many Ed25519 signatures that took, and what is wrong with it, if anything
/// is.
fn hear(
    replica: &mut Replica,
    world: &World,
    leader: usize,
    proposal: Proposal,
    now_ms: TimeMs,
) -> (u64, Option<Offence>) {
    let (from, message) = (world.keys[leader].0.id(), Unverified::new(Message::Proposal(proposal)));
    meter::take();
    replica.handle(now_ms, Input::Received { from, message }).unwrap();
    let looks = meter::take().ed25519_verified;
    let (offence, accepts) = said(replica);
    assert_eq!(accepts, offence.is_none(), "{offence:?}");
    (looks, offence)
}

/// Of what a member says about a proposal: what is wrong with it, and whether it is accepted.
fn said(replica: &mut Replica) -> (Option<Offence>, bool) {
    let outputs: Vec<Output> = std::iter::from_fn(|| replica.poll()).collect();
    let offence = outputs.iter().find_map(|output| match output {
        Output::Misbehaviour { offence, .. } => Some(*offence.clone()),
        _ => None,
    });
    (offence, outputs.iter().any(|output| matches!(output, Output::Persist(_))))
}

#[test]
fn what_the_mempool_has_verified_is_not_verified_again() {
    let (world, now_ms) = (World::of(4, PACE), GENESIS_MS + 5_000);
    let (leader, proposal) = proposal(world, now_ms);
    assert_eq!(proposal.block.transactions.len() as u64, TRANSACTIONS);
    let checked: Vec<Checked> = transactions(world).iter().map(Checked::of).collect();
    let other = (0..4).find(|seat| *seat != leader).unwrap();
    for known in [0, 3, TRANSACTIONS] {
        let mut replica = member(world, other, now_ms);
        replica.handle(now_ms, Input::Checked(checked[..known as usize].to_vec())).unwrap();
        let (looks, offence) = hear(&mut replica, world, leader, proposal.clone(), now_ms);
        assert!(offence.is_none(), "{offence:?}");
        // The other one is the proposal's own.
        assert_eq!(looks, 1 + TRANSACTIONS - known);
    }
}

#[test]
fn a_known_transaction_with_another_signature_is_refused() {
    let (world, now_ms) = (World::of(4, PACE), GENESIS_MS + 5_000);
    let (leader, mut proposal) = proposal(world, now_ms);
    let mut forged = proposal.block.transactions.to_vec();
    forged[2].signature = forged[3].signature;
    proposal.block.transactions = BoundedVec::truncated(forged);
    let mut replica = member(world, (0..4).find(|seat| *seat != leader).unwrap(), now_ms);
    replica
        .handle(now_ms, Input::Checked(transactions(world).iter().map(Checked::of).collect()))
        .unwrap();
    let (looks, offence) = hear(&mut replica, world, leader, proposal, now_ms);
    // The header, and so the leader's signature, says nothing about the signatures of transactions.
    assert_eq!(looks, 2, "the proposal's and the forged one");
    let bad = BlockError::Transaction(InvalidTransaction::BadSignature);
    assert!(matches!(offence, Some(Offence::BadBlock(error)) if error == bad));
}

#[test]
fn a_block_of_another_time_gets_no_vote_and_only_one_of_the_future_is_a_fault() {
    let (world, made_ms) = (World::of(4, PACE), GENESIS_MS + 60_000);
    let (leader, proposal) = proposal(world, made_ms);
    let skew_ms = world.start.params.clock_skew_ms_max;
    let judged = |now_ms: TimeMs| {
        let mut replica = member(world, (0..4).find(|seat| *seat != leader).unwrap(), now_ms);
        let (from, message) =
            (world.keys[leader].0.id(), Unverified::new(Message::Proposal(proposal.clone())));
        replica.handle(now_ms, Input::Received { from, message }).unwrap();
        said(&mut replica)
    };
    for now_ms in [made_ms - skew_ms, made_ms, made_ms + skew_ms] {
        assert!(matches!(judged(now_ms), (None, true)), "{now_ms}");
    }
    // It may have been under way for so long.
    assert!(matches!(judged(made_ms + skew_ms + 1), (None, false)));
    let ahead = judged(made_ms - skew_ms - 1);
    assert!(
        matches!(ahead, (Some(Offence::BadBlock(BlockError::TimeAhead(_))), false)),
        "{ahead:?}"
    );
}

#[test]
fn a_block_that_is_too_large_is_refused_before_its_transactions_are_looked_at() {
    let (world, now_ms) = (World::of(4, PACE), GENESIS_MS + 5_000);
    let (leader, mut proposal) = proposal(world, now_ms);
    let key = &world.clients[0];
    let contributor = Contributor { node: key.id(), units: 1, checks: 1, macs: 1 };
    let result = JobResult {
        output: JobOutput::Answers(Cid::of(CidCodec::Raw, b"answers")),
        contributors: BoundedVec::truncated(vec![contributor; CONTRIBUTORS_MAX]),
        rejected: 0,
    };
    let action = Action::JobResult { job: Digest([1; 32]), result };
    let large =
        Transaction { chain: world.start.chain, sender: key.id(), nonce: 1, expires: 100, action }
            .sign(key);
    let count = BLOCK_LEN_MAX / borsh::object_length(&large).unwrap() + 1;
    let Block { header, transactions } = &mut proposal.block;
    *transactions = BoundedVec::truncated(vec![large; count]);
    assert_eq!(transactions.len(), count);
    header.transactions = transactions_root(transactions);
    let proposal = Proposal::sign(0, proposal.block, None, &world.keys[leader].0);
    let mut replica = member(world, (0..4).find(|seat| *seat != leader).unwrap(), now_ms);
    let (looks, offence) = hear(&mut replica, world, leader, proposal, now_ms);
    assert!(matches!(offence, Some(Offence::BadBlock(BlockError::TooLarge))), "{offence:?}");
    assert_eq!(looks, 1, "the proposal's");
}
