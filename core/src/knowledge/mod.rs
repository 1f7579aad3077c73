//! Content-addressed objects: their names ([`Cid`]), their bytes ([`object`]), and the outputs of
//! jobs: a [`model`] and a [`record`] of a training, the [`answers`] of an inference.

pub mod answers;
mod cid;
pub mod model;
pub mod object;
pub mod record;

pub use cid::{Cid, CidCodec, InvalidCid};
