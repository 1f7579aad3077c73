//! Committee handovers: a client follows those that hold, and refuses all others.

use super::*;
use crate::ledger::{Seat, committee::CommitteeRecord};

/// Four seats that a fifth member joins: the first epoch's handover, and a header of the second
/// epoch.
pub(super) struct Fixture {
    pub(super) chain: Chain,
    next: Committee,
    secrets: Vec<bls::SecretKey>,
}

impl Fixture {
    pub(super) fn new() -> Self {
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

    fn handover_to(&self, committee: &CommitteeRecord) -> CommitteeHandover {
        let header = self.chain.header(EPOCH - 1, &self.chain.start.state);
        let header = Header { next_committee: committee.digest(), ..header };
        let header = self.chain.certify(&header, &[0, 1, 2]);
        CommitteeHandover::new(header, self.chain.start.committee.record(), committee)
    }

    pub(super) fn handover(&self) -> CommitteeHandover {
        self.handover_to(self.next.record())
    }

    /// A header of the second epoch, signed by these seats.
    fn later(&self, signers: &[usize]) -> FinalHeader {
        self.later_with(&self.chain.start.state, signers)
    }

    /// The same, with another state.
    pub(super) fn later_with(&self, state: &State, signers: &[usize]) -> FinalHeader {
        let (height, seed) = (EPOCH + 2, Digest([9; 32]));
        let seat = leader(&self.next, &seed, height, 0);
        let header = Header {
            epoch: 1,
            seed,
            proof: None,
            proposer: self.next.seats()[seat].node,
            next_committee: self.next.record().digest(),
            ..self.chain.header(height, state)
        };
        let vote = Vote {
            chain: header.chain,
            epoch: 1,
            height,
            view: 0,
            phase: Phase::Commit,
            digest: header.digest(),
        };
        let parts: Vec<_> =
            signers.iter().map(|i| (*i, self.secrets[*i].sign(&vote.message()))).collect();
        FinalHeader { header, certificate: Some(self.next.aggregate_votes(vote, &parts).unwrap()) }
    }
}

fn follow_handovers(
    client: &mut LightClient,
    count_max: usize,
    handovers: &[CommitteeHandover],
) -> Result<usize, LightError> {
    client.follow_handovers(count_max, handovers.to_vec(), 50_000)
}

#[test]
fn a_handover_leads_into_the_next_epoch_with_one_certificate() {
    let chain = Fixture::new();
    let mut client = chain.chain.client();
    let later = chain.later(&[1, 2, 3, 4]);
    // Refused at first, because the committee is not known.
    assert_eq!(
        follow(&mut client, later.clone()),
        Err(LightError::LaterEpoch { found: 1, known: 0 })
    );
    // The last header alone is final, and does not give the next committee.
    assert_eq!(follow(&mut client, chain.handover().header), Ok(Progress::EpochEnd));
    assert_eq!(client.head().height, 0);
    assert_eq!(follow_handovers(&mut client, 1, &[chain.handover()]), Ok(1));
    assert_eq!(
        (client.head().height, client.committee().epoch(), client.committee().seats().len()),
        (39, 1, 5)
    );
    assert_eq!(client.head_committee().map(|committee| committee.seats().len()), Some(4));
    assert_eq!(follow(&mut client, chain.handover().header), Ok(Progress::Known));
    // Three of five were a quorum in the epoch before.
    let few = follow(&mut client, chain.later(&[0, 1, 2]));
    let refused = CertificateError::NoQuorum { weight: 3, quorum: 4 };
    assert_eq!(few, Err(LightError::Certificate(refused)));
    assert_eq!(follow(&mut client, later), Ok(Progress::Advanced));
    // Saved and resumed in the later epoch, and right after the handover.
    let mut at_end = chain.chain.client();
    follow_handovers(&mut at_end, 1, &[chain.handover()]).unwrap();
    for client in [&client, &at_end] {
        let resumed = LightClient::resume(&client.save(), client.chain(), 50_000).unwrap();
        assert_eq!((resumed.digest(), resumed.committee().epoch()), (client.digest(), 1));
        // The committee that decided the last header is not saved.
        assert_eq!(
            resumed.head_committee().map(Committee::epoch),
            (resumed.head().epoch == 1).then_some(1)
        );
        // A client that resumes so late does not know the epoch before.
        let old = resumed.verify(Unverified::new(chain.chain.certified(5)));
        assert_eq!(old.err(), Some(LightError::PastEpoch(0)));
    }
}

#[test]
fn too_many_handovers_wrong_order_and_other_committees_are_refused() {
    let chain = Fixture::new();
    let handover = chain.handover();
    let refused = |count_max, handovers: &[CommitteeHandover]| {
        follow_handovers(&mut chain.chain.client(), count_max, handovers).err()
    };
    assert_eq!(
        refused(1, &[handover.clone(), handover.clone()]),
        Some(LightError::Count { requested: 1, found: 2 })
    );
    // The second copy is not a handover of the next epoch.
    let again = LightError::Handover(HandoverError::Order { found: 0, expected: 1 });
    assert_eq!(refused(2, &[handover.clone(), handover.clone()]), Some(again));
    let mut of_later = handover.clone();
    of_later.header.header.epoch = 1;
    assert_eq!(
        refused(1, &[of_later]),
        Some(LightError::Handover(HandoverError::Order { found: 1, expected: 0 }))
    );
    // The given committee is not the certified one.
    let wrong = Some(LightError::Handover(HandoverError::WrongCommittee));
    let mut richer = handover.clone();
    richer.formed_ms += 1;
    assert_eq!(refused(1, &[richer]), wrong);
    let mut heavier = handover.clone();
    let mut seats = heavier.seats.unwrap().to_vec();
    seats[0].weight += 1;
    heavier.seats = Some(seats.try_into().unwrap());
    assert_eq!(refused(1, &[heavier]), wrong);
    // The seats have changed, and the handover claims that they have not.
    assert_eq!(refused(1, &[CommitteeHandover { seats: None, ..handover.clone() }]), wrong);
    // A header that ends no epoch names the present committee.
    let header = chain.chain.certified(EPOCH - 1);
    assert_eq!(refused(1, &[CommitteeHandover { header, formed_ms: 1000, seats: None }]), wrong);
    // Too few of the old committee certify it.
    let mut few = handover.clone();
    few.header = chain.chain.certify(&handover.header.header, &[0, 1]);
    assert_eq!(
        refused(1, &[few]),
        Some(LightError::Certificate(CertificateError::NoQuorum { weight: 2, quorum: 3 }))
    );
    // Even a quorum cannot replace the whole committee at once, nor seat a member without a proof
    // of possession of its key.
    let other_chain = Chain::new(50);
    let all_new = CommitteeRecord { epoch: 1, ..other_chain.start.committee.record().clone() };
    assert_eq!(
        refused(1, &[chain.handover_to(&all_new)]),
        Some(LightError::Handover(HandoverError::NoOverlap))
    );
    let mut rogue = chain.next.record().clone();
    let mut seats = rogue.seats.to_vec();
    seats[4].possession = seats[3].possession;
    rogue.seats = seats.try_into().unwrap();
    assert_eq!(
        refused(1, &[chain.handover_to(&rogue)]),
        Some(LightError::Handover(HandoverError::Committee(CommitteeError::Possession(4))))
    );
}

#[test]
fn a_fork_at_an_epoch_end_is_detected_and_an_outdated_client_refuses_handovers() {
    let chain = Fixture::new();
    let mut client = chain.chain.client();
    let late = client.head().time_ms + TRUST_MS + 1;
    assert_eq!(
        client.clone().follow_handovers(1, vec![chain.handover()], late),
        Err(LightError::Outdated)
    );
    follow_handovers(&mut client, 1, &[chain.handover()]).unwrap();
    // Another last header of the same epoch, certified by the same committee.
    let mut other = chain.handover().header.header;
    other.parent = Digest([77; 32]);
    let other = chain.chain.certify(&other, &[1, 2, 3]);
    assert_eq!(follow(&mut client, other), Err(LightError::Forked(EPOCH - 1)));
    assert!(client.fork_evidence().is_some());
}

#[test]
fn any_changed_byte_of_a_handover_is_detected() {
    let chain = Fixture::new();
    let (bytes, client) = (codec::encode(&chain.handover()), chain.chain.client());
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let Ok(handover) = codec::decode::<CommitteeHandover>(&changed, 1 << 16) else { continue };
        assert!(follow_handovers(&mut client.clone(), 1, &[handover]).is_err(), "byte {at}");
    }
}

#[test]
fn the_previous_committee_certifies_only_its_own_heights_and_only_within_the_trust_period() {
    let chain = Fixture::new();
    let mut client = chain.chain.client();
    follow_handovers(&mut client, 1, &[chain.handover()]).unwrap();
    // Its keys may be sold: they neither advance the client nor halt it.
    assert_eq!(follow(&mut client, chain.chain.certified(EPOCH + 2)), Err(LightError::WrongHeader));
    assert_eq!(follow(&mut client, chain.later(&[1, 2, 3, 4])), Ok(Progress::Advanced));
    assert_eq!(follow(&mut client, chain.chain.certified(EPOCH + 2)), Err(LightError::WrongHeader));
    assert_eq!(client.fork_evidence(), None);
    // Its past decisions stay readable while it is accountable for them.
    let old = Unverified::new(chain.chain.certified(5));
    assert_eq!(client.follow(old.clone(), 50_000), Ok(Progress::Older));
    let late = client.committee().record().formed_ms + TRUST_MS + 1;
    assert_eq!(client.follow(old, late), Err(LightError::PastEpoch(0)));
}

/// The handovers of epochs from the first on whose committees all have the same seats.
fn with_the_same_seats(chain: &Chain, epochs: Epoch) -> Vec<CommitteeHandover> {
    let mut committee = chain.start.committee.clone();
    let handover = |epoch: Epoch| {
        let (height, mut seed) = ((epoch + 1) * EPOCH - 1, Digest([0; 32]));
        seed.0[..8].copy_from_slice(&epoch.to_le_bytes());
        let formed_ms = 999 + height * INTERVAL_MS;
        let next = CommitteeRecord { epoch: epoch + 1, formed_ms, ..committee.record().clone() };
        let seat = leader(&committee, &seed, height, 0);
        let header = Header {
            height,
            epoch,
            seed,
            time_ms: 1000 + height * INTERVAL_MS,
            proposer: committee.seats()[seat].node,
            proof: Some(
                chain.vrf[seat]
                    .prove(&leader_seed::vrf_input(&chain.start.chain, height, &seed))
                    .unwrap(),
            ),
            next_committee: next.digest(),
            ..chain.start.header.clone()
        };
        let vote = Vote {
            chain: header.chain,
            epoch,
            height,
            view: 0,
            phase: Phase::Commit,
            digest: header.digest(),
        };
        let parts = [0, 1, 2].map(|i| (i, chain.secrets[i].sign(&vote.message())));
        let header = FinalHeader {
            header,
            certificate: Some(committee.aggregate_votes(vote, &parts).unwrap()),
        };
        let handover = CommitteeHandover::new(header, committee.record(), &next);
        committee = committee.successor(next, &chain.start.chain).unwrap();
        handover
    };
    (0..epochs).map(handover).collect()
}

/// 720 epochs are 30 days of hours. `TEQUIO_HANDOVERS` measures other numbers.
#[test]
fn a_month_of_handovers_is_small_and_verified_in_seconds() {
    let epochs = std::env::var("TEQUIO_HANDOVERS").map_or(720, |text| text.parse().unwrap());
    let chain = Chain::new(1);
    let handovers = with_the_same_seats(&chain, epochs);
    let len = codec::encode(&handovers[0]).len();
    assert!(handovers.iter().all(|handover| handover.seats.is_none()) && len < 540, "{len} bytes");
    let file = handover::HandoverFile::new(handovers).unwrap().encode();
    let started = std::time::Instant::now();
    let mut client = chain.client();
    let handovers = handover::HandoverFile::decode(&file).unwrap().handovers.into_vec();
    let now_ms = handovers[0].header.header.time_ms;
    assert_eq!(client.follow_handovers(handovers.len(), handovers, now_ms), Ok(epochs as usize));
    std::println!("{epochs} handovers: {} bytes, verified in {:?}", file.len(), started.elapsed());
    assert!(
        started.elapsed()
            < std::time::Duration::from_secs(30)
                .max(epochs as u32 * std::time::Duration::from_millis(20))
    );
    assert_eq!((client.committee().epoch(), client.head().height), (epochs, epochs * EPOCH - 1));
}

#[test]
fn a_file_of_another_kind_or_with_trailing_bytes_is_refused() {
    let file =
        handover::HandoverFile::new(with_the_same_seats(&Chain::new(1), 2)).unwrap().encode();
    assert_eq!(handover::HandoverFile::decode(&file).unwrap().handovers.len(), 2);
    let wrong = handover::HandoverFile::decode(b"TEQUIOC3");
    assert_eq!(wrong, Err(handover::HandoverFileError::Magic));
    assert!(handover::HandoverFile::decode(&[file.as_slice(), &[0]].concat()).is_err());
    assert!(handover::HandoverFile::decode(&file[..file.len() - 1]).is_err());
}

#[test]
fn an_epoch_end_is_checked_against_the_committees_in_a_trusted_state() {
    let chain = Chain::new(1);
    let handovers = with_the_same_seats(&chain, 2);
    let mut state = chain.start.state.clone();
    for (next, handover) in (1..).zip(&handovers) {
        let record = chain.start.committee.record().clone();
        state.insert(Entry::Committee(CommitteeRecord {
            epoch: next,
            formed_ms: handover.formed_ms,
            ..record
        }));
    }
    let verify = |header: &FinalHeader| {
        handover::verify_epoch_end(Unverified::new(header.clone()), &chain.start.chain, &state)
            .is_some()
    };
    assert!(handovers.iter().all(|handover| verify(&handover.header)));
    let good = &handovers[1].header;
    // Without a certificate, with that of another header, of too few seats, or in the middle of the
    // epoch.
    assert!(!verify(&FinalHeader { certificate: None, ..good.clone() }));
    assert!(!verify(&FinalHeader {
        certificate: handovers[0].header.certificate.clone(),
        ..good.clone()
    }));
    let first = chain.certify(&handovers[0].header.header, &[0, 1]);
    assert!(!verify(&first));
    let middle = Header { height: 5, ..handovers[0].header.header.clone() };
    assert!(!verify(&chain.certify(&middle, &[0, 1, 2])));
    let other = Header { next_committee: Digest([1; 32]), ..handovers[0].header.header.clone() };
    assert!(!verify(&chain.certify(&other, &[0, 1, 2])));
}
