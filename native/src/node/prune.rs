//! Bounds the size of the store if its operator requests it: blocks below a replay base are
//! removed, in steps that delay no decision.
//!
//! A state is written beside the chain at its height, and becomes the replay base once
//! `keep_blocks` blocks follow it. So the store keeps at least that many blocks and at most about
//! twice as many, and can always replay them from the replay base.

use super::context::NodeContext;
use crate::store::StoreError;
use std::sync::Arc;
use tequio_core::{ledger::state::RECENT_BLOCKS, types::Height};

/// Least number of blocks to keep: the state refers to this many.
pub const KEEP_BLOCKS_MIN: Height = RECENT_BLOCKS;
/// Blocks removed in one write.
const BLOCKS_AT_ONCE: usize = 64;

/// Prunes until the node stops. `keep_blocks` 0 keeps all blocks.
pub async fn run(context: Arc<NodeContext>, keep_blocks: Height) {
    let mut tips = context.watch_tip();
    loop {
        let context = context.clone();
        let step = tokio::task::spawn_blocking(move || step(&context, keep_blocks)).await;
        match step {
            Ok(Ok(true)) => continue,
            Ok(Ok(false)) => {}
            Ok(Err(error)) => return tracing::error!(%error, "cannot prune: old blocks stay"),
            Err(_) => return,
        }
        if tips.changed().await.is_err() {
            return;
        }
    }
}

/// Performs one write if it is due. Returns whether another may be due at once.
fn step(context: &NodeContext, keep_blocks: Height) -> Result<bool, StoreError> {
    let store = &context.store;
    // Even without the option: older blocks may remain below a fetched state.
    if store.prune_blocks(BLOCKS_AT_ONCE)? > 0 {
        return Ok(true);
    }
    if keep_blocks == 0 {
        return Ok(false);
    }
    let tip = context.tip();
    match store.next_replay_base()? {
        Some(next) if tip.height() >= next + keep_blocks => {
            store.promote_next_replay_base()?;
            tracing::info!(lowest = next + 1, "older blocks go");
            Ok(true)
        }
        Some(_) => Ok(false),
        None => {
            store.write_next_replay_base(&tip.header, &tip.state)?;
            tracing::debug!(height = tip.height(), "a state is kept to replay from");
            Ok(true)
        }
    }
}
