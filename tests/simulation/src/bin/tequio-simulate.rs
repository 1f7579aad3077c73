//! The command line of the simulator; `cargo xtask simulate` builds it and passes its arguments on.

use lexopt::prelude::*;
use std::{collections::BTreeMap, process::ExitCode, time::Instant};
use tequio_simulation::{
    bugs::Bug,
    campaign::{Job, Report, all_bugs, chaos, churn, run_all, schedules},
    cluster::Profile,
    network::Regions,
};

const HELP: &str = "\
cargo xtask simulate [--nodes N] [--seeds N] [--from SEED] [--campaign NAME] [--json]
    runs committees in virtual time under faults and liars, and checks what must hold
      --nodes N       seats (default 4)
      --seeds N       runs (default 100)
      --from SEED     the first seed (default 0)
      --churn         members join, leave and change their keys
      --regions R     no faults at all, between these regions: site, us2 or aws10
      --profile P     with --regions: votes go to all, to collectors, or mixed (default all)
      --campaign C    a fixed set of runs instead: test, every-run or long
      --threads N     at a time (default: one for each core)
      --json          the last line on standard output is one JSON object
    one run again:
      --seed S        this seed, with --nodes N and perhaps --churn, or with --twins or --same-trace
      --directed N    this schedule made by hand
      --crash-at-write HOST:N
      --bug NAME      this fault of the implementation must be found
";

struct Options {
    nodes: usize,
    seeds: u64,
    from: u64,
    seed: Option<u64>,
    regions: Option<Regions>,
    profile: Profile,
    campaign: Option<String>,
    threads: usize,
    json: bool,
    twins: bool,
    same_trace: bool,
    churn: bool,
    one: Option<Job>,
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
    let jobs = match jobs(&options) {
        Ok(jobs) => jobs,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    let began = Instant::now();
    let report = run_all(&jobs, options.threads);
    show(&options, &report, began.elapsed().as_secs_f64());
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
        profile: Profile::All,
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
                options.regions = Some(Regions::named(&name).ok_or_else(|| format!("there are no regions {name:?}"))?);
            }
            Long("profile") => {
                let name = parser.value()?.string()?;
                options.profile = Profile::named(&name).ok_or_else(|| format!("there is no profile {name:?}"))?;
            }
            Long("threads") => options.threads = parser.value()?.parse()?,
            Long("json") => options.json = true,
            Long("twins") => options.twins = true,
            Long("same-trace") => options.same_trace = true,
            Long("churn") => options.churn = true,
            Long("directed") => options.one = Some(Job::Directed(parser.value()?.parse()?)),
            Long("bug") => {
                let name = parser.value()?.string()?;
                let bug = Bug::named(&name).ok_or_else(|| format!("there is no bug {name:?}"))?;
                options.one = Some(Job::Found(bug, 60_000, 2_000));
            }
            Long("crash-at-write") => {
                let value = parser.value()?.string()?;
                let (host, nth) = value.split_once(':').ok_or("HOST:N is expected")?;
                let number = |text: &str| text.parse::<u64>().map_err(|e| e.to_string());
                options.one = Some(Job::CrashAtWrite(number(host)? as usize % 4, number(nth)?));
            }
            Short('h') | Long("help") => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    if !(1..=100).contains(&options.nodes) {
        return Err("--nodes must be from 1 to 100".into());
    }
    Ok(Some(options))
}

fn jobs(options: &Options) -> Result<Vec<Job>, String> {
    if let Some(one) = options.one {
        return Ok(vec![one]);
    }
    if let Some(regions) = options.regions {
        let seeds = options.seed.map_or(options.from..options.from + options.seeds, |seed| seed..seed + 1);
        return Ok(seeds.map(|seed| Job::Calm(options.nodes, regions, options.profile, seed)).collect());
    }
    if let Some(seed) = options.seed {
        return Ok(vec![match (options.twins, options.same_trace) {
            (true, _) => Job::Twins(seed),
            (false, true) => Job::SameTrace(options.nodes, seed),
            (false, false) if options.churn => Job::Churn(options.nodes, seed),
            (false, false) => Job::Chaos(options.nodes, seed),
        }]);
    }
    let twins = |count: u64| (0..count).map(Job::Twins).collect::<Vec<_>>();
    let traces = |nodes: usize, count: u64| (0..count).map(|seed| Job::SameTrace(nodes, seed)).collect::<Vec<_>>();
    Ok(match options.campaign.as_deref() {
        None if options.twins => twins(options.seeds),
        None if options.churn => churn(options.nodes, options.from, options.seeds),
        None => chaos(options.nodes, options.from, options.seeds),
        Some("test") => [
            schedules(16),
            chaos(50, 0, 1),
            traces(4, 5),
            all_bugs(1_000),
            chaos(7, 0, 100),
            twins(500),
            churn(7, 0, 50),
            churn(4, 0, 300),
            chaos(4, 0, 1_000),
        ]
        .concat(),
        Some("every-run") => [
            schedules(30),
            chaos(50, 0, 5),
            traces(4, 20),
            all_bugs(1_000),
            chaos(7, 0, 200),
            churn(7, 0, 200),
            churn(4, 0, 1_000),
            chaos(4, 0, 1_000),
            twins(10_000),
        ]
        .concat(),
        Some("long") => [
            schedules(60),
            chaos(50, 0, 200),
            traces(4, 500),
            all_bugs(5_000),
            chaos(7, 0, 10_000),
            churn(7, 0, 10_000),
            churn(4, 0, 50_000),
            chaos(4, 0, 50_000),
            twins(1_000_000),
        ]
        .concat(),
        Some(other) => return Err(format!("there is no campaign {other:?}; there are test, every-run and long")),
    })
}

fn show(options: &Options, report: &Report, elapsed_s: f64) {
    let sum = &report.sum;
    let mut latencies = sum.latencies_ms.clone();
    latencies.sort_unstable();
    let percentile = |p: usize| latencies.get(latencies.len() * p / 100).copied().unwrap_or_default();
    for (bug, by) in &report.found {
        eprintln!("{bug:?} is found by {by}");
    }
    eprintln!(
        "{} runs, {} decisions, {} view changes, {} faults, {} violations, {:.0} virtual s in {elapsed_s:.1} s",
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
    let commands: BTreeMap<String, &str> =
        report.violations.iter().map(|(job, violation)| (job.command(), violation.as_str())).collect();
    let found: BTreeMap<String, &str> =
        report.found.iter().map(|(bug, by)| (format!("{bug:?}"), by.as_str())).collect();
    println!(
        "{}",
        serde_json::json!({
            "nodes": options.nodes,
            "seeds": report.runs,
            "decisions": sum.decisions,
            "view_changes": sum.view_changes,
            "fallbacks": sum.fallbacks,
            "faults": sum.faults,
            "violations": report.violations.len(),
            "violated": commands,
            "bugs_found": found,
            "latency_ms": { "p50": percentile(50), "p95": percentile(95), "p99": percentile(99) },
            "virtual_s": sum.virtual_ms / 1000,
            "elapsed_s": (elapsed_s * 10.0).round() / 10.0,
            "trace": sum.trace.to_string(),
        })
    );
}
