//! Content-addressed objects: their names ([`Cid`]), their bytes ([`object`]), and the two that a training job leaves:
//! its [`model`] and its [`record`].

mod cid;
pub mod model;
pub mod object;
pub mod record;

pub use cid::{Cid, CidCodec, NotACid};
