//! Programs that the tests need and that crates.io has. A program on the machine is used; a missing
//! one is compiled in its pinned version into the target folder, unoptimised, because compiling
//! takes most of its time.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use crate::{preflight::WASM_TARGET, progress, workspace::Workspace};

/// A Cargo subcommand in the version for which the gates were written.
struct Tool {
    name: &'static str,
    version: &'static str,
}

const NEXTEST: Tool = Tool { name: "cargo-nextest", version: "0.9.143" };
const DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2" };

/// Returns `cargo nextest` without arguments. Any installed version will do, because its options
/// are stable.
pub fn nextest(workspace: &Workspace) -> Result<Command> {
    let found = version(&mut Command::new(NEXTEST.name), "nextest").is_some();
    let program = if found { NEXTEST.name.into() } else { installed(workspace, &NEXTEST)? };
    let mut command = workspace.building(program);
    command.arg("nextest");
    Ok(command)
}

/// Returns `cargo deny` without arguments. Its configuration changes between minor versions, so
/// this is always the pinned one.
pub fn deny(workspace: &Workspace) -> Result<Command> {
    let found =
        version(&mut Command::new(DENY.name), "").is_some_and(|version| version == DENY.version);
    let program = if found { DENY.name.into() } else { installed(workspace, &DENY)? };
    let mut command = Command::new(program);
    command.current_dir(workspace.root());
    Ok(command)
}

/// Returns the generator of wasm bindings in `xtask/bindgen`, compiled again when it has changed.
pub fn bindgen(workspace: &Workspace) -> Result<Command> {
    let target = workspace.tools().join("bindgen");
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--locked", "--manifest-path", "xtask/bindgen/Cargo.toml"]);
    progress::run(cargo.env("CARGO_TARGET_DIR", &target))?;
    Ok(Command::new(target.join("debug/bindgen")))
}

/// Returns a check of `core` alone, for a target without an operating system or for a browser.
pub fn bare_core(workspace: &Workspace, target: &str) -> Command {
    let mut cargo = workspace.cargo();
    cargo.args(["check", "--package", "tequio-core", "--no-default-features", "--target", target]);
    if target == WASM_TARGET {
        // Without SIMD, because the scalar kernels must compile for a browser too.
        cargo.env("RUSTFLAGS", "");
    }
    cargo
}

/// Returns the folder's own copy of a tool, compiled if it is missing.
fn installed(workspace: &Workspace, tool: &Tool) -> Result<PathBuf> {
    let root = workspace.tools().join(format!("{}-{}", tool.name, tool.version));
    let program = root.join("bin").join(tool.name);
    if program.exists() {
        return Ok(program);
    }
    eprintln!("{} {} is not on this machine; compiling it once", tool.name, tool.version);
    fs::create_dir_all(&root).with_context(|| format!("cannot create {}", root.display()))?;
    let mut cargo = workspace.cargo();
    cargo
        .args(["install", "--locked", "--debug", "--root"])
        .arg(&root)
        .arg(format!("{}@{}", tool.name, tool.version));
    cargo
        .env("CARGO_TARGET_DIR", root.join("build"))
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "0")
        .env("CARGO_INCREMENTAL", "0");
    progress::run(&mut cargo)?;
    // Only the program is kept: its build takes a gigabyte.
    fs::remove_dir_all(root.join("build")).context("cannot remove the build of a tool")?;
    Ok(program)
}

/// Returns the version that an installed program reports.
fn version(command: &mut Command, subcommand: &str) -> Option<String> {
    if !subcommand.is_empty() {
        command.arg(subcommand);
    }
    let output =
        command.arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    text.split_whitespace().nth(1).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_the_second_word() {
        assert_eq!(
            version(Command::new("sh").args(["-c", "echo cargo-deny 0.20.2"]), ""),
            Some("0.20.2".into())
        );
        assert_eq!(version(&mut Command::new("/no/such/tool"), ""), None);
        assert_eq!(version(&mut Command::new("false"), ""), None);
    }
}
