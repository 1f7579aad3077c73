//! Parts of both machines. The coordinator and the worker import nothing of each other.

pub(super) mod error;
pub(super) mod outbox;
pub(super) mod seeded_rng;
