//! Determines why a connection ended, by the kinds of its error and of the errors inside it. The
//! transports give each end its kind ([`crate::transport`]).

use std::{
    error::Error,
    io::{self, ErrorKind},
    iter::successors,
};

use libp2p::swarm::ConnectionError;

use crate::{error::root_cause, event::DisconnectReason};

/// The kinds of a connection that the peer has closed, or whose process has ended. `WriteZero` is a
/// write to a substream of the connection to the relay.
const CLOSED_BY_REMOTE: [ErrorKind; 6] = [
    ErrorKind::BrokenPipe,
    ErrorKind::ConnectionAborted,
    ErrorKind::ConnectionReset,
    ErrorKind::NotConnected,
    ErrorKind::UnexpectedEof,
    ErrorKind::WriteZero,
];

pub fn disconnect_reason(cause: Option<ConnectionError>) -> DisconnectReason {
    match cause {
        None | Some(ConnectionError::KeepAliveTimeout) => DisconnectReason::Local,
        Some(ConnectionError::IO(error)) if layers(&error).any(is_timeout) => {
            DisconnectReason::Unresponsive
        }
        Some(ConnectionError::IO(error)) if layers(&error).any(is_closed_by_remote) => {
            DisconnectReason::Remote
        }
        Some(ConnectionError::IO(error)) => DisconnectReason::Failed(root_cause(&error)),
    }
}

/// The error and those inside it.
fn layers<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), inner)
}

fn inner<'a>(error: &&'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let error: &'a (dyn Error + 'static) = *error;
    match error.downcast_ref::<io::Error>() {
        // Its source skips the error that it wraps.
        Some(outer) => outer.get_ref().map(|inner| inner as &(dyn Error + 'static)),
        None => error.source(),
    }
}

/// Whether the peer was silent for too long.
fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    // The connection to a relay, below a circuit.
    #[cfg(not(target_arch = "wasm32"))]
    if let Some(quinn::ConnectionError::TimedOut) = error.downcast_ref() {
        return true;
    }
    kind(error) == Some(ErrorKind::TimedOut)
}

/// Whether the peer closed the connection or its process ended.
fn is_closed_by_remote(error: &(dyn Error + 'static)) -> bool {
    kind(error).is_some_and(|kind| CLOSED_BY_REMOTE.contains(&kind))
}

fn kind(error: &(dyn Error + 'static)) -> Option<ErrorKind> {
    error.downcast_ref().map(io::Error::kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(error: io::Error) -> DisconnectReason {
        disconnect_reason(Some(ConnectionError::IO(error)))
    }

    #[test]
    fn an_error_kind_is_found_at_any_depth_and_a_timeout_takes_precedence() {
        let wrapped = |kind: ErrorKind| io::Error::other(io::Error::other(io::Error::from(kind)));
        assert_eq!(reason(wrapped(ErrorKind::TimedOut)), DisconnectReason::Unresponsive);
        assert_eq!(reason(wrapped(ErrorKind::UnexpectedEof)), DisconnectReason::Remote);
        let timeout = io::Error::from(ErrorKind::TimedOut);
        let both = io::Error::new(ErrorKind::ConnectionReset, timeout);
        assert_eq!(reason(both), DisconnectReason::Unresponsive);
    }

    #[test]
    fn an_error_text_is_not_classified() {
        let text = "closed: timed out";
        let other = DisconnectReason::Failed(text.into());
        assert_eq!(reason(io::Error::other(io::Error::other(text))), other);
    }
}
