//! Bounds the size of the store if its operator requests it: blocks below a replay base are
//! removed, in steps that delay no decision.
//!
//! A state is written beside the chain at its height, and becomes the replay base once
//! `retained_blocks` blocks follow it. So the store keeps at least that many blocks and at most
//! about twice as many, and can always replay them from the replay base.

use crate::{
    node::chain_view::ChainView,
    store::{Store, StoreError},
};
use std::sync::Arc;
use tequio_core::{ledger::state::RECENT_BLOCKS, types::Height};

/// Least number of blocks to keep: the state refers to this many.
pub const RETAINED_BLOCKS_MIN: Height = RECENT_BLOCKS;
/// Blocks removed in one write.
const BLOCKS_AT_ONCE: usize = 64;

/// Prunes until the node stops. `retained_blocks` 0 keeps all blocks.
pub async fn run(chain: ChainView, store: Arc<Store>, retained_blocks: Height) {
    let mut tips = chain.watch_tip();
    loop {
        let (chain, store) = (chain.clone(), store.clone());
        let step = tokio::task::spawn_blocking(move || step(&chain, &store, retained_blocks)).await;
        match step {
            Ok(Ok(true)) => continue,
            Ok(Ok(false)) => {}
            Ok(Err(error)) => return tracing::error!(%error, "cannot prune old blocks"),
            Err(_) => return,
        }
        if tips.changed().await.is_err() {
            return;
        }
    }
}

/// Performs one write if it is due. Returns whether another may be due at once.
fn step(chain: &ChainView, store: &Store, retained_blocks: Height) -> Result<bool, StoreError> {
    // Even without the option: older blocks may remain below a fetched state.
    if store.prune_blocks(BLOCKS_AT_ONCE)? > 0 {
        return Ok(true);
    }
    if retained_blocks == 0 {
        return Ok(false);
    }
    let tip = chain.tip();
    match store.next_replay_base()? {
        Some(next) if tip.height() >= next + retained_blocks => {
            store.promote_next_replay_base()?;
            tracing::info!(lowest = next + 1, "pruning older blocks");
            Ok(true)
        }
        Some(_) => Ok(false),
        None => {
            store.write_next_replay_base(&tip.header, &tip.state)?;
            tracing::debug!(height = tip.height(), "stored a state from which blocks are replayed");
            Ok(true)
        }
    }
}
