//! The parameters of a run.

use crate::{adversary::ByzantineFault, mutants::Mutant, network::Regions};
use std::collections::BTreeMap;
use tequio_core::consensus::{self, VoteRouting};

/// Recipients of the votes of a run's hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoteRoutingProfile {
    /// Every host sends its votes to all.
    All,
    /// Every host sends its votes to the collector.
    Leader,
    /// Every other host sends its votes to the collector, as while a committee changes its routing.
    Mixed,
}

impl VoteRoutingProfile {
    /// Finds a value by its name on the command line.
    pub fn named(name: &str) -> Option<Self> {
        [Self::All, Self::Leader, Self::Mixed].into_iter().find(|profile| profile.name() == name)
    }

    /// Returns the name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Leader => "leader",
            Self::Mixed => "mixed",
        }
    }

    pub(super) fn vote_routing(self, host: usize) -> VoteRouting {
        match self {
            Self::Leader => VoteRouting::Leader,
            Self::Mixed if host.is_multiple_of(2) => VoteRouting::Leader,
            Self::All | Self::Mixed => VoteRouting::All,
        }
    }
}

/// Which hosts pipeline, that is, open a height before the one below is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PipelineProfile {
    /// All hosts, wherever the rules allow it.
    On,
    /// No host.
    Off,
    /// All hosts, where it is worthwhile.
    Auto,
    /// Two of three hosts wherever the rules allow it, the others never.
    Mixed,
}

impl PipelineProfile {
    /// Finds a value by its name on the command line.
    pub fn named(name: &str) -> Option<Self> {
        [Self::On, Self::Off, Self::Auto, Self::Mixed]
            .into_iter()
            .find(|pipeline| pipeline.name() == name)
    }

    /// Returns the name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Auto => "auto",
            Self::Mixed => "mixed",
        }
    }

    pub(super) fn of(self, host: usize) -> consensus::Pipeline {
        match self {
            Self::Auto => consensus::Pipeline::Auto,
            Self::Mixed if host.is_multiple_of(3) => consensus::Pipeline::Off,
            Self::Off => consensus::Pipeline::Off,
            Self::On | Self::Mixed => consensus::Pipeline::On,
        }
    }
}

/// The parameters of a run.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Seed of all random choices.
    pub seed: u64,
    /// Locations of the hosts.
    pub regions: Regions,
    /// The fault of each Byzantine seat.
    pub byzantine: BTreeMap<usize, ByzantineFault>,
    /// Seats whose keys two hosts have.
    pub twins: Vec<usize>,
    /// Recipients of the hosts' votes.
    pub profile: VoteRoutingProfile,
    /// Which hosts open a height before the one below is decided.
    pub pipeline: PipelineProfile,
    /// A deliberate fault of the implementation.
    pub mutant: Option<Mutant>,
    /// Whether members join, leave and change their keys.
    pub churn: bool,
    /// Verifies every signature by pairings, as a check of the faster method.
    pub pairings: bool,
}

impl Setup {
    /// A run without Byzantine members and without faults.
    pub fn fault_free(seed: u64) -> Self {
        let (byzantine, twins) = (BTreeMap::new(), Vec::new());
        let (profile, pipeline, mutant) = (VoteRoutingProfile::All, PipelineProfile::On, None);
        Self {
            seed,
            regions: Regions::Site,
            byzantine,
            twins,
            profile,
            pipeline,
            mutant,
            churn: false,
            pairings: false,
        }
    }
}
