//! Events and notifications that the network delivers to the application.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures::{
    StreamExt,
    channel::{mpsc, oneshot},
};
use libp2p::Multiaddr;
use tequio_core::types::NodeId;

use crate::{
    budget::Permit,
    error::DialError,
    path::Path,
    protocol::{NotificationProtocol, Protocol},
};

/// An event of the network.
#[derive(Debug)]
pub enum Event {
    /// The node is reachable at this address (for a circuit: as long as the reservation lasts).
    Listening {
        /// The address, without the local peer id.
        addr: Multiaddr,
    },
    /// The node is no longer reachable at this address. Reservations are renewed automatically.
    ListenEnded {
        /// The address.
        addr: Multiaddr,
        /// The transport's error.
        cause: String,
    },
    /// The first connection to a peer is established.
    Connected {
        /// The authenticated peer.
        peer: NodeId,
        /// The path to the peer.
        path: Path,
        /// The dialled or the remote address, without secrets.
        addr: Multiaddr,
    },
    /// The last connection to a peer ended.
    Disconnected {
        /// The peer.
        peer: NodeId,
        /// The reason of the disconnect.
        reason: DisconnectReason,
    },
    /// Requests to a connected peer take another path from now on.
    PathChanged {
        /// The peer.
        peer: NodeId,
        /// The new path.
        path: Path,
        /// The dialled or the remote address, without secrets.
        addr: Multiaddr,
        /// The reason of the change.
        reason: PathReason,
    },
    /// All addresses of a persistent peer failed. The network retries after a pause.
    Unreachable {
        /// The peer, if its addresses name it.
        peer: Option<NodeId>,
        /// Each address with its error.
        error: DialError,
    },
    /// A peer sent a request.
    InboundRequest {
        /// The authenticated peer.
        peer: NodeId,
        /// The protocol of the request.
        protocol: Protocol,
        /// The request, within the protocol's cap.
        body: Vec<u8>,
        /// The handle that sends the response.
        reply: Reply,
    },
    /// A peer kept exceeding its rate far. Its connections are closed and it is banned for a while.
    RateLimited {
        /// The peer.
        peer: NodeId,
        /// The flooded protocol.
        protocol: Protocol,
    },
}

/// Reason of a path change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathReason {
    /// A direct connection has answered a ping and replaces the circuit.
    Proven,
    /// The connection in use has not answered a ping in time.
    Unanswered,
    /// The connection in use has ended.
    Lost(DisconnectReason),
}

impl PathReason {
    /// A stable lower-case name, for metrics and the API.
    pub const fn as_str(&self) -> &'static str {
        match self {
            PathReason::Proven => "proven",
            PathReason::Unanswered => "unanswered",
            PathReason::Lost(_) => "lost",
        }
    }
}

/// Reason of a disconnect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DisconnectReason {
    /// The application closed the connection.
    Local,
    /// The peer closed the connection, or its process ended.
    Remote,
    /// The peer was silent for too long.
    Unresponsive,
    /// The peer kept exceeding its rate.
    RateLimited,
    /// The connection broke.
    Failed(String),
}

/// The handle to answer one request. Dropping it refuses the request.
///
/// It holds the request's share of the inbound queue, so a late answer blocks other requests.
#[derive(Debug)]
pub struct Reply {
    pub(crate) response: oneshot::Sender<Vec<u8>>,
    pub(crate) permit: Permit,
}

impl Reply {
    /// Sends the response. A body above the protocol's cap is withheld, and the requester receives
    /// an error.
    pub fn send(self, body: Vec<u8>) {
        // The receiver is gone if the peer or the connection is: the response has no destination.
        let _ = self.response.send(body);
        drop(self.permit);
    }

    /// Whether the requester no longer waits for the response.
    pub fn is_abandoned(&self) -> bool {
        self.response.is_canceled()
    }
}

/// A one-way message of a peer.
#[derive(Debug)]
pub struct Notification {
    /// The authenticated peer.
    pub peer: NodeId,
    /// The message.
    pub body: Vec<u8>,
    /// The message's share of the peer's memory budget. Holding the permit blocks further messages
    /// from this peer.
    pub permit: MemoryPermit,
}

/// A share of the memory budget for notifications, released when dropped.
#[derive(Debug)]
pub struct MemoryPermit {
    pub(crate) _peer: Permit,
    pub(crate) _all: Permit,
}

/// The stream of notifications, in the order in which each peer sent them. Peers wait while the
/// application does not take them.
#[derive(Debug)]
pub struct NotificationStream(pub(crate) mpsc::UnboundedReceiver<Notification>);

impl NotificationStream {
    /// Returns the next notification; `None` once the network has ended.
    pub async fn next(&mut self) -> Option<Notification> {
        self.0.next().await
    }

    /// Returns the next notification if one is queued.
    pub fn try_next(&mut self) -> Option<Notification> {
        self.0.try_recv().ok()
    }
}

/// The stream of events. The application must consume it: while it is full, the network pauses.
/// Dropping it ends the network.
#[derive(Debug)]
pub struct Events {
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) notifications: [Option<NotificationStream>; NotificationProtocol::COUNT],
}

impl Events {
    /// Takes the notification stream of a protocol; `None` after the first call. If the application
    /// takes no stream, the network reads notifications until their memory budget is used up.
    pub fn take_notifications(
        &mut self,
        channel: NotificationProtocol,
    ) -> Option<NotificationStream> {
        self.notifications[channel.index()].take()
    }

    /// Returns the next event; `None` once the network has ended.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.next().await
    }
}

impl futures::Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.events.poll_next_unpin(cx)
    }
}
