//! Schedules made by hand, for what chance seldom meets.

use crate::{
    adversary::Lie,
    bugs::Bug,
    cluster::{Cluster, Profile, Setup},
    disk::Fate,
    network::Regions,
    weather::{PACE, recover},
    world::{GENESIS_MS, World},
};
use std::collections::BTreeMap;
use tequio_core::{
    ledger::Phase,
    types::{Height, View},
    wire::consensus::{Message, SignedVote},
};

fn leads(world: &World, view: View) -> usize {
    world.first_leader(view)
}

/// The one schedule that locks exist for. Seat 3 leads the first view and alone sees its block
/// decided, then dies; seats 0 and 1 are locked on it; seat 2, which leads the next view, has heard
/// nothing of it.
pub fn decided_by_one(bug: Option<Bug>) -> Cluster {
    let world = World::of(4, PACE);
    let mut cluster = Cluster::new(world, Setup { bug, ..Setup::calm(9) });
    if (leads(world, 0), leads(world, 1)) != (3, 2) {
        cluster.checkers.fail("schedule: made for other leaders".into());
        return cluster;
    }
    cluster.network.withheld = |from, to, message| {
        let commit = matches!(message, Message::Vote(signed) if signed.vote.phase == Phase::Commit);
        from == 2 || to == 2 || commit && to != 3 || matches!(message, Message::Finalised(_))
    };
    until_decided(&mut cluster);
    cluster.crash(3);
    cluster.network.withheld = |_, _, _| false;
    cluster.run_ms(10_000);
    cluster.restart(3);
    cluster.run_ms(3_000);
    recover(&mut cluster);
    cluster
}

/// All are locked in view 0 and none has heard a commit vote; they all lose power; then the leader
/// of view 1 is cut off, so that the block is carried through two view changes and a restart.
pub fn locked_through_restart(bug: Option<Bug>) -> Cluster {
    let world = World::of(4, PACE);
    let mut cluster = Cluster::new(world, Setup { bug, ..Setup::calm(10) });
    cluster.network.withheld = |_, _, message| matches!(message, Message::Vote(signed) if signed.vote.phase == Phase::Commit && signed.vote.view == 0);
    cluster.run_ms(PACE.block_interval_ms_max + 200);
    (0..4).for_each(|host| cluster.crash_with(host, Fate::Lost));
    let second = leads(world, 1);
    cluster.network.side[second] = 1;
    (0..4).for_each(|host| cluster.restart(host));
    cluster.run_ms(4_000);
    cluster.network.side.fill(0);
    recover(&mut cluster);
    cluster
}

/// The leader of view 0 is silent, and so is that of view 1: two view changes in a row, with
/// crashes between.
pub fn two_leaders_down(bug: Option<Bug>) -> Cluster {
    let world = World::of(7, PACE);
    let mut cluster = Cluster::new(world, Setup { bug, ..Setup::calm(11) });
    for view in [0, 1] {
        let host = leads(world, view);
        cluster.crash_with(host, Fate::Lost);
    }
    cluster.submit(0);
    cluster.run_ms(2_500);
    (0..7).for_each(|host| cluster.crash_with(host, Fate::Lost));
    (0..7).for_each(|host| cluster.restart(host));
    cluster.run_ms(4_000);
    recover(&mut cluster);
    cluster
}

/// One member is away while the others decide many blocks, and must catch up while they go on.
pub fn away_for(bug: Option<Bug>, blocks: u64) -> Cluster {
    let world = World::of(4, PACE);
    let mut cluster = Cluster::new(world, Setup { bug, ..Setup::calm(12) });
    cluster.crash_with(0, Fate::Lost);
    let limit_us = cluster.now_us + blocks * 10_000_000;
    while cluster.checkers.height() < blocks
        && cluster.checkers.violation.is_none()
        && cluster.now_us < limit_us
    {
        cluster.submit(1);
        cluster.run_ms(100);
        cluster.forget_events();
    }
    cluster.restart(0);
    cluster.run_ms(1_000);
    recover(&mut cluster);
    cluster
}

/// Seat 3 alone sees its block decided and dies. Seat 0 is locked on it, seat 1 has heard nothing,
/// and seat 2, which leads the next view and has helped to decide, lies so as to get another block
/// through.
pub fn liar_leads_after_decision(bug: Option<Bug>, lie: Lie, seed: u64) -> Cluster {
    let world = World::of(4, PACE);
    let mut cluster =
        Cluster::new(world, Setup { bug, lies: BTreeMap::from([(2, lie)]), ..Setup::calm(seed) });
    cluster.network.withheld = |from, to, message| {
        let commit = matches!(message, Message::Vote(signed) if signed.vote.phase == Phase::Commit);
        from == 1 || to == 1 || commit && to != 3 || matches!(message, Message::Finalised(_))
    };
    until_decided(&mut cluster);
    cluster.crash_with(3, Fate::Kept);
    cluster.network.withheld = |_, _, _| false;
    cluster.run_ms(10_000);
    recover(&mut cluster);
    cluster
}

/// Two prepare certificates of one height, for different blocks. Seat 0 alone locks on the block of
/// view 0 and falls silent; the others, who know nothing of it, prepare another in view 1, and one
/// of them sees it decided and dies. In view 2 the newer certificate must win.
pub fn newer_lock_wins(bug: Option<Bug>) -> Cluster {
    let world = World::of(4, PACE);
    let mut cluster = Cluster::new(world, Setup { bug, ..Setup::calm(14) });
    // Prepare votes of view 0 reach seat 0 only, and nothing that it says is heard from its commit
    // vote on.
    cluster.network.withheld = |from, to, message| match message {
        Message::Vote(signed) if signed.vote.view == 0 => {
            to != 0 || signed.vote.phase == Phase::Commit
        }
        // Of view 1 the decision is seen by seat 3 only.
        Message::Vote(signed) if signed.vote.phase == Phase::Commit => from == 0 || to != 3,
        Message::Proposal(proposal) if proposal.view == 0 => false,
        _ => from == 0 || to == 0,
    };
    until_decided(&mut cluster);
    cluster.crash_with(3, Fate::Kept);
    // Until all are in view 2, nothing of view 1 goes on.
    cluster.network.withheld =
        |_, _, message| matches!(message, Message::Vote(signed) if signed.vote.view < 2);
    cluster.run_ms(10_000);
    cluster.network.withheld = |_, _, _| false;
    recover(&mut cluster);
    cluster
}

/// Every message takes up to two seconds, five times the first patience with a view: only patience
/// that grows decides anything.
pub fn slow_network(bug: Option<Bug>) -> Cluster {
    const BLOCKS: u64 = 5;
    let world = World::of(4, PACE);
    let mut cluster = Cluster::new(world, Setup { bug, ..Setup::calm(15) });
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

/// No certificate that is given out arrives: votes must find their way without them, in the first
/// view already.
pub fn collector_silent(bug: Option<Bug>) -> Cluster {
    const BLOCKS: u64 = 10;
    let world = World::of(4, PACE);
    let mut cluster =
        Cluster::new(world, Setup { bug, profile: Profile::Collectors, ..Setup::calm(23) });
    cluster.network.withheld =
        |_, _, message| matches!(message, Message::Prepared(_) | Message::Finalised(_));
    cluster.run_ms(BLOCKS * (PACE.block_interval_ms_max + PACE.view_timeout_ms));
    let (height, view_changes) = (cluster.checkers.height(), cluster.view_changes);
    if height < BLOCKS || view_changes > 0 {
        cluster
            .checkers
            .fail(format!("fallback: height {height} after {view_changes} view changes"));
    }
    cluster.network.withheld = |_, _, _| false;
    recover(&mut cluster);
    cluster
}

/// The leader, who collects, alone sees its block decided and dies before its certificate reaches
/// anybody; the leader of the next view has heard nothing.
pub fn collector_alone_decides(bug: Option<Bug>) -> Cluster {
    let world = World::of(4, PACE);
    let mut cluster =
        Cluster::new(world, Setup { bug, profile: Profile::Collectors, ..Setup::calm(24) });
    cluster.network.withheld = |from, to, message| {
        let commit = matches!(message, Message::Vote(signed) if signed.vote.phase == Phase::Commit);
        from == 2 || to == 2 || commit && to != 3 || matches!(message, Message::Finalised(_))
    };
    until_decided(&mut cluster);
    cluster.crash_with(3, Fate::Lost);
    cluster.network.withheld = |_, _, _| false;
    cluster.run_ms(10_000);
    recover(&mut cluster);
    cluster
}

/// Seat 3 leads and lies as a collector, while seat 2 hears of no vote but that one's in the first
/// view.
pub fn collector_lies(bug: Option<Bug>, lie: Lie, seed: u64) -> Cluster {
    let world = World::of(4, PACE);
    let lies = BTreeMap::from([(3, lie)]);
    let mut cluster =
        Cluster::new(world, Setup { bug, lies, profile: Profile::Collectors, ..Setup::calm(seed) });
    cluster.network.withheld = |from, to, message| matches!(message, Message::Vote(signed) if signed.vote.view == 0 && to == 2 && from != 3);
    cluster.run_ms(10_000);
    cluster.network.withheld = |_, _, _| false;
    recover(&mut cluster);
    cluster
}

/// Seat 2 lies about seeds and proofs whenever it leads, in quiet weather: its proofs of the last
/// heights of terms, too.
pub fn liar_proves(bug: Option<Bug>) -> Cluster {
    const TERMS: u64 = 10;
    let world = World::of(4, PACE);
    let lies = BTreeMap::from([(2, Lie::WrongVrf)]);
    let mut cluster = Cluster::new(world, Setup { bug, lies, ..Setup::calm(28) });
    cluster.run_ms(TERMS * world.start.params.term_blocks * PACE.block_interval_ms_max);
    recover(&mut cluster);
    cluster
}

fn until_decided(cluster: &mut Cluster) {
    while cluster.checkers.height() == 0 && cluster.checkers.violation.is_none() {
        cluster.run_ms(1);
        if cluster.now_us > (GENESIS_MS + 20_000) * 1000 {
            cluster.checkers.fail("schedule: nobody decides".into());
        }
    }
}

/// A host crashes in the middle of its n-th write, while leaders change; the others go on, and it
/// comes back.
pub fn crash_at_write(host: usize, nth: u64, fate: Fate) -> Cluster {
    let world = World::of(4, PACE);
    let mut cluster = Cluster::new(world, Setup::calm(13));
    cluster.crash_at_write = Some((host, nth, fate));
    for step in 0..4 {
        (0..6).for_each(|client| cluster.submit(client % 3));
        cluster.run_ms(600);
        // Leaders fall silent in turn, so that view changes are written too.
        cluster.network.side.fill(0);
        cluster.network.side[leads(world, step)] = 1;
    }
    cluster.network.side.fill(0);
    cluster.run_ms(4_000);
    cluster.crash_at_write = None;
    recover(&mut cluster);
    cluster
}

/// All are locked at height 1 and nobody hears a commit vote of the first view; the leader of
/// height 2 has opened it, and all have voted there.
fn two_open(cluster: &mut Cluster) {
    let world = cluster.world;
    if (leads(world, 0), world.leader_of(2, 0)) != (3, 0) {
        cluster.checkers.fail("schedule: made for other leaders".into());
    }
    cluster.network.withheld = |_, _, message| is_commit(message, 1, 0);
    submit_twice(cluster);
}

/// The first for height 1, the other for height 2: after this all have had the time for both.
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

/// A view change of the lower of two open heights.
pub fn view_change_with_two_open(bug: Option<Bug>) -> Cluster {
    let world = World::of(4, PACE);
    let mut cluster = Cluster::new(world, Setup { bug, ..Setup::calm(41) });
    two_open(&mut cluster);
    // In view 1 of height 1 the block of view 0 is decided.
    cluster.run_ms(2_000);
    recover(&mut cluster);
    cluster
}

/// All lose power with two heights open, and more is in the mempools when they come back.
pub fn restart_with_two_open(bug: Option<Bug>) -> Cluster {
    let world = World::of(4, PACE);
    let mut cluster = Cluster::new(world, Setup { bug, ..Setup::calm(42) });
    two_open(&mut cluster);
    restart_all(&mut cluster);
    cluster.network.withheld = |_, _, _| false;
    recover(&mut cluster);
    cluster
}

/// Likewise, after height 1 was decided and before anybody has heard a vote of height 2.
pub fn restart_after_the_lower(bug: Option<Bug>) -> Cluster {
    let world = World::of(4, PACE);
    let mut cluster = Cluster::new(world, Setup { bug, ..Setup::calm(43) });
    two_open(&mut cluster);
    cluster.network.withheld =
        |_, _, message| matches!(message, Message::Vote(signed) if signed.vote.height == 2);
    cluster.run_ms(1_000);
    restart_all(&mut cluster);
    cluster.network.withheld = |_, _, _| false;
    recover(&mut cluster);
    cluster
}

fn restart_all(cluster: &mut Cluster) {
    (0..4).for_each(|host| cluster.crash_with(host, Fate::Lost));
    (0..4).for_each(|host| cluster.restart(host));
    cluster.submit(2);
    cluster.run_ms(300);
}

/// Seat 1 alone sees height 1 decided, and height 2 prepared; then the leader of height 2 dies, and
/// the others have two heights open.
pub fn prepared_by_one_ahead(bug: Option<Bug>) -> Cluster {
    let world = World::of(4, PACE);
    let mut cluster = Cluster::new(world, Setup { bug, ..Setup::calm(44) });
    two_open(&mut cluster);
    // What was withheld is said again to seat 1 only, and so are the votes of height 2.
    cluster.network.withheld = |_, to, message| match message {
        Message::Vote(signed) => to != 1 || is_commit(message, 2, 0) || signed.vote.view > 0,
        Message::Finalised(_) | Message::ViewChange { .. } => true,
        Message::Proposal(_) | Message::Prepared(_) => false,
    };
    cluster.run_ms(700);
    cluster.crash_with(0, Fate::Lost);
    cluster.network.withheld = |_, _, message| matches!(message, Message::Vote(signed) if (signed.vote.height, signed.vote.view) == (2, 0));
    cluster.run_ms(10_000);
    cluster.network.withheld = |_, _, _| false;
    recover(&mut cluster);
    cluster
}

/// Seats 1 and 4 alone are locked at height 1 and have voted for a block of height 2 upon it, which
/// seat 4 leads; the others have another block decided at height 1.
pub fn orphaned(bug: Option<Bug>, restart: bool) -> Cluster {
    const LOCKED: [usize; 2] = [1, 4];
    let world = World::of(7, PACE);
    let mut cluster = Cluster::new(world, Setup { bug, ..Setup::calm(45) });
    if world.leader_of(2, 0) != LOCKED[1] || (0..2).any(|view| LOCKED.contains(&leads(world, view)))
    {
        cluster.checkers.fail("schedule: made for other leaders".into());
    }
    cluster.network.withheld = |from, to, message| match message {
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
            cluster.crash_with(host, Fate::Lost);
            cluster.restart(host);
        }
    }
    cluster.network.withheld = |_, _, _| false;
    cluster.submit(2);
    cluster.run_ms(3_000);
    recover(&mut cluster);
    cluster
}

/// There is always something to decide, so a height is opened ahead wherever it may be: never
/// across the end of a term, and so of an epoch.
pub fn always_busy(bug: Option<Bug>, profile: Profile, waiting: Option<usize>) -> Cluster {
    let world = World::of(4, PACE);
    let mut cluster =
        Cluster::new(world, Setup { bug, profile, regions: Regions::Us2, ..Setup::calm(46) });
    cluster.waiting = waiting;
    for number in 0..300 {
        cluster.submit(number % world.clients.len());
        cluster.run_ms(10);
    }
    recover(&mut cluster);
    cluster
}

/// How many schedules there are.
pub const COUNT: usize = 25;

/// The schedule with this number, and its name.
pub fn schedule(number: usize, bug: Option<Bug>) -> Option<(&'static str, Cluster)> {
    Some(match number {
        0 => ("decided by one", decided_by_one(bug)),
        1 => ("locked through a restart", locked_through_restart(bug)),
        2 => ("two leaders down", two_leaders_down(bug)),
        3 => ("away for 40 blocks", away_for(bug, 40)),
        4 => ("a slow network", slow_network(bug)),
        5 => ("the newer lock wins", newer_lock_wins(bug)),
        6 => ("a liar ignores the lock", liar_leads_after_decision(bug, Lie::IgnoreLock, 16)),
        7 => ("a liar hides its lock", liar_leads_after_decision(bug, Lie::HideLock, 17)),
        8 => ("a liar forges a lock", liar_leads_after_decision(bug, Lie::ForgeLock, 18)),
        9 => ("a liar justifies itself", liar_leads_after_decision(bug, Lie::BadJustification, 19)),
        10 => (
            "a liar justifies itself again",
            liar_leads_after_decision(bug, Lie::BadJustification, 22),
        ),
        11 => ("the collector is not heard", collector_silent(bug)),
        12 => ("a collector alone decides", collector_alone_decides(bug)),
        13 => ("a collector keeps certificates", collector_lies(bug, Lie::KeepCertificates, 25)),
        14 => ("a collector forges certificates", collector_lies(bug, Lie::ForgeCertificates, 26)),
        15 => ("a collector chooses who hears it", collector_lies(bug, Lie::ChooseReceivers, 27)),
        16 => ("a liar proves another seed", liar_proves(bug)),
        17 => ("a view change with two heights open", view_change_with_two_open(bug)),
        18 => ("a restart with two heights open", restart_with_two_open(bug)),
        19 => ("a restart after the lower of two heights", restart_after_the_lower(bug)),
        20 => ("prepared by one ahead", prepared_by_one_ahead(bug)),
        21 => ("orphaned", orphaned(bug, false)),
        22 => ("orphaned, with a restart", orphaned(bug, true)),
        23 => ("always busy", always_busy(bug, Profile::All, None)),
        24 => ("always busy, with collectors", always_busy(bug, Profile::Collectors, None)),
        _ => return None,
    })
}
