//! The preflight: finds everything that this machine lacks within ten seconds and reports it at
//! once, before anything compiles.
//!
//! `probe` examines the machine, `assess` (pure) derives what is missing, and `installer` installs
//! what it can: Rust targets through rustup, and packages as root on Debian. For the rest, the
//! report names the command. It never acquires root rights.

mod assess;
mod installer;
mod probe;

use std::time::Instant;

use anyhow::{Result, bail};

pub use assess::{BARE_TARGET, Environment, Need, WASM_TARGET};
use assess::{Missing, Remedy, assess};

use crate::{
    progress::{Clock, print_line},
    workspace::Workspace,
};

/// Finds what is missing, installs what can be installed, and fails with the list of what is left.
pub fn run(workspace: &Workspace, needs: &[Need]) -> Result<Environment> {
    let began = Instant::now();
    let environment = probe::environment(workspace);
    let missing = assess(&environment, needs);
    if missing.is_empty() {
        print_line(&format!("preflight: nothing is missing ({})", Clock(began.elapsed())));
        return Ok(environment);
    }
    print(&missing, began);
    installer::install(&missing);
    let environment = probe::environment(workspace);
    let left = assess(&environment, needs);
    if left.is_empty() {
        print_line("preflight: all of it is installed now");
        return Ok(environment);
    }
    let list: String = left.iter().map(|missing| format!("\n  - {missing}")).collect();
    bail!("this machine still lacks{list}");
}

/// Examines this machine, whatever is missing.
pub fn inspect(workspace: &Workspace) -> Environment {
    probe::environment(workspace)
}

/// `cargo xtask preflight`: prints the list only.
pub fn report_all() -> Result<()> {
    let workspace = Workspace::locate()?;
    let began = Instant::now();
    let missing = assess(&probe::environment(&workspace), &Need::all());
    if missing.is_empty() {
        print_line(&format!("preflight: nothing is missing ({})", Clock(began.elapsed())));
        return Ok(());
    }
    print(&missing, began);
    bail!("{} missing", missing.len());
}

fn print(missing: &[Missing], began: Instant) {
    print_line(&format!("preflight: missing on this machine ({}):", Clock(began.elapsed())));
    for entry in missing {
        let how = if matches!(entry.remedy, Remedy::Manual(_)) {
            "please run this yourself"
        } else {
            "`cargo xtask demo` and `test` do it"
        };
        print_line(&format!("  - {entry} [{how}]"));
    }
}
