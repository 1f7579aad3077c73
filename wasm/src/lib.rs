//! The light node of Tequio for browsers.
//!
//! It verifies everything it shows with `tequio-core`, uses libp2p through `tequio-p2p`, keeps its
//! identity and its head in IndexedDB, and lends computing power by passing units to Web Workers
//! that the page runs. The JavaScript side is the npm package in `web/package`; this crate's
//! exports are its private boundary. On targets other than wasm32 the crate is empty.

#![cfg(target_arch = "wasm32")]

mod bench;
mod chain;
mod contribution;
mod error;
mod event;
mod follow;
mod identity;
mod model;
mod network_events;
mod node;
mod once_event;
mod peer_scores;
mod start_config;
mod store;
mod views;
mod work;
mod yielding;

use wasm_bindgen::prelude::*;

/// Runs once when the module is instantiated, in the page and in each worker.
#[wasm_bindgen(start)]
pub fn started() {
    console_error_panic_hook::set_once();
}

/// Computes one unit: takes the bytes of a task and returns the bytes of its output. Pure; called
/// in Web Workers.
#[wasm_bindgen(js_name = computeUnit)]
pub fn compute_unit(input: &[u8]) -> Result<Vec<u8>, JsValue> {
    tequio_core::wire::work::run_encoded(input)
        .map_err(|e| error::NodeError::Unit(e.to_string()).into())
}

/// Returns the plain BLAKE3 of some bytes in hexadecimal, by which checkpoints are pinned.
#[wasm_bindgen(js_name = hashBytes)]
pub fn hash_bytes(bytes: &[u8]) -> String {
    tequio_core::ledger::Checkpoint::hash(bytes).to_string()
}

/// Returns the chain id of a checkpoint in hexadecimal. The checkpoint's age is not checked.
#[wasm_bindgen(js_name = checkpointChain)]
pub fn checkpoint_chain(checkpoint: &[u8]) -> Result<String, JsValue> {
    let opened = tequio_core::ledger::Checkpoint::open(checkpoint, None, 0)
        .map_err(error::NodeError::Checkpoint)?;
    Ok(opened.0.header.chain.to_string())
}
