//! Handlers, one file per input. Shared code is in `vote` and `decide`.

mod built;
mod commit_certificate;
mod decide;
mod prepare_certificate;
mod proposal;
mod received;
mod signatures_verified;
mod snapshot;
mod synced;
mod timers;
mod view_change;
mod vote;
mod want_block;
