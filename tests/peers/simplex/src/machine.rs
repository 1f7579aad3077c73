//! Resource use of the process, and statistics of samples: the same as in `tequio bench consensus`.

use std::fs;

use anyhow::Context as _;

/// Linux counts CPU time in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU time of this process, all threads.
pub fn cpu_seconds() -> anyhow::Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat").context("CPU time is known on Linux only")?;
    // The name in parentheses may hold spaces; user and system time are fields 14 and 15.
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks: u64 = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Ok(ticks as f64 / TICKS_PER_SECOND)
}

/// Bytes that the loopback interface has carried, each once.
pub fn loopback_bytes() -> anyhow::Result<u64> {
    let table =
        fs::read_to_string("/proc/self/net/dev").context("traffic is known on Linux only")?;
    let line = table
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("lo:"))
        .context("there is no loopback")?;
    let first = line.split_whitespace().next().context(
        "the table of interfaces is not understood",
    )?;
    Ok(first.parse()?)
}

/// The sample below which this share of them lies.
pub fn percentile(sorted: &[f64], percent: usize) -> f64 {
    round(sorted.get(sorted.len() * percent / 100).copied().unwrap_or_default())
}

/// Three decimals.
pub fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
