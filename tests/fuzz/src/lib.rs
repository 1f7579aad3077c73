//! The checks of `tequio-tests`, compiled for the fuzzer.

#[path = "../../src/decoders.rs"]
pub mod decoders;
