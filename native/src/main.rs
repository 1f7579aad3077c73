//! The program `tequio`: see `tequio --help`.

use clap::Parser;
use libmimalloc_sys::{mi_option_eager_commit_delay, mi_option_set_default, mi_option_t};
use std::process::ExitCode;
use tequio::{
    cli::{Cli, is_output_whole, print_error},
    config::RENAMED_OPTIONS,
};

/// A node makes millions of small allocations on many threads. Under load, glibc's allocator took a
/// fifth of the CPU time (docs/benchmarks.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Time in milliseconds after which unused freed pages go back to the system; whole areas go back
/// after ten times as long. MIMALLOC_PURGE_DELAY overrides it. A block reuses the memory that the
/// block before it freed; the default of 10 ms would return it too early (docs/benchmarks.md).
const PURGE_DELAY_MS: std::ffi::c_long = 1000;
/// The bindings have no name for this option; it follows the named one.
const PURGE_DELAY: mi_option_t = mi_option_eager_commit_delay + 1;

fn main() -> ExitCode {
    // SAFETY: the option exists, any number of milliseconds is valid, and there are no other
    // threads yet.
    unsafe { mi_option_set_default(PURGE_DELAY, PURGE_DELAY_MS) };
    // Zeroing 2 MiB at a time costs more time than huge pages save here, and they take a tenth more
    // memory (docs/benchmarks.md). A failure only forgoes that gain.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_thp_disable(true);
    // Two providers are compiled in; QUIC and TLS use this one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let renamed = RENAMED_OPTIONS.into_iter().filter_map(|option| option.variable);
    // SAFETY: there are no other threads yet.
    unsafe {
        tequio_host::environment::remove_empty_variables("TEQUIO_");
        tequio_host::environment::copy_renamed_variables(renamed);
    }
    tequio::log::start();
    match Cli::parse().execute() {
        Ok(()) if is_output_whole() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            print_error(&in_a_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes on one line. A cause with which the text so far ends is left out.
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
    fn the_option_number_is_that_of_the_purge_delay() {
        // SAFETY: only reads.
        let default = unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert_eq!(default, 10, "the default, which differs from that of the adjacent options");
    }
}
