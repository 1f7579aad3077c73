//! Liars are convicted; no arrangement of what correct members say convicts one of them.

use super::*;
use crate::{
    crypto::{NodeKey, bls},
    ledger::{
        committee::tests::{CHAIN, members},
        statement::{ProposalClaim, ViewChange},
    },
    types::{Digest, View},
};
use alloc::vec::Vec;

type Keys = (NodeKey, bls::SecretKey);

fn vote((_, secret): &Keys, view: View, phase: Phase, digest: u8) -> SignedVote {
    let vote =
        Vote { chain: CHAIN, epoch: 0, height: 9, view, phase, digest: Digest([digest; 32]) };
    SignedVote::sign(vote, secret)
}

fn claim((node, _): &Keys, view: View, digest: u8) -> SignedClaim {
    let claim =
        ProposalClaim { chain: CHAIN, epoch: 0, height: 9, view, digest: Digest([digest; 32]) };
    let signature =
        node.sign(crate::crypto::hash::Context::Proposal, &crate::codec::encode(&claim));
    SignedClaim { claim, signature }
}

fn certificate(
    keys: &[Keys],
    committee: &Committee,
    seats: &[usize],
    view: View,
    digest: u8,
) -> Certificate {
    let parts: Vec<_> = seats
        .iter()
        .map(|seat| (*seat, vote(&keys[*seat], view, Phase::Prepare, digest).signature))
        .collect();
    committee.certify(vote(&keys[0], view, Phase::Prepare, digest).vote, &parts).unwrap()
}

fn change((node, _): &Keys, view: View, prepared: Option<Certificate>) -> SignedViewChange {
    ViewChange { chain: CHAIN, epoch: 0, height: 9, view, prepared }.sign(node)
}

#[test]
fn each_contradiction_convicts_its_author_and_nobody_else() {
    let (keys, committee) = members(&[1; 4]);
    let liar = &keys[2];
    let old = certificate(&keys, &committee, &[0, 1, 2], 0, 1);
    let cases = [
        (
            Evidence::Votes(vote(liar, 1, Phase::Commit, 1), vote(liar, 1, Phase::Commit, 2)),
            Crime::DoubleVote,
        ),
        (Evidence::Proposals(claim(liar, 1, 1), claim(liar, 1, 2)), Crime::DoubleProposal),
        (
            Evidence::ViewChanges(change(liar, 3, None), change(liar, 3, Some(old.clone()))),
            Crime::DoubleViewChange,
        ),
        (
            Evidence::HiddenLock(vote(liar, 1, Phase::Commit, 1), change(liar, 2, None)),
            Crime::HiddenLock,
        ),
        (
            Evidence::HiddenLock(vote(liar, 1, Phase::Commit, 1), change(liar, 2, Some(old))),
            Crime::HiddenLock,
        ),
    ];
    for (evidence, crime) in cases {
        assert_eq!(evidence.verify(&liar.0.id(), &CHAIN, &committee), Ok(crime));
        assert_eq!(
            evidence.verify(&keys[1].0.id(), &CHAIN, &committee),
            Err(EvidenceError::BadSignature)
        );
        assert_eq!(
            evidence.verify(&NodeId([9; 32]), &CHAIN, &committee),
            Err(EvidenceError::NotSeated)
        );
        assert_eq!(
            evidence.verify(&liar.0.id(), &ChainId([8; 32]), &committee),
            Err(EvidenceError::Foreign)
        );
    }
}

#[test]
fn certificates_convict_exactly_those_who_signed_both() {
    let (keys, committee) = members(&[1; 4]);
    let first = certificate(&keys, &committee, &[0, 1, 2], 0, 1);
    let second = certificate(&keys, &committee, &[1, 2, 3], 0, 2);
    let evidence = Evidence::Certificates(first.clone(), second);
    for (seat, (node, _)) in keys.iter().enumerate() {
        let verdict = evidence.verify(&node.id(), &CHAIN, &committee);
        let expected = if [1, 2].contains(&seat) {
            Ok(Crime::DoubleVote)
        } else {
            Err(EvidenceError::BadSignature)
        };
        assert_eq!(verdict, expected, "seat {seat}");
    }
    // A bit that stands for no signature frames nobody.
    let mut framing = certificate(&keys, &committee, &[1, 2, 3], 0, 2);
    framing.signers[0] |= 1;
    let evidence = Evidence::Certificates(first, framing);
    assert_eq!(
        evidence.verify(&keys[0].0.id(), &CHAIN, &committee),
        Err(EvidenceError::BadSignature)
    );
}

#[test]
fn no_two_statements_of_a_correct_member_convict_it() {
    let (keys, committee) = members(&[1; 4]);
    let member = &keys[0];
    // Prepares 1 in view 0, locks on it and commits it; is carried to view 2, where it prepares and
    // commits it again; then changes to view 3. Proposes in view 2.
    let locked = [0, 2].map(|view| certificate(&keys, &committee, &[0, 1, 2], view, 1));
    let votes: Vec<_> =
        [(0, Phase::Prepare), (0, Phase::Commit), (2, Phase::Prepare), (2, Phase::Commit)]
            .map(|(view, phase)| vote(member, view, phase, 1))
            .into();
    let claims = [claim(member, 2, 1), claim(member, 2, 1)];
    let changes = [
        change(member, 1, Some(locked[0].clone())),
        change(member, 2, Some(locked[0].clone())),
        change(member, 3, Some(locked[1].clone())),
    ];
    let mut tried = 0;
    let mut try_all = |evidence: Evidence| {
        assert_eq!(
            evidence.verify(&member.0.id(), &CHAIN, &committee),
            Err(EvidenceError::NoContradiction)
        );
        tried += 1;
    };
    for first in &votes {
        votes.iter().for_each(|second| try_all(Evidence::Votes(*first, *second)));
        changes.iter().for_each(|change| try_all(Evidence::HiddenLock(*first, change.clone())));
    }
    try_all(Evidence::Proposals(claims[0], claims[1]));
    for first in &changes {
        changes
            .iter()
            .for_each(|second| try_all(Evidence::ViewChanges(first.clone(), second.clone())));
    }
    locked.iter().for_each(|c| try_all(Evidence::Certificates(c.clone(), locked[0].clone())));
    assert_eq!(tried, 16 + 12 + 1 + 9 + 2);
}

#[test]
fn any_changed_byte_of_evidence_against_a_correct_member_stays_worthless() {
    // The other's statement beside an honest one: changing any byte makes no valid evidence of it.
    let (keys, committee) = members(&[1; 4]);
    let (member, liar) = (&keys[0], &keys[1]);
    let framings = [
        Evidence::Votes(vote(member, 1, Phase::Commit, 1), vote(liar, 1, Phase::Commit, 2)),
        Evidence::Proposals(claim(member, 1, 1), claim(liar, 1, 2)),
        Evidence::HiddenLock(vote(member, 1, Phase::Commit, 1), change(liar, 2, None)),
    ];
    for framing in framings {
        let bytes = crate::codec::encode(&framing);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let Ok(evidence) = crate::codec::decode::<Evidence>(&changed, 1 << 16) else {
                continue;
            };
            assert!(evidence.verify(&member.0.id(), &CHAIN, &committee).is_err(), "byte {at}");
        }
    }
}
