//! `cargo xtask`: the two commands of the README, the simulator, and what they are made of.
//!
//! This crate knows how the repository is built, started and tested, and nothing of the protocol.
//! It refuses to begin before the preflight has found everything it needs, and it leaves no process
//! behind, however it ends.

mod bench_peer;
mod cli;
mod demo;
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
use progress::say;

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
            say(&format!("\nerror: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
