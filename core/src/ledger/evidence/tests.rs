//! Byzantine members are convicted; no combination of a correct member's statements convicts it.

use super::*;
use crate::{
    crypto::{NodeKey, bls},
    ledger::{
        committee::tests::{CHAIN, members},
        statement::{ProposalHeader, ViewChange},
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

fn signed_header((node, _): &Keys, view: View, digest: u8) -> SignedProposalHeader {
    let header =
        ProposalHeader { chain: CHAIN, epoch: 0, height: 9, view, digest: Digest([digest; 32]) };
    let signature =
        node.sign(crate::crypto::hash::HashContext::Proposal, &crate::codec::encode(&header));
    SignedProposalHeader { header, signature }
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
    committee.aggregate_votes(vote(&keys[0], view, Phase::Prepare, digest).vote, &parts).unwrap()
}

fn change((node, _): &Keys, view: View, prepared: Option<Certificate>) -> SignedViewChange {
    ViewChange { chain: CHAIN, epoch: 0, height: 9, view, prepared }.sign(node)
}

#[test]
fn each_contradiction_convicts_only_its_author() {
    let (keys, committee) = members(&[1; 4]);
    let byzantine = &keys[2];
    let old = certificate(&keys, &committee, &[0, 1, 2], 0, 1);
    let cases = [
        (
            Evidence::Votes(
                vote(byzantine, 1, Phase::Commit, 1),
                vote(byzantine, 1, Phase::Commit, 2),
            ),
            ConvictionReason::DoubleVote,
        ),
        (
            Evidence::Proposals(signed_header(byzantine, 1, 1), signed_header(byzantine, 1, 2)),
            ConvictionReason::DoubleProposal,
        ),
        (
            Evidence::ViewChanges(
                change(byzantine, 3, None),
                change(byzantine, 3, Some(old.clone())),
            ),
            ConvictionReason::DoubleViewChange,
        ),
        (
            Evidence::HiddenLock(vote(byzantine, 1, Phase::Commit, 1), change(byzantine, 2, None)),
            ConvictionReason::HiddenLock,
        ),
        (
            Evidence::HiddenLock(
                vote(byzantine, 1, Phase::Commit, 1),
                change(byzantine, 2, Some(old)),
            ),
            ConvictionReason::HiddenLock,
        ),
    ];
    for (evidence, reason) in cases {
        assert_eq!(evidence.verify(&byzantine.0.id(), &CHAIN, &committee), Ok(reason));
        assert_eq!(
            evidence.verify(&keys[1].0.id(), &CHAIN, &committee),
            Err(EvidenceError::BadSignature)
        );
        assert_eq!(
            evidence.verify(&NodeId([9; 32]), &CHAIN, &committee),
            Err(EvidenceError::NotSeated)
        );
        assert_eq!(
            evidence.verify(&byzantine.0.id(), &ChainId([8; 32]), &committee),
            Err(EvidenceError::WrongChainOrEpoch)
        );
    }
}

#[test]
fn certificates_convict_exactly_the_signers_of_both() {
    let (keys, committee) = members(&[1; 4]);
    let first = certificate(&keys, &committee, &[0, 1, 2], 0, 1);
    let second = certificate(&keys, &committee, &[1, 2, 3], 0, 2);
    let evidence = Evidence::Certificates(first.clone(), second);
    for (seat, (node, _)) in keys.iter().enumerate() {
        let verdict = evidence.verify(&node.id(), &CHAIN, &committee);
        let expected = if [1, 2].contains(&seat) {
            Ok(ConvictionReason::DoubleVote)
        } else {
            Err(EvidenceError::BadSignature)
        };
        assert_eq!(verdict, expected, "seat {seat}");
    }
    // A bit without a signature convicts no member.
    let mut framing = certificate(&keys, &committee, &[1, 2, 3], 0, 2);
    framing.signers[0] |= 1;
    let evidence = Evidence::Certificates(first, framing);
    assert_eq!(
        evidence.verify(&keys[0].0.id(), &CHAIN, &committee),
        Err(EvidenceError::BadSignature)
    );
}

#[test]
fn statements_of_a_correct_member_never_convict_it() {
    let (keys, committee) = members(&[1; 4]);
    let member = &keys[0];
    // Prepares 1 in view 0, locks on it and commits it; is carried to view 2, where it prepares and
    // commits it again; then changes to view 3. Proposes in view 2.
    let locked = [0, 2].map(|view| certificate(&keys, &committee, &[0, 1, 2], view, 1));
    let votes: Vec<_> =
        [(0, Phase::Prepare), (0, Phase::Commit), (2, Phase::Prepare), (2, Phase::Commit)]
            .map(|(view, phase)| vote(member, view, phase, 1))
            .into();
    let proposals = [signed_header(member, 2, 1), signed_header(member, 2, 1)];
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
    try_all(Evidence::Proposals(proposals[0], proposals[1]));
    for first in &changes {
        changes
            .iter()
            .for_each(|second| try_all(Evidence::ViewChanges(first.clone(), second.clone())));
    }
    locked.iter().for_each(|c| try_all(Evidence::Certificates(c.clone(), locked[0].clone())));
    assert_eq!(tried, 16 + 12 + 1 + 9 + 2);
}

#[test]
fn changing_any_byte_of_statements_does_not_convict_a_correct_member() {
    // Another's statement beside an honest one: changing any byte makes no valid evidence of it.
    let (keys, committee) = members(&[1; 4]);
    let (member, byzantine) = (&keys[0], &keys[1]);
    let framings = [
        Evidence::Votes(vote(member, 1, Phase::Commit, 1), vote(byzantine, 1, Phase::Commit, 2)),
        Evidence::Proposals(signed_header(member, 1, 1), signed_header(byzantine, 1, 2)),
        Evidence::HiddenLock(vote(member, 1, Phase::Commit, 1), change(byzantine, 2, None)),
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
