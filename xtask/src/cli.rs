//! The command line: parsed by hand over lexopt, because everything waits for this crate to compile.

use std::{ffi::OsString, path::PathBuf};

use lexopt::prelude::*;

/// What `cargo xtask --help` prints.
pub const HELP: &str = "\
cargo xtask demo [--headless] [--json] [--port N] [--rounds N] [--keep DIR]
    builds everything, starts a relay and four validators, and trains the digits model with you
      --headless   a real Chromium tab joins by itself, re-reads the model with proof, and the command ends
      --json       the last line on standard output is one JSON object; all else goes to standard error
      --port N     the page's port on 127.0.0.1 (default: 8080 if it is free; with --headless any free port)
      --rounds N   rounds to train (default: the job's own)
      --keep DIR   work in DIR, which must be empty or new, and leave it there

cargo xtask test [--only STEP]... [--list]
    installs what the tests need and runs all of them
      --only STEP  run this step, and those that it needs; may be given several times
      --list       print the steps and end

cargo xtask simulate [--nodes N] [--seeds N] [--json] [...]
    runs committees in virtual time under faults and liars; `cargo xtask simulate --help` says more

cargo xtask preflight
    says what is missing on this machine, and changes nothing
";

/// One parsed command.
pub enum Command {
    Help,
    Demo(DemoOptions),
    Test(TestOptions),
    /// Its arguments are the simulator's.
    Simulate(Vec<OsString>),
    Preflight,
}

/// Options of `cargo xtask demo`.
#[derive(Debug, Default)]
pub struct DemoOptions {
    pub headless: bool,
    pub json: bool,
    pub port: Option<u16>,
    pub rounds: Option<u32>,
    pub keep: Option<PathBuf>,
}

/// Options of `cargo xtask test`.
#[derive(Debug, Default)]
pub struct TestOptions {
    pub only: Vec<String>,
    pub list: bool,
}

/// Reads the process's arguments.
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
            Long("list") => options.list = true,
            Short('h') | Long("help") => return Ok(Command::Help),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Command::Test(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Command, lexopt::Error> {
        parse_from(lexopt::Parser::from_args(arguments))
    }

    #[test]
    fn demo_takes_all_its_options() {
        let command = parse(&["demo", "--headless", "--json", "--port=9000", "--rounds", "3", "--keep", "out"]);
        let Ok(Command::Demo(options)) = command else { panic!("not a demo") };
        assert!(options.headless && options.json);
        assert_eq!((options.port, options.rounds), (Some(9000), Some(3)));
        assert_eq!(options.keep, Some(PathBuf::from("out")));
    }

    #[test]
    fn test_collects_every_step_named() {
        let Ok(Command::Test(options)) = parse(&["test", "--only", "fmt", "--only", "deny"]) else {
            panic!("not a test")
        };
        assert_eq!(options.only, ["fmt", "deny"]);
    }

    #[test]
    fn the_simulator_gets_its_arguments_as_they_are() {
        let Ok(Command::Simulate(arguments)) = parse(&["simulate", "--nodes", "7", "--json"]) else {
            panic!("not a simulation")
        };
        assert_eq!(arguments, ["--nodes", "7", "--json"]);
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
            &["--version"],
        ] {
            assert!(parse(arguments).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn help_is_found_everywhere() {
        for arguments in [&[][..], &["-h"], &["help"], &["demo", "--help"], &["test", "-h"], &["preflight", "-h"]] {
            assert!(matches!(parse(arguments), Ok(Command::Help)), "{arguments:?}");
        }
    }
}
