//! `cargo xtask demo`: from a clean clone to a model that a browser has verified.
//!
//! Everything in it is real: one relay and four validators, each a process with its own keys, store and sockets on
//! loopback, started from a genesis that `tequio init` made; a job that `tequio job train` submits; and with
//! `--headless` a Chromium that does what a person would do on the page. This module only starts, watches and ends them.

mod job;
mod network;
mod outcome;
mod tab;

use std::{
    fs,
    io::{self, BufRead, IsTerminal},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    cli::DemoOptions,
    node_modules::{self, npm},
    preflight::{self, Environment, Need, WASM_TARGET},
    process::Process,
    progress::{Clock, Steps, run as run_command},
    wasm,
    workspace::Workspace,
};
use network::Network;
use outcome::Outcome;

/// The page's port where nobody else has it.
const PORT: u16 = 8080;
/// The relay and the validators must say that they are ready within this.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// The job takes a minute or two on two cores; past this something hangs.
const JOB_WITHIN: Duration = Duration::from_secs(15 * 60);

/// The processes of the demo, as the sources of reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Node(usize),
    Relay,
    Job,
    Tab,
}

/// Builds, starts, trains, and reports.
pub fn run(options: &DemoOptions) -> Result<()> {
    let workspace = Workspace::locate()?;
    let mut steps = Steps::new(if options.headless { 7 } else { 6 });
    let environment = steps.run("what this machine lacks", || preflight::run(&workspace, &needs(options)))?;
    build(&workspace, &mut steps)?;
    let folder = Folder::create(options.keep.as_deref())?;
    let began = Instant::now();
    match train(options, &workspace, &environment, &folder, &mut steps) {
        Ok(mut outcome) => {
            outcome.seconds = began.elapsed().as_secs_f64();
            outcome.print(options.json);
            folder.remove_unless_kept();
            Ok(())
        }
        Err(error) => {
            folder.name_logs();
            Err(error)
        }
    }
}

fn needs(options: &DemoOptions) -> Vec<Need> {
    let mut needs = vec![Need::Rust, Need::Target(WASM_TARGET), Need::Node, Need::Npm, Need::CCompiler, Need::Disk];
    if options.headless {
        needs.push(Need::Chromium);
    }
    needs
}

fn build(workspace: &Workspace, steps: &mut Steps) -> Result<()> {
    let web = workspace.path("web");
    steps.run("the browser's module", || {
        node_modules::install(&web)?;
        wasm::build(workspace)
    })?;
    steps.run("the npm package and the page", || run_command(npm(&web).args(["run", "build"])))?;
    // All programs at once, so that the demo and the tests share every compiled dependency.
    steps.run("the node and the relay", || {
        run_command(workspace.cargo().args(["build", "--locked", "--workspace", "--bins"]))
    })
}

/// The running part: network, tab, job, and what they came to.
fn train(
    options: &DemoOptions,
    workspace: &Workspace,
    environment: &Environment,
    folder: &Folder,
    steps: &mut Steps,
) -> Result<Outcome> {
    let mut network = steps.run("a relay and four validators", || {
        Network::start(workspace, folder.path(), port(options), Instant::now() + READY_WITHIN)
    })?;
    eprintln!("\n  the page: {}\n", network.page_url);
    let tab = match (&environment.chromium, options.headless) {
        (Some(chromium), true) => {
            node_modules::install(&workspace.path("tests/browser"))?;
            let open = || tab::join(workspace, chromium, &mut network, Instant::now() + READY_WITHIN);
            Some(steps.run("a Chromium tab joins", open)?)
        }
        (None, true) => bail!("there is no Chromium"),
        (_, false) => {
            show(&network.page_url);
            None
        }
    };
    let mut train = || job::train(options, workspace, &mut network, tab.as_ref(), Instant::now() + JOB_WITHIN);
    let mut outcome = steps.run("the digits job, from data to a committed model", &mut train)?;
    // A person at a terminal keeps the network until they have seen enough.
    while !options.headless && io::stdin().is_terminal() && io::stderr().is_terminal() {
        eprintln!("\n{}\nthe page stays at {}", outcome.summary(), network.page_url);
        eprintln!("Enter trains once more, Ctrl-C ends everything");
        if io::stdin().lock().read_line(&mut String::new())? == 0 {
            break;
        }
        outcome = job::train(options, workspace, &mut network, None, Instant::now() + JOB_WITHIN)?;
    }
    drop(tab);
    network.end();
    Ok(outcome)
}

/// The port that was asked for, else the usual one if nobody listens there, else any.
fn port(options: &DemoOptions) -> u16 {
    let usual_is_free = || TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).is_ok();
    match options.port {
        Some(port) => port,
        None if !options.headless && usual_is_free() => PORT,
        None => 0,
    }
}

/// Opens the page where there is a desktop to open it on; the address has been printed anyway.
fn show(url: &str) {
    let desktop = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    let opener = match () {
        () if !io::stderr().is_terminal() => return,
        () if cfg!(target_os = "macos") => "open",
        () if desktop => "xdg-open",
        () => return,
    };
    let _ = Command::new(opener).arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
}

/// Where keys, stores and logs of this demo lie.
struct Folder {
    path: PathBuf,
    kept: bool,
}

impl Folder {
    fn create(keep: Option<&Path>) -> Result<Self> {
        let path = match keep {
            Some(path) => std::path::absolute(path).context("cannot name the folder to keep")?,
            None => std::env::temp_dir().join(format!("tequio-demo-{}", process::id())),
        };
        fs::create_dir_all(path.join("logs")).with_context(|| format!("cannot create {}", path.display()))?;
        let entries = fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))?.count();
        if entries > 1 {
            bail!("{} is not empty", path.display());
        }
        Ok(Self { path, kept: keep.is_some() })
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn remove_unless_kept(&self) {
        if self.kept {
            eprintln!("kept: {}", self.path.display());
        } else if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("cannot remove {}: {error}", self.path.display());
        }
    }

    fn name_logs(&self) {
        eprintln!("\nwhat each process printed:");
        let logs = fs::read_dir(self.path.join("logs")).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = logs.map(|entry| entry.path()).collect();
        paths.sort();
        paths.iter().for_each(|path| eprintln!("  {}", path.display()));
    }
}

/// The error for a process that ended while it was needed: how it ended and the last lines that it printed.
fn ended_early(process: &mut Process) -> anyhow::Error {
    /// Enough to see an error and what led to it.
    const LINES: usize = 12;
    let how = process.wait().map_or_else(|error| format!("{error:#}"), crate::process::describe);
    let log = fs::read_to_string(process.log()).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    let tail = lines[lines.len().saturating_sub(LINES)..].join("\n    ");
    anyhow::anyhow!("{} {how}; it printed last:\n    {tail}", process.name())
}

/// How long is left, for errors that say what was waited for.
fn left(deadline: Instant, what: &str) -> Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        bail!("{what} took too long");
    }
    Ok(left)
}

/// One line of progress with the time since the job began.
fn tell(began: Instant, text: &str) {
    eprintln!("  {:>6}  {text}", Clock(began.elapsed()).to_string());
}

#[cfg(test)]
mod tests;
