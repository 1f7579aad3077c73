//! Campaigns: many runs, spread over the cores, and their results. The order of seeds, not of
//! threads, fixes the result.

use crate::{
    chain_fixture::ChainFixture,
    cluster::{Cluster, PipelineProfile, Setup, VoteRoutingProfile},
    disk::WriteFate,
    fault_profile::{
        CHAIN_CONFIG, PATIENT_CONFIG, churn_profile, churn_setup, mixed_profile, random_setup, run,
        run_fault_free, run_mutant,
    },
    mutants::{MUTANTS, Mutant},
    network::Regions,
    scenarios,
    soak::{self, Availability},
    twins,
};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};
use tequio_core::{
    crypto::hash::{HashContext, hash_of},
    types::Digest,
};

/// One run of a campaign, with everything needed to repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimulationRun {
    /// A run with random faults and this many seats.
    Chaos(usize, u64),
    /// A run with random faults, this many seats at first, and membership changes.
    Churn(usize, u64),
    /// A run without faults, which measures how long a decision takes.
    FaultFree(FaultFreeRun, u64),
    /// A soak of this many days, with or without membership changes.
    Soak {
        /// Number of days.
        days: u64,
        /// Recipients of votes.
        profile: VoteRoutingProfile,
        /// Whether members join and leave.
        churn: bool,
        /// Seed of all random choices.
        seed: u64,
    },
    /// A run with twins.
    Twins(u64),
    /// A scenario, by its number.
    Scenario(usize),
    /// A crash at the n-th write of a host, with each fate.
    CrashAtWrite(usize, u64),
    /// Runs with and without pairings from the same seed, which must leave the same trace.
    SameTrace(usize, u64),
    /// A mutant that one of the next seeds must find; the number of seeds is bounded.
    FindMutant(Mutant, u64, u64),
}

/// Parameters of a run without faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultFreeRun {
    /// Number of seats.
    pub nodes: usize,
    /// Locations of the hosts.
    pub regions: Regions,
    /// Recipients of votes.
    pub profile: VoteRoutingProfile,
    /// Which hosts pipeline.
    pub pipeline: PipelineProfile,
    /// Interval between transactions.
    pub every_ms: u64,
}

impl SimulationRun {
    /// Returns the command that repeats the run.
    pub fn command(self) -> String {
        match self {
            Self::Chaos(nodes, seed) => {
                format!("cargo xtask simulate --nodes {nodes} --seed {seed}")
            }
            Self::Churn(nodes, seed) => {
                format!("cargo xtask simulate --churn --nodes {nodes} --seed {seed}")
            }
            Self::FaultFree(FaultFreeRun { nodes, regions, profile, pipeline, every_ms }, seed) => {
                let (regions, profile, pipeline) =
                    (regions.name(), profile.name(), pipeline.name());
                format!(
                    "cargo xtask simulate --nodes {nodes} --regions {regions} --profile {profile} \
                     --pipelining {pipeline} --every-ms {every_ms} --seed {seed}"
                )
            }
            Self::Soak { days, profile, churn, seed } => {
                let churn = if churn { " --churn" } else { "" };
                format!(
                    "cargo xtask simulate --days {days}{churn} --profile {} --seed {seed}",
                    profile.name()
                )
            }
            Self::Twins(seed) => format!("cargo xtask simulate --twins --seed {seed}"),
            Self::Scenario(number) => format!("cargo xtask simulate --scenario {number}"),
            Self::CrashAtWrite(host, nth) => {
                format!("cargo xtask simulate --crash-at-write {host}:{nth}")
            }
            Self::SameTrace(nodes, seed) => {
                format!("cargo xtask simulate --nodes {nodes} --same-trace --seed {seed}")
            }
            Self::FindMutant(mutant, ..) => format!("cargo xtask simulate --mutant {mutant:?}"),
        }
    }
}

/// The result of a run.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Heights that became final.
    pub decisions: u64,
    /// Injected faults, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Heights whose collector did not answer in time, by host.
    pub fallbacks: u64,
    /// Votes for a block of the next height, by host and height.
    pub pipelined_votes: u64,
    /// Pipelined votes whose block became an orphan.
    pub orphaned_votes: u64,
    /// Abandoned views.
    pub view_changes: u64,
    /// Hash over all events.
    pub trace: Digest,
    /// Virtual time, milliseconds.
    pub virtual_ms: u64,
    /// Times from proposal to finality at each correct host.
    pub latencies_ms: Vec<u32>,
    /// Times from a client's call to finality at each correct host.
    pub submit_ms: Vec<u32>,
    /// Transactions that became final.
    pub included: u64,
    /// Processor time of all cores.
    pub cpu_us: u64,
    /// Bytes that all hosts have sent.
    pub bytes: u64,
    /// Availability, for runs that measure it.
    pub availability: Option<Availability>,
    /// The broken rule.
    pub violation: Option<String>,
    /// A mutant that was found, and the rule that found it.
    pub found: Option<(Mutant, String)>,
}

impl Outcome {
    fn of(cluster: Cluster) -> Self {
        Self {
            decisions: cluster.checkers.height(),
            fallbacks: cluster.fallbacks,
            pipelined_votes: cluster.pipelined_votes,
            orphaned_votes: cluster.orphaned_votes,
            view_changes: cluster.view_changes,
            trace: cluster.checkers.trace,
            virtual_ms: cluster.now_us / 1000 - crate::chain_fixture::GENESIS_MS,
            violation: cluster.checkers.violation,
            latencies_ms: cluster.latencies_ms,
            submit_ms: cluster.submit_ms,
            included: cluster.checkers.included.len() as u64,
            cpu_us: cluster.cpu_us,
            bytes: cluster.bytes,
            availability: None,
            faults: cluster.faults,
            found: None,
        }
    }

    fn add(&mut self, other: Self) {
        self.decisions += other.decisions;
        self.fallbacks += other.fallbacks;
        self.pipelined_votes += other.pipelined_votes;
        self.orphaned_votes += other.orphaned_votes;
        self.view_changes += other.view_changes;
        self.virtual_ms += other.virtual_ms;
        self.latencies_ms.extend(other.latencies_ms);
        self.submit_ms.extend(other.submit_ms);
        self.included += other.included;
        self.cpu_us += other.cpu_us;
        self.bytes += other.bytes;
        if let Some(availability) = other.availability {
            self.availability.get_or_insert_default().add(&availability);
        }
        self.trace = hash_of(HashContext::Vote, &(self.trace, other.trace));
        other
            .faults
            .into_iter()
            .for_each(|(kind, count)| *self.faults.entry(kind).or_default() += count);
        self.violation = self.violation.take().or(other.violation);
    }
}

/// Runs one job.
pub fn execute(job: SimulationRun) -> Outcome {
    match job {
        SimulationRun::Chaos(nodes, seed) => {
            let fixture = ChainFixture::of(nodes, CHAIN_CONFIG);
            Outcome::of(run(fixture, random_setup(fixture, seed), mixed_profile(seed)))
        }
        SimulationRun::Churn(nodes, seed) => {
            let fixture = ChainFixture::of(nodes, CHAIN_CONFIG);
            Outcome::of(run(fixture, churn_setup(fixture, seed), churn_profile(seed)))
        }
        SimulationRun::FaultFree(
            FaultFreeRun { nodes, regions, profile, pipeline, every_ms },
            seed,
        ) => {
            let setup = Setup { regions, profile, pipeline, ..Setup::fault_free(seed) };
            Outcome::of(run_fault_free(ChainFixture::of(nodes, PATIENT_CONFIG), setup, every_ms))
        }
        SimulationRun::Soak { days, profile, churn, seed } => {
            let (cluster, availability) = soak::run(days, seed, profile, churn, |day, so_far| {
                let percent = |per_100_000: u64| per_100_000 as f64 / 1000.0;
                eprintln!(
                    "{}: day {day} of {days}, {} clients, {:.3} % served, {:.3} % within the bound",
                    profile.name(),
                    so_far.clients,
                    percent(so_far.served_per_100_000()),
                    percent(so_far.served_within_per_100_000()),
                );
            });
            for (came_ms, waited_ms) in &availability.within_late_ms {
                let (minutes, waited_s) = (came_ms / 60_000, waited_ms / 1000);
                let (day, hour, minute) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
                eprintln!(
                    "{}: late on day {day}, {hour:02}:{minute:02}, after {waited_s} s",
                    profile.name()
                );
            }
            Outcome { availability: Some(availability), ..Outcome::of(cluster) }
        }
        SimulationRun::Twins(seed) => Outcome::of(twins::run(seed, false)),
        SimulationRun::Scenario(number) => {
            let schedule = scenarios::scenario(number, None);
            schedule.map_or_else(Outcome::default, |(_, cluster)| Outcome::of(cluster))
        }
        SimulationRun::CrashAtWrite(host, nth) => {
            let mut sum = Outcome::default();
            for fate in [WriteFate::Lost, WriteFate::Kept, WriteFate::Torn] {
                sum.add(Outcome::of(scenarios::crash_at_write(host, nth, fate)));
            }
            sum
        }
        SimulationRun::SameTrace(nodes, seed) => same_trace(nodes, seed),
        SimulationRun::FindMutant(mutant, from, count) => find_mutant(mutant, from, count),
    }
}

fn same_trace(nodes: usize, seed: u64) -> Outcome {
    let fixture = ChainFixture::of(nodes, CHAIN_CONFIG);
    let [mut fast, slow] = [false, true].map(|pairings| {
        // Every other run has membership changes.
        let (setup, fault_profile) = match seed % 2 {
            0 => (random_setup(fixture, seed), mixed_profile(seed)),
            _ => (churn_setup(fixture, seed), churn_profile(seed / 2)),
        };
        Outcome::of(run(fixture, Setup { pairings, ..setup }, fault_profile))
    });
    if fast.trace != slow.trace {
        fast.violation =
            Some("determinism: the same seed leaves another trace with pairings".into());
    }
    fast
}

fn find_mutant(mutant: Mutant, from: u64, count: u64) -> Outcome {
    let fixture = ChainFixture::of(4, CHAIN_CONFIG);
    let mut sum = Outcome::default();
    for (name, cluster) in
        (0..scenarios::COUNT).filter_map(|number| scenarios::scenario(number, Some(mutant)))
    {
        if let Some(violation) = cluster.checkers.violation {
            sum.found = Some((mutant, format!("schedule \"{name}\": {violation}")));
            return sum;
        }
    }
    for seed in from..from + count {
        let outcome = Outcome::of(run_mutant(fixture, seed, mutant, mixed_profile(seed)));
        if let Some(violation) = &outcome.violation {
            sum.found = Some((mutant, format!("seed {seed}: {violation}")));
            return sum;
        }
        sum.add(outcome);
    }
    sum.violation =
        Some(format!("campaign: {mutant:?} was not found by {count} seeds from {from} on"));
    sum
}

/// The results of a campaign.
#[derive(Debug, Default)]
pub struct Report {
    /// Number of runs.
    pub runs: u64,
    /// The merged results, in the order of the jobs.
    pub sum: Outcome,
    /// Each broken run, with the broken rule.
    pub violations: Vec<(SimulationRun, String)>,
    /// Each mutant that was found, and the rule that found it.
    pub found: Vec<(Mutant, String)>,
}

/// Runs all jobs on all cores.
pub fn run_all(jobs: &[SimulationRun], threads: usize) -> Report {
    let next = AtomicUsize::new(0);
    let outcomes: Mutex<BTreeMap<usize, Outcome>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while let Some((at, job)) = Some(next.fetch_add(1, Ordering::Relaxed))
                    .and_then(|at| Some((at, jobs.get(at)?)))
                {
                    let outcome = execute(*job);
                    if let Some(violation) = &outcome.violation {
                        eprintln!("violation: {violation}\n  again: {}", job.command());
                    }
                    outcomes.lock().unwrap_or_else(PoisonError::into_inner).insert(at, outcome);
                }
            });
        }
    });
    let mut report = Report { runs: jobs.len() as u64, ..Report::default() };
    let outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    for (job, mut outcome) in jobs.iter().zip(outcomes.into_values()) {
        report.violations.extend(outcome.violation.take().map(|violation| (*job, violation)));
        report.found.extend(outcome.found.take());
        report.sum.add(outcome);
    }
    report
}

/// Returns runs with random faults.
pub fn chaos(nodes: usize, from: u64, seeds: u64) -> Vec<SimulationRun> {
    (from..from + seeds).map(|seed| SimulationRun::Chaos(nodes, seed)).collect()
}

/// Returns runs with random faults and membership changes.
pub fn churn(nodes: usize, from: u64, seeds: u64) -> Vec<SimulationRun> {
    (from..from + seeds).map(|seed| SimulationRun::Churn(nodes, seed)).collect()
}

/// Returns runs that must find every mutant.
pub fn all_mutants(seeds_each: u64) -> Vec<SimulationRun> {
    MUTANTS
        .into_iter()
        .map(|mutant| SimulationRun::FindMutant(mutant, 60_000, seeds_each))
        .collect()
}

/// Returns all scenarios, and a crash at each of the first writes of each host.
pub fn scenarios_and_crashes(writes: u64) -> Vec<SimulationRun> {
    let crashes =
        (0..4).flat_map(|host| (1..=writes).map(move |nth| SimulationRun::CrashAtWrite(host, nth)));
    (0..scenarios::COUNT).map(SimulationRun::Scenario).chain(crashes).collect()
}
