//! Evidence penalizes the convicted member and no other.

use super::*;
use crate::{
    ledger::{
        ConvictionReason, Evidence, EvidenceError, Phase, Vote,
        statement::{SignedVote, ViewChange},
        transition::{executor::BlockExecutor, penalties::REPORTS_PER_BLOCK_MAX},
    },
    types::View,
};
use alloc::boxed::Box;

fn vote(ledger: &Ledger, seat: u8, view: View, digest: u8) -> SignedVote {
    let (chain, digest) = (ledger.start.chain, Digest([digest; 32]));
    let vote = Vote { chain, epoch: 0, height: 5, view, phase: Phase::Commit, digest };
    SignedVote::sign(vote, &bls::SecretKey::from_seed(&[seat + 1; 32]))
}

fn double_vote(ledger: &Ledger, seat: u8) -> Evidence {
    Evidence::Votes(vote(ledger, seat, 0, 1), vote(ledger, seat, 0, 2))
}

fn report(ledger: &Ledger, accused: usize, evidence: Evidence) -> Action {
    Action::Report { accused: ledger.keys[accused].id(), evidence: Box::new(evidence) }
}

#[test]
fn a_double_vote_costs_bond_reputation_and_seat() {
    let mut ledger = Ledger::new();
    let accused = ledger.keys[1].id();
    let action = report(&ledger, 1, double_vote(&ledger, 1));
    assert_eq!(ledger.apply_action(0, action.clone()), Ok(()));
    let account = ledger.state.account(&accused).unwrap();
    assert_eq!((account.bond, account.reputation, account.balance), (0, 0, 100));
    let conviction = ledger.state.conviction(&accused).unwrap();
    assert_eq!(
        (conviction.reason, conviction.bond, conviction.height),
        (ConvictionReason::DoubleVote, 50, 1)
    );
    assert_eq!(conviction.reporter, ledger.keys[0].id());
    // A conviction is permanent: no second conviction, no new bond.
    assert_eq!(ledger.apply_action(2, action), Err(TransactionError::AlreadyConvicted(1)));
    assert_eq!(
        ledger.apply_action(1, Action::Bond { amount: 1 }),
        Err(TransactionError::Convicted)
    );
    // The reporter keeps its balance and gains nothing.
    let reporter = ledger.state.account(&ledger.keys[0].id()).unwrap();
    assert_eq!((reporter.bond, reporter.balance, reporter.reputation), (50, 100, 0));
}

#[test]
fn a_hidden_lock_convicts_and_a_shown_one_does_not() {
    let mut ledger = Ledger::new();
    let commit = vote(&ledger, 2, 1, 1);
    let change =
        ViewChange { chain: ledger.start.chain, epoch: 0, height: 5, view: 2, prepared: None };
    let hidden = Evidence::HiddenLock(commit, change.clone().sign(&ledger.keys[2]));
    let earlier =
        Evidence::HiddenLock(commit, ViewChange { view: 1, ..change }.sign(&ledger.keys[2]));
    let refused = Err(TransactionError::Evidence(EvidenceError::NoContradiction));
    assert_eq!(ledger.apply_action(0, report(&ledger, 2, earlier)), refused);
    assert_eq!(ledger.apply_action(0, report(&ledger, 2, hidden)), Ok(()));
    assert_eq!(
        ledger.state.conviction(&ledger.keys[2].id()).unwrap().reason,
        ConvictionReason::HiddenLock
    );
}

#[test]
fn a_false_report_costs_the_accused_nothing() {
    let mut ledger = Ledger::new();
    let honest = ledger.keys[3].id();
    // The offence of another member, or one signature of two.
    for evidence in
        [double_vote(&ledger, 1), Evidence::Votes(vote(&ledger, 3, 0, 1), vote(&ledger, 1, 0, 2))]
    {
        let refused = ledger.apply_action(0, report(&ledger, 3, evidence));
        assert_eq!(refused, Err(TransactionError::Evidence(EvidenceError::BadSignature)));
    }
    assert_eq!(ledger.state.conviction(&honest), None);
    assert_eq!(ledger.state.account(&honest).unwrap().bond, 50);
}

#[test]
fn a_block_accepts_a_limited_number_of_reports() {
    let mut ledger = Ledger::new();
    let evidence = Evidence::Votes(vote(&ledger, 3, 0, 1), vote(&ledger, 1, 0, 2));
    let reports: Vec<_> = (0..=REPORTS_PER_BLOCK_MAX as u64)
        .map(|nonce| ledger.sign(0, nonce, report(&ledger, 3, evidence.clone())))
        .collect();
    let results = ledger.block(&reports);
    assert_eq!(results.last(), Some(&Err(TransactionError::TooManyReports)));
    assert!(
        results[..REPORTS_PER_BLOCK_MAX]
            .iter()
            .all(|r| matches!(r, Err(TransactionError::Evidence(_))))
    );
}

#[test]
fn a_convicted_member_audits_nothing() {
    let mut ledger = Ledger::new();
    let action = report(&ledger, 1, double_vote(&ledger, 1));
    assert_eq!(ledger.apply_action(2, action), Ok(()));
    let applying = BlockExecutor::new(
        &ledger.state,
        BlockContext { parent: &ledger.head, committee: &ledger.committee },
    );
    for job in 0..20 {
        let auditors = applying.select_auditors(&Digest([job; 32]), &ledger.keys[0].id());
        assert!(!auditors.is_empty() && !auditors.contains(&ledger.keys[1].id()));
    }
}
