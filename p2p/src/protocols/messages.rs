//! The messages between the behaviour and the handlers of its connections.

use std::fmt;

use futures::channel::oneshot;

use crate::{budget::Permit, error::RequestError, event::Reply, protocol::Protocol};

/// An outbound request. Dropping it without a response reports a lost connection to the requester.
pub struct OutboundRequest {
    pub protocol: Protocol,
    pub body: Vec<u8>,
    pub response: oneshot::Sender<Result<Vec<u8>, RequestError>>,
    pub permit: Permit,
}

impl fmt::Debug for OutboundRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outbound({:?}, {} bytes)", self.protocol, self.body.len())
    }
}

/// Messages from the behaviour to the connection.
#[derive(Debug)]
pub enum ToHandler {
    Request(OutboundRequest),
    /// Whether the connection is a standby, which is kept only while streams use it.
    Standby(bool),
}

/// Messages from the connection to the behaviour.
pub enum FromHandler {
    InboundRequest { protocol: Protocol, body: Vec<u8>, reply: Reply },
    Flooding(Protocol),
}

impl fmt::Debug for FromHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FromHandler::InboundRequest { protocol, body, .. } => {
                write!(f, "Inbound({protocol:?}, {} bytes)", body.len())
            }
            FromHandler::Flooding(protocol) => write!(f, "Flooding({protocol:?})"),
        }
    }
}
