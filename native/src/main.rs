//! The program `tequio`: see `tequio --help`.

use clap::Parser;
use std::process::ExitCode;
use tequio::cli::Cli;
use tracing_subscriber::EnvFilter;

/// A node allocates and frees small things by the million, on many threads: with glibc's allocator that was a fifth of its
/// CPU time under load (docs/benchmarks.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Two providers are compiled in; QUIC and TLS take this one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    match Cli::parse().execute() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
