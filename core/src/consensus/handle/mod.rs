//! Handlers of inputs, called by `machine`: mostly one file per input. `propose`, `vote`, `decide`,
//! `timers`, `pipelining` and `vote_aggregation` hold the steps that several inputs lead to.
//! `restore` replays the log.

mod commit_certificate;
mod decide;
mod machine;
mod pipelining;
mod prepare_certificate;
mod proposal;
mod propose;
mod received;
mod restore;
mod signatures_verified;
mod snapshot;
mod synced;
mod timers;
mod view_change;
mod vote;
mod vote_aggregation;
mod want_block;
