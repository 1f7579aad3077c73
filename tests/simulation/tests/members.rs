//! Messages that a member sends to members that are behind, and accepts from members that are
//! ahead.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use tequio_core::{
    consensus::{Head, Input, Output, Recipient, Replica},
    crypto::NodeKey,
    ledger::{Checkpoint, Phase, Vote, statement::ViewChange},
    light::LightClient,
    machine::Machine,
    types::{Height, NodeId, TimeMs, Unverified, Verified},
    wire::{
        consensus::{Message, SignedVote},
        light::FinalHeader,
    },
};
use tequio_simulation::{
    chain_fixture::{ChainConfig, ChainFixture},
    cluster::{Cluster, Setup},
    fault_profile::{CHAIN_CONFIG, PATIENT_CONFIG},
};

/// Four members that have decided this many heights.
fn cluster_at(height: Height, config: ChainConfig) -> Cluster {
    let mut cluster = Cluster::new(ChainFixture::of(4, config), Setup::fault_free(61));
    for _ in 0..100_000 {
        if cluster.heights().iter().all(|reached| *reached >= height) {
            return cluster;
        }
        cluster.submit(0);
        cluster.run_ms(10);
    }
    panic!("height {height} is not reached: {:?}", cluster.heights())
}

/// Returns the bytes of this message, as a member receives them.
fn certificates_sent(
    replica: &mut Replica,
    now_ms: TimeMs,
    from: NodeId,
    message: Message,
) -> usize {
    replica.handle(now_ms, Input::Received { from, message: Unverified::new(message) }).unwrap();
    let outputs: Vec<_> = std::iter::from_fn(|| replica.poll()).collect();
    let is_answer = |output: &&Output| {
        matches!(output, Output::Send { to: Recipient::One(to),
        message: Message::CommitCertificate(_) } if *to == from)
    };
    outputs.iter().filter(is_answer).count()
}

#[test]
fn a_member_behind_gets_the_certificate_at_intervals_and_not_for_a_last_vote() {
    let mut cluster = cluster_at(3, PATIENT_CONFIG);
    // The member sends nothing while it writes.
    while cluster.hosts[0].writing.is_some() {
        cluster.run_ms(1);
    }
    let fixture = cluster.fixture;
    let host = &mut cluster.hosts[0];
    let now_ms = host.clock_ms(cluster.now_us);
    let replica = host.replica.as_mut().unwrap();
    let header = replica.head().header.clone();
    let [behind, other] = [1, 2].map(|seat: usize| &fixture.keys[seat].0);
    let left = |key: &NodeKey, height| {
        let change = ViewChange {
            chain: header.chain,
            epoch: header.epoch,
            height,
            view: 1,
            prepared: None,
        };
        Message::ViewChange { change: change.sign(key), block: None }
    };
    let half_timeout_ms = fixture.genesis.params.view_timeout_ms / 2;
    let (height, digest) = (header.height, header.digest());
    let vote = Vote {
        chain: header.chain,
        epoch: header.epoch,
        height,
        view: 0,
        phase: Phase::Commit,
        digest,
    };
    let last = Message::Vote(SignedVote::sign(vote, &fixture.seat_keys[1][0].vote));
    assert_eq!(
        certificates_sent(replica, now_ms, behind.id(), last.clone()),
        0,
        "it arrived just after the others"
    );
    assert_eq!(certificates_sent(replica, now_ms, behind.id(), left(behind, height)), 1);
    assert_eq!(certificates_sent(replica, now_ms, behind.id(), left(behind, height - 1)), 0);
    assert_eq!(
        certificates_sent(replica, now_ms + half_timeout_ms - 1, behind.id(), left(behind, height)),
        0
    );
    assert_eq!(
        certificates_sent(replica, now_ms + half_timeout_ms - 1, other.id(), left(other, height)),
        1
    );
    assert_eq!(
        certificates_sent(replica, now_ms + half_timeout_ms, behind.id(), last),
        1,
        "a retransmitted vote"
    );
}

/// Returns the head of a cluster as a snapshot.
fn snapshot(cluster: &Cluster) -> Verified<Head> {
    let start = &cluster.fixture.genesis;
    let Head { header, certificate, state, .. } =
        cluster.hosts[1].replica.as_ref().unwrap().head().clone();
    let record = start.committee.record().clone();
    let checkpoint =
        Checkpoint::new(start.header.clone(), None, record, start.params.trust_period_ms).encode();
    let light = LightClient::start(&checkpoint, None, start.header.time_ms).unwrap();
    let header = light.verify(Unverified::new(FinalHeader { header, certificate })).unwrap();
    Head::of_snapshot(header, state).unwrap()
}

#[test]
fn only_a_later_state_of_this_chain_is_installed() {
    let (early, late, foreign) =
        (cluster_at(2, PATIENT_CONFIG), cluster_at(6, PATIENT_CONFIG), cluster_at(6, CHAIN_CONFIG));
    assert_ne!(late.fixture.genesis.chain, foreign.fixture.genesis.chain);
    let mut cluster = cluster_at(4, PATIENT_CONFIG);
    let now_ms = cluster.hosts[0].clock_ms(cluster.now_us);
    let replica = cluster.hosts[0].replica.as_mut().unwrap();
    let height = replica.height();
    let mut adopted = |cluster: &Cluster| {
        replica.handle(now_ms, Input::Snapshot(Box::new(snapshot(cluster)))).unwrap();
        let is_adopted = std::iter::from_fn(|| replica.poll())
            .any(|output| matches!(output, Output::InstallSnapshot(_)));
        (is_adopted, replica.height())
    };
    assert_eq!(adopted(&foreign), (false, height));
    assert_eq!(adopted(&early), (false, height));
    let (is_adopted, reached) = adopted(&late);
    assert!(is_adopted && reached > height, "{reached}");
}
