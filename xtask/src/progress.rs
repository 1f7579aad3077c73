//! Progress on the terminal: numbered steps with the duration of each. All of it goes to standard
//! error, so that standard output stays free for `--json`.

use std::{
    fmt,
    io::{self, Write},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::process::interrupted;

/// Prints a line for people. A closed output is not an error.
pub fn print_line(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// A counter of steps that prints each as it begins and ends.
pub struct Steps {
    total: usize,
    current: usize,
    began: Instant,
}

impl Steps {
    pub fn new(total: usize) -> Self {
        Self { total, current: 0, began: Instant::now() }
    }

    /// Returns the time since the steps were created.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Runs one step, and prints its name, the overall progress, and its duration.
    pub fn run<T>(&mut self, title: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
        self.current += 1;
        let position = format!("[{:>2}/{}]", self.current, self.total);
        print_line(&format!("{position} {title} (at {})", Clock(self.began.elapsed())));
        let began = Instant::now();
        let outcome =
            step().with_context(|| format!("step {} of {}, {title}", self.current, self.total));
        let verdict = match &outcome {
            Ok(_) => "done",
            // The step failed because the program was interrupted.
            Err(_) if interrupted() => return outcome,
            Err(_) => "FAILED",
        };
        print_line(&format!("{position} {verdict} in {}", Clock(began.elapsed())));
        outcome
    }

    /// Counts a step that is skipped, and prints the reason.
    pub fn skip(&mut self, title: &str, reason: &str) {
        self.current += 1;
        print_line(&format!("[{:>2}/{}] {title}: left out, {reason}", self.current, self.total));
    }
}

/// Formats a duration as minutes and seconds.
pub struct Clock(pub Duration);

impl fmt::Display for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        if seconds < 10 {
            write!(formatter, "{:.1} s", self.0.as_secs_f64())
        } else {
            write!(formatter, "{}:{:02}", seconds / 60, seconds % 60)
        }
    }
}

/// Runs a command to its end, with all its output on standard error. A non-zero exit is an error
/// that names the command.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .status()
        .with_context(|| format!("cannot start {}", Line(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", Line(command));
    }
    Ok(())
}

/// Runs a command to its end and returns its standard output. Its standard error stays visible.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", Line(command)))?;
    if !output.status.success() {
        bail!("{} ended with {}", Line(command), output.status);
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("{} did not print UTF-8", Line(command)))
}

/// Formats a command as a person would type it.
struct Line<'a>(&'a Command);

impl fmt::Display for Line<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}", self.0.get_program().to_string_lossy())?;
        for argument in self.0.get_args() {
            write!(formatter, " {}", argument.to_string_lossy())?;
        }
        write!(formatter, "`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_minutes_and_seconds() {
        assert_eq!(Clock(Duration::from_millis(1_240)).to_string(), "1.2 s");
        assert_eq!(Clock(Duration::from_secs(61)).to_string(), "1:01");
        assert_eq!(Clock(Duration::from_secs(3_600)).to_string(), "60:00");
    }

    #[test]
    fn a_failed_command_is_named() {
        let error = run(Command::new("false").arg("--loudly")).unwrap_err().to_string();
        assert!(error.contains("`false --loudly`"), "{error}");
        assert!(run(&mut Command::new("/no/such/program")).is_err());
        assert_eq!(output(Command::new("echo").arg("hello")).unwrap(), "hello\n");
    }
}
