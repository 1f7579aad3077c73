//! Data sets: from a CSV to the bytes that a job binds. Section 0 of the training specification.
//!
//! The submitter prepares a table once; all other nodes receive a [`Dataset`], whose digest the job
//! names. The same table, label, scaling and seed give the same bytes everywhere.

mod csv;
mod error;
mod job_params;
mod normalizer;
mod prepare;
mod samples;
mod table;

pub use error::DatasetError;
pub use normalizer::{Moments, Normalizer, NotNormalizable, Scaling};
pub use prepare::{CsvOptions, Label, PIXELS_MIN, prepare, read_batch};
pub use samples::{NotSamples, Samples};
pub use table::{Dataset, Name};

#[cfg(test)]
mod tests;
