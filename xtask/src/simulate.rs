//! `cargo xtask simulate`: builds the simulator with the feature that only it may have, and runs
//! it.

use std::{ffi::OsString, process::Command};

use anyhow::{Context, Result, bail};

use crate::{progress, workspace::Workspace};

/// The program.
const PROGRAM: &str = "tequio-simulate";
/// Its tests: no other package of the workspace has tests of these names.
const TESTS: [&str; 3] = ["behaviour", "checked", "members"];

/// The options with which Cargo builds the simulator. Its feature changes core, so no other program
/// is built with it. The other crates get the features that they have in a build of the whole
/// workspace, so they are not compiled again.
pub const BUILD: [&str; 4] =
    ["--locked", "--workspace", "--features", "tequio-simulation/simulator"];

/// The options that select the simulator's tests.
pub fn tests() -> Vec<&'static str> {
    TESTS.into_iter().flat_map(|test| ["--test", test]).collect()
}

/// The options that select its program.
pub fn program() -> [&'static str; 2] {
    ["--bin", PROGRAM]
}

/// Runs the simulator with these arguments. Its standard output is that of this command.
pub fn run(arguments: &[OsString]) -> Result<()> {
    let status = command(&Workspace::locate()?, arguments.iter().cloned())?
        .status()
        .context("cannot start the simulator")?;
    if !status.success() {
        bail!("the simulator ended with {status}");
    }
    Ok(())
}

/// Builds the simulator, and returns the command that runs it.
pub fn command(
    workspace: &Workspace,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Command> {
    progress::run(workspace.cargo().args(["build", "--quiet"]).args(BUILD).args(program()))?;
    let mut simulator = Command::new(workspace.target().join("debug").join(PROGRAM));
    simulator.current_dir(workspace.root()).args(arguments);
    Ok(simulator)
}
