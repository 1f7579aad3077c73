//! Content-addressed bytes: their names ([`Cid`]), one block under one name ([`block`]), contents
//! of several blocks ([`object`]), and the encoding of structured blocks ([`dag_cbor`]).

pub mod block;
mod cid;
pub mod dag_cbor;
pub mod object;

pub use cid::{Cid, CidCodec, InvalidCid};
