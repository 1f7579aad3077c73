//! The program `tequio`: see `tequio --help`.

use clap::Parser;
use libmimalloc_sys::{mi_option_eager_commit_delay, mi_option_set_default, mi_option_t};
use std::process::ExitCode;
use tequio::cli::{Cli, is_output_whole};

/// A node allocates and frees small things by the million, on many threads: with glibc's allocator
/// that was a fifth of its CPU time under load (docs/benchmarks.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Freed pages go back to the system only if nobody has wanted them for so long, milliseconds, and
/// whole areas after ten times as long, unless MIMALLOC_PURGE_DELAY says otherwise. A block needs
/// what the one before has freed; by default it would be gone after 10 ms (docs/benchmarks.md).
const PURGE_DELAY_MS: std::ffi::c_long = 1000;
/// The bindings do not name it; it follows this one.
const PURGE_DELAY: mi_option_t = mi_option_eager_commit_delay + 1;

fn main() -> ExitCode {
    // SAFETY: the option exists, any number of milliseconds is valid, and there are no other
    // threads yet.
    unsafe { mi_option_set_default(PURGE_DELAY, PURGE_DELAY_MS) };
    // Zeroing 2 MiB at a time takes longer than such pages save here, and they take a tenth more
    // memory (docs/benchmarks.md). Where it fails, that is all that is lost.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_thp_disable(true);
    // Two providers are compiled in; QUIC and TLS take this one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // SAFETY: there are no other threads yet.
    unsafe { tequio_host::environment::remove_empty_variables("TEQUIO_") };
    tequio::log::start();
    match Cli::parse().execute() {
        Ok(()) if is_output_whole() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {}", in_a_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes on one line, without causes that the text before them already ends with.
fn in_a_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if line.ends_with(&cause) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&cause);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_printed_once() {
        let io = || std::io::Error::other("no space");
        let error = anyhow::Error::new(std::io::Error::other(io())).context("cannot write x");
        assert_eq!(in_a_line(&error), "cannot write x: no space");
        assert_eq!(in_a_line(&anyhow::Error::new(io()).context("x: no space")), "x: no space");
        assert_eq!(
            in_a_line(&anyhow::Error::new(io()).context("cannot write x")),
            "cannot write x: no space"
        );
    }

    #[test]
    fn the_option_is_the_one_for_the_delay_of_purges() {
        // SAFETY: only reads.
        let default = unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert_eq!(default, 10, "its default, which no option beside it has");
    }
}
