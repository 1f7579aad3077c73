//! The HTTP API that an operator and the operator's programs use to control their node. It listens
//! on localhost by default. Requests that change state need the token of the directory's
//! `api-token`. Every address has a rate limit and every body a cap. A `Host` name other than
//! localhost and the names that the operator allows is refused, so no web page can reach the API by
//! DNS rebinding.

mod error;
mod guard;
mod jobs;
mod listener;
mod proofs;
mod read;
mod reading;
mod seats;
mod server;
mod submission;
mod token;
pub(crate) mod view;
mod writes;

#[cfg(test)]
pub use guard::{BURST, RATE_PER_SECOND};
pub use server::{BODY_LEN_MAX, OPENAPI, Server};
pub use submission::FREE_BYTES_MIN;
pub use token::{TOKEN_FILE, bearer};
