//! `cargo xtask demo`: from a clean clone to a model that a browser has verified.
//!
//! Everything in it is real: one relay and four validators, each a process with its own keys, store
//! and sockets on loopback, started from a genesis of `tequio init`; jobs that `tequio job train`
//! submits; and with `--headless` a Chromium that acts on the page as a person would. This module
//! only starts, watches and ends them.
//!
//! Without `--headless` the demo runs until it is interrupted, whatever standard input and output
//! are.

mod event;
mod input;
mod interactive;
mod job;
mod network;
mod outcome;
mod session;
mod tab;

use std::{
    fs,
    io::{self, IsTerminal},
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
    process as children,
    progress::{Steps, print_line, run as run_command},
    wasm,
    workspace::Workspace,
};
use network::Network;

/// The usual port of the page, if it is free.
const PORT: u16 = 8080;
/// Time for the relay and the validators to report that they are ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// The job takes a minute or two on two cores. If it takes longer than this, something hangs.
const JOB_WITHIN: Duration = Duration::from_secs(15 * 60);

/// Builds, starts, trains, and reports.
pub fn run(options: &DemoOptions) -> Result<()> {
    let workspace = Workspace::locate()?;
    let building = if options.built { 0 } else { 4 };
    let mut steps = Steps::new(building + if options.headless { 3 } else { 1 });
    let environment = if options.built {
        preflight::inspect(&workspace)
    } else {
        let environment =
            steps.run("what this machine lacks", || preflight::run(&workspace, &needs(options)))?;
        build(&workspace, &mut steps)?;
        environment
    };
    let folder = Folder::create(options.keep.as_deref())?;
    let ended = train(options, &workspace, &environment, &folder, &mut steps);
    if ended.is_ok() || children::interrupted() {
        folder.remove_unless_kept();
    } else {
        folder.name_logs();
    }
    ended
}

fn needs(options: &DemoOptions) -> Vec<Need> {
    let mut needs = vec![
        Need::Rust,
        Need::Target(WASM_TARGET),
        Need::Node,
        Need::Npm,
        Need::CCompiler,
        Need::Disk,
    ];
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
    // With the whole workspace, dependencies get the features with which the tests use them.
    let programs = ["--bin", "tequio", "--bin", "tequio-relay"];
    steps.run("the node and the relay", || {
        let mut cargo = workspace.cargo();
        run_command(cargo.args(["build", "--locked", "--workspace"]).args(programs))
    })
}

/// Runs the network, the tab and the trainings.
fn train(
    options: &DemoOptions,
    workspace: &Workspace,
    environment: &Environment,
    folder: &Folder,
    steps: &mut Steps,
) -> Result<()> {
    let began = Instant::now();
    let mut network = steps.run("a relay and four validators", || {
        Network::start(workspace, folder.path(), port(options), Instant::now() + READY_WITHIN)
    })?;
    if options.headless {
        let chromium = environment.chromium.as_deref().context("there is no Chromium")?;
        node_modules::install(&workspace.path("tests/browser"))?;
        steps.run("a Chromium tab joins", || {
            tab::join(workspace, chromium, &mut network, Instant::now() + READY_WITHIN)
        })?;
        let mut outcome = steps.run("the digits job, from data to a committed model", || {
            job::train_with_tab(options, workspace, &mut network, Instant::now() + JOB_WITHIN)
        })?;
        outcome.seconds = began.elapsed().as_secs_f64();
        print_line(&outcome.summary());
        if options.json {
            outcome.print_json();
        }
    } else {
        interactive::print_introduction(&network);
        show(&network.page_url);
        network.read_keys();
        interactive::run(options.rounds, workspace, &mut network, |outcome| {
            if options.json {
                outcome.print_json();
            }
        })?;
        print_line("\nending the network");
    }
    network.end();
    Ok(())
}

/// Returns the requested port, else the usual one if it is free, else any.
fn port(options: &DemoOptions) -> u16 {
    let usual_is_free = || TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).is_ok();
    match options.port {
        Some(port) => port,
        None if !options.headless && usual_is_free() => PORT,
        None => 0,
    }
}

/// Opens the page if there is a desktop. The address has been printed anyway.
fn show(url: &str) {
    let desktop =
        ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    let opener = match () {
        () if !io::stderr().is_terminal() => return,
        () if cfg!(target_os = "macos") => "open",
        () if desktop => "xdg-open",
        () => return,
    };
    let _ = Command::new(opener)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
}

/// The folder with the keys, stores and logs of this demo.
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
        fs::create_dir_all(path.join("logs"))
            .with_context(|| format!("cannot create {}", path.display()))?;
        let entries =
            fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))?.count();
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
            print_line(&format!("kept: {}", self.path.display()));
        } else if let Err(error) = fs::remove_dir_all(&self.path) {
            print_line(&format!("cannot remove {}: {error}", self.path.display()));
        }
    }

    fn name_logs(&self) {
        print_line("\nwhat each process printed:");
        let logs = fs::read_dir(self.path.join("logs")).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = logs.map(|entry| entry.path()).collect();
        paths.sort();
        paths.iter().for_each(|path| print_line(&format!("  {}", path.display())));
    }
}

#[cfg(test)]
mod tests;
