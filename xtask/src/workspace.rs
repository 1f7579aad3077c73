//! Where things are: the repository, the target folder, and the folders that builds of another kind
//! keep to themselves.

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
    /// Finds the repository from the manifest of this crate; `CARGO_TARGET_DIR` is honoured as
    /// Cargo does it.
    pub fn locate() -> Result<Self> {
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
        let root = manifest.parent().context("this crate has no parent folder")?.to_path_buf();
        let target = env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root.join("target"), |folder| root.join(folder));
        Ok(Self { root, target })
    }

    /// Folders of a test's own.
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

    /// The optimised wasm build: other flags and profile, so a folder of its own.
    pub fn wasm_target(&self) -> PathBuf {
        self.target.join("wasm")
    }

    /// Peers that benches run beside ours, each from a workspace of its own.
    pub fn peers_target(&self) -> PathBuf {
        self.target.join("peers")
    }

    /// Programs that are built once and kept: the bindings' writer, and pinned tools that the
    /// machine lacks.
    pub fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// A program of the workspace, as the dev profile leaves it.
    pub fn binary(&self, name: &str) -> PathBuf {
        self.binaries().join(format!("{name}{}", env::consts::EXE_SUFFIX))
    }

    /// The folder of the workspace's programs, as the dev profile leaves them.
    pub fn binaries(&self) -> PathBuf {
        self.target.join("debug")
    }

    /// Cargo, in the root of the repository, building into the target folder of this workspace.
    pub fn cargo(&self) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        command
    }
}
