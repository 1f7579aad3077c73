//! The parts of a replica's state, each with its own rules and without outputs.

pub(super) mod block_request;
pub(super) mod catch_up;
pub(super) mod height_state;
pub(super) mod pacing;
pub(super) mod pending_messages;
pub(super) mod timing;
pub(super) mod vote_set;
