//! Weeks of ordinary trouble in virtual time: crashes, partitions, slow disks and lost messages at
//! the rates of a bad operator, and one member that lies all the while. The question is not safety,
//! though all checkers watch, but how often a client that comes at any time is served.
//!
//! Either the committee stands as it is, or members come and go: they change their keys, one makes
//! room for another, whoever can be convicted of what it did loses the seat, and another takes it.
//! So a liar lies on, but sooner or later without a vote.

use crate::{
    adversary::{LIES, Lie},
    cluster::{Cluster, Profile, Setup},
    disk::Fate,
    random::Rng,
    weather::{TERM_BLOCKS, recover_with},
    world::{BOND, GENESIS_MS, Pace, World},
};
use std::collections::{BTreeMap, BTreeSet};
use tequio_core::{
    ledger::{Action, MemberStatus},
    types::{Height, Weight},
};

/// Seats, of equal weight.
pub const SEATS: usize = 7;
/// The chain: no empty block is due while clients come, for a month has many.
const PACE: Pace = Pace {
    block_interval_ms_max: 300_000,
    view_timeout_ms: 2_000,
    is_weighted: false,
    term_blocks: TERM_BLOCKS,
};
/// Blocks that the disks keep: those of a day, more than any host misses.
const KEEP_BLOCKS: Height = 2_000;
const SECOND_US: u64 = 1_000_000;
const MINUTE_US: u64 = 60 * SECOND_US;
const HOUR_US: u64 = 60 * MINUTE_US;
const DAY_US: u64 = 24 * HOUR_US;
/// Means of exponential distributions: between crashes of one host, and until it is back.
const CRASH_EVERY_US: u64 = 3 * DAY_US;
const DOWN_US: u64 = 10 * MINUTE_US;
/// Crashes that lose what was being written.
const LOST_WRITE_PER_MILLE: u64 = 100;
/// Partitions of a random third, and how long they last.
const PARTITION_EVERY_US: u64 = 2 * DAY_US;
const PARTITION_US: u64 = 15 * MINUTE_US;
/// A disk that takes 200 ms a sync, and for how long.
const SLOW_DISK_EVERY_US: u64 = 5 * DAY_US;
const SLOW_DISK_US: u64 = HOUR_US;
const LOSS_PER_MILLE: u64 = 5;
/// How often the liar takes up another lie.
const LIE_US: u64 = 6 * HOUR_US;
/// Where members come and go: mean of an exponential distribution, until one of them changes its
/// keys or leaves.
const CHANGE_EVERY_US: u64 = 3 * DAY_US;
/// Of these, the share that leaves, while there is who takes the seat.
const LEAVE_PER_MILLE: u64 = 300;
/// How often those without a seat look whether one is free.
const VACANCY_US: u64 = HOUR_US;
/// And whether there are new blocks.
const LOOK_US: (u64, u64) = (5 * SECOND_US, 15 * SECOND_US);
/// A client comes about each minute, and is served if its transaction is final within this.
const CLIENT_EVERY_S: (u64, u64) = (30, 90);
const SERVED_US: u64 = 10 * SECOND_US;
/// Served clients in a hundred thousand: of those that came while no more was at fault than the
/// committee bears, and of all of a month in which members come and go.
pub const GOAL_PER_100_000: u64 = 99_950;
/// So many days say something of all clients.
const MONTH_DAYS: u64 = 30;

/// How many were served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Availability {
    /// Clients that came.
    pub clients: u64,
    /// Of them, not served in time.
    pub late: u64,
    /// That came while more was at fault than the committee bears, and of them, not served in
    /// time.
    pub beyond: u64,
    /// Likewise.
    pub beyond_late: u64,
    /// Those that came within the bound and were late: when they came, and how long they waited,
    /// milliseconds.
    pub within_late_ms: Vec<(u64, u64)>,
    /// When a liar was first seen without a seat, milliseconds; hourly, and only where members
    /// come and go.
    pub unseated_ms: Vec<u64>,
    /// Times without service, by the clients that came in them, and how long these waited at most,
    /// milliseconds.
    pub outages_ms: Vec<u64>,
}

impl Availability {
    /// Served of a hundred thousand.
    pub fn served_per_100_000(&self) -> u64 {
        (self.clients - self.late) * 100_000 / self.clients.max(1)
    }

    /// Likewise, of those that came while the committee could bear what was at fault.
    pub fn served_within_per_100_000(&self) -> u64 {
        let (clients, late) = (self.clients - self.beyond, self.late - self.beyond_late);
        (clients - late) * 100_000 / clients.max(1)
    }

    /// Adds another run.
    pub fn add(&mut self, other: &Self) {
        self.clients += other.clients;
        self.late += other.late;
        self.beyond += other.beyond;
        self.beyond_late += other.beyond_late;
        self.within_late_ms.extend(&other.within_late_ms);
        self.unseated_ms.extend(&other.unseated_ms);
        self.outages_ms.extend(&other.outages_ms);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    Client,
    Crash(usize),
    Back(usize),
    Part,
    Heal,
    SlowDisk,
    FastDisk,
    Lie,
    Change,
    Vacancy,
    /// Another day has passed.
    Day,
}

/// Runs so many virtual days, and mends everything at the end. After each of them `passed` hears
/// how many were served so far.
pub fn run(
    days: u64,
    seed: u64,
    profile: Profile,
    churn: bool,
    mut passed: impl FnMut(u64, &Availability),
) -> (Cluster, Availability) {
    let world = World::of(SEATS, PACE);
    let mut rng = Rng::new(seed ^ 0x30da);
    let liar = rng.below(SEATS);
    let lies = BTreeMap::from([(liar, Lie::Silence)]);
    let mut cluster = Cluster::new(world, Setup { lies, profile, churn, ..Setup::calm(seed) });
    cluster.network.loss_per_mille = LOSS_PER_MILLE;
    cluster.look_us = LOOK_US;
    let (begun_us, end_us) = (cluster.now_us, cluster.now_us + days * DAY_US);
    let mut plan = Plan::default();
    (0..SEATS).for_each(|host| {
        plan.add(begun_us + rng.exponential(CRASH_EVERY_US), Trouble::Crash(host))
    });
    plan.add(begun_us + rng.exponential(PARTITION_EVERY_US), Trouble::Part);
    plan.add(begun_us + rng.exponential(SLOW_DISK_EVERY_US), Trouble::SlowDisk);
    plan.add(begun_us, Trouble::Lie);
    if churn {
        (SEATS..cluster.hosts.len()).for_each(|host| {
            plan.add(begun_us + rng.exponential(CRASH_EVERY_US), Trouble::Crash(host))
        });
        plan.add(begun_us + rng.exponential(CHANGE_EVERY_US), Trouble::Change);
        plan.add(begun_us + VACANCY_US, Trouble::Vacancy);
    }
    plan.add(begun_us + SECOND_US, Trouble::Client);
    plan.add(begun_us + DAY_US, Trouble::Day);
    // By the time at which a client came: whether too much was at fault.
    let mut clients: BTreeMap<u64, bool> = BTreeMap::new();
    let mut unseated_ms = None;
    while let Some((at_us, trouble)) = plan.next(end_us) {
        cluster.run_until(at_us);
        if cluster.checkers.violation.is_some() {
            break;
        }
        match trouble {
            Trouble::Client => {
                cluster.forget_events();
                clients.insert(cluster.now_us, is_beyond(&cluster, liar));
                cluster.submit(0);
                let (low_s, high_s) = CLIENT_EVERY_S;
                plan.add(at_us + rng.range(low_s * SECOND_US, high_s * SECOND_US), trouble);
            }
            Trouble::Crash(host) => {
                let fate = if rng.chance(LOST_WRITE_PER_MILLE) { Fate::Lost } else { Fate::Kept };
                cluster.crash_with(host, fate);
                plan.add(at_us + rng.exponential(DOWN_US), Trouble::Back(host));
            }
            Trouble::Back(host) => {
                cluster.restart(host);
                plan.add(at_us + rng.exponential(CRASH_EVERY_US), Trouble::Crash(host));
            }
            Trouble::Part => {
                cluster.fault("partition");
                let mut hosts = seated(&cluster);
                for _ in 0..hosts.len() / 3 {
                    let host = hosts.swap_remove(rng.below(hosts.len()));
                    cluster.network.side[host] = 1;
                }
                plan.add(at_us + PARTITION_US, Trouble::Heal);
            }
            Trouble::Heal => {
                cluster.network.side.fill(0);
                plan.add(at_us + rng.exponential(PARTITION_EVERY_US), Trouble::Part);
            }
            Trouble::SlowDisk => {
                cluster.fault("slow_disk");
                let host = rng.pick(&seated(&cluster));
                cluster.hosts[host].disk.sync_us = (200_000, 210_000);
                plan.add(at_us + SLOW_DISK_US, Trouble::FastDisk);
            }
            Trouble::FastDisk => {
                cluster.hosts.iter_mut().for_each(|host| host.disk.sync_us = (500, 8_000));
                plan.add(at_us + rng.exponential(SLOW_DISK_EVERY_US), Trouble::SlowDisk);
            }
            Trouble::Lie => {
                // A rotten disk would keep it down for the rest of the month: that is silence.
                let lie = rng.pick(&LIES);
                cluster.lie_otherwise(liar, if lie == Lie::Rot { Lie::Silence } else { lie });
                plan.add(at_us + LIE_US, trouble);
            }
            Trouble::Change => {
                let correct: Vec<usize> =
                    seated(&cluster).into_iter().filter(|host| *host != liar).collect();
                change(&mut cluster, rng.pick(&correct), rng.chance(LEAVE_PER_MILLE));
                plan.add(at_us + rng.exponential(CHANGE_EVERY_US), trouble);
            }
            Trouble::Vacancy => {
                if unseated_ms.is_none() && !seated(&cluster).contains(&liar) {
                    unseated_ms = Some((at_us - begun_us) / 1000);
                }
                let is_active =
                    |member: &usize| cluster.status(*member) == Some(MemberStatus::Active);
                if (0..cluster.hosts.len()).filter(is_active).count() < SEATS {
                    take_seat(&mut cluster);
                }
                plan.add(at_us + VACANCY_US, trouble);
            }
            Trouble::Day => {
                cluster.fold(KEEP_BLOCKS);
                passed((at_us - begun_us) / DAY_US, &measure(&cluster, &clients));
                plan.add(at_us + DAY_US, trouble);
            }
        }
    }
    // Blocks are rare here: a last client brings one.
    cluster.submit(0);
    recover_with(&mut cluster, 1);
    let availability = Availability {
        unseated_ms: unseated_ms.into_iter().collect(),
        ..measure(&cluster, &clients)
    };
    let of_all = if churn && days >= MONTH_DAYS {
        availability.served_per_100_000()
    } else {
        GOAL_PER_100_000
    };
    if availability.served_within_per_100_000().min(of_all) < GOAL_PER_100_000 {
        cluster.checkers.fail(format!("availability: {availability:?}"));
    }
    (cluster, availability)
}

/// Those who decide, as far as the newest disk knows.
fn seated(cluster: &Cluster) -> Vec<usize> {
    let seats = cluster.newest().committee.seats();
    seats.iter().filter_map(|seat| cluster.world.member(&seat.node)).collect()
}

/// More is down, parted or lying than the committee bears.
fn is_beyond(cluster: &Cluster, liar: usize) -> bool {
    let is_away =
        |host: usize| cluster.hosts[host].replica.is_none() || cluster.network.side[host] == 1;
    let committee = &cluster.newest().committee;
    let away = seated(cluster)
        .into_iter()
        .zip(committee.seats())
        .filter(|(host, _)| *host == liar || is_away(*host));
    away.map(|(_, seat)| seat.weight).sum::<Weight>() >= committee.blocking()
}

/// A member changes its keys, or leaves where another can come in its place.
fn change(cluster: &mut Cluster, member: usize, leaves: bool) {
    if cluster.status(member) != Some(MemberStatus::Active) {
        return;
    }
    if leaves && take_seat(cluster) {
        cluster.fault("leave");
        cluster.ask(member, Action::Leave);
    } else if let Some(keys) = cluster.unused_keys(member) {
        cluster.fault("rotate_keys");
        cluster.ask(member, Action::RotateKeys { keys });
    }
}

/// Somebody who has never had a seat asks for one, as large as the others. Whether there is such a
/// one.
fn take_seat(cluster: &mut Cluster) -> bool {
    let free = (0..cluster.hosts.len()).find(|member| cluster.status(*member).is_none());
    let Some((member, keys)) = free.and_then(|member| Some((member, cluster.unused_keys(member)?)))
    else {
        return false;
    };
    cluster.fault("join");
    cluster.ask(member, Action::Join { amount: BOND, keys });
    true
}

fn measure(cluster: &Cluster, clients: &BTreeMap<u64, bool>) -> Availability {
    let mut sum = Availability::default();
    let mut outage_ms = 0;
    for (came_us, is_beyond) in clients {
        let served_us = cluster.served_us.get(came_us).copied().unwrap_or(cluster.now_us);
        let waited_us = served_us - came_us;
        let is_late = waited_us > SERVED_US;
        sum.clients += 1;
        sum.late += u64::from(is_late);
        sum.beyond += u64::from(*is_beyond);
        sum.beyond_late += u64::from(is_late && *is_beyond);
        let came_ms = came_us / 1000 - GENESIS_MS;
        sum.within_late_ms.extend((is_late && !is_beyond).then_some((came_ms, waited_us / 1000)));
        if is_late {
            outage_ms = outage_ms.max(waited_us / 1000);
        } else if outage_ms > 0 {
            sum.outages_ms.push(std::mem::take(&mut outage_ms));
        }
    }
    sum.outages_ms.extend((outage_ms > 0).then_some(outage_ms));
    sum
}

/// What comes when.
#[derive(Debug, Default)]
struct Plan(BTreeSet<(u64, Trouble)>);

impl Plan {
    fn add(&mut self, at_us: u64, trouble: Trouble) {
        self.0.insert((at_us, trouble));
    }

    fn next(&mut self, end_us: u64) -> Option<(u64, Trouble)> {
        let (at_us, trouble) = self.0.pop_first()?;
        (at_us < end_us).then_some((at_us, trouble))
    }
}
