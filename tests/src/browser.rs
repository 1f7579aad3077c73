//! A real Chromium, driven by the scripts in `tests/browser`.

use crate::{
    network::{Network, root},
    process::Process,
};
use anyhow::{Context, Result};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Returns the path of the machine's browser: that of Debian and other systems, unless
/// `TEQUIO_CHROMIUM` names another.
pub fn chromium() -> Result<PathBuf> {
    let named = std::env::var_os("TEQUIO_CHROMIUM").map(PathBuf::from);
    let usual = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]
        .map(PathBuf::from);
    let found = named.into_iter().chain(usual).find(|path| path.is_file());
    found.context("no Chromium: `cargo xtask test` installs it")
}

/// Starts a script against a network.
pub fn script(network: &Network, name: &str, arguments: &[&str]) -> Result<Process> {
    script_in(network.folder(), name, arguments)
}

/// Starts a script that logs into a folder.
pub fn script_in(folder: &Path, name: &str, arguments: &[&str]) -> Result<Process> {
    let mut command = Command::new("node");
    command.current_dir(root().join("tests/browser")).arg(format!("{name}.mjs"));
    command.arg("--chromium").arg(chromium()?).args(arguments);
    Process::spawn(name, &mut command, &folder.join(format!("{name}.log")))
}
