//! What `tests/browser/webrtc.mjs` and `tests/browser/two-tabs.mjs` do in a tab: dial, and move
//! bytes that show every loss.
//!
//! The other side is `tequio-webrtc-peer`, or another tab. Both know [`pattern`]; on other targets
//! than wasm32 only that is left.

#[cfg(target_arch = "wasm32")]
mod page;
pub mod pattern;
#[cfg(target_arch = "wasm32")]
mod tab;
