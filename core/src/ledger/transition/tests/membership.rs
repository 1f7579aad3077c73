//! Seats come and go at epoch boundaries only, with their keys and bonds.

use super::*;
use crate::{
    crypto::vrf,
    ledger::{
        ConvictionReason, Evidence, EvidenceError, KeyRegistration, MemberStatus, Phase, Vote,
        statement::SignedVote,
    },
};
use alloc::boxed::Box;

fn secrets(n: u8) -> (bls::SecretKey, vrf::SecretKey) {
    (bls::SecretKey::from_seed(&[n; 32]), vrf::SecretKey::from_bytes(&[n; 32]))
}

fn key_registration(ledger: &Ledger, node: &NodeId, n: u8) -> KeyRegistration {
    let (vote, vrf) = secrets(n);
    KeyRegistration::new(&ledger.start.chain, node, &vote, &vrf).unwrap()
}

impl Ledger {
    /// Opens the account of the fifth member with some balance.
    fn fund(&mut self, amount: u64) -> NodeId {
        let node = self.keys[4].id();
        let account = Account { balance: amount, ..Account::new(node, 0) };
        self.state.insert(Entry::Account(account));
        node
    }

    fn join(&mut self, amount: u64, keys: u8) -> TransactionResult {
        let node = self.keys[4].id();
        let keys = key_registration(self, &node, keys);
        self.apply_action(4, Action::Join { amount, keys })
    }

    /// Runs up to the end of the epoch.
    fn end_epoch(&mut self) {
        let epoch = self.committee.epoch();
        while self.committee.epoch() == epoch {
            self.block(&[]);
        }
    }

    fn seated(&self) -> Vec<usize> {
        (0..self.keys.len())
            .filter(|key| self.committee.seat_of(&self.keys[*key].id()).is_some())
            .collect()
    }

    fn membership(&self, key: usize) -> MemberStatus {
        self.state.member(&self.keys[key].id()).unwrap().status
    }
}

#[test]
fn a_seat_needs_balance_bond_and_both_keys() {
    let mut ledger = Ledger::new();
    let node = ledger.fund(100);
    assert_eq!(ledger.join(101, 50), Err(TransactionError::InsufficientBalance(100)));
    assert_eq!(ledger.join(9, 50), Err(TransactionError::BondTooSmall(10)));
    // Proofs of another node, for either key; and keys of genesis.
    let keys_of_another = key_registration(&ledger, &ledger.keys[1].id(), 50);
    assert_eq!(
        ledger.apply_action(4, Action::Join { amount: 50, keys: keys_of_another }),
        Err(TransactionError::InvalidPossession)
    );
    let mixed = KeyRegistration {
        vrf_possession: keys_of_another.vrf_possession,
        ..key_registration(&ledger, &node, 50)
    };
    assert_eq!(
        ledger.apply_action(4, Action::Join { amount: 50, keys: mixed }),
        Err(TransactionError::InvalidPossession)
    );
    assert_eq!(ledger.join(50, 1), Err(TransactionError::KeyUsed));
    let vrf_of_genesis = vrf_of(&ledger.keys[0].id());
    let (vote, _) = secrets(50);
    let keys = KeyRegistration::new(&ledger.start.chain, &node, &vote, &vrf_of_genesis).unwrap();
    assert_eq!(
        ledger.apply_action(4, Action::Join { amount: 50, keys }),
        Err(TransactionError::KeyUsed)
    );
    assert_eq!(ledger.join(50, 50), Ok(()));
    assert_eq!(ledger.join(50, 51), Err(TransactionError::AlreadyMember));
    let account = ledger.state.account(&node).unwrap();
    assert_eq!((account.balance, account.bond), (50, 50));
    // Keys are unique for ever.
    let keys = key_registration(&ledger, &ledger.keys[0].id(), 50);
    assert_eq!(ledger.apply_action(0, Action::RotateKeys { keys }), Err(TransactionError::KeyUsed));
    assert_eq!(ledger.apply_action(5, Action::Leave), Err(TransactionError::UnknownSender));
}

#[test]
fn a_newcomer_votes_from_the_first_boundary_a_leader_term_later() {
    let mut ledger = Ledger::new();
    ledger.fund(100);
    // Height 4 is in the last leader term of the epoch.
    (0..3).for_each(|_| drop(ledger.block(&[])));
    assert_eq!(ledger.join(50, 50), Ok(()));
    ledger.end_epoch();
    assert_eq!((ledger.head.height, ledger.seated()), (7, vec![0, 1, 2, 3]));
    ledger.end_epoch();
    assert_eq!((ledger.head.height, ledger.seated()), (15, vec![0, 1, 2, 3, 4]));
    // More bond gives more weight, from the next epoch boundary on.
    assert_eq!(ledger.apply_action(4, Action::Bond { amount: 20 }), Ok(()));
    assert_eq!(
        ledger.apply_action(4, Action::Bond { amount: 1 }),
        Err(TransactionError::BondPending)
    );
    assert_eq!(ledger.committee.seats()[4].weight, 50);
    ledger.end_epoch();
    assert_eq!(ledger.committee.seats()[4].weight, 70);
    assert_eq!(ledger.committee.epoch(), 3);
    assert_eq!(ledger.committee.record().formed_ms, ledger.head.time_ms - 1);
}

#[test]
fn requests_in_the_last_leader_term_do_not_change_the_next_committee() {
    let mut ledger = Ledger::new();
    ledger.fund(100);
    ledger.join(50, 50).unwrap();
    ledger.end_epoch();
    assert_eq!(ledger.seated(), [0, 1, 2, 3, 4]);
    // Height 12 is in the last leader term of the epoch: the proposer of the boundary already knows
    // the seed of the next term.
    (0..4).for_each(|_| drop(ledger.block(&[])));
    let before = ledger.committee.seats().to_vec();
    assert_eq!(ledger.apply_action(4, Action::Bond { amount: 20 }), Ok(()));
    assert_eq!(ledger.apply_action(1, Action::Leave), Ok(()));
    let keys = key_registration(&ledger, &ledger.keys[2].id(), 60);
    assert_eq!(ledger.apply_action(2, Action::RotateKeys { keys }), Ok(()));
    ledger.end_epoch();
    assert_eq!(ledger.committee.seats(), before);
    ledger.end_epoch();
    assert_eq!(ledger.seated(), [0, 2, 3, 4]);
    let seats = ledger.committee.seats();
    assert_eq!((seats[1].key, seats[3].weight), (keys.keys.key, 70));
}

#[test]
fn a_leaving_member_stays_liable_until_its_bond_is_released() {
    let mut ledger = Ledger::new();
    let node = ledger.fund(50);
    ledger.join(50, 50).unwrap();
    assert_eq!(ledger.apply_action(1, Action::Leave), Ok(()));
    assert_eq!(ledger.apply_action(1, Action::Leave), Err(TransactionError::NotMember));
    ledger.end_epoch();
    // Not below four: the newcomer comes first.
    assert_eq!(ledger.seated(), [0, 1, 2, 3, 4]);
    ledger.end_epoch();
    assert_eq!(ledger.seated(), [0, 2, 3, 4]);
    let MemberStatus::Unbonding { until_ms } = ledger.membership(1) else {
        panic!("{:?}", ledger.membership(1))
    };
    assert_eq!(until_ms, ledger.head.time_ms - 1 + TRUST_MS + 1);
    // Its offence in the first epoch still costs it the bond; the newcomer is not liable for it.
    let vote = |n: u8, digest: u8| {
        let (chain, digest) = (ledger.start.chain, Digest([digest; 32]));
        let vote = Vote { chain, epoch: 0, height: 5, view: 0, phase: Phase::Commit, digest };
        SignedVote::sign(vote, &bls::SecretKey::from_seed(&[n; 32]))
    };
    let evidence = |n: u8| Box::new(Evidence::Votes(vote(n, 1), vote(n, 2)));
    let (of_leaver, of_newcomer, of_stayer) = (evidence(2), evidence(50), evidence(3));
    let report = Action::Report { accused: node, evidence: of_newcomer };
    assert_eq!(
        ledger.apply_action(0, report),
        Err(TransactionError::Evidence(EvidenceError::NotSeated))
    );
    let accused = ledger.keys[1].id();
    assert_eq!(ledger.apply_action(0, Action::Report { accused, evidence: of_leaver }), Ok(()));
    assert_eq!(ledger.state.conviction(&accused).unwrap().reason, ConvictionReason::DoubleVote);
    assert_eq!(ledger.state.account(&accused).unwrap().bond, 0);
    ledger.end_epoch();
    assert_eq!(ledger.membership(1), MemberStatus::Left);
    assert!(!ledger.state.member_set().contains(&accused));
    // Long after, the offence has no penalty any more.
    (0..6).for_each(|_| ledger.end_epoch());
    let report = Action::Report { accused: ledger.keys[2].id(), evidence: of_stayer };
    assert_eq!(
        ledger.apply_action(0, report),
        Err(TransactionError::Evidence(EvidenceError::TooOld))
    );
}

#[test]
fn a_bond_is_released_and_its_owner_may_join_again() {
    let mut ledger = Ledger::new();
    let node = ledger.fund(60);
    ledger.join(50, 50).unwrap();
    ledger.end_epoch();
    assert_eq!(ledger.apply_action(4, Action::Leave), Ok(()));
    ledger.end_epoch();
    assert_eq!(ledger.seated(), [0, 1, 2, 3]);
    assert_eq!(ledger.join(10, 51), Err(TransactionError::AlreadyMember));
    (0..6).for_each(|_| ledger.end_epoch());
    let account = ledger.state.account(&node).unwrap();
    assert_eq!((account.balance, account.bond, ledger.membership(4)), (60, 0, MemberStatus::Left));
    assert_eq!(ledger.join(60, 51), Ok(()));
    ledger.end_epoch();
    ledger.end_epoch();
    assert_eq!(ledger.seated(), [0, 1, 2, 3, 4]);
}

#[test]
fn keys_change_at_a_boundary_and_convicted_members_lose_their_seat() {
    let mut ledger = Ledger::new();
    let node = ledger.keys[2].id();
    let keys = key_registration(&ledger, &node, 60);
    let before = ledger.committee.seats()[2].clone();
    assert_eq!(ledger.apply_action(2, Action::RotateKeys { keys }), Ok(()));
    let other = key_registration(&ledger, &node, 61);
    assert_eq!(
        ledger.apply_action(2, Action::RotateKeys { keys: other }),
        Err(TransactionError::KeyRotationPending)
    );
    let vote = |digest: u8| {
        let (chain, digest) = (ledger.start.chain, Digest([digest; 32]));
        let vote = Vote { chain, epoch: 0, height: 5, view: 0, phase: Phase::Commit, digest };
        SignedVote::sign(vote, &bls::SecretKey::from_seed(&[4; 32]))
    };
    let evidence = Box::new(Evidence::Votes(vote(1), vote(2)));
    assert_eq!(
        ledger.apply_action(0, Action::Report { accused: ledger.keys[3].id(), evidence }),
        Ok(())
    );
    assert_eq!(ledger.committee.seats()[2], before);
    assert_eq!(ledger.seated(), [0, 1, 2, 3]);
    ledger.end_epoch();
    assert_eq!(ledger.seated(), [0, 1, 2]);
    let seat = &ledger.committee.seats()[2];
    assert_eq!((seat.node, seat.key, seat.vrf_key), (node, keys.keys.key, keys.keys.vrf_key));
    assert_eq!(ledger.apply_action(2, Action::RotateKeys { keys: other }), Ok(()));
}

#[test]
fn balance_goes_to_accounts_only() {
    let mut ledger = Ledger::new();
    let (own, other) = (ledger.keys[0].id(), ledger.keys[1].id());
    let transfer = |to, amount| Action::Transfer { to, amount };
    assert_eq!(
        ledger.apply_action(0, transfer(other, 101)),
        Err(TransactionError::InsufficientBalance(100))
    );
    let new = NodeId([9; 32]);
    assert_eq!(ledger.apply_action(0, transfer(new, 9)), Err(TransactionError::UnknownReceiver));
    assert_eq!(ledger.apply_action(1, transfer(new, 10)), Ok(()));
    assert_eq!(ledger.state.account(&new).map(|a| (a.balance, a.registered)), Some((10, false)));
    assert_eq!(ledger.apply_action(0, transfer(own, 100)), Ok(()));
    assert_eq!(ledger.apply_action(0, transfer(other, 30)), Ok(()));
    let balance = |node| ledger.state.account(node).unwrap().balance;
    assert_eq!((balance(&own), balance(&other)), (70, 120));
}
