//! The preflight: what this machine lacks, found within ten seconds and told all at once, before
//! anything compiles.
//!
//! `probe` looks at the machine, `assess` (pure) judges what it saw, and `mend` installs what can
//! be installed: Rust targets through rustup, and packages as root on Debian. The rest is named
//! with the command that mends it. Nobody is ever made root by it.

mod assess;
mod mend;
mod probe;

use std::time::Instant;

use anyhow::{Result, bail};

pub use assess::{Environment, Need};
use assess::{Mend, Missing, assess};

use crate::{
    progress::{Clock, say},
    workspace::Workspace,
};

/// The bare targets and the browser's.
pub const WASM_TARGET: &str = "wasm32-unknown-unknown";
/// A microcontroller without an operating system: it proves that `core` needs none.
pub const BARE_TARGET: &str = "thumbv7em-none-eabihf";

/// Finds what is missing, installs what can be installed, and fails with the list of what is left.
pub fn run(workspace: &Workspace, needs: &[Need]) -> Result<Environment> {
    let began = Instant::now();
    let environment = probe::environment(workspace);
    let missing = assess(&environment, needs);
    if missing.is_empty() {
        say(&format!("preflight: nothing is missing ({})", Clock(began.elapsed())));
        return Ok(environment);
    }
    print(&missing, began);
    mend::install(&missing);
    let environment = probe::environment(workspace);
    let left = assess(&environment, needs);
    if left.is_empty() {
        say("preflight: all of it is installed now");
        return Ok(environment);
    }
    let list: String = left.iter().map(|missing| format!("\n  - {missing}")).collect();
    bail!("this machine still lacks{list}");
}

/// What this machine has, whatever is missing.
pub fn look(workspace: &Workspace) -> Environment {
    probe::environment(workspace)
}

/// `cargo xtask preflight`: the list alone.
pub fn report_all() -> Result<()> {
    let workspace = Workspace::locate()?;
    let began = Instant::now();
    let missing = assess(&probe::environment(&workspace), &Need::all());
    if missing.is_empty() {
        say(&format!("preflight: nothing is missing ({})", Clock(began.elapsed())));
        return Ok(());
    }
    print(&missing, began);
    bail!("{} missing", missing.len());
}

fn print(missing: &[Missing], began: Instant) {
    say(&format!("preflight: missing on this machine ({}):", Clock(began.elapsed())));
    for entry in missing {
        let how = if matches!(entry.mend, Mend::Tell(_)) {
            "please run this yourself"
        } else {
            "`cargo xtask demo` and `test` do it"
        };
        say(&format!("  - {entry} [{how}]"));
    }
}
