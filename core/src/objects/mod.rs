//! The outputs of jobs as content-addressed objects: a [`model`] and a [`record`] of a training,
//! the [`answers`] of an inference.

pub mod answers;
pub mod model;
pub mod record;
