//! A child process that prints JSON lines. Dropping it ends the process and waits for its end.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

/// A running program of the workspace, or a script.
pub struct Process {
    name: String,
    child: Child,
    lines: Receiver<Value>,
    log: PathBuf,
}

impl Process {
    /// Starts the process; its standard error goes to `log`.
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let errors =
            File::options().create(true).append(true).open(log).context("cannot write the log")?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors).spawn();
        let mut child = child.with_context(|| format!("cannot start {name}"))?;
        let output = child.stdout.take().context("its output is piped")?;
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // Lines that are not JSON are for people.
                if let Ok(value) = serde_json::from_str(&line)
                    && sender.send(value).is_err()
                {
                    return;
                }
            }
        });
        Ok(Self { name: name.into(), child, lines, log: log.into() })
    }

    /// Returns the next line that `wanted` accepts.
    pub fn wait_for(
        &mut self,
        what: &str,
        timeout: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if wanted(&line) => return Ok(line),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    bail!("{}: no {what} within {timeout:?}\n{}", self.name, self.tail())
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("{} ended before {what}\n{}", self.name, self.tail())
                }
            }
        }
    }

    /// Returns the next line with this `event`.
    pub fn event(&mut self, event: &str, timeout: Duration) -> Result<Value> {
        self.wait_for(event, timeout, |line| line["event"] == event)
    }

    /// Kills the process with SIGKILL: no orderly shutdown, no flush.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits until the process ends by itself.
    pub fn finish(&mut self, timeout: Duration) -> Result<ExitStatus> {
        // Its output closes when it ends; unread lines are skipped.
        let deadline = Instant::now() + timeout;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    bail!("{} has not ended within {timeout:?}\n{}", self.name, self.tail())
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(self.child.wait()?),
            }
        }
    }

    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns a figure of the kernel on the process's memory, in bytes: `VmRSS` is resident now,
    /// `VmHWM` is the maximum.
    pub fn memory(&self, field: &str) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let kib: u64 = line
            .and_then(|line| line.split_whitespace().next())
            .context("no such field")?
            .parse()?;
        Ok(kib << 10)
    }

    /// Returns the last lines of the process's log, for failure messages.
    pub fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
