//! Virtual time: a queue of events, and hosts that receive, compute, write, crash and restart. The
//! same seed gives the same run, on any machine.

mod churn;
mod crashes;
mod events;
mod setup;
mod state;

pub use setup::{PipelineProfile, Setup, VoteRoutingProfile};
pub use state::Cluster;
