//! The command line. Options are flags, variables `TEQUIO_*`, or `config.toml`. With `--json` every
//! command ends with one line of JSON, on standard error if it fails. Secrets are never arguments.

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
mod job_watch;
mod kb;
mod keys;
mod options;
mod output;
mod queued;
mod run;
mod seat;
mod status;
mod submission;
mod trust;
mod verify;
mod verify_chain;

pub use output::{is_output_whole, print_error};

use clap::{Parser, Subcommand};

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
  tequio job train --dir net/node1 --data digits.csv.gz --label target --wait --out model
  tequio verify model --data digits.csv.gz --checkpoint net/checkpoint.bin
                                                     check the exported model, without a network

The passphrase of the keys comes from --passphrase-file, from TEQUIO_PASSPHRASE, or from the
terminal. An empty variable counts as unset. TEQUIO_JSON=1 is --json for every command.";

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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_definition_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_secret_is_an_argument() {
        let help = format!("{:?}", Cli::command());
        assert!(!help.contains("\"passphrase\""));
    }
}
