//! The commands of the handles to the task that owns the swarm.

use futures::channel::oneshot;
use libp2p::Multiaddr;
use tequio_core::types::NodeId;

use crate::{
    error::{DialError, ListenError},
    path::Path,
    protocols::OutboundRequest,
};

/// A command.
pub enum Command {
    Listen(Multiaddr, oneshot::Sender<Result<Multiaddr, ListenError>>),
    Unlisten(Multiaddr),
    Dial(Multiaddr, oneshot::Sender<Result<(NodeId, Path), DialError>>),
    Request(NodeId, OutboundRequest),
    AddPersistentPeer(Multiaddr),
    RemovePersistentPeer(NodeId),
    Disconnect(NodeId, oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
}
