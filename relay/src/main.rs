//! `tequio-relay`: see `--help`. Logs go to standard error, `RUST_LOG` chooses them.

use anyhow::Context as _;
use clap::Parser;
use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
};
use tequio_relay::{Relay, cli::Args};
use tokio::signal;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    // Two providers are compiled in (see the network's documentation): choose before anyone asks.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let args = Args::parse();
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,libp2p=warn,str0m=error,is=error,stun_types=off"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match tokio::runtime::Runtime::new().context("cannot start").and_then(|runtime| runtime.block_on(run(args))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tequio-relay: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    let json = args.json;
    let relay = Relay::start(args.into_config().context("cannot read the passphrase")?).await?;
    announce(&relay, json)?;
    interrupted().await?;
    tracing::info!("stopping; once more to stop at once");
    tokio::select! {
        () = relay.stop() => {}
        again = interrupted() => again?,
    }
    Ok(())
}

/// Says on standard output where the relay can be reached.
fn announce(relay: &Relay, json: bool) -> anyhow::Result<()> {
    let listen: Vec<String> = relay.addresses().all().iter().map(ToString::to_string).collect();
    let mut out = std::io::stdout().lock();
    if json {
        let ready = serde_json::json!({
            "event": "ready",
            "node": relay.id().to_string(),
            "peer": tequio_p2p::identity::peer_id(relay.id()).map(|p| p.to_string()),
            "listen": listen,
            "http": relay.http().url(),
            "turn": relay.turn(),
        });
        writeln!(out, "{ready}")?;
    } else {
        writeln!(out, "Relay {} is ready.", relay.id())?;
        listen.iter().try_for_each(|addr| writeln!(out, "  {addr}"))?;
        writeln!(out, "Web server: {}", relay.http().url())?;
        relay.turn().iter().try_for_each(|turn| writeln!(out, "STUN and TURN: {turn}"))?;
    }
    out.flush().context("cannot write to standard output")
}

/// Waits for Ctrl-C or a request to terminate.
async fn interrupted() -> anyhow::Result<()> {
    let mut terminate = signal::unix::signal(signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupt = signal::ctrl_c() => interrupt?,
        _ = terminate.recv() => {}
    }
    Ok(())
}
