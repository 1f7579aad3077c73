//! State that the routes share: the relay's addresses, its checkpoint and its sources of health.

use crate::{Addresses, TurnServer, forward::Forwarder, metrics::Metrics};
use std::{path::PathBuf, sync::Arc};
use tequio_core::{
    ledger::genesis::{Checkpoint, FILE_LEN_MAX},
    types::{ChainId, Digest},
};
use tequio_host::files;
use tequio_p2p::Network;

/// Path of the checkpoint.
pub const CHECKPOINT_PATH: &str = "/checkpoint.bin";

/// The operator's checkpoint.
#[derive(Clone, Debug)]
pub struct CheckpointFile {
    /// Path of the file. Each request reads it again: `tequio` may replace it while the relay
    /// runs.
    pub path: PathBuf,
    /// The checkpoint's chain.
    pub chain: ChainId,
    /// Its BLAKE3 hash at the relay's start. Links to the page contain this hash.
    pub hash: Digest,
}

impl CheckpointFile {
    /// Reads the file once, to check it and to get its chain.
    pub fn open(path: PathBuf) -> Result<Self, crate::StartError> {
        let bytes = files::read_capped(&path, FILE_LEN_MAX)
            .map_err(crate::StartError::file("read", &path))?;
        // The browser checks the age: it must get a stale checkpoint to report it.
        match Checkpoint::open(&bytes, None, 0) {
            Ok((checkpoint, _)) => {
                Ok(Self { path, chain: checkpoint.header.chain, hash: Checkpoint::hash(&bytes) })
            }
            Err(source) => Err(crate::StartError::Checkpoint { path, source }),
        }
    }
}

/// State that the handlers share.
#[derive(Debug)]
pub struct Site {
    /// The relay's addresses.
    pub addresses: Arc<Addresses>,
    /// The checkpoint, if there is one.
    pub checkpoint: Option<CheckpointFile>,
    /// The operator, shown on the page.
    pub operator: Option<crate::Operator>,
    /// Source of the health status.
    pub forwarder: Arc<Forwarder>,
    /// Source of the network's metrics.
    pub network: Network,
    /// The TURN server for browsers, if there is one.
    pub turn: Option<Arc<TurnServer>>,
    /// The relay's metrics.
    pub metrics: Arc<Metrics>,
}
