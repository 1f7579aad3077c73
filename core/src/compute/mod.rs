//! Verifiable computation: integer training and inference that give the same bits on every machine.
//!
//! All that a network computes is a chain of int8 x int8 → int32 matrix products ([`kernel`]) with
//! cheap element-wise integer steps between ([`step`](self)). From a table of numbers ([`dataset`])
//! and parameters ([`params`]), a job is split into rounds, and a round into lanes of local steps
//! ([`lane`]) or units of one step ([`exact`]); the coordinator adds them up ([`aggregate`]). Lanes
//! are checked by recomputation and replay of one disputed step, units and batch inference
//! ([`infer`]) by Freivalds' method ([`freivalds`]). [`train`] does a whole job alone, and
//! [`predict`] answers with what was learnt.
//!
//! No floating point enters a result: it occurs only where a table becomes int8 bytes, once, and
//! only in operations that IEEE 754 rounds in one way.

pub mod aggregate;
pub mod array;
pub mod dataset;
mod error;
pub mod exact;
pub mod fixed;
pub mod freivalds;
pub mod infer;
pub mod kernel;
pub mod lane;
pub mod params;
pub mod predict;
pub mod prng;
pub mod state;
mod step;
mod topology;
pub mod train;

pub use error::ComputeError;
