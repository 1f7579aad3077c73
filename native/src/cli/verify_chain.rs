//! `tequio verify-chain`: replays the blocks of a store by the rules of consensus, and compares the
//! state.

use super::{
    options::{Dir, Json},
    output::print,
};
use crate::{
    config::Config,
    node::{GENESIS_FILE, machine::now_ms, read_public},
    store::{self, Store},
};
use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde_json::json;
use tequio_core::{
    consensus::{Config as ReplicaConfig, Head, Input, Output, Pipeline, Replica, VoteRouting},
    crypto::NodeKey,
    ledger::genesis::GenesisFile,
    machine::Machine,
    types::{Height, NodeId},
};
use tequio_host::DirectoryLock;

/// Blocks between lines of progress.
const PROGRESS_INTERVAL: Height = 1000;
/// Blocks that the replica gets in one call.
const BLOCKS_AT_ONCE: usize = 64;

/// Replay a stopped node's blocks from genesis, or from its kept state, and compare the state
#[derive(Debug, Args)]
#[command(after_help = "Example:
  tequio verify-chain --dir node

Each block is checked like one from a peer: certificate, position, signatures, effects. The node
must not run.")]
pub struct VerifyChain {
    #[command(flatten)]
    dir: Dir,
    #[command(flatten)]
    json: Json,
}

impl VerifyChain {
    /// Replays the blocks and compares the state.
    pub fn execute(self) -> anyhow::Result<()> {
        let dir = &self.dir.dir;
        // Fails with a clear error if the directory is not that of a node.
        Config::load(dir)?;
        let _lock = DirectoryLock::take(dir)?;
        let start = GenesisFile::decode(&read_public(dir, GENESIS_FILE)?)
            .and_then(|g| g.build_state())
            .context(GENESIS_FILE)?;
        let path = dir.join(store::FILE_NAME);
        ensure!(
            path.exists(),
            "{} does not exist: the node has never run; start it with `tequio run --dir {}`",
            path.display(),
            dir.display()
        );
        let store = Store::open(&path, &start.chain).map_err(|error| error.with_path(&path))?;
        // Checks that the entries on disk lead to the head's state root.
        let newest = store.load_head(&start).map_err(|error| error.with_path(&path))?;
        let head = match store.replay_base()? {
            Some((header, state)) => Head::new(header.header, header.certificate, state)?,
            None => Head::genesis(&start),
        };
        let (from, to) = (head.header.height, newest.header.header.height);
        // A follower: it verifies everything and sends nothing.
        let node_key = NodeKey::from_bytes(&*tequio_host::random::<32>()?);
        let config = ReplicaConfig {
            node_key,
            seat_keys: Vec::new(),
            vote_routing: VoteRouting::All,
            pipeline: Pipeline::Off,
        };
        let mut replica = Replica::restore(config, head, [], now_ms()).context("cannot begin")?;
        let mut transactions = 0;
        while replica.height() <= to {
            let height = replica.height();
            let mut blocks = Vec::new();
            for height in (height..=to).take(BLOCKS_AT_ONCE) {
                blocks.push(
                    store.block(height)?.with_context(|| format!("block {height} is missing"))?,
                );
            }
            replica.handle(now_ms(), Input::Synced { from: NodeId([0; 32]), blocks })?;
            while let Some(output) = replica.poll() {
                match output {
                    Output::Finalised(finalised) => {
                        transactions += finalised.block.transactions.len();
                        let at = finalised.block.header.height;
                        if at.is_multiple_of(PROGRESS_INTERVAL) {
                            let event = json!({"event": "progress", "height": at, "of": to});
                            print(self.json, &event, || format!("block {at} of {to}"));
                        }
                        replica.handle(now_ms(), Input::Persisted)?;
                    }
                    Output::Misbehaviour { offence, .. } => {
                        bail!("block {} of the store is not valid: {offence}", replica.height());
                    }
                    _ => {}
                }
            }
            ensure!(
                replica.height() > height,
                "block {height} of the store does not follow the one before"
            );
        }
        let root = replica.head().state.root();
        ensure!(
            root == newest.state.root(),
            "the blocks lead to state {root}, but the store has {}",
            newest.state.root()
        );
        let event = json!({
            "event": "verified", "from": from, "height": to, "blocks": to - from,
            "transactions": transactions,
            "state": root.to_string(), "genesis": from == 0,
        });
        let begin = if from == 0 {
            "genesis".to_owned()
        } else {
            format!("the kept state of height {from}")
        };
        print(self.json, &event, || {
            format!(
                "{} blocks from {begin} to {to}, {transactions} transactions: state {root}, as in \
                 the store",
                to - from
            )
        });
        Ok(())
    }
}
