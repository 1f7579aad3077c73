//! Keeps the store from growing without end, where its operator wants that: the blocks below a kept
//! state go, in steps that make no decision wait.
//!
//! A state is written beside the chain when its height comes, and becomes the kept one once
//! `keep_blocks` blocks follow it. So at least that many blocks are here, at most about twice as
//! many, and they can always be replayed from it.

use super::context::Context;
use crate::store::StoreError;
use std::sync::Arc;
use tequio_core::{ledger::state::RECENT_BLOCKS, types::Height};

/// Least blocks to keep: the state speaks of so many.
pub const KEEP_BLOCKS_MIN: Height = RECENT_BLOCKS;
/// Blocks removed in one write.
const BLOCKS_AT_ONCE: usize = 64;

/// Prunes until the node stops. `keep_blocks` 0 keeps all that is here.
pub async fn run(context: Arc<Context>, keep_blocks: Height) {
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

/// One write, if one is due. Says whether another may be due at once.
fn step(context: &Context, keep_blocks: Height) -> Result<bool, StoreError> {
    let store = &context.store;
    // Also without the option: a state that was fetched whole leaves older blocks behind.
    if store.prune_blocks(BLOCKS_AT_ONCE)? > 0 {
        return Ok(true);
    }
    if keep_blocks == 0 {
        return Ok(false);
    }
    let tip = context.tip();
    match store.next_kept()? {
        Some(next) if tip.height() >= next + keep_blocks => {
            store.keep_next()?;
            tracing::info!(lowest = next + 1, "older blocks go");
            Ok(true)
        }
        Some(_) => Ok(false),
        None => {
            store.write_next(&tip.header, &tip.state)?;
            tracing::debug!(height = tip.height(), "a state is kept to replay from");
            Ok(true)
        }
    }
}
