//! Peers that lie, for tests and for everybody who wants to see what the network does with them.
//!
//! `relay` serves light nodes over WebSocket like an honest relay does, but changes what it passes
//! on; `worker` takes lanes like an honest worker, but hands in wrong results. Both speak only what
//! `docs/format.md` says: the honest peers have no switch that knows of them.

mod relay;
mod worker;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tequio_p2p::Multiaddr;

#[derive(Parser)]
#[command(name = "tequio-adversary", version, about = "Peers that lie, to test those that do not")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Passes light nodes' questions to an honest node and changes its answers.
    Relay {
        /// What to lie about.
        #[arg(long, value_enum)]
        lie: relay::Lie,
        /// The honest node's address, ending in /p2p/ID.
        #[arg(long)]
        node: Multiaddr,
        /// Where to listen.
        #[arg(long, default_value = "/ip4/127.0.0.1/tcp/0/ws")]
        listen: Multiaddr,
    },
    /// Takes lanes of a job and hands in wrong results.
    Worker {
        /// What to do wrong.
        #[arg(long, value_enum)]
        lie: worker::Lie,
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
        Command::Relay { lie, node, listen } => relay::run(lie, node, listen).await,
        Command::Worker { lie, node, job } => worker::run(lie, node, job).await,
    }
}

/// A fresh identity: nobody keeps an adversary's.
fn secret() -> Result<[u8; 32]> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|e| anyhow::anyhow!("no randomness: {e}"))?;
    Ok(secret)
}

/// One line of JSON for the program that started this one.
fn say(event: &serde_json::Value) {
    println!("{event}");
}
