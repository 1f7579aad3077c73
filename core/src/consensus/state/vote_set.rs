//! The votes of one phase of one view. The set keeps one unverified vote per seat. Once the votes
//! for one block weigh a quorum, one pairing verifies their aggregate, with one subgroup check (see
//! [`bls::aggregate`]). Only if that fails, bisection finds the invalid votes. So a phase costs one
//! check if all votes are valid; a Byzantine member costs a few more and loses its vote.

use crate::{
    crypto::bls,
    ledger::{Certificate, Committee, Vote},
    types::{Digest, Unverified, Verified, Weight},
    wire::consensus::SignedVote,
};
use alloc::{collections::BTreeMap, vec::Vec};

#[derive(Debug, Default)]
pub(in crate::consensus) struct VoteSet {
    votes: BTreeMap<usize, VoteEntry>,
    certificate: Option<Certificate>,
}

#[derive(Clone, Copy, Debug)]
struct VoteEntry {
    signed: SignedVote,
    /// Invalid, or one of two conflicting votes: the vote no longer counts, and further votes of
    /// this seat are ignored.
    is_invalid: bool,
}

/// Result of [`VoteSet::insert`].
#[derive(Debug, PartialEq, Eq)]
pub(in crate::consensus) enum InsertResult {
    New,
    Duplicate,
    /// The seat has cast a different vote before.
    Conflict(SignedVote),
}

impl VoteSet {
    pub(in crate::consensus) fn insert(&mut self, seat: usize, signed: SignedVote) -> InsertResult {
        match self.votes.get(&seat) {
            None => {
                self.votes.insert(seat, VoteEntry { signed, is_invalid: false });
                InsertResult::New
            }
            Some(entry) if entry.is_invalid || entry.signed.vote == signed.vote => {
                InsertResult::Duplicate
            }
            Some(entry) => InsertResult::Conflict(entry.signed),
        }
    }

    /// The unverified vote of a seat, unless it is invalid.
    pub(in crate::consensus) fn vote_of(&self, seat: usize) -> Option<SignedVote> {
        self.votes.get(&seat).filter(|entry| !entry.is_invalid).map(|entry| entry.signed)
    }

    pub(in crate::consensus) fn invalidate(&mut self, seat: usize) {
        if let Some(entry) = self.votes.get_mut(&seat) {
            entry.is_invalid = true;
        }
    }

    /// Whether the set holds a certificate of this vote.
    pub(in crate::consensus) fn is_certified(&self, vote: &Vote) -> bool {
        self.certificate.as_ref().is_some_and(|certificate| certificate.vote == *vote)
    }

    /// Stores a certificate that another member has aggregated. The first one stays.
    pub(in crate::consensus) fn set_certificate(&mut self, certificate: Verified<Certificate>) {
        self.certificate.get_or_insert(certificate.into_inner());
    }

    /// Returns the certificate of this vote, if enough valid votes are present, and the votes found
    /// invalid.
    pub(in crate::consensus) fn certify(
        &mut self,
        vote: &Vote,
        committee: &Committee,
    ) -> (Option<Certificate>, Vec<(usize, SignedVote)>) {
        let mut bad = Vec::new();
        loop {
            if self.is_certified(vote) {
                return (self.certificate.clone(), bad);
            }
            let signatures = self.signatures_for(&vote.digest);
            if weight(committee, &signatures) < committee.quorum() {
                return (None, bad);
            }
            if let Some(certificate) = verified_certificate(vote, committee, &signatures) {
                self.certificate = Some(certificate);
                continue;
            }
            let found = find_bad(vote, committee, &signatures);
            if found.is_empty() {
                return (None, bad); // Unreachable: a failing sum has an invalid part.
            }
            for seat in found {
                self.invalidate(seat);
                bad.extend(self.votes.get(&seat).map(|entry| (seat, entry.signed)));
            }
        }
    }

    fn signatures_for(&self, digest: &Digest) -> Vec<(usize, bls::Signature)> {
        let counted = self
            .votes
            .iter()
            .filter(|(_, entry)| !entry.is_invalid && entry.signed.vote.digest == *digest);
        counted.map(|(seat, entry)| (*seat, entry.signed.signature)).collect()
    }
}

fn weight(committee: &Committee, signatures: &[(usize, bls::Signature)]) -> Weight {
    signatures
        .iter()
        .filter_map(|(seat, _)| committee.seats().get(*seat))
        .map(|seat| seat.weight)
        .sum()
}

fn verified_certificate(
    vote: &Vote,
    committee: &Committee,
    signatures: &[(usize, bls::Signature)],
) -> Option<Certificate> {
    let certificate = committee.aggregate_votes(*vote, signatures).ok()?;
    Unverified::new(certificate)
        .verify(&vote.chain, vote.phase, committee)
        .ok()
        .map(|c| c.into_inner())
}

/// Finds the invalid signatures in a set whose aggregate fails. The aggregate of two valid halves
/// is valid, so the result has at least one seat.
fn find_bad(
    vote: &Vote,
    committee: &Committee,
    signatures: &[(usize, bls::Signature)],
) -> Vec<usize> {
    let mut bad = Vec::new();
    let mut failing = alloc::vec![signatures];
    while let Some(set) = failing.pop() {
        if let [(seat, _)] = set {
            bad.push(*seat);
            continue;
        }
        let (left, right) = set.split_at(set.len() / 2);
        failing.extend(
            [left, right]
                .into_iter()
                .filter(|half| !half.is_empty() && !aggregate_verifies(vote, committee, half)),
        );
    }
    bad
}

fn aggregate_verifies(
    vote: &Vote,
    committee: &Committee,
    parts: &[(usize, bls::Signature)],
) -> bool {
    let signatures: Vec<_> = parts.iter().map(|(_, signature)| *signature).collect();
    let keys = parts.iter().filter_map(|(seat, _)| committee.key(*seat));
    bls::aggregate(&signatures)
        .and_then(|sum| bls::verify_aggregate(keys, &vote.message(), &sum))
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ledger::{
            Phase,
            committee::tests::{CHAIN, members},
        },
        types::Digest,
    };

    fn vote(digest: u8) -> Vote {
        Vote {
            chain: CHAIN,
            epoch: 0,
            height: 1,
            view: 0,
            phase: Phase::Prepare,
            digest: Digest([digest; 32]),
        }
    }

    #[test]
    fn certifies_at_a_quorum_and_not_before() {
        let (keys, committee) = members(&[1; 4]);
        let mut vote_set = VoteSet::default();
        for seat in [2, 0] {
            assert_eq!(
                vote_set.insert(seat, SignedVote::sign(vote(1), &keys[seat].1)),
                InsertResult::New
            );
            assert_eq!(vote_set.certify(&vote(1), &committee), (None, Vec::new()));
        }
        assert_eq!(
            vote_set.insert(2, SignedVote::sign(vote(1), &keys[2].1)),
            InsertResult::Duplicate
        );
        assert_eq!(vote_set.certify(&vote(1), &committee), (None, Vec::new()));
        vote_set.insert(1, SignedVote::sign(vote(1), &keys[1].1));
        assert_eq!(vote_set.certify(&vote(2), &committee).0, None);
        let certificate = vote_set.certify(&vote(1), &committee).0.unwrap();
        assert_eq!(certificate.seats().collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn bisection_finds_every_invalid_vote_and_keeps_the_valid_ones() {
        let (keys, committee) = members(&[1; 7]);
        // Signatures of another block (even seats) and bytes that are not a point (odd seats).
        for bad in [vec![0], vec![6], vec![1, 4], vec![2, 3]] {
            let mut vote_set = VoteSet::default();
            let mut found = Vec::new();
            for (seat, (_, secret)) in keys.iter().enumerate() {
                let mut signed = SignedVote::sign(vote(1), secret);
                if bad.contains(&seat) {
                    signed.signature = match seat % 2 {
                        0 => SignedVote::sign(vote(9), secret).signature,
                        _ => bls::Signature([0xab; 48]),
                    };
                }
                vote_set.insert(seat, signed);
                let (certificate, blamed) = vote_set.certify(&vote(1), &committee);
                found.extend(blamed.into_iter().map(|(seat, _)| seat));
                assert!(certificate.is_none() || seat + 1 >= 5 + found.len());
            }
            found.sort_unstable();
            // A bad vote after the quorum is never verified.
            assert!(found.iter().all(|seat| bad.contains(seat)), "{found:?}");
            assert!(bad.iter().filter(|seat| **seat < 5).all(|seat| found.contains(seat)));
            let certificate = vote_set.certify(&vote(1), &committee).0.unwrap();
            assert!(certificate.seats().all(|seat| !found.contains(&seat)));
        }
    }

    #[test]
    fn a_second_vote_conflicts_and_an_invalidated_seat_adds_no_votes() {
        let (keys, _) = members(&[1; 4]);
        let mut vote_set = VoteSet::default();
        let (first, second) =
            (SignedVote::sign(vote(1), &keys[0].1), SignedVote::sign(vote(2), &keys[0].1));
        assert_eq!(vote_set.insert(0, first), InsertResult::New);
        assert_eq!(vote_set.insert(0, second), InsertResult::Conflict(first));
        vote_set.invalidate(0);
        assert_eq!(vote_set.insert(0, second), InsertResult::Duplicate);
    }
}
