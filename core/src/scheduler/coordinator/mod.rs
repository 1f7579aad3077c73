//! The coordinator of one job: leases work units, has them checked, and advances the weights round
//! by round.
//!
//! The coordinator owns the job's state and judges every result. A result counts if two identities
//! agree on it (the second drawn after the first had committed), if this host has computed the
//! same, or if the job lets this unit go unchecked. For exact steps and inference parts, a result
//! counts if Freivalds' check finds no wrong product. docs/format.md, section 4.2, has the
//! protocol, docs/training.md, sections 5 and 7, the commitments and checks.
//!
//! The weights do not depend on which worker computed a unit, on the order of results, or on
//! [`Config`].

mod accounting;
mod activity;
mod batch;
mod config;
mod dispatch;
mod dispute;
mod error;
mod exact;
mod input;
mod lease_expiry;
mod machine;
mod output;
mod round;
mod score;
mod state;
mod submit;
mod training;
mod waiting_request;
mod work_unit;
mod worker_table;
mod workload;

pub use accounting::{
    AcceptedExactStep, AcceptedInferencePart, AcceptedLocalSteps, Accounting, ExactSnapshot,
    REJECTIONS_MAX, RecordPoint, Rejection, Snapshot, TALLIES_MAX,
};
pub use config::{Config, FULL_SHARE, UNIT_RECORDS_MACS_MIN};
pub use error::{Error, StartError};
pub use input::{Input, Peer};
pub use output::{Completion, Event, Outcome, Output, RECORD_LEN_MAX, Record, Trained};
pub use state::Coordinator;
pub use worker_table::WORKERS_MAX;
pub use workload::JobInput;
