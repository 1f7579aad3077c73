//! Content-addressed objects: their names ([`Cid`]), their bytes ([`object`]), and those that jobs
//! leave: a training its [`model`] and its [`record`], an inference its [`answers`].

pub mod answers;
mod cid;
pub mod model;
pub mod object;
pub mod record;

pub use cid::{Cid, CidCodec, NotACid};
