//! The tab's side of `tests/browser/webrtc.mjs` and `tests/browser/two-tabs.mjs`: dials, and moves
//! bytes that show every loss.
//!
//! The other side is `tequio-webrtc-peer`, or another tab. Both use [`pattern`], the only module on
//! targets other than wasm32.

#[cfg(target_arch = "wasm32")]
mod page;
pub mod pattern;
#[cfg(target_arch = "wasm32")]
mod tab;
