//! What the network tells the application.

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
    error::DialError,
    path::Path,
    protocol::{Channel, Protocol},
    rpc::budget::Permit,
};

/// Something happened on the network.
#[derive(Debug)]
pub enum Event {
    /// We can be reached at this address (for a circuit: as long as the reservation lasts).
    Listening {
        /// The address, without our own peer id.
        addr: Multiaddr,
    },
    /// We can no longer be reached at this address. Circuits are reserved again without being
    /// asked.
    ListenEnded {
        /// The address.
        addr: Multiaddr,
        /// What the transport said.
        cause: String,
    },
    /// The first connection to a peer stands.
    Connected {
        /// The peer, authenticated.
        peer: NodeId,
        /// The way to it.
        path: Path,
        /// The address dialled, or that it came from; nothing secret in it.
        addr: Multiaddr,
    },
    /// The last connection to a peer ended.
    Disconnected {
        /// The peer.
        peer: NodeId,
        /// Why.
        reason: DisconnectReason,
    },
    /// Requests to a connected peer take another way from now on.
    PathChanged {
        /// The peer.
        peer: NodeId,
        /// The new way.
        path: Path,
        /// The address dialled, or that it came from; nothing secret in it.
        addr: Multiaddr,
        /// What made it change.
        reason: PathReason,
    },
    /// No address of a kept peer leads to it. It is tried again after a pause.
    Unreachable {
        /// The peer, if its addresses name it.
        peer: Option<NodeId>,
        /// Names each address and what went wrong with it.
        error: DialError,
    },
    /// A peer asks something.
    Inbound {
        /// The peer, authenticated.
        peer: NodeId,
        /// What it is about.
        protocol: Protocol,
        /// The request, within the protocol's cap.
        body: Vec<u8>,
        /// Where the answer goes.
        reply: Reply,
    },
    /// A peer went on far above its rate; its connections are closed and it is kept out for a
    /// while.
    RateLimited {
        /// The peer.
        peer: NodeId,
        /// The protocol that it flooded.
        protocol: Protocol,
    },
}

/// Why the path to a connected peer changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathReason {
    /// A direct connection has answered a ping and takes over from the circuit.
    Proven,
    /// The connection used before has not answered a ping in time.
    Unanswered,
    /// The connection used before has ended.
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

/// Why a peer was disconnected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DisconnectReason {
    /// We asked for it.
    Local,
    /// The peer closed the connection, or its process ended.
    Remote,
    /// Nothing came from the peer for too long.
    Unresponsive,
    /// The peer went on above its rate.
    RateLimited,
    /// The connection broke.
    Failed(String),
}

/// The duty to answer one request. Dropping it refuses the request.
///
/// It holds the request's share of the inbound queue, so answering late keeps others out.
#[derive(Debug)]
pub struct Reply {
    pub(crate) response: oneshot::Sender<Vec<u8>>,
    pub(crate) permit: Permit,
}

impl Reply {
    /// Answers. A body above the protocol's cap is withheld, and the requester told so.
    pub fn send(self, body: Vec<u8>) {
        // The receiver is gone if the peer or the connection is: nobody is left to answer.
        let _ = self.response.send(body);
        drop(self.permit);
    }

    /// Whether nobody waits for the answer any more.
    pub fn is_abandoned(&self) -> bool {
        self.response.is_canceled()
    }
}

/// A one-way message of a peer.
#[derive(Debug)]
pub struct Told {
    /// The peer, authenticated.
    pub peer: NodeId,
    /// What it says.
    pub body: Vec<u8>,
    /// Its part of the memory for such messages. While it is kept, it keeps out others of that
    /// peer.
    pub share: Share,
}

/// Part of the memory for one-way messages; it comes back when it is dropped.
#[derive(Debug)]
pub struct Share {
    pub(crate) _peer: Permit,
    pub(crate) _all: Permit,
}

/// The stream of one-way messages, in the order in which each peer said them. While they are not
/// taken, peers wait.
#[derive(Debug)]
pub struct Tells(pub(crate) mpsc::UnboundedReceiver<Told>);

impl Tells {
    /// The next one; `None` once the network has ended.
    pub async fn next(&mut self) -> Option<Told> {
        self.0.next().await
    }

    /// The next one, if it is there already.
    pub fn try_next(&mut self) -> Option<Told> {
        self.0.try_recv().ok()
    }
}

/// The stream of events. Consume it: while it is full, the network stands still, and dropping it
/// ends the network.
#[derive(Debug)]
pub struct Events {
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) tells: [Option<Tells>; Channel::COUNT],
}

impl Events {
    /// What peers say on a channel. It can be taken once; a channel that nobody takes is read until
    /// its memory is full.
    pub fn take_tells(&mut self, channel: Channel) -> Option<Tells> {
        self.tells[channel.index()].take()
    }

    /// The next event; `None` once the network has ended.
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
