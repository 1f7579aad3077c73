//! Programs that the tests need and that crates.io has: used where the machine has them, else
//! compiled in their pinned version into the target folder, unoptimised, because compiling them is
//! most of what they cost.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use crate::{preflight::WASM_TARGET, progress, workspace::Workspace};

/// A Cargo subcommand in the version that the gates were written against.
struct Tool {
    name: &'static str,
    version: &'static str,
}

const NEXTEST: Tool = Tool { name: "cargo-nextest", version: "0.9.143" };
const DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2" };

/// `cargo nextest`, ready to take its arguments. Any version on the machine will do: its options
/// are stable.
pub fn nextest(workspace: &Workspace) -> Result<Command> {
    let found = version(&mut Command::new(NEXTEST.name), "nextest").is_some();
    let program = if found { NEXTEST.name.into() } else { installed(workspace, &NEXTEST)? };
    let mut command = Command::new(program);
    command
        .current_dir(workspace.root())
        .env("CARGO_TARGET_DIR", workspace.target())
        .arg("nextest");
    Ok(command)
}

/// `cargo deny`, ready to take its arguments. Its configuration changes between minor versions, so
/// the pinned one it is.
pub fn deny(workspace: &Workspace) -> Result<Command> {
    let found =
        version(&mut Command::new(DENY.name), "").is_some_and(|version| version == DENY.version);
    let program = if found { DENY.name.into() } else { installed(workspace, &DENY)? };
    let mut command = Command::new(program);
    command.current_dir(workspace.root());
    Ok(command)
}

/// The writer of wasm bindings in `xtask/bindgen`, compiled when it changed.
pub fn bindgen(workspace: &Workspace) -> Result<Command> {
    let target = workspace.tools().join("bindgen");
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--locked", "--manifest-path", "xtask/bindgen/Cargo.toml"]);
    progress::run(cargo.env("CARGO_TARGET_DIR", &target))?;
    Ok(Command::new(target.join("debug/bindgen")))
}

/// A check of `core` alone, for a target without an operating system or for a browser.
pub fn bare_core(workspace: &Workspace, target: &str) -> Command {
    let mut cargo = workspace.cargo();
    cargo.args(["check", "--package", "tequio-core", "--no-default-features", "--target", target]);
    if target == WASM_TARGET {
        // Without SIMD: the scalar kernels have to compile for a browser too.
        cargo.env("RUSTFLAGS", "");
    }
    cargo
}

/// The folder's own copy of a tool, compiled if it is not there yet.
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
    // Only the program is kept: what it was compiled from is a gigabyte.
    fs::remove_dir_all(root.join("build")).context("cannot remove the build of a tool")?;
    Ok(program)
}

/// The version that a program on the machine says it has.
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
