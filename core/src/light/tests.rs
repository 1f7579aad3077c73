//! Tests of the light client against a lying data source.

use super::*;
use crate::{
    codec::{self, BoundedVec},
    crypto::{NodeKey, bls, vrf},
    ledger::{
        Checkpoint, Committee, Entry, Genesis, Header, Key, Params, Phase, State, Vote,
        block::transactions_root,
        committee::{CertificateError, CommitteeError},
        genesis::{BootstrapError, GenesisFile, GenesisSeat, GenesisState},
        leader, leader_seed,
        state::ProvedEntry,
    },
    types::{ChainId, Digest, Epoch, Height, NodeId, Unverified},
    wire::light::{CommitteeHandover, FinalHeader},
};
use alloc::{vec, vec::Vec};

mod contribution;
mod handovers;

const INTERVAL_MS: u64 = 1000;
const TRUST_MS: u64 = 1_000_000;
const TERM: Height = 8;
const EPOCH: Height = 40;

struct Chain {
    start: GenesisState,
    secrets: Vec<bls::SecretKey>,
    vrf: Vec<vrf::SecretKey>,
}

impl Chain {
    /// Seats of weight 1, from seeds `first..first + 4`.
    fn new(first: u8) -> Self {
        let nodes: Vec<NodeKey> =
            (first..first + 4).map(|n| NodeKey::from_bytes(&[n; 32])).collect();
        let secrets: Vec<bls::SecretKey> =
            (first..first + 4).map(|n| bls::SecretKey::from_seed(&[n; 32])).collect();
        let vrf: Vec<vrf::SecretKey> =
            (first..first + 4).map(|n| vrf::SecretKey::from_bytes(&[n + 100; 32])).collect();
        let params = Params {
            block_interval_ms_max: INTERVAL_MS,
            block_interval_ms_min: 1,
            view_timeout_ms: 1000,
            clock_skew_ms_max: 1000,
            audit_blocks_min: 3,
            audit_blocks_max: 100,
            admission_bits: 1,
            mint_max: 1000,
            trust_period_ms: TRUST_MS,
            epoch_blocks: EPOCH,
            bond_min: 1,
            reputation_min: 0,
            unbonding_ms: TRUST_MS + 1,
            leader_term_blocks: TERM,
        };
        let genesis = Genesis {
            name: "test".try_into().unwrap(),
            time_ms: 1000,
            params,
            accounts: BoundedVec::truncated(nodes.iter().map(|n| (n.id(), 0, 1))),
            seats: BoundedVec::truncated((0..4).map(|i| GenesisSeat {
                node: nodes[i].id(),
                key: secrets[i].public(),
                vrf_key: vrf[i].public(),
                weight: 1,
            })),
        };
        let chain = genesis.chain();
        let possessions =
            nodes.iter().zip(&secrets).map(|(n, s)| s.prove_possession(&chain, &n.id())).collect();
        let start = GenesisFile::new(genesis, possessions).unwrap().build_state().unwrap();
        Self { start, secrets, vrf }
    }

    fn client(&self) -> LightClient {
        let checkpoint = Checkpoint::new(
            self.start.header.clone(),
            None,
            self.start.committee.record().clone(),
            TRUST_MS,
        );
        let bytes = checkpoint.encode();
        LightClient::start(&bytes, Some(&Checkpoint::hash(&bytes)), 2000).unwrap()
    }

    /// Headers of the first terms, whose seeds follow from each other.
    fn header(&self, height: Height, state: &State) -> Header {
        let before = height.checked_sub(1).map(|_| height / TERM * TERM).filter(|first| *first > 0);
        let seed = match before {
            Some(first) => leader_seed::next(&self.header(first - 1, state)).unwrap(),
            None => self.start.header.seed,
        };
        let seat = leader(&self.start.committee, &seed, height, 0);
        let input = leader_seed::vrf_input(&self.start.chain, height, &seed);
        let proof = leader_seed::ends_leader_term(&self.start.params, height)
            .then(|| self.vrf[seat].prove(&input).unwrap());
        Header {
            seed,
            proof,
            proposer: self.start.committee.seats()[seat].node,
            height,
            time_ms: 1000 + height * INTERVAL_MS,
            parent: Digest([height as u8; 32]),
            transactions: transactions_root(&[]),
            state: state.root(),
            ..self.start.header.clone()
        }
    }

    fn certify(&self, header: &Header, signers: &[usize]) -> FinalHeader {
        let vote = Vote {
            chain: header.chain,
            epoch: header.epoch,
            height: header.height,
            view: header.view,
            phase: Phase::Commit,
            digest: header.digest(),
        };
        let parts: Vec<_> =
            signers.iter().map(|i| (*i, self.secrets[*i].sign(&vote.message()))).collect();
        FinalHeader {
            header: header.clone(),
            certificate: Some(self.start.committee.aggregate_votes(vote, &parts).unwrap()),
        }
    }

    fn certified(&self, height: Height) -> FinalHeader {
        self.certify(&self.header(height, &self.start.state), &[0, 1, 2])
    }
}

fn follow(client: &mut LightClient, header: FinalHeader) -> Result<Progress, LightError> {
    client.follow(Unverified::new(header), 10_000)
}

#[test]
fn follows_certified_headers_forwards_only() {
    let chain = Chain::new(1);
    let mut client = chain.client();
    assert_eq!(follow(&mut client, chain.certified(5)), Ok(Progress::Advanced));
    assert_eq!(follow(&mut client, chain.certified(5)), Ok(Progress::Known));
    assert_eq!(follow(&mut client, chain.certified(4)), Ok(Progress::Older));
    assert_eq!(client.head().height, 5);
    assert!(!client.is_stale(INTERVAL_MS, 9000) && client.is_stale(INTERVAL_MS, 9001));
    let mut backwards = chain.header(6, &chain.start.state);
    backwards.time_ms = client.head().time_ms;
    assert_eq!(follow(&mut client, chain.certify(&backwards, &[0, 1, 2])), Err(LightError::Time));
}

#[test]
fn refuses_too_little_weight_another_committee_and_another_chain() {
    let (chain, other) = (Chain::new(1), Chain::new(50));
    let mut client = chain.client();
    let header = chain.header(1, &chain.start.state);
    let two = chain.certify(&header, &[0, 1]);
    let refused = |e| Err(LightError::Certificate(e));
    assert_eq!(
        follow(&mut client, two),
        refused(CertificateError::NoQuorum { weight: 2, quorum: 3 })
    );
    assert_eq!(
        follow(&mut client, other.certify(&header, &[0, 1, 2])),
        refused(CertificateError::BadSignature)
    );
    assert_eq!(follow(&mut client, other.certified(1)), refused(CertificateError::WrongChain));
    let bare = FinalHeader { header, certificate: None };
    assert_eq!(follow(&mut client, bare), Err(LightError::NoCertificate));
    assert_eq!(client.head().height, 0);
}

#[test]
fn any_changed_byte_of_a_header_is_detected() {
    let chain = Chain::new(1);
    let good = chain.certified(3);
    let bytes = codec::encode(&good);
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let Ok(header) = codec::decode::<FinalHeader>(&changed, 1 << 16) else { continue };
        assert!(follow(&mut chain.client(), header).is_err(), "byte {at}");
    }
}

#[test]
fn reads_entries_with_proofs_and_their_absence() {
    let chain = Chain::new(1);
    let state = &chain.start.state;
    let known = Key::Account(chain.start.committee.seats()[0].node);
    let absent = Key::Account(NodeId([9; 32]));
    let keys = [known.clone(), absent.clone(), Key::Params];
    let entries: Vec<_> = keys.iter().map(|k| state.prove(k)).collect();
    let read = |entries: &[ProvedEntry]| {
        chain.client().read(&keys, Unverified::new(chain.certified(2)), entries, 3000)
    };
    let found = read(&entries).unwrap();
    assert_eq!(found, [state.entry(&known).cloned(), None, state.entry(&Key::Params).cloned()]);
    // A withheld, exchanged or changed answer is refused.
    assert_eq!(read(&entries[..2]), Err(LightError::Count { requested: 3, found: 2 }));
    let mut swapped = entries.clone();
    swapped.swap(0, 1);
    assert!(read(&swapped).is_err());
    let denied = ProvedEntry { entry: None, ..entries[0].clone() };
    assert!(read(&[denied, entries[1].clone(), entries[2].clone()]).is_err());
    let bytes = codec::encode(&entries[0]);
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let Ok(entry) = codec::decode::<ProvedEntry>(&changed, 1 << 16) else { continue };
        assert!(read(&[entry, entries[1].clone(), entries[2].clone()]).is_err(), "byte {at}");
    }
}

#[test]
fn two_final_headers_of_a_height_are_fork_evidence_only_within_the_trust_period() {
    let chain = Chain::new(1);
    let mut client = chain.client();
    follow(&mut client, chain.certified(5)).unwrap();
    let mut fork = chain.header(5, &chain.start.state);
    fork.parent = Digest([99; 32]);
    let fork = chain.certify(&fork, &[1, 2, 3]);
    let late = fork.header.time_ms + TRUST_MS + 1;
    assert_eq!(client.clone().follow(Unverified::new(fork.clone()), late), Ok(Progress::Older));
    assert_eq!(follow(&mut client, fork), Err(LightError::Forked(5)));
    // The client stays halted after a restart.
    assert_eq!(follow(&mut client, chain.certified(6)), Err(LightError::Forked(5)));
    let mut resumed = LightClient::resume(&client.save(), client.chain(), 10_000).unwrap();
    assert_eq!(follow(&mut resumed, chain.certified(6)), Err(LightError::Forked(5)));
}

#[test]
fn checkpoints_are_pinned_by_hash_and_expire() {
    let chain = Chain::new(1);
    let mut client = chain.client();
    follow(&mut client, chain.certified(7)).unwrap();
    let bytes = client.checkpoint().encode();
    let again = LightClient::start(&bytes, Some(&Checkpoint::hash(&bytes)), 10_000).unwrap();
    assert_eq!(again.digest(), client.digest());
    let wrong = LightClient::start(&bytes, Some(&Digest([0; 32])), 10_000).err();
    assert!(matches!(wrong, Some(BootstrapError::WrongHash { .. })));
    let stale = LightClient::start(&bytes, None, 10_000 + TRUST_MS).err();
    assert!(matches!(stale, Some(BootstrapError::Stale { .. })));
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let opened = LightClient::start(&changed, Some(&Checkpoint::hash(&bytes)), 10_000);
        assert!(matches!(opened, Err(BootstrapError::WrongHash { .. })), "byte {at}");
    }
}

#[test]
fn the_leader_order_is_checked_across_skipped_blocks() {
    let chain = Chain::new(1);
    // Into the third term, with nothing between; then over the end of a term, block by block.
    let mut client = chain.client();
    for height in [18, 22, 23, 24, 25] {
        assert_eq!(
            follow(&mut client, chain.certified(height)),
            Ok(Progress::Advanced),
            "{height}"
        );
    }
    let refused = |client: &LightClient, header: &Header| {
        assert_eq!(
            follow(&mut client.clone(), chain.certify(header, &[0, 1, 2])),
            Err(LightError::Leader)
        );
    };
    let state = &chain.start.state;
    let good = chain.header(26, state);
    refused(&client, &Header { seed: Digest([1; 32]), ..good.clone() });
    let others = chain.start.committee.seats().iter().filter(|seat| seat.node != good.proposer);
    others.for_each(|seat| refused(&client, &Header { proposer: seat.node, ..good.clone() }));
    // A term's last block with another's proof, or with one of another height.
    let last = chain.header(31, state);
    for secret in &chain.vrf {
        let input = leader_seed::vrf_input(&chain.start.chain, 31, &last.seed);
        let proof = Some(secret.prove(&input).unwrap());
        if proof != last.proof {
            refused(&client, &Header { proof, ..last.clone() });
        }
    }
    refused(&client, &Header { proof: chain.header(23, state).proof, ..last.clone() });
    // The next block must continue from the proof.
    follow(&mut client, chain.certified(31)).unwrap();
    let next = chain.header(32, state);
    assert_ne!(next.seed, last.seed);
    let seat = leader(&chain.start.committee, &last.seed, 32, 0);
    let proposer = chain.start.committee.seats()[seat].node;
    refused(&client, &Header { seed: last.seed, proposer, ..next });
}

#[test]
fn headers_signed_with_stolen_keys_are_fork_evidence_and_do_not_advance_an_outdated_client() {
    let chain = Chain::new(1);
    let truth = chain.certified(5);
    let mut forged = chain.header(5, &chain.start.state);
    forged.parent = Digest([99; 32]);
    let forged = chain.certify(&forged, &[1, 2, 3]);
    let last = truth.header.time_ms + TRUST_MS;
    // Either header may arrive first, at the last moment of the trust period and after it.
    for (first, second) in [(&truth, &forged), (&forged, &truth)] {
        let mut client = chain.client();
        assert_eq!(follow(&mut client, first.clone()), Ok(Progress::Advanced));
        let mut late = client.clone();
        assert_eq!(late.follow(Unverified::new(second.clone()), last + 1), Ok(Progress::Older));
        assert_eq!((late.fork_evidence(), late.digest()), (None, client.digest()));
        assert_eq!(
            client.follow(Unverified::new(second.clone()), last),
            Err(LightError::Forked(5))
        );
        let evidence = client.fork_evidence().unwrap();
        assert_eq!((&evidence.ours, &evidence.theirs), (first, second));
    }
    // Later, sold keys could certify any chain. A client that was away follows no header, and its
    // error says what to do.
    let mut away = chain.client();
    let left = away.head().time_ms + TRUST_MS;
    assert_eq!(away.clone().follow(Unverified::new(forged.clone()), left), Ok(Progress::Advanced));
    assert_eq!(away.follow(Unverified::new(forged), left + 1), Err(LightError::Outdated));
    assert_eq!((away.head().height, away.fork_evidence()), (0, None));
}
