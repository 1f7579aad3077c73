//! Paths: the repository, the target folder, and the separate folders of builds of another kind.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

/// The repository and its target folder.
#[derive(Clone, Debug)]
pub struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Finds the repository from the manifest of this crate. `CARGO_TARGET_DIR` applies as in
    /// Cargo.
    pub fn locate() -> Result<Self> {
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
        let root = manifest.parent().context("this crate has no parent folder")?.to_path_buf();
        let target = env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root.join("target"), |folder| root.join(folder));
        Ok(Self { root, target })
    }

    /// Uses the given folders, for tests.
    #[cfg(test)]
    pub fn at(root: PathBuf, target: PathBuf) -> Self {
        Self { root, target }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path inside the repository.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// The native builds of the workspace.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Returns the folder of the optimised wasm build, separate because of its flags and profile.
    pub fn wasm_target(&self) -> PathBuf {
        self.target.join("wasm")
    }

    /// Returns the folder of peers for benchmarks, each from a workspace of its own.
    pub fn peers_target(&self) -> PathBuf {
        self.target.join("peers")
    }

    /// Returns the folder of programs that are built once and kept: the generator of bindings, and
    /// pinned tools that the machine lacks.
    pub fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// Returns a program of the workspace in the dev profile.
    pub fn binary(&self, name: &str) -> PathBuf {
        self.binaries().join(format!("{name}{}", env::consts::EXE_SUFFIX))
    }

    /// Returns the folder of the workspace's programs in the dev profile.
    pub fn binaries(&self) -> PathBuf {
        self.target.join("debug")
    }

    /// Returns a Cargo command in the root of the repository that builds into this target folder.
    pub fn cargo(&self) -> Command {
        self.building(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
    }

    /// Returns a command that builds in the root of the repository, into this target folder. Its
    /// environment is that of a shell: build scripts would run again, and half of the crates be
    /// compiled again, if they saw the variables that Cargo has set for this program.
    pub fn building(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(is_of_package) {
                command.env_remove(name);
            }
        }
        command
    }
}

/// Whether Cargo sets a variable for the package that it runs or compiles.
fn is_of_package(name: &str) -> bool {
    const NAMES: [&str; 5] = [
        "CARGO_MANIFEST_DIR",
        "CARGO_MANIFEST_PATH",
        "CARGO_BIN_NAME",
        "CARGO_CRATE_NAME",
        "CARGO_PRIMARY_PACKAGE",
    ];
    name.starts_with("CARGO_PKG_") || NAMES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_do_not_see_the_variables_of_this_package() {
        assert!(env::var_os("CARGO_MANIFEST_DIR").is_some(), "Cargo has set it for this test");
        let command = Workspace::locate().unwrap().cargo();
        let removed: Vec<_> = command.get_envs().filter(|(_, value)| value.is_none()).collect();
        for name in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME"] {
            assert!(removed.contains(&(OsStr::new(name), None)), "{name} stays: {removed:?}");
        }
    }
}
