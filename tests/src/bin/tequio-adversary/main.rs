//! Byzantine peers, for tests and for anyone who wants to see how the network handles them.
//!
//! `relay` serves light nodes over WebSocket like an honest relay, but changes the answers.
//! `worker` takes leases like an honest worker, but submits wrong results. Both use only the
//! protocols of `docs/format.md`: the honest peers have no switch for them.

mod relay;
mod worker;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tequio_p2p::Multiaddr;

#[derive(Parser)]
#[command(name = "tequio-adversary", version, about = "Byzantine peers, to test correct ones")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Forwards light nodes' requests to an honest node and changes its answers.
    Relay {
        /// The fault.
        #[arg(long, value_enum)]
        fault: relay::ByzantineFault,
        /// The honest node's address, ending in /p2p/ID.
        #[arg(long)]
        node: Multiaddr,
        /// The addresses to listen on.
        #[arg(long, default_value = "/ip4/127.0.0.1/tcp/0/ws")]
        listen: Multiaddr,
    },
    /// Takes leases of a job and submits wrong results.
    Worker {
        /// The fault.
        #[arg(long, value_enum)]
        fault: worker::ByzantineFault,
        /// The job's coordinator, ending in /p2p/ID.
        #[arg(long)]
        node: Multiaddr,
        /// The job; without it, every running job of the coordinator.
        #[arg(long)]
        job: Option<tequio_core::types::Digest>,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Relay { fault, node, listen } => relay::run(fault, node, listen).await,
        Command::Worker { fault, node, job } => worker::run(fault, node, job).await,
    }
}

/// Makes a new identity at each start.
fn secret() -> Result<[u8; 32]> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|e| anyhow::anyhow!("no randomness: {e}"))?;
    Ok(secret)
}

/// Prints one line of JSON for the program that started this one.
fn print_event(event: &serde_json::Value) {
    println!("{event}");
}
