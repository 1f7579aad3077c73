//! Processes beside this one. Each is in a group of its own, its standard output is read as JSON
//! lines, and a log file keeps everything that it prints.
//!
//! None outlives this program. Dropping a handle ends its group; a signal or the end of `main` ends
//! every descendant. On Linux, orphans of our children become ours (`PR_SET_CHILD_SUBREAPER`), and
//! the kernel signals them if this program dies suddenly (`PR_SET_PDEATHSIG`).
//!
//! A command that ends in an orderly way by itself receives the first signal with [`on_interrupt`];
//! the second signal ends everything at once.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{self, ChildStdout, Command, ExitStatus, Stdio},
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde_json::Value;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
    iterator::Signals,
};

use crate::unix::{self, Pid, Signal, signal_group};

/// Time between asking a process to end and killing it.
const GRACE: Duration = Duration::from_secs(5);
/// Interval between checks whether a process has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// The exit code of a program that a signal ended, as shells report Ctrl-C.
pub const EXIT_INTERRUPTED: u8 = 130;

/// The running process groups, for the signal handler.
static GROUPS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());
/// Set by the signal handler first, before this program can see the end of a child.
static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);
/// Callback for the first signal, if a command has set one.
static LISTENER: Mutex<Option<Listener>> = Mutex::new(None);

type Listener = Box<dyn FnOnce() + Send>;

/// Report of a process.
#[derive(Debug)]
pub enum ProcessReport {
    /// The process printed one line of JSON.
    Line(Value),
    /// The process closed its standard output; our programs do so only when they end.
    Ended,
}

/// A running process. Dropping it ends the process and all its descendants.
pub struct Process {
    name: String,
    child: process::Child,
    log: PathBuf,
}

impl Process {
    /// Starts a process. `report` receives each line of JSON that it prints, and then its end.
    /// Other lines are only logged.
    pub fn spawn(
        name: &str,
        command: &mut Command,
        log: &Path,
        report: impl FnMut(ProcessReport) + Send + 'static,
    ) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let errors = file.try_clone().context("cannot share a log file")?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors).process_group(0);
        unix::end_with_parent(command);
        // Registered under the lock, so that a signal between start and registration cannot lose
        // the group.
        let mut groups = groups();
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        groups.push(group_of(&child));
        drop(groups);
        if let Some(output) = child.stdout.take() {
            thread::spawn(move || forward(output, file, report));
        }
        Ok(Self { name: name.to_owned(), child, log: log.to_path_buf() })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn log(&self) -> &Path {
        &self.log
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a process that has closed its output. A process that still runs after the grace
    /// period is killed.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.wait_until(Instant::now() + GRACE)? {
            return Ok(status);
        }
        self.end();
        self.child.wait().with_context(|| format!("cannot wait for {}", self.name))
    }

    fn wait_until(&mut self, deadline: Instant) -> Result<Option<ExitStatus>> {
        loop {
            let status =
                self.child.try_wait().with_context(|| format!("cannot wait for {}", self.name))?;
            if status.is_some() || Instant::now() >= deadline {
                return Ok(status);
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Asks the whole group to end.
    fn send_terminate(&self) {
        signal_group(group_of(&self.child), Signal::Terminate);
    }

    fn end(&mut self) {
        let group = group_of(&self.child);
        self.send_terminate();
        let _ = self.wait_until(Instant::now() + GRACE);
        // The leader may have ended before others of its group.
        signal_group(group, Signal::Kill);
        let _ = self.child.wait();
        groups().retain(|running| *running != group);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Ends several processes at the same time.
pub fn end_all(processes: Vec<Process>) {
    for process in &processes {
        process.send_terminate();
    }
    drop(processes);
}

/// Describes how a process ended.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".into(),
    }
}

/// On Ctrl-C, a hang-up or a request to end: ends every descendant, then this process, unless
/// [`on_interrupt`] was called. A hang-up that was ignored from the start, as under nohup(1), stays
/// ignored.
pub fn install_signal_handler() -> Result<()> {
    unix::adopt_orphans().context("cannot adopt orphans")?;
    let mut handled = vec![SIGINT, SIGTERM];
    if !unix::is_ignored(SIGHUP) {
        handled.push(SIGHUP);
    }
    for signal in &handled {
        flag::register(*signal, INTERRUPTED.clone()).context("cannot handle signals")?;
    }
    let mut signals = Signals::new(handled).context("cannot handle signals")?;
    thread::spawn(move || {
        for _ in signals.forever() {
            let listener = LISTENER.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some(listener) = listener else {
                let text = "\ninterrupted: ending everything that was started";
                let _ = writeln!(io::stderr().lock(), "{text}");
                end_descendants();
                process::exit(EXIT_INTERRUPTED.into());
            };
            listener();
        }
    });
    Ok(())
}

/// Hands the first signal to a command that ends everything in order by itself.
pub fn on_interrupt(listener: impl FnOnce() + Send + 'static) {
    *LISTENER.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(listener));
}

/// Returns whether a signal has requested this program to end. Errors are then expected, because
/// the processes are ending.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Ends all descendants of this program.
pub fn end_descendants() {
    // Held throughout: no process is registered while everything ends, and a second caller waits
    // for the first.
    let mut groups = groups();
    for group in groups.iter() {
        signal_group(*group, Signal::Terminate);
    }
    let deadline = Instant::now() + GRACE;
    while (!descendants().is_empty() || groups.iter().any(|group| unix::group_exists(*group)))
        && Instant::now() < deadline
        && !groups.is_empty()
    {
        thread::sleep(POLL_INTERVAL);
    }
    for group in groups.drain(..) {
        signal_group(group, Signal::Kill);
    }
    for process in descendants() {
        unix::signal(process, Signal::Kill);
    }
}

fn forward(output: ChildStdout, mut log: File, mut report: impl FnMut(ProcessReport)) {
    for line in BufReader::new(output).split(b'\n') {
        let Ok(line) = line else { break };
        let _ = log.write_all(&line).and_then(|()| log.write_all(b"\n"));
        if let Ok(json) = serde_json::from_slice(&line) {
            report(ProcessReport::Line(json));
        }
    }
    report(ProcessReport::Ended);
}

fn groups() -> MutexGuard<'static, Vec<Pid>> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn group_of(child: &process::Child) -> Pid {
    child.id().cast_signed()
}

/// Returns all living descendants, by proc(5).
#[cfg(target_os = "linux")]
fn descendants() -> Vec<Pid> {
    let parents: Vec<(i32, i32)> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let process = entry.file_name().to_str()?.parse().ok()?;
            Some((
                process,
                living_parent(&std::fs::read_to_string(entry.path().join("stat")).ok()?)?,
            ))
        })
        .collect();
    let mut found = vec![process::id().cast_signed()];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(process, _)| *process));
        next += 1;
    }
    found.split_off(1)
}

/// On other systems only the registered groups are known.
#[cfg(not(target_os = "linux"))]
fn descendants() -> Vec<Pid> {
    Vec::new()
}

/// Reads the parent from a line of `/proc/N/stat`, unless the process is a zombie. The name, which
/// may contain spaces and parentheses, stands in the outermost parentheses.
#[cfg(target_os = "linux")]
fn living_parent(stat: &str) -> Option<i32> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    (state != "Z" && state != "X").then_some(parent)
}

#[cfg(test)]
mod tests {
    use std::{env, sync::mpsc};

    use super::*;

    fn shell(script: &str) -> (Process, mpsc::Receiver<ProcessReport>) {
        let (sender, reports) = mpsc::channel();
        let log = env::temp_dir().join(format!(
            "xtask-{}-{:?}.log",
            process::id(),
            thread::current().id()
        ));
        let report = move |what| drop(sender.send(what));
        let process =
            Process::spawn("sh", Command::new("sh").args(["-c", script]), &log, report).unwrap();
        (process, reports)
    }

    #[test]
    fn json_lines_are_reported_and_the_rest_is_logged() {
        let (mut process, reports) = shell("echo plain; echo '{\"a\":1}'; echo wrong >&2; exit 3");
        let ProcessReport::Line(line) = reports.recv().unwrap() else { panic!("no line") };
        assert_eq!(line["a"], 1);
        assert!(matches!(reports.recv().unwrap(), ProcessReport::Ended));
        assert_eq!(describe(process.wait().unwrap()), "ended with code 3");
        let log = std::fs::read_to_string(process.log()).unwrap();
        assert!(log.contains("plain") && log.contains("wrong") && log.contains("\"a\""), "{log}");
        std::fs::remove_file(process.log()).unwrap();
    }

    #[test]
    fn dropping_ends_grandchildren_too() {
        let (process, reports) = shell("sleep 600 & echo $!; wait");
        let ProcessReport::Line(line) = reports.recv().unwrap() else { panic!("no line") };
        let grandchild = Pid::try_from(line.as_i64().unwrap()).unwrap();
        assert!(runs(grandchild));
        let log = process.log().to_path_buf();
        drop(process);
        let deadline = Instant::now() + GRACE;
        while runs(grandchild) && Instant::now() < deadline {
            thread::sleep(POLL_INTERVAL);
        }
        assert!(!runs(grandchild));
        std::fs::remove_file(log).unwrap();
    }

    fn runs(process: Pid) -> bool {
        let mut ps = Command::new("ps");
        let state = ps.args(["-o", "state=", "-p", &process.to_string()]).output().unwrap().stdout;
        // The process that adopted it reaps it; until then it is a zombie.
        !state.is_empty() && !state.starts_with(b"Z")
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn proc_stat_is_parsed_with_unusual_process_names() {
        assert_eq!(living_parent("12 (a) b (c)) S 7 12 12 0"), Some(7));
        assert_eq!(living_parent("12 (sh) Z 7 12 12 0"), None);
        assert_eq!(living_parent("nonsense"), None);
    }
}
