//! The public files of a node's directory.

use anyhow::Context as _;
use std::path::{Path, PathBuf};
use tequio_core::ledger::genesis::FILE_LEN_MAX;
use tequio_host::files;

/// Name of the genesis file in a node's directory, or in the directory above it.
pub const GENESIS_FILE: &str = "genesis.bin";
/// Name of the checkpoint file in a node's directory, or in the directory above it.
pub const CHECKPOINT_FILE: &str = "checkpoint.bin";

/// Reads a file of the directory, or of the directory above it, where `tequio init --devnet` puts
/// it.
pub(crate) fn read_public(dir: &Path, name: &str) -> anyhow::Result<Vec<u8>> {
    let path = public(dir, name);
    files::read_capped(&path, FILE_LEN_MAX).with_context(|| {
        format!(
            "cannot read {}: copy {name} from another node of the network, or from where `tequio \
             init` has put it",
            path.display()
        )
    })
}

/// The path of such a file.
pub(super) fn public(dir: &Path, name: &str) -> PathBuf {
    let own = dir.join(name);
    let shared = dir.join("..").join(name);
    if !own.exists() && shared.exists() { shared } else { own }
}
