//! What a member says to those who are behind, and what it takes from those who are ahead.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use tequio_core::{
    consensus::{Head, Input, Output, Replica, To},
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
    cluster::{Cluster, Setup},
    weather::{PACE, PATIENT},
    world::{Pace, World},
};

/// Four members that have decided so much.
fn after(height: Height, pace: Pace) -> Cluster {
    let mut cluster = Cluster::new(World::of(4, pace), Setup::calm(61));
    for _ in 0..100_000 {
        if cluster.heights().iter().all(|reached| *reached >= height) {
            return cluster;
        }
        cluster.submit(0);
        cluster.run_ms(10);
    }
    panic!("height {height} is not reached: {:?}", cluster.heights())
}

/// What a member is sent that says this.
fn answers(replica: &mut Replica, now_ms: TimeMs, from: NodeId, message: Message) -> usize {
    replica.handle(now_ms, Input::Received { from, message: Unverified::new(message) }).unwrap();
    let outputs: Vec<_> = std::iter::from_fn(|| replica.poll()).collect();
    let is_answer = |output: &&Output| matches!(output, Output::Send { to: To::One(to), message: Message::Finalised(_) } if *to == from);
    outputs.iter().filter(is_answer).count()
}

#[test]
fn who_is_behind_is_told_so_once_in_a_while_and_not_for_a_last_vote() {
    let mut cluster = after(3, PATIENT);
    // It says nothing while it writes.
    while cluster.hosts[0].writing.is_some() {
        cluster.run_ms(1);
    }
    let world = cluster.world;
    let host = &mut cluster.hosts[0];
    let now_ms = host.clock_ms(cluster.now_us);
    let replica = host.replica.as_mut().unwrap();
    let header = replica.head().header.clone();
    let [behind, other] = [1, 2].map(|seat: usize| &world.keys[seat].0);
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
    let patience_ms = world.start.params.view_timeout_ms / 2;
    let (height, digest) = (header.height, header.digest());
    let vote = Vote {
        chain: header.chain,
        epoch: header.epoch,
        height,
        view: 0,
        phase: Phase::Commit,
        digest,
    };
    let last = Message::Vote(SignedVote::sign(vote, &world.seat_keys[1][0].vote));
    assert_eq!(
        answers(replica, now_ms, behind.id(), last.clone()),
        0,
        "it came just after the others"
    );
    assert_eq!(answers(replica, now_ms, behind.id(), left(behind, height)), 1);
    assert_eq!(answers(replica, now_ms, behind.id(), left(behind, height - 1)), 0);
    assert_eq!(answers(replica, now_ms + patience_ms - 1, behind.id(), left(behind, height)), 0);
    assert_eq!(answers(replica, now_ms + patience_ms - 1, other.id(), left(other, height)), 1);
    assert_eq!(
        answers(replica, now_ms + patience_ms, behind.id(), last),
        1,
        "a vote that is said again"
    );
}

/// The head of a cluster as a snapshot.
fn snapshot(cluster: &Cluster) -> Verified<Head> {
    let start = &cluster.world.start;
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
fn a_later_state_of_this_chain_is_adopted_and_none_of_another_chain_nor_an_earlier_one() {
    let (early, late, foreign) = (after(2, PATIENT), after(6, PATIENT), after(6, PACE));
    assert_ne!(late.world.start.chain, foreign.world.start.chain);
    let mut cluster = after(4, PATIENT);
    let now_ms = cluster.hosts[0].clock_ms(cluster.now_us);
    let replica = cluster.hosts[0].replica.as_mut().unwrap();
    let height = replica.height();
    let mut adopted = |cluster: &Cluster| {
        replica.handle(now_ms, Input::Snapshot(Box::new(snapshot(cluster)))).unwrap();
        let is_adopted = std::iter::from_fn(|| replica.poll())
            .any(|output| matches!(output, Output::Adopted(_)));
        (is_adopted, replica.height())
    };
    assert_eq!(adopted(&foreign), (false, height));
    assert_eq!(adopted(&early), (false, height));
    let (is_adopted, reached) = adopted(&late);
    assert!(is_adopted && reached > height, "{reached}");
}
