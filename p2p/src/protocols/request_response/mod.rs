//! Exchanges: one request and one response, on a substream of their own.

pub mod codec;
pub mod serve;
