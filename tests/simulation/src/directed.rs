//! Schedules made by hand, for what chance seldom meets.

use crate::{
    bugs::Bug,
    cluster::{Cluster, Setup},
    disk::Fate,
    weather::{PACE, recover},
    world::World,
};
use tequio_core::{consensus::leader, ledger::Phase, types::View, wire::consensus::Message};

fn leads(world: &World, view: View) -> usize {
    leader(&world.start.committee, 1, view)
}

/// The one schedule that locks exist for. Seat 3 leads the first view and alone sees its block decided, then dies;
/// seats 0 and 1 are locked on it; seat 2, which leads the next view, has heard nothing of it.
pub fn decided_by_one(bug: Option<Bug>) -> Cluster {
    let world = World::of(4, PACE);
    let mut cluster = Cluster::new(world, Setup { bug, ..Setup::calm(9) });
    if (leads(world, 0), leads(world, 1)) != (3, 2) {
        cluster.checkers.fail("schedule: made for other leaders".into());
        return cluster;
    }
    cluster.network.withheld = |from, to, message| {
        let commit = matches!(message, Message::Vote(signed) if signed.vote.phase == Phase::Commit);
        from == 2 || to == 2 || commit && to != 3
    };
    while cluster.checkers.height() == 0 && cluster.checkers.violation.is_none() {
        cluster.run_ms(1);
        if cluster.now_us > (crate::world::GENESIS_MS + 10_000) * 1000 {
            cluster.checkers.fail("schedule: nobody decides".into());
        }
    }
    cluster.crash(3);
    cluster.network.withheld = |_, _, _| false;
    cluster.run_ms(10_000);
    cluster.restart(3);
    cluster.run_ms(3_000);
    recover(&mut cluster);
    cluster
}

/// All are locked in view 0 and none has heard a commit vote; they all lose power; then the leader of view 1 is cut
/// off, so that the block is carried through two view changes and a restart.
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

/// The leader of view 0 is silent, and so is that of view 1: two view changes in a row, with crashes between.
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
    while cluster.checkers.height() < blocks && cluster.checkers.violation.is_none() && cluster.now_us < limit_us {
        cluster.submit(1);
        cluster.run_ms(100);
        cluster.forget_events();
    }
    cluster.restart(0);
    cluster.run_ms(1_000);
    recover(&mut cluster);
    cluster
}

/// The last transaction is seen by one mempool only, whose host is not the leader's.
pub fn crash_at_write(host: usize, nth: u64, fate: Fate) -> Cluster {
    let world = World::of(4, PACE);
    let mut cluster = Cluster::new(world, Setup::calm(13));
    cluster.crash_at_write = Some((host, nth, fate));
    // The first leader dies on the way, so that view changes are written too.
    cluster.submit(0);
    cluster.run_ms(600);
    let first = leads(world, 0);
    cluster.network.side[first] = 1;
    cluster.submit(1);
    cluster.run_ms(2_500);
    cluster.network.side.fill(0);
    recover(&mut cluster);
    cluster
}

/// All schedules, by name.
pub fn all(bug: Option<Bug>) -> Vec<(&'static str, Cluster)> {
    vec![
        ("decided by one", decided_by_one(bug)),
        ("locked through a restart", locked_through_restart(bug)),
        ("two leaders down", two_leaders_down(bug)),
        ("away for 40 blocks", away_for(bug, 40)),
    ]
}
