//! `cargo xtask simulate`: builds the simulator with the feature that only it may have, and runs
//! it.

use std::{ffi::OsString, process::Command};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

/// The package of the simulator.
pub const PACKAGE: &str = "tequio-simulation";
/// The feature changes core and must not reach any other program, so it is enabled for this package
/// alone.
pub const FEATURE: &str = "simulator";

/// Runs the simulator with these arguments. Its standard output is that of this command.
pub fn run(arguments: &[OsString]) -> Result<()> {
    let status = command(&Workspace::locate()?, arguments.iter().cloned())
        .status()
        .context("cannot start cargo")?;
    if !status.success() {
        bail!("the simulator ended with {status}");
    }
    Ok(())
}

/// Returns the command that runs the simulator.
pub fn command(workspace: &Workspace, arguments: impl IntoIterator<Item = OsString>) -> Command {
    let mut cargo = workspace.cargo();
    cargo
        .args(["run", "--quiet", "--locked", "--package", PACKAGE, "--features", FEATURE, "--"])
        .args(arguments);
    cargo
}
