//! Commonware's simplex as the peer of `tequio bench consensus`: the same number of validators in
//! one process, over real TCP sockets on loopback and with real syncs to the disk, counted in the
//! same way.
//!
//! The blocks are empty: a payload is the digest of its view and its parent, which every validator
//! computes for itself, so no block has to travel or to be stored. What remains is agreement:
//! votes, certificates, the journal that each validator syncs before it sends, and encrypted
//! connections between all of them.

mod application;
mod arguments;
mod chain;
mod committee;
mod machine;
mod validators;

use std::{fs, process::ExitCode, time::Duration};

use anyhow::{Context as _, ensure};
use arguments::{Arguments, Command, HELP, Scheme};
use committee::Committee;
use commonware_runtime::{Runner as _, tokio};
use serde_json::{Value, json};
use validators::Measured;

fn main() -> ExitCode {
    let arguments = match arguments::parse() {
        Ok(Command::Help) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Ok(Command::Measure(arguments)) => arguments,
        Err(error) => {
            eprintln!("error: {error}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match measure(&arguments) {
        Ok(object) => {
            println!("{object}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> anyhow::Result<Value> {
    let default = || std::env::temp_dir().join(format!("simplex-peer-{}", std::process::id()));
    let dir = arguments.dir.clone().unwrap_or_else(default);
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    ensure!(fs::read_dir(&dir)?.next().is_none(), "{} is not empty", dir.display());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let config = tokio::Config::new().with_worker_threads(cores).with_storage_directory(&dir);
    let measured = tokio::Runner::new(config).start(async |mut context| {
        let committee = Committee::generate(&mut context, arguments.nodes);
        match arguments.scheme {
            Scheme::Bls => {
                validators::measure(context, arguments, &committee, committee.bls()?).await
            }
            Scheme::Ed25519 => {
                validators::measure(context, arguments, &committee, committee.ed25519()?).await
            }
        }
    });
    fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    Ok(object(arguments, &measured?))
}

fn object(arguments: &Arguments, measured: &Measured) -> Value {
    let Measured { elapsed_s, cpu_s, bytes, decisions, skipped, final_ms } = measured;
    let each = (*decisions).max(1) as f64;
    json!({
        "peer": "commonware simplex", "version": locked_version("commonware-consensus"),
        "nodes": arguments.nodes, "scheme": arguments.scheme.name(),
        "interval_ms": Duration::as_millis(&arguments.interval) as u64,
        "seconds": elapsed_s.round(),
        "decisions": decisions, "decisions_per_s": machine::round(*decisions as f64 / elapsed_s),
        "skipped_views": skipped,
        "p50_ms": machine::percentile(final_ms, 50), "p95_ms": machine::percentile(final_ms, 95),
        "p99_ms": machine::percentile(final_ms, 99),
        "cpu_s_per_decision": machine::round(cpu_s / each),
        "cores_busy": machine::round(cpu_s / elapsed_s),
        "bytes_per_decision": (*bytes as f64 / each / f64::from(arguments.nodes)).round(),
    })
}

/// The version of a package in the lock file that this program was built from.
fn locked_version(package: &str) -> &'static str {
    let mut lines = include_str!("../Cargo.lock").lines();
    let name = format!("name = \"{package}\"");
    lines.find(|line| *line == name);
    lines
        .next()
        .and_then(|line| {
            line.strip_prefix(
                "version = \"",
            )?
            .strip_suffix('"')
        })
        .unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reported_version_is_the_locked_one() {
        assert_eq!(locked_version("commonware-consensus"), "2026.10.0");
        assert_eq!(locked_version("no-such-package"), "unknown");
    }

    #[test]
    fn four_validators_decide_with_either_scheme() {
        for scheme in [Scheme::Bls, Scheme::Ed25519] {
            let arguments =
                Arguments { scheme, seconds: 1, interval: Duration::ZERO, ..Arguments::default() };
            let object = measure(&arguments).unwrap();
            assert!(object["decisions"].as_u64().unwrap() > 0, "{object}");
            assert!(object["p50_ms"].as_f64().unwrap() > 0.0, "{object}");
        }
    }
}
