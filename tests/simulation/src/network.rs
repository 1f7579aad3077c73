//! The network: how long a message takes, and whether it arrives. Each message has its own delay,
//! so messages overtake each other.

use crate::random::Rng;
use std::collections::BTreeSet;
use tequio_core::wire::consensus::Message;

/// Locations of the hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Regions {
    /// One building.
    Site,
    /// Two regions of one country.
    Us2,
    /// Ten regions around the world.
    Aws10,
}

/// Round trips between regions of AWS, milliseconds, rounded from public medians: us-west-1,
/// us-east-1, eu-west-1, ap-northeast-1, eu-north-1, ap-south-1, sa-east-1, eu-central-1,
/// ap-northeast-2, ap-southeast-2.
const AWS_ROUND_TRIP_MS: [[u64; 10]; 10] = [
    [1, 62, 138, 108, 172, 225, 175, 148, 135, 139],
    [62, 1, 68, 148, 112, 188, 116, 92, 176, 200],
    [138, 68, 1, 203, 40, 122, 178, 25, 232, 256],
    [108, 148, 203, 1, 245, 128, 256, 225, 34, 104],
    [172, 112, 40, 245, 1, 142, 216, 23, 270, 280],
    [225, 188, 122, 128, 142, 1, 298, 124, 126, 152],
    [175, 116, 178, 256, 216, 298, 1, 204, 290, 312],
    [148, 92, 25, 225, 23, 124, 204, 1, 226, 250],
    [135, 176, 232, 34, 270, 126, 290, 226, 1, 136],
    [139, 200, 256, 104, 280, 152, 312, 250, 136, 1],
];

impl Regions {
    /// Finds a value by its name on the command line.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Site, Self::Us2, Self::Aws10].into_iter().find(|regions| regions.name() == name)
    }

    /// Returns the name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Site => "site",
            Self::Us2 => "us2",
            Self::Aws10 => "aws10",
        }
    }

    /// Returns the one-way delay between two hosts, in microseconds. Hosts are assigned to the
    /// regions in turn.
    pub fn one_way_us(self, from: usize, to: usize) -> u64 {
        let regions = match self {
            Self::Site => return 250,
            Self::Us2 => 2,
            Self::Aws10 => AWS_ROUND_TRIP_MS.len(),
        };
        AWS_ROUND_TRIP_MS[from % regions][to % regions] * 500
    }
}

/// Delays and faults of the network.
#[derive(Debug)]
pub struct Network {
    /// Locations of the hosts.
    pub regions: Regions,
    /// Upper bound of a uniformly distributed delay that is added to every message.
    pub jitter_us: u64,
    /// Share of messages that are lost.
    pub loss_per_mille: u64,
    /// Share of messages that arrive twice.
    pub duplicate_per_mille: u64,
    /// Share of messages that take up to three seconds.
    pub slow_per_mille: u64,
    /// Side of a partition, by host: hosts on different sides do not receive each other's
    /// messages.
    pub partition_ids: Vec<u8>,
    /// Dead links, in one direction only: from, to.
    pub dead_links: BTreeSet<(usize, usize)>,
    /// Messages that a scenario withholds: from, to, which.
    pub drop_filter: fn(usize, usize, &Message) -> bool,
}

impl Network {
    /// Creates a network without faults.
    pub fn new(hosts: usize, regions: Regions) -> Self {
        Self {
            regions,
            jitter_us: 500,
            loss_per_mille: 0,
            duplicate_per_mille: 0,
            slow_per_mille: 0,
            partition_ids: vec![0; hosts],
            dead_links: BTreeSet::new(),
            drop_filter: |_, _, _| false,
        }
    }

    /// Ends all faults.
    pub fn heal(&mut self) {
        self.partition_ids.fill(0);
        self.dead_links.clear();
        self.loss_per_mille = 0;
        self.duplicate_per_mille = 0;
        self.slow_per_mille = 0;
    }

    /// Returns the delay of a message in microseconds, if it arrives at all.
    pub fn delay_us(&self, from: usize, to: usize, rng: &mut Rng) -> Result<u64, DropReason> {
        if self.partition_ids[from] != self.partition_ids[to] {
            return Err(DropReason::Partitioned);
        }
        if self.dead_links.contains(&(from, to)) {
            return Err(DropReason::DeadLink);
        }
        if rng.chance(self.loss_per_mille) {
            return Err(DropReason::RandomLoss);
        }
        let base_us = self.regions.one_way_us(from, to) + rng.range(0, self.jitter_us.max(1));
        Ok(if rng.chance(self.slow_per_mille) {
            base_us + rng.range(100_000, 3_000_000)
        } else {
            base_us
        })
    }
}

/// The reason why a message does not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// A partition separates the two hosts.
    Partitioned,
    /// This direction of the link is dead.
    DeadLink,
    /// The message is lost by chance.
    RandomLoss,
}
