//! Dials `<relay>/p2p-circuit/webrtc/p2p/<peer>` and accepts inbound signalling. It listens on
//! `/webrtc`, which covers every circuit to this node.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures::{
    FutureExt, StreamExt,
    channel::{mpsc, oneshot},
    future::BoxFuture,
};
use libp2p::{
    Multiaddr, PeerId,
    core::transport::{DialOpts, ListenerId, TransportError, TransportEvent},
    multiaddr::Protocol,
    swarm::Stream,
};
use tequio_webrtc::{Connection, Role, Signaller};
use web_time::Instant;

use super::{
    protocol_name::PROTOCOL,
    slots::{Direction, Refused, Slot, Slots},
};
use crate::path::{circuit_of, target_of};

/// A request of the transport for a substream.
pub struct OpenStream {
    pub peer: PeerId,
    /// The circuit to dial if none to the peer is open.
    pub circuit: Multiaddr,
    pub reply: oneshot::Sender<Result<Stream, SignallingError>>,
}

/// An inbound signalling substream.
pub struct Incoming {
    pub peer: PeerId,
    pub stream: Stream,
    pub slot: Slot,
    pub local: Multiaddr,
    pub remote: Multiaddr,
}

/// The reason why a signalled dial failed.
#[derive(Debug, thiserror::Error)]
pub enum SignallingError {
    /// The local limits forbid it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The circuit could not be established.
    #[error("no circuit to signal over: {0}")]
    Circuit(String),
    /// The peer is no tab, or does not support the protocol.
    #[error("the peer does not support {}", PROTOCOL)]
    Unsupported,
    /// The circuit is open, but the substream failed.
    #[error("the circuit failed: {0}")]
    Substream(String),
    /// Signalling or ICE failed.
    #[error(transparent)]
    Connect(#[from] tequio_webrtc::Error),
}

type Output = (PeerId, Connection);

pub struct Transport {
    signaller: Signaller,
    slots: Slots,
    open_requests: mpsc::UnboundedSender<OpenStream>,
    incoming: mpsc::UnboundedReceiver<Incoming>,
    listener: Option<ListenerId>,
}

impl Transport {
    pub fn new(
        signaller: Signaller,
        slots: Slots,
        open_requests: mpsc::UnboundedSender<OpenStream>,
        incoming: mpsc::UnboundedReceiver<Incoming>,
    ) -> Self {
        Self { signaller, slots, open_requests, incoming, listener: None }
    }
}

impl libp2p::Transport for Transport {
    type Output = Output;
    type Error = SignallingError;
    type ListenerUpgrade = BoxFuture<'static, Result<Output, SignallingError>>;
    type Dial = BoxFuture<'static, Result<Output, SignallingError>>;

    fn listen_on(
        &mut self,
        id: ListenerId,
        addr: Multiaddr,
    ) -> Result<(), TransportError<SignallingError>> {
        if !addr.iter().eq([Protocol::WebRTC]) {
            return Err(TransportError::MultiaddrNotSupported(addr));
        }
        self.listener = Some(id);
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.listener.take_if(|listener| *listener == id).is_some()
    }

    fn dial(
        &mut self,
        addr: Multiaddr,
        _: DialOpts,
    ) -> Result<Self::Dial, TransportError<SignallingError>> {
        let (Some(circuit), Some(peer)) = (circuit_of(&addr), target_of(&addr)) else {
            return Err(TransportError::MultiaddrNotSupported(addr));
        };
        let slot = self.slots.take(peer, Direction::Outgoing, Instant::now());
        let (signaller, open_requests) = (self.signaller.clone(), self.open_requests.clone());
        Ok(async move {
            let _slot = slot?;
            let (reply, stream) = oneshot::channel();
            let _ = open_requests.unbounded_send(OpenStream { peer, circuit, reply });
            let closed = || SignallingError::Substream("the circuit has closed".into());
            let stream = stream.await.map_err(|_| closed())??;
            Ok((peer, signaller.connect(peer, stream, Role::Dialer).await?))
        }
        .boxed())
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        let Some(listener_id) = self.listener else { return Poll::Pending };
        let Poll::Ready(Some(incoming)) = self.incoming.poll_next_unpin(cx) else {
            return Poll::Pending;
        };
        let Incoming { peer, stream, slot, local, remote } = incoming;
        let connecting = self.signaller.connect(peer, stream, Role::Listener);
        let upgrade = async move {
            let _slot = slot;
            Ok((peer, connecting.await?))
        };
        Poll::Ready(TransportEvent::Incoming {
            listener_id,
            upgrade: upgrade.boxed(),
            local_addr: local,
            send_back_addr: remote,
        })
    }
}
