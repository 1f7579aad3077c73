//! `cargo xtask`: the two commands of the README, the simulator, and their parts.
//!
//! This crate builds, starts and tests the repository, and contains nothing of the protocol. It
//! starts only after the preflight has found everything that it needs, and it leaves no process
//! behind, however it ends.

mod bench_peer;
mod cli;
mod demo;
mod layers;
mod node_modules;
mod preflight;
mod process;
mod progress;
mod simulate;
mod test;
mod tools;
mod unix;
mod wasm;
mod workspace;

use std::process::ExitCode;

use cli::Command;
use progress::print_line;

fn main() -> ExitCode {
    if let Err(error) = process::install_signal_handler() {
        eprintln!("error: {error:#}");
        return ExitCode::FAILURE;
    }
    let outcome = match cli::parse() {
        Ok(Command::Help) => {
            print!("{}", cli::HELP);
            Ok(())
        }
        Ok(Command::Demo(options)) => demo::run(&options),
        Ok(Command::Test(options)) => test::run(&options),
        Ok(Command::Simulate(arguments)) => simulate::run(&arguments),
        Ok(Command::BenchPeer(options)) => bench_peer::run(&options),
        Ok(Command::Layers(options)) => layers::run(&options),
        Ok(Command::Preflight) => preflight::report_all(),
        Err(error) => {
            eprintln!("error: {error}\n\n{}", cli::HELP);
            return ExitCode::from(2);
        }
    };
    process::end_descendants();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if process::interrupted() => ExitCode::from(process::EXIT_INTERRUPTED),
        Err(error) => {
            print_line(&format!("\nerror: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
