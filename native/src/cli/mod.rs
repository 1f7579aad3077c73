//! The command line. Options are flags, variables `TEQUIO_*`, or `config.toml`. With `--json` every
//! command ends with one line of JSON. Secrets are never arguments.

mod bench;
mod checkpoint;
mod client;
mod export;
mod handovers;
mod infer;
mod init;
mod interrupt;
mod job;
mod job_text;
mod kb;
mod keys;
mod queued;
mod run;
mod seat;
mod status;
mod trust;
mod verify;
mod verify_chain;

use clap::{Args, Parser, Subcommand, builder::BoolishValueParser};
use std::{
    io::{self, ErrorKind, Write as _},
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

/// A full node of Tequio: machine learning on many machines, agreed by consensus, provable to any
/// browser.
#[derive(Debug, Parser)]
#[command(name = "tequio", version, about, after_help = EXAMPLES, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  tequio init --dir net --devnet --validators 4      keys and genesis of a network on this machine
  tequio run --dir net/node1                         run one of its nodes
  tequio job train --dir net/node1 --data digits.csv.gz --label target --layers 64 --wait --out model
  tequio verify model --data digits.csv.gz --checkpoint net/checkpoint.bin
                                                     check the exported model, without a network

The passphrase of the keys comes from --passphrase-file, from TEQUIO_PASSPHRASE, or from the terminal.
An empty variable counts as one that is not set. TEQUIO_JSON=1 is --json for every command.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a node's directory: keys, configuration, genesis
    Init(init::Init),
    /// Run a node
    Run(run::Run),
    /// Show the state of a running node
    Status(status::Status),
    /// Train models, and watch them being trained
    Job(job::Job),
    /// Read the knowledge base
    Kb(kb::Kb),
    /// Request a seat in the committee, leave it, change its keys
    Seat(seat::Seat),
    /// Show, export and import a node's keys
    Keys(keys::Keys),
    /// Make, show, check and pin checkpoints, from which verification and new nodes start
    Checkpoint(checkpoint::CheckpointCommand),
    /// Check an exported model: certificate, proof, weights, accuracy. Needs no network
    Verify(verify::Verify),
    /// Replay a stopped node's blocks and compare the state
    VerifyChain(verify_chain::VerifyChain),
    /// Measure this machine
    Bench(bench::Bench),
}

/// The option for the node's directory.
#[derive(Debug, Args)]
pub struct Dir {
    /// The node's directory
    #[arg(long, env = "TEQUIO_DIR", value_name = "DIR")]
    pub dir: PathBuf,
}

/// The option for machine-readable output.
#[derive(Clone, Copy, Debug, Args)]
pub struct Json {
    /// Print JSON, one object a line
    #[arg(long, env = "TEQUIO_JSON", value_parser = BoolishValueParser::new())]
    pub json: bool,
}

/// The option for the passphrase file.
#[derive(Debug, Args)]
pub struct PassphraseFile {
    /// File whose first line is the passphrase of the keys
    #[arg(long, env = "TEQUIO_PASSPHRASE_FILE", value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

impl Cli {
    /// Runs the subcommand.
    pub fn execute(self) -> anyhow::Result<()> {
        match self.command {
            Command::Init(init) => init.execute(),
            Command::Run(run) => run.execute(),
            Command::Status(status) => status.execute(),
            Command::Job(job) => job.execute(),
            Command::Kb(kb) => kb.execute(),
            Command::Seat(seat) => seat.execute(),
            Command::Keys(keys) => keys.execute(),
            Command::Checkpoint(checkpoint) => checkpoint.execute(),
            Command::Verify(verify) => verify.execute(),
            Command::VerifyChain(verify) => verify.execute(),
            Command::Bench(bench) => bench.execute(),
        }
    }
}

/// Whether output was lost for a reason other than a closed pipe.
static IS_OUTPUT_LOST: AtomicBool = AtomicBool::new(false);

/// Prints text, or with `--json` an object, as a line. Returns false if writing failed.
pub fn print(json: Json, object: &serde_json::Value, text: impl FnOnce() -> String) -> bool {
    let line = if json.json { object.to_string() } else { text() };
    let mut out = io::stdout().lock();
    let written = writeln!(out, "{line}").and_then(|()| out.flush());
    if let Some(error) =
        written.as_ref().err().filter(|error| error.kind() != ErrorKind::BrokenPipe)
        && !IS_OUTPUT_LOST.swap(true, Ordering::Relaxed)
    {
        eprintln!(
            "error: cannot write to standard output: {error}; check the disk or the program that it leads to"
        );
    }
    written.is_ok()
}

/// Whether no output was lost. A closed pipe does not count: its reader has finished.
pub fn is_output_whole() -> bool {
    !IS_OUTPUT_LOST.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_secret_is_an_argument() {
        let help = format!("{:?}", Cli::command());
        assert!(!help.contains("\"passphrase\""));
    }
}
