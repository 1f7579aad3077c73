//! Paths: the repository, the target folder, and the separate folders of builds of another kind.

use std::{
    env,
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
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        command
    }
}
