//! One file per input; what several of them need is in [`vote`](self) and `decide`.

mod built;
mod checked;
mod decide;
mod finalised;
mod prepared;
mod proposal;
mod received;
mod snapshot;
mod synced;
mod time;
mod view_change;
mod vote;
mod want_block;
