//! Hand-made schedules for cases that random runs seldom reach.

use crate::{
    adversary::ByzantineFault,
    chain_fixture::{ChainFixture, GENESIS_MS},
    cluster::{Cluster, Setup, VoteRoutingProfile},
    disk::WriteFate,
    fault_profile::{CHAIN_CONFIG, recover},
    mutants::Mutant,
    network::Regions,
};
use std::collections::BTreeMap;
use tequio_core::{
    ledger::Phase,
    types::{Height, View},
    wire::consensus::{Message, SignedVote},
};

fn first_height_leader(fixture: &ChainFixture, view: View) -> usize {
    fixture.first_leader(view)
}

/// The schedule that locks exist for. Seat 3 leads the first view, is the only one to see its block
/// decided, and dies. Seats 0 and 1 are locked on the block. Seat 2, which leads the next view, has
/// received nothing of it.
pub fn decided_by_one(mutant: Option<Mutant>) -> Cluster {
    let fixture = ChainFixture::of(4, CHAIN_CONFIG);
    let mut cluster = Cluster::new(fixture, Setup { mutant, ..Setup::fault_free(9) });
    if (first_height_leader(fixture, 0), first_height_leader(fixture, 1)) != (3, 2) {
        cluster.checkers.fail("schedule: made for other leaders".into());
        return cluster;
    }
    cluster.network.drop_filter = |from, to, message| {
        let commit = matches!(message, Message::Vote(signed) if signed.vote.phase == Phase::Commit);
        from == 2
            || to == 2
            || commit && to != 3
            || matches!(message, Message::CommitCertificate(_))
    };
    until_decided(&mut cluster);
    cluster.crash(3);
    cluster.network.drop_filter = |_, _, _| false;
    cluster.run_ms(10_000);
    cluster.restart(3);
    cluster.run_ms(3_000);
    recover(&mut cluster);
    cluster
}

/// All members are locked in view 0 and none has received a commit vote, when all lose power. Then
/// the leader of view 1 is cut off, so two view changes and a restart must carry the block.
pub fn locked_through_restart(mutant: Option<Mutant>) -> Cluster {
    let fixture = ChainFixture::of(4, CHAIN_CONFIG);
    let mut cluster = Cluster::new(fixture, Setup { mutant, ..Setup::fault_free(10) });
    cluster.network.drop_filter = |_, _, message| {
        matches!(message, Message::Vote(signed)
        if signed.vote.phase == Phase::Commit && signed.vote.view == 0)
    };
    cluster.run_ms(CHAIN_CONFIG.block_interval_ms_max + 200);
    (0..4).for_each(|host| cluster.crash_with(host, WriteFate::Lost));
    let second = first_height_leader(fixture, 1);
    cluster.network.partition_ids[second] = 1;
    (0..4).for_each(|host| cluster.restart(host));
    cluster.run_ms(4_000);
    cluster.network.partition_ids.fill(0);
    recover(&mut cluster);
    cluster
}

/// The leaders of views 0 and 1 are silent: two view changes in a row, with crashes between.
pub fn two_leaders_down(mutant: Option<Mutant>) -> Cluster {
    let fixture = ChainFixture::of(7, CHAIN_CONFIG);
    let mut cluster = Cluster::new(fixture, Setup { mutant, ..Setup::fault_free(11) });
    for view in [0, 1] {
        let host = first_height_leader(fixture, view);
        cluster.crash_with(host, WriteFate::Lost);
    }
    cluster.submit(0);
    cluster.run_ms(2_500);
    (0..7).for_each(|host| cluster.crash_with(host, WriteFate::Lost));
    (0..7).for_each(|host| cluster.restart(host));
    cluster.run_ms(4_000);
    recover(&mut cluster);
    cluster
}

/// One member is disconnected while the others decide many blocks. It must catch up while they
/// continue.
pub fn away_for(mutant: Option<Mutant>, blocks: u64) -> Cluster {
    let fixture = ChainFixture::of(4, CHAIN_CONFIG);
    let mut cluster = Cluster::new(fixture, Setup { mutant, ..Setup::fault_free(12) });
    cluster.crash_with(0, WriteFate::Lost);
    let limit_us = cluster.now_us + blocks * 10_000_000;
    while cluster.checkers.height() < blocks
        && cluster.checkers.violation.is_none()
        && cluster.now_us < limit_us
    {
        cluster.submit(1);
        cluster.run_ms(100);
        cluster.reset_event_count();
    }
    cluster.restart(0);
    cluster.run_ms(1_000);
    recover(&mut cluster);
    cluster
}

/// Seat 3 is the only one to see its block decided, and dies. Seat 0 is locked on the block and
/// seat 1 has received nothing. Seat 2 leads the next view and has helped to decide, but is
/// Byzantine and tries to get another block decided.
pub fn byzantine_leader_after_decision(
    mutant: Option<Mutant>,
    fault: ByzantineFault,
    seed: u64,
) -> Cluster {
    let fixture = ChainFixture::of(4, CHAIN_CONFIG);
    let mut cluster = Cluster::new(
        fixture,
        Setup { mutant, byzantine: BTreeMap::from([(2, fault)]), ..Setup::fault_free(seed) },
    );
    cluster.network.drop_filter = |from, to, message| {
        let commit = matches!(message, Message::Vote(signed) if signed.vote.phase == Phase::Commit);
        from == 1
            || to == 1
            || commit && to != 3
            || matches!(message, Message::CommitCertificate(_))
    };
    until_decided(&mut cluster);
    cluster.crash_with(3, WriteFate::Kept);
    cluster.network.drop_filter = |_, _, _| false;
    cluster.run_ms(10_000);
    recover(&mut cluster);
    cluster
}

/// Two prepare certificates of one height, for different blocks. Only seat 0 locks on the block of
/// view 0, and then falls silent. The others have received nothing of it and prepare another block
/// in view 1. One of them sees it decided and dies. In view 2 the newer certificate must win.
pub fn newer_lock_wins(mutant: Option<Mutant>) -> Cluster {
    let fixture = ChainFixture::of(4, CHAIN_CONFIG);
    let mut cluster = Cluster::new(fixture, Setup { mutant, ..Setup::fault_free(14) });
    // Prepare votes of view 0 reach seat 0 only, and from its commit vote on nothing from seat 0
    // arrives.
    cluster.network.drop_filter = |from, to, message| match message {
        Message::Vote(signed) if signed.vote.view == 0 => {
            to != 0 || signed.vote.phase == Phase::Commit
        }
        // Only seat 3 sees the decision of view 1.
        Message::Vote(signed) if signed.vote.phase == Phase::Commit => from == 0 || to != 3,
        Message::Proposal(proposal) if proposal.view == 0 => false,
        _ => from == 0 || to == 0,
    };
    until_decided(&mut cluster);
    cluster.crash_with(3, WriteFate::Kept);
    // Until all are in view 2, no messages of view 1 arrive.
    cluster.network.drop_filter =
        |_, _, message| matches!(message, Message::Vote(signed) if signed.vote.view < 2);
    cluster.run_ms(10_000);
    cluster.network.drop_filter = |_, _, _| false;
    recover(&mut cluster);
    cluster
}

/// Every message takes up to two seconds, five times the first view timeout. Only a growing view
/// timeout allows a decision.
pub fn slow_network(mutant: Option<Mutant>) -> Cluster {
    const BLOCKS: u64 = 5;
    let fixture = ChainFixture::of(4, CHAIN_CONFIG);
    let mut cluster = Cluster::new(fixture, Setup { mutant, ..Setup::fault_free(15) });
    cluster.network.jitter_us = 2_000_000;
    cluster.run_ms(180_000);
    if cluster.checkers.height() < BLOCKS {
        let height = cluster.checkers.height();
        cluster
            .checkers
            .fail(format!("liveness: height {height} after three minutes of a slow network"));
    }
    cluster.network.jitter_us = 500;
    recover(&mut cluster);
    cluster
}

/// No certificate arrives: members must decide by votes alone, already in the first view.
pub fn collector_silent(mutant: Option<Mutant>) -> Cluster {
    const BLOCKS: u64 = 10;
    let fixture = ChainFixture::of(4, CHAIN_CONFIG);
    let mut cluster = Cluster::new(
        fixture,
        Setup { mutant, profile: VoteRoutingProfile::Leader, ..Setup::fault_free(23) },
    );
    cluster.network.drop_filter = |_, _, message| {
        matches!(message, Message::PrepareCertificate(_) | Message::CommitCertificate(_))
    };
    cluster.run_ms(BLOCKS * (CHAIN_CONFIG.block_interval_ms_max + CHAIN_CONFIG.view_timeout_ms));
    let (height, view_changes) = (cluster.checkers.height(), cluster.view_changes);
    if height < BLOCKS || view_changes > 0 {
        cluster
            .checkers
            .fail(format!("fallback: height {height} after {view_changes} view changes"));
    }
    cluster.network.drop_filter = |_, _, _| false;
    recover(&mut cluster);
    cluster
}

/// The leader, which is the collector, is the only one to see its block decided. It dies before its
/// certificate reaches any member. The leader of the next view has received nothing.
pub fn collector_alone_decides(mutant: Option<Mutant>) -> Cluster {
    let fixture = ChainFixture::of(4, CHAIN_CONFIG);
    let mut cluster = Cluster::new(
        fixture,
        Setup { mutant, profile: VoteRoutingProfile::Leader, ..Setup::fault_free(24) },
    );
    cluster.network.drop_filter = |from, to, message| {
        let commit = matches!(message, Message::Vote(signed) if signed.vote.phase == Phase::Commit);
        from == 2
            || to == 2
            || commit && to != 3
            || matches!(message, Message::CommitCertificate(_))
    };
    until_decided(&mut cluster);
    cluster.crash_with(3, WriteFate::Lost);
    cluster.network.drop_filter = |_, _, _| false;
    cluster.run_ms(10_000);
    recover(&mut cluster);
    cluster
}

/// Seat 3 is a Byzantine leader and collector, and seat 2 receives only the votes of seat 3 in the
/// first view.
pub fn byzantine_collector(mutant: Option<Mutant>, fault: ByzantineFault, seed: u64) -> Cluster {
    let fixture = ChainFixture::of(4, CHAIN_CONFIG);
    let byzantine = BTreeMap::from([(3, fault)]);
    let mut cluster = Cluster::new(
        fixture,
        Setup { mutant, byzantine, profile: VoteRoutingProfile::Leader, ..Setup::fault_free(seed) },
    );
    cluster.network.drop_filter = |from, to, message| {
        matches!(message, Message::Vote(signed)
        if signed.vote.view == 0 && to == 2 && from != 3)
    };
    cluster.run_ms(10_000);
    cluster.network.drop_filter = |_, _, _| false;
    recover(&mut cluster);
    cluster
}

/// Seat 2 sends wrong seeds and proofs whenever it leads, without other faults. The proofs of the
/// last heights of terms are among them.
pub fn byzantine_seed_proof(mutant: Option<Mutant>) -> Cluster {
    const TERMS: u64 = 10;
    let fixture = ChainFixture::of(4, CHAIN_CONFIG);
    let byzantine = BTreeMap::from([(2, ByzantineFault::WrongVrf)]);
    let mut cluster = Cluster::new(fixture, Setup { mutant, byzantine, ..Setup::fault_free(28) });
    cluster.run_ms(
        TERMS * fixture.genesis.params.leader_term_blocks * CHAIN_CONFIG.block_interval_ms_max,
    );
    recover(&mut cluster);
    cluster
}

fn until_decided(cluster: &mut Cluster) {
    while cluster.checkers.height() == 0 && cluster.checkers.violation.is_none() {
        cluster.run_ms(1);
        if cluster.now_us > (GENESIS_MS + 20_000) * 1000 {
            cluster.checkers.fail("schedule: no host decides".into());
        }
    }
}

/// A host crashes in the middle of its n-th write, while leaders change. The others continue, and
/// the host restarts.
pub fn crash_at_write(host: usize, nth: u64, fate: WriteFate) -> Cluster {
    let fixture = ChainFixture::of(4, CHAIN_CONFIG);
    let mut cluster = Cluster::new(fixture, Setup::fault_free(13));
    cluster.crash_at_write = Some((host, nth, fate));
    for step in 0..4 {
        (0..6).for_each(|client| cluster.submit(client % 3));
        cluster.run_ms(600);
        // Leaders fall silent in turn, so that view changes are written too.
        cluster.network.partition_ids.fill(0);
        cluster.network.partition_ids[first_height_leader(fixture, step)] = 1;
    }
    cluster.network.partition_ids.fill(0);
    cluster.run_ms(4_000);
    cluster.crash_at_write = None;
    recover(&mut cluster);
    cluster
}

/// All are locked at height 1 and no member receives a commit vote of the first view. The leader of
/// height 2 has opened it, and all have voted there.
fn open_two_heights(cluster: &mut Cluster) {
    let fixture = cluster.fixture;
    if (first_height_leader(fixture, 0), fixture.leader_of(2, 0)) != (3, 0) {
        cluster.checkers.fail("schedule: made for other leaders".into());
    }
    cluster.network.drop_filter = |_, _, message| is_commit(message, 1, 0);
    submit_twice(cluster);
}

/// The first time is for height 1, the other for height 2. Afterwards all have had the time for
/// both.
fn submit_twice(cluster: &mut Cluster) {
    cluster.submit(0);
    cluster.run_ms(130);
    cluster.submit(1);
    cluster.run_ms(150);
}

fn is_commit(message: &Message, height: Height, view: View) -> bool {
    matches!(message, Message::Vote(SignedVote { vote, .. })
        if (vote.height, vote.view, vote.phase) == (height, view, Phase::Commit))
}

/// A view change at the lower of two open heights.
pub fn view_change_with_two_open(mutant: Option<Mutant>) -> Cluster {
    let fixture = ChainFixture::of(4, CHAIN_CONFIG);
    let mut cluster = Cluster::new(fixture, Setup { mutant, ..Setup::fault_free(41) });
    open_two_heights(&mut cluster);
    // View 1 of height 1 decides the block of view 0.
    cluster.run_ms(2_000);
    recover(&mut cluster);
    cluster
}

/// All lose power with two heights open, and the mempools contain more when they restart.
pub fn restart_with_two_open(mutant: Option<Mutant>) -> Cluster {
    let fixture = ChainFixture::of(4, CHAIN_CONFIG);
    let mut cluster = Cluster::new(fixture, Setup { mutant, ..Setup::fault_free(42) });
    open_two_heights(&mut cluster);
    restart_all(&mut cluster);
    cluster.network.drop_filter = |_, _, _| false;
    recover(&mut cluster);
    cluster
}

/// All lose power after height 1 was decided and before any member has received a vote of height 2.
pub fn restart_after_the_lower(mutant: Option<Mutant>) -> Cluster {
    let fixture = ChainFixture::of(4, CHAIN_CONFIG);
    let mut cluster = Cluster::new(fixture, Setup { mutant, ..Setup::fault_free(43) });
    open_two_heights(&mut cluster);
    cluster.network.drop_filter =
        |_, _, message| matches!(message, Message::Vote(signed) if signed.vote.height == 2);
    cluster.run_ms(1_000);
    restart_all(&mut cluster);
    cluster.network.drop_filter = |_, _, _| false;
    recover(&mut cluster);
    cluster
}

fn restart_all(cluster: &mut Cluster) {
    (0..4).for_each(|host| cluster.crash_with(host, WriteFate::Lost));
    (0..4).for_each(|host| cluster.restart(host));
    cluster.submit(2);
    cluster.run_ms(300);
}

/// Only seat 1 sees height 1 decided and height 2 prepared. Then the leader of height 2 dies, and
/// the others have two heights open.
pub fn pipelined_prepare_seen_by_one(mutant: Option<Mutant>) -> Cluster {
    let fixture = ChainFixture::of(4, CHAIN_CONFIG);
    let mut cluster = Cluster::new(fixture, Setup { mutant, ..Setup::fault_free(44) });
    open_two_heights(&mut cluster);
    // The withheld messages are retransmitted to seat 1 only, and so are the votes of height 2.
    cluster.network.drop_filter = |_, to, message| match message {
        Message::Vote(signed) => to != 1 || is_commit(message, 2, 0) || signed.vote.view > 0,
        Message::CommitCertificate(_) | Message::ViewChange { .. } => true,
        Message::Proposal(_) | Message::PrepareCertificate(_) => false,
    };
    cluster.run_ms(700);
    cluster.crash_with(0, WriteFate::Lost);
    cluster.network.drop_filter = |_, _, message| {
        matches!(message, Message::Vote(signed)
        if (signed.vote.height, signed.vote.view) == (2, 0))
    };
    cluster.run_ms(10_000);
    cluster.network.drop_filter = |_, _, _| false;
    recover(&mut cluster);
    cluster
}

/// Only seats 1 and 4 are locked at height 1 and have voted for a block of height 2 on top of it,
/// which seat 4 leads. The others decide another block at height 1.
pub fn orphaned_pipelined_vote(mutant: Option<Mutant>, restart: bool) -> Cluster {
    const LOCKED: [usize; 2] = [1, 4];
    let fixture = ChainFixture::of(7, CHAIN_CONFIG);
    let mut cluster = Cluster::new(fixture, Setup { mutant, ..Setup::fault_free(45) });
    if fixture.leader_of(2, 0) != LOCKED[1]
        || (0..2).any(|view| LOCKED.contains(&first_height_leader(fixture, view)))
    {
        cluster.checkers.fail("schedule: made for other leaders".into());
    }
    cluster.network.drop_filter = |from, to, message| match message {
        Message::Vote(SignedVote { vote, .. }) if (vote.height, vote.view) == (1, 0) => {
            !LOCKED.contains(&to) || vote.phase == Phase::Commit
        }
        Message::Proposal(proposal) => LOCKED.contains(&to) && proposal.view > 0,
        Message::Vote(SignedVote { vote, .. }) if vote.height == 1 => {
            LOCKED.contains(&from) || LOCKED.contains(&to)
        }
        _ => (LOCKED.contains(&from) || LOCKED.contains(&to)) && message.height() == 1,
    };
    submit_twice(&mut cluster);
    until_decided(&mut cluster);
    if restart {
        for host in LOCKED {
            cluster.crash_with(host, WriteFate::Lost);
            cluster.restart(host);
        }
    }
    cluster.network.drop_filter = |_, _, _| false;
    cluster.submit(2);
    cluster.run_ms(3_000);
    recover(&mut cluster);
    cluster
}

/// There is always a transaction, so members pipeline wherever the rules allow it: never across the
/// end of a term, and so of an epoch.
pub fn always_busy(
    mutant: Option<Mutant>,
    profile: VoteRoutingProfile,
    waiting: Option<usize>,
) -> Cluster {
    let fixture = ChainFixture::of(4, CHAIN_CONFIG);
    let mut cluster = Cluster::new(
        fixture,
        Setup { mutant, profile, regions: Regions::Us2, ..Setup::fault_free(46) },
    );
    cluster.pending_override = waiting;
    for number in 0..300 {
        cluster.submit(number % fixture.clients.len());
        cluster.run_ms(10);
    }
    recover(&mut cluster);
    cluster
}

/// Returns the number of scenarios.
pub const COUNT: usize = 25;

/// Runs the scenario with this number; returns its name too.
pub fn scenario(number: usize, mutant: Option<Mutant>) -> Option<(&'static str, Cluster)> {
    Some(match number {
        0 => ("decided by one", decided_by_one(mutant)),
        1 => ("locked through a restart", locked_through_restart(mutant)),
        2 => ("two leaders down", two_leaders_down(mutant)),
        3 => ("away for 40 blocks", away_for(mutant, 40)),
        4 => ("a slow network", slow_network(mutant)),
        5 => ("the newer lock wins", newer_lock_wins(mutant)),
        6 => (
            "a leader ignores the lock",
            byzantine_leader_after_decision(mutant, ByzantineFault::IgnoreLock, 16),
        ),
        7 => (
            "a leader hides its lock",
            byzantine_leader_after_decision(mutant, ByzantineFault::HideLock, 17),
        ),
        8 => (
            "a leader forges a lock",
            byzantine_leader_after_decision(mutant, ByzantineFault::ForgeLock, 18),
        ),
        9 => (
            "a leader justifies itself",
            byzantine_leader_after_decision(mutant, ByzantineFault::BadJustification, 19),
        ),
        10 => (
            "a leader justifies itself again",
            byzantine_leader_after_decision(mutant, ByzantineFault::BadJustification, 22),
        ),
        11 => ("the collector's certificates are lost", collector_silent(mutant)),
        12 => ("a collector alone decides", collector_alone_decides(mutant)),
        13 => (
            "a collector keeps certificates",
            byzantine_collector(mutant, ByzantineFault::WithholdCertificates, 25),
        ),
        14 => (
            "a collector forges certificates",
            byzantine_collector(mutant, ByzantineFault::ForgeCertificates, 26),
        ),
        15 => (
            "a collector sends to some members only",
            byzantine_collector(mutant, ByzantineFault::SelectiveCertificates, 27),
        ),
        16 => ("a leader proves another seed", byzantine_seed_proof(mutant)),
        17 => ("a view change with two heights open", view_change_with_two_open(mutant)),
        18 => ("a restart with two heights open", restart_with_two_open(mutant)),
        19 => ("a restart after the lower of two heights", restart_after_the_lower(mutant)),
        20 => ("a pipelined block prepared by one", pipelined_prepare_seen_by_one(mutant)),
        21 => ("orphaned", orphaned_pipelined_vote(mutant, false)),
        22 => ("orphaned, with a restart", orphaned_pipelined_vote(mutant, true)),
        23 => ("always busy", always_busy(mutant, VoteRoutingProfile::All, None)),
        24 => {
            ("always busy, with collectors", always_busy(mutant, VoteRoutingProfile::Leader, None))
        }
        _ => return None,
    })
}
