//! Verifiable computation: integer training and inference that give the same bits on every machine.
//!
//! A network computes a chain of int8 x int8 → int32 matrix products ([`kernel`]) with cheap
//! element-wise integer steps between ([`step`](self)). A table of numbers ([`dataset`]) and
//! parameters ([`params`]), both within their [`limits`], define a job. It is split into rounds,
//! and a round into work units ([`work_unit`]) of local steps ([`local_steps`]) or of one exact
//! step ([`exact`]); the coordinator sums their results ([`aggregate`]). Local steps are checked by
//! recomputation and replay of one disputed step. Exact steps and batch inference ([`infer`]) are
//! checked by Freivalds' method ([`freivalds`]). [`train`] does a whole job alone, and [`predict`]
//! applies the trained network.
//!
//! No floating point enters a result: it occurs only where a table becomes int8 bytes, once, and
//! only in operations for which IEEE 754 defines one rounding.

pub mod aggregate;
pub mod array;
pub mod dataset;
mod error;
pub mod exact;
pub mod fixed;
pub mod freivalds;
pub mod infer;
pub mod kernel;
pub mod limits;
pub mod local_steps;
pub mod params;
pub mod predict;
pub mod prng;
pub mod state;
mod step;
mod topology;
pub mod train;
pub mod work_unit;

pub use error::ComputeError;
