//! The command line, parsed by hand over lexopt to keep the crate small, because everything else
//! waits for its compilation.

use std::{ffi::OsString, path::PathBuf};

use lexopt::prelude::*;

/// The text of `cargo xtask --help`.
pub const HELP: &str = "\
cargo xtask demo [--headless] [--json] [--built] [--port N] [--rounds N] [--keep DIR]
    builds everything, starts a relay and four validators, waits for your browser, and trains the
    digits model with it; Enter trains again, Ctrl-C ends everything
      --headless   a real Chromium tab joins, re-reads the model with proof, and the command ends
      --json       one JSON object on standard output for each trained model; all else goes to
                   standard error
      --built      build nothing: use what an earlier demo or test has built
      --port N     the page's port on 127.0.0.1 (default: 8080 if it is free; with --headless any
                   free port)
      --rounds N   rounds to train (default: about a minute; with --headless the job's own)
      --keep DIR   work in DIR, which must be empty or new, and leave it there

cargo xtask test [--only STEP]... [--long] [--list]
    installs what the tests need and runs all of them
      --only STEP  run this step, and those that it needs; may be given several times
      --long       run the longer campaigns, and the steps that they need, in place of the usual
                   steps
      --list       print the steps and end

cargo xtask simulate [--nodes N] [--seeds N] [--json] [...]
    runs committees in virtual time under faults and Byzantine members; see
    `cargo xtask simulate --help`

cargo xtask bench-peer [--nodes N] [--seconds S] [--interval-ms MS] [...]
    builds our consensus and commonware's simplex in release, runs one after the other, and prints
    both as a line of JSON
      --rate R, --profile P  for ours alone (rate: 0 unless given, as the peer's blocks are empty)
      --scheme bls|ed25519   for the peer alone
      --dir DIR              where both keep their stores: the disk to measure (default: in the
                             target folder)

cargo xtask layers [--write | --graph]
    prints import cycles, uses against the order in layers.toml, long lines and long files
      --write      write the order into docs/ARCHITECTURE.md instead
      --graph      print the files and their uses in DOT instead

cargo xtask preflight
    lists what is missing on this machine, and changes nothing
";

/// One parsed command.
pub enum Command {
    Help,
    Demo(DemoOptions),
    Test(TestOptions),
    /// Runs the simulator with these arguments.
    Simulate(Vec<OsString>),
    BenchPeer(BenchPeerOptions),
    Layers(LayersOptions),
    Preflight,
}

/// Options of `cargo xtask demo`.
#[derive(Debug, Default)]
pub struct DemoOptions {
    pub headless: bool,
    pub json: bool,
    pub built: bool,
    pub port: Option<u16>,
    pub rounds: Option<u32>,
    pub keep: Option<PathBuf>,
}

/// Options of `cargo xtask test`.
#[derive(Debug, Default)]
pub struct TestOptions {
    pub only: Vec<String>,
    pub long: bool,
    pub list: bool,
}

/// Options of `cargo xtask bench-peer`: arguments for each of the two benchmarks, which check them.
#[derive(Debug, Default)]
pub struct BenchPeerOptions {
    pub ours: Vec<OsString>,
    pub peers: Vec<OsString>,
    pub dir: Option<PathBuf>,
}

/// Options of `cargo xtask layers`.
#[derive(Debug, Default)]
pub struct LayersOptions {
    pub write: bool,
    pub graph: bool,
}

/// Parses the process's arguments.
pub fn parse() -> Result<Command, lexopt::Error> {
    parse_from(lexopt::Parser::from_env())
}

fn parse_from(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let command = match parser.next()? {
        None | Some(Short('h') | Long("help")) => return Ok(Command::Help),
        Some(Value(name)) => name.string()?,
        Some(other) => return Err(other.unexpected()),
    };
    match command.as_str() {
        "demo" => demo(parser),
        "test" => test(parser),
        "simulate" => Ok(Command::Simulate(parser.raw_args()?.collect())),
        "layers" => layers(parser),
        "bench-peer" => bench_peer(parser),
        "preflight" => match parser.next()? {
            None => Ok(Command::Preflight),
            Some(Short('h') | Long("help")) => Ok(Command::Help),
            Some(other) => Err(other.unexpected()),
        },
        "help" => Ok(Command::Help),
        other => Err(format!("there is no command {other:?}").into()),
    }
}

fn demo(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let mut options = DemoOptions::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("headless") => options.headless = true,
            Long("json") => options.json = true,
            Long("built") => options.built = true,
            Long("port") => options.port = Some(parser.value()?.parse()?),
            Long("rounds") => options.rounds = Some(parser.value()?.parse()?),
            Long("keep") => options.keep = Some(parser.value()?.into()),
            Short('h') | Long("help") => return Ok(Command::Help),
            other => return Err(other.unexpected()),
        }
    }
    if options.rounds == Some(0) {
        return Err("--rounds must be at least 1".into());
    }
    Ok(Command::Demo(options))
}

fn test(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let mut options = TestOptions::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("only") => options.only.push(parser.value()?.string()?),
            Long("long") => options.long = true,
            Long("list") => options.list = true,
            Short('h') | Long("help") => return Ok(Command::Help),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Command::Test(options))
}

fn layers(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let mut options = LayersOptions::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("write") => options.write = true,
            Long("graph") => options.graph = true,
            Short('h') | Long("help") => return Ok(Command::Help),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Command::Layers(options))
}

fn bench_peer(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let mut options = BenchPeerOptions::default();
    let mut rate = OsString::from("0");
    while let Some(argument) = parser.next()? {
        let (ours, peers, flag) = match argument {
            Long("nodes") => (true, true, "--nodes"),
            Long("seconds") => (true, true, "--seconds"),
            Long("interval-ms") => (true, true, "--interval-ms"),
            Long("profile") => (true, false, "--profile"),
            Long("scheme") => (false, true, "--scheme"),
            Long("rate") => {
                rate = parser.value()?;
                continue;
            }
            Long("dir") => {
                options.dir = Some(parser.value()?.into());
                continue;
            }
            Short('h') | Long("help") => return Ok(Command::Help),
            other => return Err(other.unexpected()),
        };
        let value = parser.value()?;
        if ours {
            options.ours.extend([flag.into(), value.clone()]);
        }
        if peers {
            options.peers.extend([flag.into(), value]);
        }
    }
    options.ours.extend(["--rate".into(), rate]);
    Ok(Command::BenchPeer(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Command, lexopt::Error> {
        parse_from(lexopt::Parser::from_args(arguments))
    }

    #[test]
    fn demo_takes_all_its_options() {
        let line = [
            "demo",
            "--headless",
            "--json",
            "--built",
            "--port=9000",
            "--rounds",
            "3",
            "--keep",
            "out",
        ];
        let Ok(Command::Demo(options)) = parse(&line) else { panic!("not a demo") };
        assert!(options.headless && options.json && options.built);
        assert_eq!((options.port, options.rounds), (Some(9000), Some(3)));
        assert_eq!(options.keep, Some(PathBuf::from("out")));
    }

    #[test]
    fn test_collects_every_step_named() {
        let Ok(Command::Test(options)) = parse(&["test", "--only", "fmt", "--only", "deny"]) else {
            panic!("not a test")
        };
        assert_eq!(options.only, ["fmt", "deny"]);
        assert!(!options.long);
        assert!(matches!(
            parse(&["test", "--long"]),
            Ok(Command::Test(TestOptions { long: true, .. }))
        ));
    }

    #[test]
    fn arguments_of_the_simulator_are_passed_unchanged() {
        let Ok(Command::Simulate(arguments)) = parse(&["simulate", "--nodes", "7", "--json"])
        else {
            panic!("not a simulation")
        };
        assert_eq!(arguments, ["--nodes", "7", "--json"]);
    }

    #[test]
    fn each_bench_gets_its_own_arguments_and_the_common_ones() {
        let line =
            ["bench-peer", "--nodes", "7", "--profile=all", "--scheme", "ed25519", "--dir", "disk"];
        let Ok(Command::BenchPeer(options)) = parse(&line) else { panic!("not a bench") };
        assert_eq!(options.ours, ["--nodes", "7", "--profile", "all", "--rate", "0"]);
        assert_eq!(options.peers, ["--nodes", "7", "--scheme", "ed25519"]);
        assert_eq!(options.dir, Some(PathBuf::from("disk")));
    }

    #[test]
    fn wrong_arguments_are_refused() {
        for arguments in [
            &["dance"][..],
            &["demo", "--port", "70000"],
            &["demo", "--rounds", "0"],
            &["demo", "now"],
            &["test", "--only"],
            &["preflight", "--json"],
            &["layers", "core"],
            &["bench-peer", "--nodes"],
            &["bench-peer", "--rounds", "3"],
            &["--version"],
        ] {
            assert!(parse(arguments).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn every_command_prints_help() {
        for arguments in [
            &[][..],
            &["-h"],
            &["help"],
            &["demo", "--help"],
            &["test", "-h"],
            &["preflight", "-h"],
            &["layers", "-h"],
        ] {
            assert!(matches!(parse(arguments), Ok(Command::Help)), "{arguments:?}");
        }
    }
}
