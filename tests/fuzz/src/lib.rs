//! The checks of `tequio-tests`, compiled for the fuzzer.

#[path = "../../src/decoders/mod.rs"]
pub mod decoders;
