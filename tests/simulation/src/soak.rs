//! Weeks of ordinary faults in virtual time: crashes, partitions, slow disks and lost messages at
//! the rates of a bad operator, and one member that is Byzantine all the while. All checkers run,
//! but the measured figure is how often a client that comes at any time is served.
//!
//! Either the committee is fixed, or it changes: members change their keys, a member leaves and
//! another takes its seat, and a member that can be convicted loses its seat to another. So the
//! Byzantine member stays Byzantine, but sooner or later loses its vote.

use crate::{
    adversary::{BYZANTINE_FAULTS, ByzantineFault},
    chain_fixture::{BOND, ChainConfig, ChainFixture, GENESIS_MS},
    cluster::{Cluster, Setup, VoteRoutingProfile},
    disk::WriteFate,
    fault_profile::{LEADER_TERM_BLOCKS, recover_with},
    random::Rng,
};
use std::collections::{BTreeMap, BTreeSet};
use tequio_core::{
    ledger::{Action, MemberStatus},
    types::{Height, Weight},
};

/// Number of seats, of equal weight.
pub const SEATS: usize = 7;
/// Chain of the soak. No empty block is due while clients come, because a month has many blocks.
const CHAIN_CONFIG: ChainConfig = ChainConfig {
    block_interval_ms_max: 300_000,
    view_timeout_ms: 2_000,
    is_weighted: false,
    leader_term_blocks: LEADER_TERM_BLOCKS,
};
/// Blocks that the disks keep: those of a day, more than any host misses.
const KEEP_BLOCKS: Height = 2_000;
const SECOND_US: u64 = 1_000_000;
const MINUTE_US: u64 = 60 * SECOND_US;
const HOUR_US: u64 = 60 * MINUTE_US;
const DAY_US: u64 = 24 * HOUR_US;
/// Means of exponential distributions: between crashes of one host, and until it restarts.
const CRASH_EVERY_US: u64 = 3 * DAY_US;
const DOWN_US: u64 = 10 * MINUTE_US;
/// Share of crashes that lose the write in progress.
const LOST_WRITE_PER_MILLE: u64 = 100;
/// Interval and duration of partitions of a random third.
const PARTITION_EVERY_US: u64 = 2 * DAY_US;
const PARTITION_US: u64 = 15 * MINUTE_US;
/// Interval and duration of slow disks, which take 200 ms a sync.
const SLOW_DISK_EVERY_US: u64 = 5 * DAY_US;
const SLOW_DISK_US: u64 = HOUR_US;
const LOSS_PER_MILLE: u64 = 5;
/// Interval after which the Byzantine member changes its fault.
const FAULT_CHANGE_EVERY_US: u64 = 6 * HOUR_US;
/// With churn: mean of an exponential distribution, until a member changes its keys or leaves.
const CHANGE_EVERY_US: u64 = 3 * DAY_US;
/// Share of these changes in which a member leaves, if another can take the seat.
const LEAVE_PER_MILLE: u64 = 300;
/// Interval at which nodes without a seat check whether a seat is free.
const VACANCY_US: u64 = HOUR_US;
/// Bounds of the interval at which such nodes request new blocks.
const POLL_INTERVAL_US: (u64, u64) = (5 * SECOND_US, 15 * SECOND_US);
/// Bounds of the interval between clients, and the time within which a served client's transaction
/// is final.
const CLIENT_EVERY_S: (u64, u64) = (30, 90);
const SERVED_US: u64 = 10 * SECOND_US;
/// Required number of served clients in a hundred thousand: of those that came while the committee
/// could tolerate the faults, and of all clients of a month with churn.
pub const GOAL_PER_100_000: u64 = 99_950;
/// Number of days from which on the share of all clients is significant.
const MONTH_DAYS: u64 = 30;

/// Number of clients that were served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Availability {
    /// All clients.
    pub clients: u64,
    /// Clients that were not served in time.
    pub late: u64,
    /// Clients that came while more members were at fault than the committee tolerates.
    pub beyond_bound: u64,
    /// Those of them that were not served in time.
    pub beyond_bound_late: u64,
    /// The other late clients: arrival time and waiting time, milliseconds.
    pub within_late_ms: Vec<(u64, u64)>,
    /// With churn: times at which a Byzantine member was first without a seat, milliseconds,
    /// checked hourly.
    pub unseated_ms: Vec<u64>,
    /// Times without service: number of clients that came in each, and their longest waiting time,
    /// milliseconds.
    pub outages_ms: Vec<u64>,
}

impl Availability {
    /// Returns the served clients in a hundred thousand.
    pub fn served_per_100_000(&self) -> u64 {
        (self.clients - self.late) * 100_000 / self.clients.max(1)
    }

    /// Returns the served ones in a hundred thousand of the clients that came while the committee
    /// could tolerate the faults.
    pub fn served_within_per_100_000(&self) -> u64 {
        let (clients, late) =
            (self.clients - self.beyond_bound, self.late - self.beyond_bound_late);
        (clients - late) * 100_000 / clients.max(1)
    }

    /// Adds the clients of another run.
    pub fn add(&mut self, other: &Self) {
        self.clients += other.clients;
        self.late += other.late;
        self.beyond_bound += other.beyond_bound;
        self.beyond_bound_late += other.beyond_bound_late;
        self.within_late_ms.extend(&other.within_late_ms);
        self.unseated_ms.extend(&other.unseated_ms);
        self.outages_ms.extend(&other.outages_ms);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum SoakEvent {
    Client,
    Crash(usize),
    Restart(usize),
    Partition,
    Heal,
    SlowDisk,
    FastDisk,
    ChangeByzantineFault,
    ChangeMember,
    Vacancy,
    /// A day has passed.
    Day,
}

/// Runs for a number of virtual days and repairs everything at the end. After each day it calls
/// `passed` with the availability so far.
pub fn run(
    days: u64,
    seed: u64,
    profile: VoteRoutingProfile,
    churn: bool,
    mut passed: impl FnMut(u64, &Availability),
) -> (Cluster, Availability) {
    let fixture = ChainFixture::of(SEATS, CHAIN_CONFIG);
    let mut rng = Rng::new(seed ^ 0x30da);
    let byzantine_seat = rng.below(SEATS);
    let byzantine = BTreeMap::from([(byzantine_seat, ByzantineFault::Silence)]);
    let mut cluster =
        Cluster::new(fixture, Setup { byzantine, profile, churn, ..Setup::fault_free(seed) });
    cluster.network.loss_per_mille = LOSS_PER_MILLE;
    cluster.poll_interval_us = POLL_INTERVAL_US;
    let (begun_us, end_us) = (cluster.now_us, cluster.now_us + days * DAY_US);
    let mut plan = EventQueue::default();
    (0..SEATS).for_each(|host| {
        plan.add(begun_us + rng.exponential(CRASH_EVERY_US), SoakEvent::Crash(host))
    });
    plan.add(begun_us + rng.exponential(PARTITION_EVERY_US), SoakEvent::Partition);
    plan.add(begun_us + rng.exponential(SLOW_DISK_EVERY_US), SoakEvent::SlowDisk);
    plan.add(begun_us, SoakEvent::ChangeByzantineFault);
    if churn {
        (SEATS..cluster.hosts.len()).for_each(|host| {
            plan.add(begun_us + rng.exponential(CRASH_EVERY_US), SoakEvent::Crash(host))
        });
        plan.add(begun_us + rng.exponential(CHANGE_EVERY_US), SoakEvent::ChangeMember);
        plan.add(begun_us + VACANCY_US, SoakEvent::Vacancy);
    }
    plan.add(begun_us + SECOND_US, SoakEvent::Client);
    plan.add(begun_us + DAY_US, SoakEvent::Day);
    // Whether too many members were at fault, by the arrival time of a client.
    let mut clients: BTreeMap<u64, bool> = BTreeMap::new();
    let mut unseated_ms = None;
    while let Some((at_us, event)) = plan.next(end_us) {
        cluster.run_until(at_us);
        if cluster.checkers.violation.is_some() {
            break;
        }
        match event {
            SoakEvent::Client => {
                cluster.reset_event_count();
                clients.insert(cluster.now_us, exceeds_fault_bound(&cluster, byzantine_seat));
                cluster.submit(0);
                let (low_s, high_s) = CLIENT_EVERY_S;
                plan.add(at_us + rng.range(low_s * SECOND_US, high_s * SECOND_US), event);
            }
            SoakEvent::Crash(host) => {
                let fate = if rng.chance(LOST_WRITE_PER_MILLE) {
                    WriteFate::Lost
                } else {
                    WriteFate::Kept
                };
                cluster.crash_with(host, fate);
                plan.add(at_us + rng.exponential(DOWN_US), SoakEvent::Restart(host));
            }
            SoakEvent::Restart(host) => {
                cluster.restart(host);
                plan.add(at_us + rng.exponential(CRASH_EVERY_US), SoakEvent::Crash(host));
            }
            SoakEvent::Partition => {
                cluster.count_fault("partition");
                let mut hosts = seated(&cluster);
                for _ in 0..hosts.len() / 3 {
                    let host = hosts.swap_remove(rng.below(hosts.len()));
                    cluster.network.partition_ids[host] = 1;
                }
                plan.add(at_us + PARTITION_US, SoakEvent::Heal);
            }
            SoakEvent::Heal => {
                cluster.network.partition_ids.fill(0);
                plan.add(at_us + rng.exponential(PARTITION_EVERY_US), SoakEvent::Partition);
            }
            SoakEvent::SlowDisk => {
                cluster.count_fault("slow_disk");
                let host = rng.pick(&seated(&cluster));
                cluster.hosts[host].disk.sync_us = (200_000, 210_000);
                plan.add(at_us + SLOW_DISK_US, SoakEvent::FastDisk);
            }
            SoakEvent::FastDisk => {
                cluster.hosts.iter_mut().for_each(|host| host.disk.sync_us = (500, 8_000));
                plan.add(at_us + rng.exponential(SLOW_DISK_EVERY_US), SoakEvent::SlowDisk);
            }
            SoakEvent::ChangeByzantineFault => {
                // A damaged disk would keep the host down for the rest of the month, as if it were
                // silent.
                let fault = rng.pick(&BYZANTINE_FAULTS);
                cluster.change_byzantine_fault(
                    byzantine_seat,
                    if fault == ByzantineFault::DiskCorruption {
                        ByzantineFault::Silence
                    } else {
                        fault
                    },
                );
                plan.add(at_us + FAULT_CHANGE_EVERY_US, event);
            }
            SoakEvent::ChangeMember => {
                let correct: Vec<usize> =
                    seated(&cluster).into_iter().filter(|host| *host != byzantine_seat).collect();
                change_member(&mut cluster, rng.pick(&correct), rng.chance(LEAVE_PER_MILLE));
                plan.add(at_us + rng.exponential(CHANGE_EVERY_US), event);
            }
            SoakEvent::Vacancy => {
                if unseated_ms.is_none() && !seated(&cluster).contains(&byzantine_seat) {
                    unseated_ms = Some((at_us - begun_us) / 1000);
                }
                let is_active =
                    |member: &usize| cluster.member_status(*member) == Some(MemberStatus::Active);
                if (0..cluster.hosts.len()).filter(is_active).count() < SEATS {
                    request_seat(&mut cluster);
                }
                plan.add(at_us + VACANCY_US, event);
            }
            SoakEvent::Day => {
                cluster.compact_disks(KEEP_BLOCKS);
                passed((at_us - begun_us) / DAY_US, &measure(&cluster, &clients));
                plan.add(at_us + DAY_US, event);
            }
        }
    }
    // Blocks are rare here, so a last client causes one.
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

/// Returns the current committee, by the newest disk.
fn seated(cluster: &Cluster) -> Vec<usize> {
    let seats = cluster.newest_head().committee.seats();
    seats.iter().filter_map(|seat| cluster.fixture.member(&seat.node)).collect()
}

/// Whether more members are down, partitioned or Byzantine than the committee tolerates.
fn exceeds_fault_bound(cluster: &Cluster, byzantine_seat: usize) -> bool {
    let is_away = |host: usize| {
        cluster.hosts[host].replica.is_none() || cluster.network.partition_ids[host] == 1
    };
    let committee = &cluster.newest_head().committee;
    let away = seated(cluster)
        .into_iter()
        .zip(committee.seats())
        .filter(|(host, _)| *host == byzantine_seat || is_away(*host));
    away.map(|(_, seat)| seat.weight).sum::<Weight>() >= committee.blocking_weight()
}

/// A member changes its keys, or leaves if another can take its seat.
fn change_member(cluster: &mut Cluster, member: usize, leaves: bool) {
    if cluster.member_status(member) != Some(MemberStatus::Active) {
        return;
    }
    if leaves && request_seat(cluster) {
        cluster.count_fault("leave");
        cluster.submit_member_action(member, Action::Leave);
    } else if let Some(keys) = cluster.unused_keys(member) {
        cluster.count_fault("rotate_keys");
        cluster.submit_member_action(member, Action::RotateKeys { keys });
    }
}

/// A node that has never had a seat requests one, as large as the others. Returns whether there is
/// such a node.
fn request_seat(cluster: &mut Cluster) -> bool {
    let free = (0..cluster.hosts.len()).find(|member| cluster.member_status(*member).is_none());
    let Some((member, keys)) = free.and_then(|member| Some((member, cluster.unused_keys(member)?)))
    else {
        return false;
    };
    cluster.count_fault("join");
    cluster.submit_member_action(member, Action::Join { amount: BOND, keys });
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
        sum.beyond_bound += u64::from(*is_beyond);
        sum.beyond_bound_late += u64::from(is_late && *is_beyond);
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

/// Future events of a soak, by time.
#[derive(Debug, Default)]
struct EventQueue(BTreeSet<(u64, SoakEvent)>);

impl EventQueue {
    fn add(&mut self, at_us: u64, event: SoakEvent) {
        self.0.insert((at_us, event));
    }

    fn next(&mut self, end_us: u64) -> Option<(u64, SoakEvent)> {
        let (at_us, event) = self.0.pop_first()?;
        (at_us < end_us).then_some((at_us, event))
    }
}
