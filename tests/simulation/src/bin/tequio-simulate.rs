//! The command line of the simulator; `cargo xtask simulate` builds it and passes its arguments on.

use lexopt::prelude::*;
use std::{collections::BTreeMap, process::ExitCode, time::Instant};
use tequio_simulation::{
    campaign::{
        FaultFreeRun, Outcome, Report, SimulationRun, all_mutants, chaos, churn, run_all,
        scenarios_and_crashes,
    },
    chain_fixture::ChainFixture,
    cluster::{PipelineProfile, VoteRoutingProfile},
    fault_profile::PATIENT_CONFIG,
    host::signature_floor_us,
    mutants::Mutant,
    network::Regions,
    soak::{self, Availability},
};

const HELP: &str = "\
cargo xtask simulate [--nodes N] [--seeds N] [--from SEED] [--campaign NAME] [--json]
    runs committees in virtual time under faults and Byzantine members, and checks the rules
      --nodes N       seats (default 4)
      --seeds N       runs (default 100)
      --from SEED     the first seed (default 0)
      --churn         members join, leave and change their keys; also with --days
      --regions R     no faults at all, between these regions: site, us2 or aws10
      --pipelining P  with --regions: hosts open a height before the one below is decided: on, off,
                      auto or mixed (default on)
      --every-ms N    with --regions: from one transaction to the next (default 1000)
      --profile P     with --regions or --days: recipients of votes: all, leader, or mixed (default
                      all)
      --days D        so many days of crashes, partitions and one Byzantine member: measures how
                      often a client is served
      --campaign C    a fixed set of runs instead: test, every-run or long
      --threads N     at a time (default: one for each core)
      --json          the last line on standard output is one JSON object
    one run again:
      --seed S        this seed, with --nodes N and perhaps --churn, or with --twins or --same-trace
      --scenario N    this scenario
      --crash-at-write HOST:N
      --mutant NAME   this mutant must be found
";

struct Options {
    nodes: usize,
    seeds: u64,
    from: u64,
    seed: Option<u64>,
    regions: Option<Regions>,
    profile: VoteRoutingProfile,
    pipeline: PipelineProfile,
    every_ms: u64,
    days: Option<u64>,
    campaign: Option<String>,
    threads: usize,
    json: bool,
    twins: bool,
    same_trace: bool,
    churn: bool,
    one: Option<SimulationRun>,
}

fn main() -> ExitCode {
    let options = match parse(lexopt::Parser::from_env()) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("error: {error}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    let jobs = match planned_runs(&options) {
        Ok(jobs) => jobs,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    let began = Instant::now();
    let report = run_all(&jobs, options.threads);
    print_report(&options, &report, began.elapsed().as_secs_f64());
    if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(mut parser: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut options = Options {
        nodes: 4,
        seeds: 100,
        from: 0,
        seed: None,
        regions: None,
        profile: VoteRoutingProfile::All,
        pipeline: PipelineProfile::On,
        every_ms: 1000,
        days: None,
        campaign: None,
        threads,
        json: false,
        twins: false,
        same_trace: false,
        churn: false,
        one: None,
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("nodes") => options.nodes = parser.value()?.parse()?,
            Long("seeds") => options.seeds = parser.value()?.parse()?,
            Long("from") => options.from = parser.value()?.parse()?,
            Long("seed") => options.seed = Some(parser.value()?.parse()?),
            Long("campaign") => options.campaign = Some(parser.value()?.string()?),
            Long("regions") => {
                let name = parser.value()?.string()?;
                options.regions = Some(
                    Regions::named(&name)
                        .ok_or_else(|| format!("there are no regions {name:?}"))?,
                );
            }
            Long("days") => options.days = Some(parser.value()?.parse()?),
            Long("profile") => {
                let name = parser.value()?.string()?;
                options.profile = VoteRoutingProfile::named(&name)
                    .ok_or_else(|| format!("there is no profile {name:?}"))?;
            }
            Long("pipelining") => {
                let name = parser.value()?.string()?;
                options.pipeline = PipelineProfile::named(&name)
                    .ok_or_else(|| format!("there is no pipelining {name:?}"))?;
            }
            Long("every-ms") => options.every_ms = parser.value()?.parse()?,
            Long("threads") => options.threads = parser.value()?.parse()?,
            Long("json") => options.json = true,
            Long("twins") => options.twins = true,
            Long("same-trace") => options.same_trace = true,
            Long("churn") => options.churn = true,
            Long("scenario") => {
                options.one = Some(SimulationRun::Scenario(parser.value()?.parse()?))
            }
            Long("mutant") => {
                let name = parser.value()?.string()?;
                let mutant =
                    Mutant::named(&name).ok_or_else(|| format!("there is no mutant {name:?}"))?;
                options.one = Some(SimulationRun::FindMutant(mutant, 60_000, 2_000));
            }
            Long("crash-at-write") => {
                let value = parser.value()?.string()?;
                let (host, nth) = value.split_once(':').ok_or("HOST:N is expected")?;
                let number = |text: &str| text.parse::<u64>().map_err(|e| e.to_string());
                options.one =
                    Some(SimulationRun::CrashAtWrite(number(host)? as usize % 4, number(nth)?));
            }
            Short('h') | Long("help") => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    if !(1..=100).contains(&options.nodes) {
        return Err("--nodes must be from 1 to 100".into());
    }
    if !(1..=10_000).contains(&options.every_ms) {
        return Err("--every-ms must be from 1 to 10000".into());
    }
    Ok(Some(options))
}

fn planned_runs(options: &Options) -> Result<Vec<SimulationRun>, String> {
    if let Some(one) = options.one {
        return Ok(vec![one]);
    }
    if let Some(regions) = options.regions {
        let seeds =
            options.seed.map_or(options.from..options.from + options.seeds, |seed| seed..seed + 1);
        let Options { nodes, profile, pipeline, every_ms, .. } = *options;
        return Ok(seeds
            .map(|seed| {
                SimulationRun::FaultFree(
                    FaultFreeRun { nodes, regions, profile, pipeline, every_ms },
                    seed,
                )
            })
            .collect());
    }
    if let Some(days) = options.days {
        let Options { profile, churn, .. } = *options;
        return Ok(vec![SimulationRun::Soak {
            days,
            profile,
            churn,
            seed: options.seed.unwrap_or(options.from),
        }]);
    }
    if let Some(seed) = options.seed {
        return Ok(vec![match (options.twins, options.same_trace) {
            (true, _) => SimulationRun::Twins(seed),
            (false, true) => SimulationRun::SameTrace(options.nodes, seed),
            (false, false) if options.churn => SimulationRun::Churn(options.nodes, seed),
            (false, false) => SimulationRun::Chaos(options.nodes, seed),
        }]);
    }
    let soak = |days: u64, profile: VoteRoutingProfile, churn: bool, seed: u64| {
        SimulationRun::Soak { days, profile, churn, seed }
    };
    let twins = |count: u64| (0..count).map(SimulationRun::Twins).collect::<Vec<_>>();
    let traces = |nodes: usize, count: u64| {
        (0..count).map(|seed| SimulationRun::SameTrace(nodes, seed)).collect::<Vec<_>>()
    };
    Ok(match options.campaign.as_deref() {
        None if options.twins => twins(options.seeds),
        None if options.churn => churn(options.nodes, options.from, options.seeds),
        None => chaos(options.nodes, options.from, options.seeds),
        Some("test") => [
            vec![
                soak(1, VoteRoutingProfile::Leader, false, 0),
                soak(1, VoteRoutingProfile::All, true, 0),
            ],
            scenarios_and_crashes(16),
            chaos(50, 0, 1),
            traces(4, 5),
            all_mutants(1_000),
            chaos(7, 0, 40),
            twins(200),
            churn(7, 0, 20),
            churn(4, 0, 120),
            chaos(4, 0, 400),
        ]
        .concat(),
        Some("every-run") => [
            vec![
                soak(2, VoteRoutingProfile::All, false, 1),
                soak(2, VoteRoutingProfile::Leader, true, 1),
            ],
            scenarios_and_crashes(30),
            chaos(50, 0, 5),
            traces(4, 20),
            all_mutants(1_000),
            chaos(7, 0, 200),
            churn(7, 0, 200),
            churn(4, 0, 1_000),
            chaos(4, 0, 1_000),
            twins(10_000),
        ]
        .concat(),
        Some("long") => [
            [false, true]
                .into_iter()
                .flat_map(|churn| {
                    [VoteRoutingProfile::All, VoteRoutingProfile::Leader]
                        .map(|profile| soak(30, profile, churn, 0))
                })
                .collect(),
            scenarios_and_crashes(60),
            chaos(50, 0, 200),
            traces(4, 500),
            all_mutants(5_000),
            chaos(7, 0, 10_000),
            churn(7, 0, 10_000),
            churn(4, 0, 50_000),
            chaos(4, 0, 50_000),
            twins(1_000_000),
        ]
        .concat(),
        Some(other) => {
            return Err(format!(
                "there is no campaign {other:?}; there are test, every-run and long"
            ));
        }
    })
}

fn print_report(options: &Options, report: &Report, elapsed_s: f64) {
    let sum = &report.sum;
    let mut latencies = sum.latencies_ms.clone();
    latencies.sort_unstable();
    let percentile =
        |p: usize| latencies.get(latencies.len() * p / 100).copied().unwrap_or_default();
    for (mutant, by) in &report.found {
        eprintln!("{mutant:?} is found by {by}");
    }
    eprintln!(
        "{} runs, {} decisions, {} view changes, {} faults, {} violations, {:.0} virtual s in \
         {elapsed_s:.1} s",
        report.runs,
        sum.decisions,
        sum.view_changes,
        sum.faults.values().sum::<u64>(),
        report.violations.len(),
        sum.virtual_ms as f64 / 1000.0,
    );
    if !options.json {
        return;
    }
    let commands: BTreeMap<String, &str> = report
        .violations
        .iter()
        .map(|(job, violation)| (job.command(), violation.as_str()))
        .collect();
    let found: BTreeMap<String, &str> =
        report.found.iter().map(|(mutant, by)| (format!("{mutant:?}"), by.as_str())).collect();
    let mut object = serde_json::json!({
            "nodes": if options.days.is_some() { soak::SEATS } else { options.nodes },
            "seeds": report.runs,
            "decisions": sum.decisions,
            "view_changes": sum.view_changes,
            "collector_fallbacks": sum.fallbacks,
            "pipelined": sum.pipelined_votes,
            "orphaned": sum.orphaned_votes,
            "faults": sum.faults,
            "violations": report.violations.len(),
            "violated": commands,
            "mutants_found": found,
            "latency_ms": { "p50": percentile(50), "p95": percentile(95), "p99": percentile(99) },
            "virtual_s": sum.virtual_ms / 1000,
            "elapsed_s": (elapsed_s * 10.0).round() / 10.0,
            "trace": sum.trace.to_string(),
    });
    if let Some(regions) = options.regions {
        append(&mut object, bench(options, regions, sum, &latencies));
    }
    if let Some(availability) = &sum.availability {
        append(&mut object, availability_of(availability));
    }
    println!("{object}");
}

/// The fields of `tequio bench consensus`, in virtual time.
fn bench(
    options: &Options,
    regions: Regions,
    sum: &Outcome,
    sorted_ms: &[u32],
) -> serde_json::Value {
    let mut submit_ms = sum.submit_ms.clone();
    submit_ms.sort_unstable();
    let percentile =
        |sorted: &[u32], p: usize| sorted.get(sorted.len() * p / 100).copied().unwrap_or_default();
    let decisions = sum.decisions.max(1) as f64;
    let quorum = ChainFixture::of(options.nodes, PATIENT_CONFIG).genesis.committee.quorum();
    serde_json::json!({
        "virtual": true,
        "regions": regions.name(),
        "profile": options.profile.name(),
        "pipelining": options.pipeline.name(),
        "every_ms": options.every_ms,
        "decisions_per_s": round(sum.decisions as f64 * 1000.0 / sum.virtual_ms.max(1) as f64),
        "p50_ms": percentile(sorted_ms, 50),
        "p95_ms": percentile(sorted_ms, 95),
        "p99_ms": percentile(sorted_ms, 99),
        "submit_p50_ms": percentile(&submit_ms, 50),
        "submit_p95_ms": percentile(&submit_ms, 95),
        "tps": round(sum.included as f64 * 1000.0 / sum.virtual_ms.max(1) as f64),
        "cpu_s_per_decision": round(sum.cpu_us as f64 / 1e6 / decisions),
        "bytes_per_decision": (sum.bytes as f64 / decisions / options.nodes as f64).round(),
        "floor_ms": round(signature_floor_us(quorum) as f64 / 1000.0),
    })
}

fn availability_of(availability: &Availability) -> serde_json::Value {
    let outages = &availability.outages_ms;
    let mean_s = outages.iter().sum::<u64>() as f64 / 1000.0 / outages.len().max(1) as f64;
    serde_json::json!({
        "clients": availability.clients,
        "late": availability.late,
        "availability_percent": availability.served_per_100_000() as f64 / 1000.0,
        "beyond_fault_bound": availability.beyond_bound,
        "beyond_fault_bound_late": availability.beyond_bound_late,
        "availability_within_fault_bound_percent":
            availability.served_within_per_100_000() as f64 / 1000.0,
        "byzantine_unseated_after_h":
            availability.unseated_ms.iter().map(|ms| ms / 3_600_000).collect::<Vec<_>>(),
        "outages": outages.len(),
        "mean_time_to_repair_s": round(mean_s),
        "longest_s": outages.iter().max().copied().unwrap_or_default() / 1000,
    })
}

fn append(object: &mut serde_json::Value, more: serde_json::Value) {
    if let (Some(object), serde_json::Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
