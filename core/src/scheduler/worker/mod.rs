//! The worker: leases work units from coordinators, keeps its slots busy, commits, reveals, and
//! takes part in disputes until its results are settled.
//!
//! The worker has no thread: it emits computations as [`Output::Compute`], at most one per slot at
//! a time. It refuses leases that it did not request and tasks of another job. It backs off from a
//! coordinator that fails or sends invalid answers.

mod input;
mod input_cache;
mod lease;
mod leases;
mod limits;
mod machine;
mod offers;
mod output;
mod results;
mod state;

pub use input::{Config, Input, Offer, RequestFailed};
pub use leases::LEASES_MAX;
pub use offers::OFFERS_MAX;
pub use output::{Event, Output, Totals};
pub use state::Worker;
