//! Validation of blocks before a vote. A block of the present view is also checked against this
//! node's clock. A block that a quorum has prepared before is proposed again byte for byte, so its
//! time and view are not checked again.

use super::{
    error::{BlockError, CertifiedError},
    head::Head,
};
use crate::{
    crypto::KeyCache,
    ledger::{
        Block, BlockContext, Certificate, Header, Outcome, Params, Phase, SignedTransaction,
        VerifiedSignature, VerifiedSignatureCache,
        block::{BLOCK_LEN_MAX, transactions_root},
        committee::CertificateError,
        epoch, leader, leader_seed,
        mutation::rule,
        transaction_batch::TransactionBatch,
    },
    types::{Digest, Height, TimeMs, Unverified, Verified, View},
};
use alloc::vec::Vec;

/// Results of earlier checks. They make later checks cheaper and do not change their outcome.
#[derive(Debug, Default)]
pub(super) struct VerificationCache {
    pub(super) signatures: VerifiedSignatureCache,
    pub(super) keys: KeyCache,
}

/// Validates a block that was made in the present view.
pub(super) fn new_block(
    head: &Head,
    params: &Params,
    cache: &mut VerificationCache,
    block: &Block,
    view: View,
    now_ms: TimeMs,
) -> Result<Outcome, BlockError> {
    let header = &block.header;
    if header.view != view {
        return Err(BlockError::View { found: header.view, expected: view });
    }
    let ahead_ms = header.time_ms.saturating_sub(now_ms);
    if ahead_ms > params.clock_skew_ms_max {
        return Err(BlockError::TimeAhead(ahead_ms));
    }
    let behind_ms = now_ms.saturating_sub(header.time_ms);
    if behind_ms > params.clock_skew_ms_max {
        return Err(BlockError::TimeBehind(behind_ms));
    }
    prepared_block(head, params, cache, block)
}

/// Validates a block that was prepared before, or is final. Caches its verified signatures, because
/// the block may return after a failed view.
pub(super) fn prepared_block(
    head: &Head,
    params: &Params,
    cache: &mut VerificationCache,
    block: &Block,
) -> Result<Outcome, BlockError> {
    check_header(head, params, &block.header)?;
    let transactions = check_transactions(block, cache)?;
    for transaction in &transactions {
        cache.signatures.insert(VerifiedSignature::of(transaction));
    }
    execute(head, params, block, &transactions)
}

/// Validates a block with its commit certificate. `Ok(Err(()))`: the block is genuine but executes
/// differently here, so this node is at fault.
pub(super) fn certified_block(
    head: &Head,
    params: &Params,
    cache: &mut VerificationCache,
    block: &Block,
    certificate: &Certificate,
) -> Result<Result<Outcome, ()>, CertifiedError> {
    let (vote, header) = (&certificate.vote, &block.header);
    if vote.height != header.height || vote.digest != header.digest() {
        return Err(CertifiedError::Certificate(CertificateError::WrongBlock));
    }
    Unverified::new(certificate.clone()).verify(
        &head.header.chain,
        Phase::Commit,
        &head.committee,
    )?;
    let transactions = check_transactions(block, cache)?;
    let executed = check_header(head, params, header)
        .and_then(|()| execute(head, params, block, &transactions));
    Ok(executed.map_err(|_| ()))
}

/// Digest of the committee that decides the block after one with this outcome.
pub(super) fn next_committee(
    head: &Head,
    params: &Params,
    height: Height,
    outcome: &Outcome,
) -> Digest {
    let next = if epoch::is_last_height(params, height) {
        // The ledger has just formed the next committee.
        head.committee.epoch().checked_add(1).and_then(|epoch| outcome.state.committee(epoch))
    } else {
        // The committee stays the same.
        return head.header.next_committee;
    };
    next.map_or(Digest::default(), |record| record.digest())
}

fn check_header(head: &Head, params: &Params, header: &Header) -> Result<(), BlockError> {
    let parent = &head.header;
    if header.chain != parent.chain {
        return Err(BlockError::Chain);
    }
    if header.epoch != head.committee.epoch() {
        return Err(BlockError::Epoch);
    }
    if Some(header.height) != parent.height.checked_add(1) || header.parent != *head.digest() {
        return Err(BlockError::Parent);
    }
    if header.seed != *head.seed() {
        return Err(BlockError::Seed);
    }
    let seat = leader(&head.committee, &header.seed, header.height, header.view);
    if head.committee.seats().get(seat).is_none_or(|seat| seat.node != header.proposer) {
        return Err(BlockError::Proposer);
    }
    let key = head.committee.vrf_key(seat).ok_or(BlockError::Proposer)?;
    let is_proved =
        rule!(leader_seed::verify_proof(header, key).is_ok(), SkipSeedProofCheck => true);
    if header.proof.is_some() != leader_seed::ends_leader_term(params, header.height) || !is_proved
    {
        return Err(BlockError::SeedProof);
    }
    if header.time_ms < earliest_ms(parent, params) {
        return Err(BlockError::TooSoon);
    }
    Ok(())
}

/// The earliest valid time of the next block.
pub(super) fn earliest_ms(parent: &Header, params: &Params) -> TimeMs {
    parent.time_ms.saturating_add(params.block_interval_ms_min.max(1))
}

fn check_transactions(
    block: &Block,
    cache: &mut VerificationCache,
) -> Result<Vec<Verified<SignedTransaction>>, BlockError> {
    if borsh::object_length(block).map_or(true, |len| len > BLOCK_LEN_MAX) {
        return Err(BlockError::TooLarge);
    }
    if block.header.transactions != transactions_root(&block.transactions) {
        return Err(BlockError::TransactionsRoot);
    }
    let VerificationCache { signatures, keys } = cache;
    Ok(TransactionBatch::new(block.transactions.to_vec(), &block.header.chain, signatures, keys)?
        .verify()?)
}

fn execute(
    head: &Head,
    params: &Params,
    block: &Block,
    transactions: &[Verified<SignedTransaction>],
) -> Result<Outcome, BlockError> {
    let context = BlockContext { parent: &head.header, committee: &head.committee };
    let outcome = head.state.apply(context, transactions);
    if outcome.state.root() != block.header.state {
        return Err(BlockError::StateRoot);
    }
    if next_committee(head, params, block.header.height, &outcome) != block.header.next_committee {
        return Err(BlockError::NextCommittee);
    }
    Ok(outcome)
}
