//! A client that walks through the ends of epochs, and whoever shows it others.

use super::*;
use crate::ledger::{Seat, committee::CommitteeRecord};

/// Four seats that a fifth member joins: the first epoch's turn, and a header of the second epoch.
struct Walk {
    chain: Chain,
    next: Committee,
    secrets: Vec<bls::SecretKey>,
}

impl Walk {
    fn new() -> Self {
        let chain = Chain::new(1);
        let (node, secret) = (NodeKey::from_bytes(&[5; 32]), bls::SecretKey::from_seed(&[5; 32]));
        let mut seats = chain.start.committee.seats().to_vec();
        seats.push(Seat {
            node: node.id(),
            key: secret.public(),
            possession: secret.prove_possession(&chain.start.chain, &node.id()),
            vrf_key: vrf::SecretKey::from_bytes(&[105; 32]).public(),
            weight: 1,
        });
        let record = CommitteeRecord { epoch: 1, formed_ms: 7, seats: seats.try_into().unwrap() };
        let next = Committee::new(record, &chain.start.chain).unwrap();
        let secrets = chain.secrets.iter().cloned().chain([secret]).collect();
        Self { chain, next, secrets }
    }

    fn turn_to(&self, committee: &CommitteeRecord) -> Turn {
        let header = self.chain.header(EPOCH - 1, &self.chain.start.state);
        let header = Header { next_committee: committee.digest(), ..header };
        Turn { header: self.chain.certify(&header, &[0, 1, 2]), committee: committee.clone() }
    }

    fn turn(&self) -> Turn {
        self.turn_to(self.next.record())
    }

    /// Of the second epoch, signed by these seats.
    fn later(&self, signers: &[usize]) -> FinalHeader {
        let (height, seed) = (EPOCH + 2, Digest([9; 32]));
        let seat = leader(&self.next, &seed, height, 0);
        let header = Header {
            epoch: 1,
            seed,
            proof: None,
            proposer: self.next.seats()[seat].node,
            next_committee: self.next.record().digest(),
            ..self.chain.header(height, &self.chain.start.state)
        };
        let vote =
            Vote { chain: header.chain, epoch: 1, height, view: 0, phase: Phase::Commit, digest: header.digest() };
        let parts: Vec<_> = signers.iter().map(|i| (*i, self.secrets[*i].sign(&vote.message()))).collect();
        FinalHeader { header, certificate: Some(self.next.certify(vote, &parts).unwrap()) }
    }
}

fn walk(client: &mut LightClient, asked: usize, turns: &[Turn]) -> Result<usize, LightError> {
    client.walk(asked, turns.to_vec(), 50_000)
}

#[test]
fn a_turn_leads_into_the_next_epoch_with_one_certificate() {
    let chain = Walk::new();
    let mut client = chain.chain.client();
    let later = chain.later(&[1, 2, 3, 4]);
    // Not believed before: the committee is not known.
    assert_eq!(follow(&mut client, later.clone()), Err(LightError::Ahead { found: 1, known: 0 }));
    // The header of the turn alone is final, and does not say who comes next.
    assert_eq!(follow(&mut client, chain.turn().header), Ok(Progress::Turn));
    assert_eq!(client.head().height, 0);
    assert_eq!(walk(&mut client, 1, &[chain.turn()]), Ok(1));
    assert_eq!((client.head().height, client.committee().epoch(), client.committee().seats().len()), (39, 1, 5));
    assert_eq!(client.deciders().map(|committee| committee.seats().len()), Some(4));
    assert_eq!(follow(&mut client, chain.turn().header), Ok(Progress::Known));
    // Three of five were a quorum in the epoch before.
    let few = follow(&mut client, chain.later(&[0, 1, 2]));
    let refused = CertificateError::NoQuorum { weight: 3, quorum: 4 };
    assert_eq!(few, Err(LightError::Certificate(refused)));
    assert_eq!(follow(&mut client, later), Ok(Progress::Advanced));
    // Kept and resumed in the later epoch, and right after the turn.
    let mut at_turn = chain.chain.client();
    walk(&mut at_turn, 1, &[chain.turn()]).unwrap();
    for client in [&client, &at_turn] {
        let resumed = LightClient::resume(&client.save(), client.chain(), 50_000).unwrap();
        assert_eq!((resumed.digest(), resumed.committee().epoch()), (client.digest(), 1));
        // Who decided the turn is not kept.
        assert_eq!(resumed.deciders().map(Committee::epoch), (resumed.head().epoch == 1).then_some(1));
        // One that comes so late knows nothing of the epoch before.
        let old = resumed.verify(Unverified::new(chain.chain.certified(5)));
        assert_eq!(old.err(), Some(LightError::Past(0)));
    }
}

#[test]
fn too_many_turns_turns_out_of_order_and_other_committees_are_refused() {
    let chain = Walk::new();
    let turn = chain.turn();
    let refused = |asked, turns: &[Turn]| walk(&mut chain.chain.client(), asked, turns).err();
    assert_eq!(refused(1, &[turn.clone(), turn.clone()]), Some(LightError::Count { asked: 1, found: 2 }));
    // Twice: the second one is none of the next epoch.
    let again = LightError::Turn(TurnError::Order { found: 0, expected: 1 });
    assert_eq!(refused(2, &[turn.clone(), turn.clone()]), Some(again));
    let mut of_later = turn.clone();
    of_later.header.header.epoch = 1;
    assert_eq!(refused(1, &[of_later]), Some(LightError::Turn(TurnError::Order { found: 1, expected: 0 })));
    // The committee that is shown is not the one that was certified.
    let wrong = Some(LightError::Turn(TurnError::WrongCommittee));
    let mut richer = turn.clone();
    richer.committee.formed_ms += 1;
    assert_eq!(refused(1, &[richer]), wrong);
    let own = chain.chain.start.committee.record();
    let no_turn = Turn { header: chain.chain.certified(EPOCH - 1), committee: own.clone() };
    assert_eq!(
        refused(1, core::slice::from_ref(&no_turn)),
        Some(LightError::Turn(TurnError::Order { found: 0, expected: 0 }))
    );
    let renamed = CommitteeRecord { epoch: 1, ..own.clone() };
    assert_eq!(refused(1, &[Turn { committee: renamed, ..no_turn }]), wrong);
    // Too few of the old committee certify it.
    let mut few = turn.clone();
    few.header = chain.chain.certify(&turn.header.header, &[0, 1]);
    assert_eq!(refused(1, &[few]), Some(LightError::Certificate(CertificateError::NoQuorum { weight: 2, quorum: 3 })));
    // And even a quorum cannot hand everything over at once, nor seat who has not proved to hold the key.
    let strangers = Chain::new(50);
    let all_new = CommitteeRecord { epoch: 1, ..strangers.start.committee.record().clone() };
    assert_eq!(refused(1, &[chain.turn_to(&all_new)]), Some(LightError::Turn(TurnError::NoOverlap)));
    let mut rogue = chain.next.record().clone();
    let mut seats = rogue.seats.to_vec();
    seats[4].possession = seats[3].possession;
    rogue.seats = seats.try_into().unwrap();
    assert_eq!(
        refused(1, &[chain.turn_to(&rogue)]),
        Some(LightError::Turn(TurnError::Committee(CommitteeError::Possession(4))))
    );
}

#[test]
fn a_fork_at_a_turn_raises_the_alarm_and_old_turns_lead_nobody_who_was_away_for_too_long() {
    let chain = Walk::new();
    let mut client = chain.chain.client();
    let late = client.head().time_ms + TRUST_MS + 1;
    assert_eq!(client.clone().walk(1, vec![chain.turn()], late), Err(LightError::Outdated));
    walk(&mut client, 1, &[chain.turn()]).unwrap();
    // Another end of the same epoch, as well certified by the committee that is not the present one any more.
    let mut other = chain.turn().header.header;
    other.parent = Digest([77; 32]);
    let other = chain.chain.certify(&other, &[1, 2, 3]);
    assert_eq!(follow(&mut client, other), Err(LightError::Forked(EPOCH - 1)));
    assert!(client.alarm().is_some());
}

#[test]
fn any_changed_byte_of_a_turn_is_noticed() {
    let chain = Walk::new();
    let (bytes, client) = (codec::encode(&chain.turn()), chain.chain.client());
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let Ok(turn) = codec::decode::<Turn>(&changed, 1 << 16) else { continue };
        assert!(walk(&mut client.clone(), 1, &[turn]).is_err(), "byte {at}");
    }
}

#[test]
fn whoever_decided_the_epoch_before_is_not_believed_about_later_heights_nor_for_long() {
    let chain = Walk::new();
    let mut client = chain.chain.client();
    walk(&mut client, 1, &[chain.turn()]).unwrap();
    // Its keys may be sold: they neither lead the client on, nor make it halt.
    assert_eq!(follow(&mut client, chain.chain.certified(EPOCH + 2)), Err(LightError::WrongHeader));
    assert_eq!(follow(&mut client, chain.later(&[1, 2, 3, 4])), Ok(Progress::Advanced));
    assert_eq!(follow(&mut client, chain.chain.certified(EPOCH + 2)), Err(LightError::WrongHeader));
    assert_eq!(client.alarm(), None);
    // What it did decide may be read for as long as it answers for it.
    let old = Unverified::new(chain.chain.certified(5));
    assert_eq!(client.follow(old.clone(), 50_000), Ok(Progress::Older));
    let late = client.committee().record().formed_ms + TRUST_MS + 1;
    assert_eq!(client.follow(old, late), Err(LightError::Past(0)));
}
