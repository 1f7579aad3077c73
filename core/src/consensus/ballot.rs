//! The votes of one phase of one view. One vote is kept for each seat, unchecked; once votes for
//! one block weigh a quorum their sum is checked with one pairing (and the subgroup once, of the
//! sum, see [`bls::aggregate`]), and only if that fails the set is halved until the bad votes are
//! found. So a correct committee costs one check a phase, and a liar costs a few and its vote.

use crate::{
    crypto::bls,
    ledger::{Certificate, Committee, Vote},
    types::{Digest, Unverified, Verified, Weight},
    wire::consensus::SignedVote,
};
use alloc::{collections::BTreeMap, vec::Vec};

#[derive(Debug, Default)]
pub(super) struct Ballot {
    votes: BTreeMap<usize, Cast>,
    certificate: Option<Certificate>,
}

#[derive(Clone, Copy, Debug)]
struct Cast {
    signed: SignedVote,
    /// Found out, or convicted of voting twice: counts no more, and nothing of this seat is looked
    /// at.
    spoiled: bool,
}

/// What a vote is to a ballot.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entered {
    New,
    Repeated,
    /// The seat has voted otherwise before.
    Conflicts(SignedVote),
}

impl Ballot {
    pub(super) fn enter(&mut self, seat: usize, signed: SignedVote) -> Entered {
        match self.votes.get(&seat) {
            None => {
                self.votes.insert(seat, Cast { signed, spoiled: false });
                Entered::New
            }
            Some(cast) if cast.spoiled || cast.signed.vote == signed.vote => Entered::Repeated,
            Some(cast) => Entered::Conflicts(cast.signed),
        }
    }

    /// What a seat has said, unchecked, unless it is spoiled.
    pub(super) fn cast_by(&self, seat: usize) -> Option<SignedVote> {
        self.votes.get(&seat).filter(|cast| !cast.spoiled).map(|cast| cast.signed)
    }

    pub(super) fn spoil(&mut self, seat: usize) {
        if let Some(cast) = self.votes.get_mut(&seat) {
            cast.spoiled = true;
        }
    }

    /// Whether a certificate of this vote is here.
    pub(super) fn is_certified(&self, vote: &Vote) -> bool {
        self.certificate.as_ref().is_some_and(|certificate| certificate.vote == *vote)
    }

    /// A certificate that another member has made. The first one stays.
    pub(super) fn learn(&mut self, certificate: Verified<Certificate>) {
        self.certificate.get_or_insert(certificate.into_inner());
    }

    /// The certificate of this vote, if enough valid votes are there, and the votes that were found
    /// bad.
    pub(super) fn certify(
        &mut self,
        vote: &Vote,
        committee: &Committee,
    ) -> (Option<Certificate>, Vec<(usize, SignedVote)>) {
        let mut bad = Vec::new();
        loop {
            if self.is_certified(vote) {
                return (self.certificate.clone(), bad);
            }
            let parts = self.parts(&vote.digest);
            if weight(committee, &parts) < committee.quorum() {
                return (None, bad);
            }
            if let Some(certificate) = checked(vote, committee, &parts) {
                self.certificate = Some(certificate);
                continue;
            }
            let found = find_bad(vote, committee, &parts);
            if found.is_empty() {
                return (None, bad); // Cannot be: a sum fails only if a part does.
            }
            for seat in found {
                self.spoil(seat);
                bad.extend(self.votes.get(&seat).map(|cast| (seat, cast.signed)));
            }
        }
    }

    fn parts(&self, digest: &Digest) -> Vec<(usize, bls::Signature)> {
        let counted = self
            .votes
            .iter()
            .filter(|(_, cast)| !cast.spoiled && cast.signed.vote.digest == *digest);
        counted.map(|(seat, cast)| (*seat, cast.signed.signature)).collect()
    }
}

fn weight(committee: &Committee, parts: &[(usize, bls::Signature)]) -> Weight {
    parts.iter().filter_map(|(seat, _)| committee.seats().get(*seat)).map(|seat| seat.weight).sum()
}

fn checked(
    vote: &Vote,
    committee: &Committee,
    parts: &[(usize, bls::Signature)],
) -> Option<Certificate> {
    let certificate = committee.certify(*vote, parts).ok()?;
    Unverified::new(certificate)
        .verify(&vote.chain, vote.phase, committee)
        .ok()
        .map(|c| c.into_inner())
}

/// The bad ones of a set whose sum is known to fail. The sum of two good halves is good, so at
/// least one is found.
fn find_bad(vote: &Vote, committee: &Committee, parts: &[(usize, bls::Signature)]) -> Vec<usize> {
    let mut bad = Vec::new();
    let mut failing = alloc::vec![parts];
    while let Some(set) = failing.pop() {
        if let [(seat, _)] = set {
            bad.push(*seat);
            continue;
        }
        let (left, right) = set.split_at(set.len() / 2);
        failing.extend(
            [left, right]
                .into_iter()
                .filter(|half| !half.is_empty() && !sum_holds(vote, committee, half)),
        );
    }
    bad
}

fn sum_holds(vote: &Vote, committee: &Committee, parts: &[(usize, bls::Signature)]) -> bool {
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
    fn certifies_at_quorum_and_not_before() {
        let (keys, committee) = members(&[1; 4]);
        let mut ballot = Ballot::default();
        for seat in [2, 0] {
            assert_eq!(ballot.enter(seat, SignedVote::sign(vote(1), &keys[seat].1)), Entered::New);
            assert_eq!(ballot.certify(&vote(1), &committee), (None, Vec::new()));
        }
        assert_eq!(ballot.enter(2, SignedVote::sign(vote(1), &keys[2].1)), Entered::Repeated);
        assert_eq!(ballot.certify(&vote(1), &committee), (None, Vec::new()));
        ballot.enter(1, SignedVote::sign(vote(1), &keys[1].1));
        assert_eq!(ballot.certify(&vote(2), &committee).0, None);
        let certificate = ballot.certify(&vote(1), &committee).0.unwrap();
        assert_eq!(certificate.seats().collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn halving_finds_every_bad_vote_and_keeps_the_good() {
        let (keys, committee) = members(&[1; 7]);
        // Signatures of another block (even seats) and bytes that are no point (odd seats).
        for bad in [vec![0], vec![6], vec![1, 4], vec![2, 3]] {
            let mut ballot = Ballot::default();
            let mut found = Vec::new();
            for (seat, (_, secret)) in keys.iter().enumerate() {
                let mut signed = SignedVote::sign(vote(1), secret);
                if bad.contains(&seat) {
                    signed.signature = match seat % 2 {
                        0 => SignedVote::sign(vote(9), secret).signature,
                        _ => bls::Signature([0xab; 48]),
                    };
                }
                ballot.enter(seat, signed);
                let (certificate, blamed) = ballot.certify(&vote(1), &committee);
                found.extend(blamed.into_iter().map(|(seat, _)| seat));
                assert!(certificate.is_none() || seat + 1 >= 5 + found.len());
            }
            found.sort_unstable();
            // A bad vote that came after the quorum was never looked at.
            assert!(found.iter().all(|seat| bad.contains(seat)), "{found:?}");
            assert!(bad.iter().filter(|seat| **seat < 5).all(|seat| found.contains(seat)));
            let certificate = ballot.certify(&vote(1), &committee).0.unwrap();
            assert!(certificate.seats().all(|seat| !found.contains(&seat)));
        }
    }

    #[test]
    fn a_second_vote_conflicts_and_a_spoiled_seat_is_silent() {
        let (keys, _) = members(&[1; 4]);
        let mut ballot = Ballot::default();
        let (first, second) =
            (SignedVote::sign(vote(1), &keys[0].1), SignedVote::sign(vote(2), &keys[0].1));
        assert_eq!(ballot.enter(0, first), Entered::New);
        assert_eq!(ballot.enter(0, second), Entered::Conflicts(first));
        ballot.spoil(0);
        assert_eq!(ballot.enter(0, second), Entered::Repeated);
    }
}
