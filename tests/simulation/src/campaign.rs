//! Many runs, spread over the cores, and what came of them. The order of seeds, not of threads,
//! fixes the result.

use crate::{
    bugs::{BUGS, Bug},
    cluster::{Cluster, Pipeline, Profile, Setup},
    directed,
    disk::Fate,
    month::{self, Availability},
    network::Regions,
    twins,
    weather::{PACE, PATIENT, calm, churn_setup, churn_weather, draw_setup, mixed, run, run_bug},
    world::World,
};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};
use tequio_core::{
    crypto::hash::{Context, hash_of},
    types::Digest,
};

/// One run of a campaign, enough to repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Chance, with so many seats.
    Chaos(usize, u64),
    /// Chance, with so many seats at first, and members that come and go.
    Churn(usize, u64),
    /// Nothing goes wrong: how long does a decision take?
    Calm(Calm, u64),
    /// So many days of ordinary trouble, with members that come and go or without.
    Month {
        /// How many.
        days: u64,
        /// Where votes go.
        profile: Profile,
        /// Whether members come and go.
        churn: bool,
        /// Of all chance.
        seed: u64,
    },
    /// Twins.
    Twins(u64),
    /// A schedule made by hand, by its number.
    Directed(usize),
    /// A crash at the n-th write of a host, with each fate.
    CrashAtWrite(usize, u64),
    /// The same seed by pairings and without must leave the same trace.
    SameTrace(usize, u64),
    /// This fault of the implementation must be found by some seed from here on, within so many.
    Found(Bug, u64, u64),
}

/// A run in which nothing goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calm {
    /// Seats.
    pub nodes: usize,
    /// Where they stand.
    pub regions: Regions,
    /// Where they send their votes.
    pub profile: Profile,
    /// Which of them open a height ahead.
    pub pipeline: Pipeline,
    /// From one transaction to the next.
    pub every_ms: u64,
}

impl Job {
    /// The command that runs it again.
    pub fn command(self) -> String {
        match self {
            Self::Chaos(nodes, seed) => {
                format!("cargo xtask simulate --nodes {nodes} --seed {seed}")
            }
            Self::Churn(nodes, seed) => {
                format!("cargo xtask simulate --churn --nodes {nodes} --seed {seed}")
            }
            Self::Calm(Calm { nodes, regions, profile, pipeline, every_ms }, seed) => {
                let (regions, profile, pipeline) =
                    (regions.name(), profile.name(), pipeline.name());
                format!(
                    "cargo xtask simulate --nodes {nodes} --regions {regions} --profile {profile} --pipeline {pipeline} \
                     --every-ms {every_ms} --seed {seed}"
                )
            }
            Self::Month { days, profile, churn, seed } => {
                let churn = if churn { " --churn" } else { "" };
                format!(
                    "cargo xtask simulate --days {days}{churn} --profile {} --seed {seed}",
                    profile.name()
                )
            }
            Self::Twins(seed) => format!("cargo xtask simulate --twins --seed {seed}"),
            Self::Directed(number) => format!("cargo xtask simulate --directed {number}"),
            Self::CrashAtWrite(host, nth) => {
                format!("cargo xtask simulate --crash-at-write {host}:{nth}")
            }
            Self::SameTrace(nodes, seed) => {
                format!("cargo xtask simulate --nodes {nodes} --same-trace --seed {seed}")
            }
            Self::Found(bug, ..) => format!("cargo xtask simulate --bug {bug:?}"),
        }
    }
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Heights that became final.
    pub decisions: u64,
    /// By kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Heights whose collector did not answer in time, by host.
    pub fallbacks: u64,
    /// Votes for a block of the next height, by host and height.
    pub ahead: u64,
    /// Those of them that were in vain.
    pub orphaned: u64,
    /// Views given up.
    pub view_changes: u64,
    /// Of all that happened.
    pub trace: Digest,
    /// Virtual time, milliseconds.
    pub virtual_ms: u64,
    /// From proposal to finality at each correct host.
    pub latencies_ms: Vec<u32>,
    /// From a client's call to finality at each correct host.
    pub submit_ms: Vec<u32>,
    /// Transactions that became final.
    pub included: u64,
    /// Time that all cores have worked.
    pub cpu_us: u64,
    /// What all hosts have said.
    pub bytes: u64,
    /// Of runs that measure it.
    pub availability: Option<Availability>,
    /// What broke.
    pub violation: Option<String>,
    /// A bug that was found, and by what.
    pub found: Option<(Bug, String)>,
}

impl Outcome {
    fn of(cluster: Cluster) -> Self {
        Self {
            decisions: cluster.checkers.height(),
            fallbacks: cluster.fallbacks,
            ahead: cluster.ahead,
            orphaned: cluster.orphaned,
            view_changes: cluster.view_changes,
            trace: cluster.checkers.trace,
            virtual_ms: cluster.now_us / 1000 - crate::world::GENESIS_MS,
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
        self.ahead += other.ahead;
        self.orphaned += other.orphaned;
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
        self.trace = hash_of(Context::Vote, &(self.trace, other.trace));
        other
            .faults
            .into_iter()
            .for_each(|(kind, count)| *self.faults.entry(kind).or_default() += count);
        self.violation = self.violation.take().or(other.violation);
    }
}

/// Runs one job.
pub fn perform(job: Job) -> Outcome {
    match job {
        Job::Chaos(nodes, seed) => {
            let world = World::of(nodes, PACE);
            Outcome::of(run(world, draw_setup(world, seed), mixed(seed)))
        }
        Job::Churn(nodes, seed) => {
            let world = World::of(nodes, PACE);
            Outcome::of(run(world, churn_setup(world, seed), churn_weather(seed)))
        }
        Job::Calm(Calm { nodes, regions, profile, pipeline, every_ms }, seed) => {
            let setup = Setup { regions, profile, pipeline, ..Setup::calm(seed) };
            Outcome::of(calm(World::of(nodes, PATIENT), setup, every_ms))
        }
        Job::Month { days, profile, churn, seed } => {
            let (cluster, availability) = month::run(days, seed, profile, churn, |day, so_far| {
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
        Job::Twins(seed) => Outcome::of(twins::run(seed, false)),
        Job::Directed(number) => {
            let schedule = directed::schedule(number, None);
            schedule.map_or_else(Outcome::default, |(_, cluster)| Outcome::of(cluster))
        }
        Job::CrashAtWrite(host, nth) => {
            let mut sum = Outcome::default();
            for fate in [Fate::Lost, Fate::Kept, Fate::Torn] {
                sum.add(Outcome::of(directed::crash_at_write(host, nth, fate)));
            }
            sum
        }
        Job::SameTrace(nodes, seed) => same_trace(nodes, seed),
        Job::Found(bug, from, count) => found(bug, from, count),
    }
}

fn same_trace(nodes: usize, seed: u64) -> Outcome {
    let world = World::of(nodes, PACE);
    let [mut fast, slow] = [false, true].map(|pairings| {
        // Members come and go in every other run.
        let (setup, weather) = match seed % 2 {
            0 => (draw_setup(world, seed), mixed(seed)),
            _ => (churn_setup(world, seed), churn_weather(seed / 2)),
        };
        Outcome::of(run(world, Setup { pairings, ..setup }, weather))
    });
    if fast.trace != slow.trace {
        fast.violation =
            Some("determinism: the same seed leaves another trace with pairings".into());
    }
    fast
}

fn found(bug: Bug, from: u64, count: u64) -> Outcome {
    let world = World::of(4, PACE);
    let mut sum = Outcome::default();
    for (name, cluster) in
        (0..directed::COUNT).filter_map(|number| directed::schedule(number, Some(bug)))
    {
        if let Some(violation) = cluster.checkers.violation {
            sum.found = Some((bug, format!("schedule \"{name}\": {violation}")));
            return sum;
        }
    }
    for seed in from..from + count {
        let outcome = Outcome::of(run_bug(world, seed, bug, mixed(seed)));
        if let Some(violation) = &outcome.violation {
            sum.found = Some((bug, format!("seed {seed}: {violation}")));
            return sum;
        }
        sum.add(outcome);
    }
    sum.violation =
        Some(format!("campaign: {bug:?} was not found by {count} seeds from {from} on"));
    sum
}

/// The results of a campaign.
#[derive(Debug, Default)]
pub struct Report {
    /// Runs.
    pub runs: u64,
    /// All of them together, in the order of the jobs.
    pub sum: Outcome,
    /// Each broken run, with what broke.
    pub violations: Vec<(Job, String)>,
    /// Each fault of the implementation that was found, and by what.
    pub found: Vec<(Bug, String)>,
}

/// Runs all jobs on all cores.
pub fn run_all(jobs: &[Job], threads: usize) -> Report {
    let next = AtomicUsize::new(0);
    let outcomes: Mutex<BTreeMap<usize, Outcome>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while let Some((at, job)) = Some(next.fetch_add(1, Ordering::Relaxed))
                    .and_then(|at| Some((at, jobs.get(at)?)))
                {
                    let outcome = perform(*job);
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

/// Runs with chance.
pub fn chaos(nodes: usize, from: u64, seeds: u64) -> Vec<Job> {
    (from..from + seeds).map(|seed| Job::Chaos(nodes, seed)).collect()
}

/// Runs with chance and members that come and go.
pub fn churn(nodes: usize, from: u64, seeds: u64) -> Vec<Job> {
    (from..from + seeds).map(|seed| Job::Churn(nodes, seed)).collect()
}

/// Every fault of the implementation must be found.
pub fn all_bugs(seeds_each: u64) -> Vec<Job> {
    BUGS.into_iter().map(|bug| Job::Found(bug, 60_000, seeds_each)).collect()
}

/// Schedules made by hand, and a crash at each of the first writes of each host.
pub fn schedules(writes: u64) -> Vec<Job> {
    let crashes = (0..4).flat_map(|host| (1..=writes).map(move |nth| Job::CrashAtWrite(host, nth)));
    (0..directed::COUNT).map(Job::Directed).chain(crashes).collect()
}
