//! Dials `<relay>/p2p-circuit/webrtc/p2p/<peer>` and accepts what peers signal. It listens on
//! `/webrtc`, which stands for every circuit that reaches us.

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

use super::slots::{Direction, Refused, Slot, Slots};
use crate::path::{circuit_of, target_of};

/// A substream that the transport needs.
pub struct Wish {
    pub peer: PeerId,
    /// To be dialled if no circuit to the peer stands.
    pub circuit: Multiaddr,
    pub reply: oneshot::Sender<Result<Stream, Failed>>,
}

/// A substream that a peer has opened.
pub struct Incoming {
    pub peer: PeerId,
    pub stream: Stream,
    pub slot: Slot,
    pub local: Multiaddr,
    pub remote: Multiaddr,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// Our own bounds.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The circuit could not be had.
    #[error("no circuit to signal over: {0}")]
    Circuit(String),
    /// The peer is no tab, or of another kind.
    #[error("the peer does not speak {}", super::PROTOCOL)]
    Unsupported,
    /// The circuit stands, but the substream does not.
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
    wishes: mpsc::UnboundedSender<Wish>,
    incoming: mpsc::UnboundedReceiver<Incoming>,
    listener: Option<ListenerId>,
}

impl Transport {
    pub fn new(
        signaller: Signaller,
        slots: Slots,
        wishes: mpsc::UnboundedSender<Wish>,
        incoming: mpsc::UnboundedReceiver<Incoming>,
    ) -> Self {
        Self { signaller, slots, wishes, incoming, listener: None }
    }
}

impl libp2p::Transport for Transport {
    type Output = Output;
    type Error = Failed;
    type ListenerUpgrade = BoxFuture<'static, Result<Output, Failed>>;
    type Dial = BoxFuture<'static, Result<Output, Failed>>;

    fn listen_on(&mut self, id: ListenerId, addr: Multiaddr) -> Result<(), TransportError<Failed>> {
        if !addr.iter().eq([Protocol::WebRTC]) {
            return Err(TransportError::MultiaddrNotSupported(addr));
        }
        self.listener = Some(id);
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.listener.take_if(|listener| *listener == id).is_some()
    }

    fn dial(&mut self, addr: Multiaddr, _: DialOpts) -> Result<Self::Dial, TransportError<Failed>> {
        let (Some(circuit), Some(peer)) = (circuit_of(&addr), target_of(&addr)) else {
            return Err(TransportError::MultiaddrNotSupported(addr));
        };
        let slot = self.slots.take(peer, Direction::Outgoing, Instant::now());
        let (signaller, wishes) = (self.signaller.clone(), self.wishes.clone());
        Ok(async move {
            let _slot = slot?;
            let (reply, stream) = oneshot::channel();
            let _ = wishes.unbounded_send(Wish { peer, circuit, reply });
            let closed = || Failed::Substream("the circuit has closed".into());
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
