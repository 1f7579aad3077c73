//! `tequio-relay`: see `--help`. Logs go to standard error. The filter comes from `RUST_LOG`, or
//! from a file that can change while the relay runs. SIGHUP reads that file and the TLS certificate
//! again, and never ends the relay.

use anyhow::Context as _;
use clap::Parser;
use std::{
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};
use tequio_relay::{Relay, cli::Args};
use tokio::{
    io::AsyncWriteExt,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};
use tracing_subscriber::{
    EnvFilter, Registry, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

/// The default log filter.
const LOG_DEFAULT: &str = "info,libp2p=warn,str0m=error,is=error,stun_types=off";

/// Least time between two lines of JSON: many browsers that connect together make one line.
const REPORT_INTERVAL: Duration = Duration::from_millis(250);

/// Handle for the filter of the running log.
type LogFilter = reload::Handle<EnvFilter, Registry>;

fn main() -> ExitCode {
    // Two providers are compiled in (see the network's documentation), so one is chosen before the
    // first use.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // SAFETY: there are no other threads yet.
    unsafe { tequio_host::environment::remove_empty_variables("TEQUIO_") };
    let args = Args::parse();
    let ended = start_log(args.log_filter_file.as_deref()).and_then(|filter| {
        tokio::runtime::Runtime::new().context("cannot start")?.block_on(run(args, filter))
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tequio-relay: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start_log(file: Option<&Path>) -> anyhow::Result<LogFilter> {
    let (filter, handle) = reload::Layer::new(log_filter(file)?);
    let log = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    tracing_subscriber::registry().with(filter).with(log).init();
    Ok(handle)
}

/// The filter from the file, if there is one, or else from `RUST_LOG`.
fn log_filter(file: Option<&Path>) -> anyhow::Result<EnvFilter> {
    let Some(path) = file else {
        return Ok(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG_DEFAULT))
        );
    };
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let line = text.lines().next().unwrap_or_default().trim();
    EnvFilter::try_new(if line.is_empty() { LOG_DEFAULT } else { line }).with_context(|| {
        format!("the first line of {} is not a log filter; write for example info", path.display())
    })
}

async fn run(args: Args, filter: LogFilter) -> anyhow::Result<()> {
    // This comes before everything slow, so that SIGHUP does not end a starting relay.
    let hangups = signal(SignalKind::hangup())?;
    let json = args.json;
    let log_filter_file = args.log_filter_file.clone();
    let relay = Relay::start(args.into_config().context("cannot read the passphrase")?).await?;
    print_ready(&relay, json)?;
    if json {
        tokio::spawn(report_browsers(relay.browsers()));
    }
    tokio::select! {
        interrupt = shutdown_signal() => interrupt?,
        () = reload_on_hangup(hangups, &relay, log_filter_file, filter) => {}
    }
    tracing::info!("stopping; send the signal again to stop at once");
    tokio::select! {
        () = relay.stop() => {}
        again = shutdown_signal() => again?,
    }
    Ok(())
}

/// Reads the log filter and the certificate again at each SIGHUP.
async fn reload_on_hangup(
    mut hangups: Signal,
    relay: &Relay,
    file: Option<PathBuf>,
    filter: LogFilter,
) {
    while hangups.recv().await.is_some() {
        tracing::info!("SIGHUP: reading the log filter and the TLS certificate again");
        match log_filter(file.as_deref()).and_then(|new| filter.reload(new).map_err(Into::into)) {
            Ok(()) => tracing::info!("the log filter is in use"),
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "the log filter stays as it is")
            }
        }
        relay.reload_certificate().await;
    }
    // The stream of signals does not end while the runtime runs.
    std::future::pending().await
}

/// Prints the number of connected browsers whenever it changes, until the reader closes the output.
async fn report_browsers(mut browsers: watch::Receiver<usize>) {
    let mut out = tokio::io::stdout();
    while browsers.changed().await.is_ok() {
        let line =
            serde_json::json!({"event": "browsers", "browsers": *browsers.borrow_and_update()});
        if out.write_all(format!("{line}\n").as_bytes()).await.is_err()
            || out.flush().await.is_err()
        {
            return;
        }
        tokio::time::sleep(REPORT_INTERVAL).await;
    }
}

/// Prints the relay's addresses on standard output.
fn print_ready(relay: &Relay, json: bool) -> anyhow::Result<()> {
    let listen: Vec<String> = relay.addresses().all().iter().map(ToString::to_string).collect();
    let mut out = std::io::stdout().lock();
    if json {
        let ready = serde_json::json!({
            "event": "ready",
            "node": relay.id().to_string(),
            "peer": tequio_p2p::identity::peer_id(relay.id()).map(|p| p.to_string()),
            "listen": listen,
            "http": relay.http().url(),
            "page_link": relay.page_link(),
            "turn": relay.turn(),
        });
        writeln!(out, "{ready}")?;
    } else {
        writeln!(out, "Relay {} is ready.", relay.id())?;
        listen.iter().try_for_each(|addr| writeln!(out, "  {addr}"))?;
        writeln!(out, "Web server: {}", relay.http().url())?;
        relay.page_link().iter().try_for_each(|link| writeln!(out, "Page: {link}"))?;
        relay.turn().iter().try_for_each(|turn| writeln!(out, "STUN and TURN: {turn}"))?;
    }
    out.flush().context("cannot write to standard output")
}

/// Waits for Ctrl-C or SIGTERM.
async fn shutdown_signal() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt?,
        _ = terminate.recv() => {}
    }
    Ok(())
}
