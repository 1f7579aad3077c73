//! What `tests/browser/webrtc.mjs` does in a tab: dials, and moves bytes that show every loss.
//!
//! The other side is `tequio-webrtc-peer`. Both know [`pattern`]; on other targets than wasm32 only that is left.

#[cfg(target_arch = "wasm32")]
mod page;
pub mod pattern;
