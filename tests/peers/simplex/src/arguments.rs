//! The command line.

use std::{path::PathBuf, time::Duration};

use lexopt::prelude::*;

/// The text of `--help`.
pub const HELP: &str = "\
simplex-peer [--nodes N] [--seconds S] [--interval-ms MS] [--scheme bls|ed25519] [--dir DIR]
    measures commonware simplex with empty blocks and prints one line of JSON
      --nodes N         validators, 2 to 64 (default: 4)
      --seconds S       time to measure, 1 to 3600 (default: 20), after a second that warms up
      --interval-ms MS  least time from one proposal to the next, 0 to 60000 (default: 200); 0: as
                        fast as it goes
      --scheme NAME     bls: BLS12-381 multi-signatures, in G1 (default); ed25519: lists of Ed25519
                        signatures
      --dir DIR         where the journals are: the disk to measure (default: a temporary folder)
";

/// The parsed command.
pub enum Command {
    Help,
    Measure(Arguments),
}

/// Parameters of a measurement.
pub struct Arguments {
    pub nodes: u16,
    pub seconds: u64,
    pub interval: Duration,
    pub scheme: Scheme,
    pub dir: Option<PathBuf>,
}

/// Signature scheme of the votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Bls,
    Ed25519,
}

impl Scheme {
    pub fn name(self) -> &'static str {
        match self {
            Self::Bls => "bls",
            Self::Ed25519 => "ed25519",
        }
    }
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            nodes: 4,
            seconds: 20,
            interval: Duration::from_millis(200),
            scheme: Scheme::Bls,
            dir: None,
        }
    }
}

/// Reads the process's arguments.
pub fn parse() -> Result<Command, lexopt::Error> {
    parse_from(lexopt::Parser::from_env())
}

fn parse_from(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let mut arguments = Arguments::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("nodes") => arguments.nodes = parser.value()?.parse()?,
            Long("seconds") => arguments.seconds = parser.value()?.parse()?,
            Long("interval-ms") => {
                arguments.interval = Duration::from_millis(parser.value()?.parse()?)
            }
            Long("dir") => arguments.dir = Some(parser.value()?.into()),
            Long("scheme") => {
                arguments.scheme = match parser.value()?.string()?.as_str() {
                    "bls" => Scheme::Bls,
                    "ed25519" => Scheme::Ed25519,
                    other => {
                        return Err(format!(
                            "--scheme is bls or ed25519, not {other:?}"
                        )
                        .into());
                    }
                }
            }
            Short('h') | Long("help") => return Ok(Command::Help),
            other => return Err(other.unexpected()),
        }
    }
    if !(2..=64).contains(&arguments.nodes) {
        return Err("--nodes is from 2 to 64".into());
    }
    if !(1..=3600).contains(&arguments.seconds) {
        return Err("--seconds is from 1 to 3600".into());
    }
    if arguments.interval > Duration::from_secs(60) {
        return Err("--interval-ms is from 0 to 60000".into());
    }
    Ok(Command::Measure(arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Command, lexopt::Error> {
        parse_from(lexopt::Parser::from_args(arguments))
    }

    #[test]
    fn all_options_are_taken() {
        let line = [
            "--nodes=7",
            "--seconds",
            "3",
            "--interval-ms",
            "0",
            "--scheme",
            "ed25519",
            "--dir",
            "here",
        ];
        let Ok(Command::Measure(arguments)) = parse(&line) else { panic!("not a measurement") };
        assert_eq!(
            (arguments.nodes, arguments.seconds, arguments.interval),
            (7, 3, Duration::ZERO)
        );
        assert_eq!((arguments.scheme, arguments.dir), (Scheme::Ed25519, Some("here".into())));
    }

    #[test]
    fn values_out_of_bounds_and_unknown_options_are_refused() {
        for line in [
            &["--nodes", "1"][..],
            &["--nodes", "65"],
            &["--seconds", "0"],
            &["--interval-ms", "60001"],
            &["--scheme", "rsa"],
            &["--rate", "5"],
        ] {
            assert!(parse(line).is_err(), "{line:?}");
        }
        assert!(matches!(parse(&["-h"]), Ok(Command::Help)));
    }
}
