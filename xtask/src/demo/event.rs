//! Events of the demo, their sources, and the errors of what ends or hangs.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::process::{Process, ProcessReport};

/// The sources of reports: the processes of the demo. Each training is a process of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Node(usize),
    Relay,
    Job(u32),
    Tab,
}

/// An event of the demo.
#[derive(Debug)]
pub enum Event {
    Process(Source, ProcessReport),
    /// Enter was pressed.
    Key,
    /// Standard input has ended.
    KeysEnded,
    /// The person ends the demo.
    Interrupted,
}

/// Returns the error for a process that ended while it was needed: how it ended, and the last lines
/// that it printed.
pub fn ended_early(process: &mut Process) -> anyhow::Error {
    /// Enough lines to show an error and its cause.
    const LINES: usize = 12;
    let how = process.wait().map_or_else(|error| format!("{error:#}"), crate::process::describe);
    let log = fs::read_to_string(process.log()).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    let tail = lines[lines.len().saturating_sub(LINES)..].join("\n    ");
    anyhow::anyhow!("{} {how}; it printed last:\n    {tail}", process.name())
}

/// Returns the remaining time. At the deadline it fails with an error that names what is missing.
pub fn left(deadline: Instant, what: &str) -> Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        bail!("{what} took too long");
    }
    Ok(left)
}
